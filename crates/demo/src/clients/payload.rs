//! What clients write: bytes that follow from client, sequence and size, so that every one can be checked.
//!
//! ```text
//! 0  4  client
//! 4  4  size of the payload
//! 8  8  sequence: the number of the record among those of its client, from 0
//! 16 .  a stream of pseudo-random bytes, seeded by all of them
//! ```

use actix_wal::testkit::Random;

/// The smallest payload: client, size and sequence.
pub const MIN_SIZE: usize = 16;

/// The payload of one record of a client. Both client and size have to be below 2^32.
pub fn encode(client: u64, sequence: u64, size: usize) -> Vec<u8> {
    let size = size.max(MIN_SIZE);
    let mut bytes = Vec::with_capacity(size);
    let head = client << 32 | size as u64;
    bytes.extend_from_slice(&head.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    let mut random = Random::new(head ^ Random::new(sequence).number());
    while bytes.len() < size {
        let word = random.number().to_le_bytes();
        bytes.extend_from_slice(&word[..word.len().min(size - bytes.len())]);
    }
    bytes
}

/// Client and sequence of a payload, if every single byte of it is as [`encode`] makes it.
pub fn decode(payload: &[u8]) -> Option<(u64, u64)> {
    let (head, rest) = payload.split_first_chunk()?;
    let (sequence, _) = rest.split_first_chunk()?;
    let (client, sequence) = (u64::from_be_bytes(*head) >> 32, u64::from_be_bytes(*sequence));
    (payload == encode(client, sequence, payload.len())).then_some((client, sequence))
}
