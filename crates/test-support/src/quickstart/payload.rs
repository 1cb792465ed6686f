//! What clients write: bytes that follow from client and sequence, so that every one can be checked.
//!
//! ```text
//! 0  8  client
//! 8  8  sequence: the how-manieth record of this client it is, from 0
//! 16 .  a stream of pseudo-random bytes, seeded by both
//! ```

use actix_wal::testkit::Random;

/// The smallest payload: client and sequence.
pub const MIN_SIZE: usize = 16;

/// The payload of one record of a client.
pub fn encode(client: u64, sequence: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size.max(MIN_SIZE));
    bytes.extend_from_slice(&client.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    let mut random = Random::new(client ^ Random::new(sequence).number());
    while bytes.len() < size {
        let word = random.number().to_le_bytes();
        bytes.extend_from_slice(&word[..word.len().min(size - bytes.len())]);
    }
    bytes
}

/// Client and sequence of a payload, if every single byte of it is as [`encode`] makes it.
pub fn decode(payload: &[u8], size: usize) -> Option<(u64, u64)> {
    let (client, rest) = payload.split_first_chunk()?;
    let (sequence, _) = rest.split_first_chunk()?;
    let (client, sequence) = (u64::from_le_bytes(*client), u64::from_le_bytes(*sequence));
    (payload == encode(client, sequence, size)).then_some((client, sequence))
}
