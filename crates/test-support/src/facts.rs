//! What clients of a log know, and when they knew it: the raw material of the [`Oracle`](crate::oracle).

use actix_wal::testkit::Random;
use actix_wal::{CommitError, Lsn};

/// Who appended what: one record, or one group of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub client: u32,
    pub sequence: u32,
}

/// The payload of record `index` of the `count` that were appended under a key. Nothing else makes one.
pub fn payload(key: Key, index: u32, count: u32, len: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + len as usize);
    for number in [key.client, key.sequence, index, count, len] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let mut random = Random::new(u64::from(key.client) << 32 | u64::from(key.sequence));
    bytes.extend(random.bytes(len as usize));
    bytes
}

/// What the first bytes of a [`payload`] say of it.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub key: Key,
    pub index: u32,
    pub count: u32,
    pub len: u32,
}

impl Head {
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at * 4..)?.first_chunk()?));
        let key = Key { client: word(0)?, sequence: word(1)? };
        Some(Head { key, index: word(2)?, count: word(3)?, len: word(4)? })
    }
}

/// The first LSN that an append got, as far as the answer to its commit says so.
pub fn assigned(committed: &Result<Lsn, CommitError>) -> Option<Lsn> {
    match committed {
        Ok(lsn) => Some(*lsn),
        Err(CommitError::NotDurable { lsn, .. } | CommitError::Unknown { lsn, .. }) => Some(*lsn),
        Err(_) => None,
    }
}

/// What a mark means; its value is the index of one of these.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// A client is about to append this many records.
    Submitted { key: Key, count: u32 },
    /// They have these LSNs, from this one on.
    Assigned { key: Key, first: Lsn },
    /// They were acknowledged as durable.
    Acknowledged { key: Key },
    /// They are certainly not in the log.
    NotDurable { key: Key },
    /// The watermark that somebody read.
    Watermark(Lsn),
    /// A reader was given this record while the log ran.
    Read { lsn: Lsn, digest: u64 },
    /// A checkpoint is about to release everything up to this LSN.
    Checkpoint(Lsn),
    /// The log is about to be opened.
    Opening,
    /// The log was closed cleanly.
    Closed,
}

/// What a reader remembers of a record.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
