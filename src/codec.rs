//! Typed records: the seam between serde values and the bytes of a record.
//!
//! The log itself never looks into a record. [`Bincode`] is what `append_record` uses; a host that wants
//! another encoding encodes by itself and appends the bytes, or implements [`Codec`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{DecodeError, EncodeError};

/// Turns values into records and back.
pub trait Codec {
    /// The bytes of a value.
    ///
    /// # Errors
    /// The value can not be expressed.
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, EncodeError>;

    /// The value of these bytes, all of them.
    ///
    /// # Errors
    /// The bytes are not, or not only, such a value.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DecodeError>;
}

/// bincode 2 in its standard configuration: variable-length little-endian integers.
///
/// Its bytes are kept stable by golden tests, and its version is pinned: see `docs/decisions/`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

/// No record is larger than a segment, and no length in it can ask for more memory than that.
const LIMIT: usize = u32::MAX as usize;

impl Bincode {
    /// [`encode`](Codec::encode) for a value of which it is known about how many bytes it takes: no memory is moved or left
    /// over if that is right.
    ///
    /// # Errors
    /// The value can not be expressed.
    pub fn encode_in<T: Serialize>(&self, bytes: usize, value: &T) -> Result<Vec<u8>, EncodeError> {
        let mut encoded = Vec::with_capacity(bytes);
        bincode::serde::encode_into_std_write(value, &mut encoded, bincode::config::standard())
            .map_err(|error| EncodeError(error.to_string()))?;
        Ok(encoded)
    }
}

impl Codec for Bincode {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, EncodeError> {
        bincode::serde::encode_to_vec(value, bincode::config::standard())
            .map_err(|error| EncodeError(error.to_string()))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let config = bincode::config::standard().with_limit::<LIMIT>();
        let (value, used) = bincode::serde::decode_from_slice(bytes, config)
            .map_err(|error| DecodeError(error.to_string()))?;
        match bytes.len() - used {
            0 => Ok(value),
            left => Err(DecodeError(format!("{left} bytes are left over behind the value"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Change {
        Put { key: String, value: Vec<u8>, version: u64 },
        Delete(String),
    }

    #[test]
    fn the_bytes_of_a_record_stay_what_they_are() {
        let put = Change::Put { key: "a".into(), value: vec![1, 2], version: 300 };
        let bytes = Bincode.encode(&put).expect("encodes");
        assert_eq!(bytes, [0, 1, b'a', 2, 1, 2, 251, 44, 1]);
        assert_eq!(Bincode.decode::<Change>(&bytes), Ok(put));
        assert_eq!(Bincode.encode(&Change::Delete("b".into())).expect("encodes"), [1, 1, b'b']);
    }

    #[test]
    fn bytes_left_over_and_hostile_lengths_are_errors() {
        assert!(Bincode.decode::<Change>(&[1, 1, b'b', 0]).is_err());
        assert!(
            Bincode.decode::<Change>(&[1, 253, 255, 255, 255, 255, 255, 255, 255, 255]).is_err()
        );
        assert!(Bincode.decode::<Change>(&[9]).is_err());
    }
}
