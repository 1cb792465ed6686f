//! What a transaction writes into the log: one record, so that all of it survives a crash or nothing.
//!
//! A record begins with its version, one byte; the rest is a serde value in [`Bincode`]. A version that this program does
//! not know refuses the open: to go on without what it says would lose it.

use actix_wal::Lsn;
use actix_wal::codec::{Bincode, Codec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::Write;
use crate::tokens::Token;

/// The newest version that is known, and the one that is written.
const VERSION: u8 = 1;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TxnRecord {
    /// A transaction has committed.
    Commit {
        /// What its client may ask for its outcome with.
        token: Option<Token>,
        /// What it writes, each key once.
        writes: Vec<Write>,
    },
}

/// Why a record can not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// A newer version of this crate wrote it.
    #[error(
        "the record at LSN {lsn} has version {version}, and this program knows versions up to {VERSION}: a newer program \
         wrote it, so open the log with that; or it is none of a transaction, and this is another program's log"
    )]
    Newer {
        /// The record.
        lsn: Lsn,
        /// Its version.
        version: u8,
    },
    /// It is not one of ours.
    #[error(
        "the record at LSN {lsn} is none of a transaction ({reason}): is this another program's log?"
    )]
    Foreign {
        /// The record.
        lsn: Lsn,
        /// What does not fit.
        reason: String,
    },
}

impl TxnRecord {
    /// Its bytes.
    ///
    /// # Errors
    /// The value can not be expressed.
    pub fn encode(&self) -> Result<Bytes, actix_wal::error::EncodeError> {
        let mut bytes = vec![VERSION];
        bytes.extend(Bincode.encode(self)?);
        Ok(bytes.into())
    }

    /// The value of a record at this LSN.
    ///
    /// # Errors
    /// It is of a newer version, or none of ours.
    pub fn decode(lsn: Lsn, record: &[u8]) -> Result<Self, RecordFault> {
        match record.split_first() {
            Some((&VERSION, rest)) => Bincode
                .decode(rest)
                .map_err(|error| RecordFault::Foreign { lsn, reason: error.to_string() }),
            Some((&version, _)) if version > VERSION => Err(RecordFault::Newer { lsn, version }),
            Some((version, _)) => {
                Err(RecordFault::Foreign { lsn, reason: format!("it has version {version}") })
            }
            None => Err(RecordFault::Foreign { lsn, reason: "it is empty".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TxnRecord {
        let write = |key: &'static str, value: Option<&'static str>| Write {
            key: key.into(),
            value: value.map(Into::into),
        };
        let token = Some(Token::new("t").unwrap());
        TxnRecord::Commit { token, writes: vec![write("a", Some("xyz")), write("b", None)] }
    }

    #[test]
    fn the_bytes_of_a_record_stay_what_they_are() {
        let bytes = record().encode().unwrap();
        // Version; commit; a token of one byte; two writes: "a" = "xyz", and "b" deleted.
        assert_eq!(bytes[..], *b"\x01\0\x01\x01t\x02\x01a\x01\x03xyz\x01b\0");
        assert_eq!(TxnRecord::decode(Lsn::FIRST, &bytes), Ok(record()));
    }

    #[test]
    fn a_newer_version_and_what_is_no_record_are_refused_with_their_lsn() {
        let bytes = record().encode().unwrap();
        let newer = [&[2], &bytes[1..]].concat();
        for (bytes, text) in [
            (&newer[..], "version 2, and this program knows versions up to 1"),
            (&bytes[..7], "none of a transaction"),
            (&[&bytes[..], b"\0"].concat(), "none of a transaction"),
            (&[0], "it has version 0"),
            (&[], "it is empty"),
        ] {
            let refused = TxnRecord::decode(Lsn::new(77), bytes).unwrap_err().to_string();
            assert!(refused.contains(text) && refused.contains("LSN 77"), "{refused}");
        }
    }
}
