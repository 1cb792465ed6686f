//! Records: what clients appended, one after the other in the payload of a frame.
//!
//! ```text
//! 0  4  length of the payload in bytes
//! 4  1  flags, all reserved: zero
//! 5  .  payload
//! ```

use super::read_le;

/// The bytes a record takes beside its payload.
pub const RECORD_OVERHEAD: usize = 5;

/// Appends one record to the payload of a frame.
///
/// The payload must be shorter than 4 GiB; admission refuses larger ones long before.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(u32::try_from(payload.len()).is_ok());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.push(0);
    out.extend_from_slice(payload);
}

/// The records of a frame, in order. It ends early at bytes that are no record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records in the payload of a frame.
    pub fn new(payload: &'a [u8]) -> Self {
        Records { rest: payload }
    }

    /// What has not been walked yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether these are exactly `count` records and nothing else.
    pub fn are_exactly(mut self, count: u32) -> bool {
        let found = self.by_ref().count();
        found == count as usize && self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    // Hosts walk every record that is replayed, in crates of their own.
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(RECORD_OVERHEAD)?;
        let (payload, rest) = tail.split_at_checked(read_le!(head, 0, u32) as usize)?;
        if head[4] != 0 {
            return None;
        }
        self.rest = rest;
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_length_read_back_in_order() {
        let payloads: Vec<Vec<u8>> = (0..300).map(|len| vec![len as u8; len]).collect();
        let mut bytes = Vec::new();
        payloads.iter().for_each(|payload| encode(payload, &mut bytes));
        assert!(Records::new(&bytes).are_exactly(300));
        assert!(Records::new(&bytes).eq(payloads.iter().map(Vec::as_slice)));
    }

    #[test]
    fn bytes_that_are_no_records_end_the_walk_without_a_panic() {
        for bytes in [&[1, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1], &[255; 9], &[0, 0, 0]] {
            assert_eq!(Records::new(bytes).count(), 0);
            assert!(!Records::new(bytes).are_exactly(0));
        }
    }
}
