//! What clients write: bytes that follow from client and sequence, so that every one can be checked.
//!
//! ```text
//! 0  8  client
//! 8  8  sequence: the how-manieth record of this client it is, from 0
//! 16 .  a stream of pseudo-random bytes, seeded by both
//! ```

/// The smallest payload: client and sequence.
pub const MIN_SIZE: usize = 16;

/// The payload of one record of a client.
pub fn encode(client: u64, sequence: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size.max(MIN_SIZE));
    bytes.extend_from_slice(&client.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    let mut state = mix(client ^ mix(sequence));
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = mix(state).to_le_bytes();
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

/// The finalizer of SplitMix64.
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
