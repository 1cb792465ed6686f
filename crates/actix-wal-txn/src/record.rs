//! What a transaction writes into the log: one record, so that all of it survives a crash or nothing.
//!
//! A record begins with its version, one byte; the rest is a serde value in [`Bincode`]. A version that this program does
//! not know refuses the open: to go on without what it says would lose it.

use actix_wal::codec::{Bincode, Codec};
use actix_wal::{LogId, Lsn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::{Reads, Write};
use crate::tokens::Token;
use crate::two_phase::{Address, Branch, GlobalId, Outcome};

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
    /// A part of a transaction over several logs is prepared: it commits if its coordinator decides so.
    Prepare {
        /// The part, and where its coordinator is.
        branch: Branch,
        /// When it was prepared, in milliseconds since 1970 by the clock of the host.
        at: u64,
        /// What it will write.
        writes: Vec<Write>,
        /// What may not change until then.
        reads: Reads,
    },
    /// What is prepared has been done, or is aborted.
    Completed {
        /// The transaction.
        id: GlobalId,
        /// What was decided.
        outcome: Outcome,
    },
    /// A transaction over several logs has committed, and this is the only one of them.
    CommitAlone {
        /// The transaction.
        id: GlobalId,
        /// What it writes.
        writes: Vec<Write>,
    },
    /// An operator has decided what is prepared here, without its coordinator.
    Heuristic {
        /// The transaction.
        id: GlobalId,
        /// What the operator decided.
        outcome: Outcome,
    },
    /// The coordinator has said what it decided of a transaction that an operator had decided.
    Compared {
        /// The transaction.
        id: GlobalId,
        /// What the coordinator decided.
        decided: Outcome,
    },
    /// An operator has taken notice of the difference.
    Cleared {
        /// The transaction.
        id: GlobalId,
    },
    /// In the log of a coordinator: a transaction over several logs commits.
    Decision {
        /// The transaction.
        id: GlobalId,
        /// Where its participants are, and their logs.
        participants: Vec<(Address, LogId)>,
    },
    /// In the log of a coordinator: all participants have acknowledged that decision.
    Forgotten {
        /// The transaction.
        id: GlobalId,
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
        // A byte is itself in that encoding, and so is a tuple the one behind the other.
        Ok(Bincode.encode_in(self.room(), &(VERSION, self))?.into())
    }

    /// How many bytes its encoding takes, or a few more or less: for memory of the right size.
    fn room(&self) -> usize {
        let TxnRecord::Commit { token, writes } = self else { return 0 };
        let length = |bytes: usize| match bytes {
            0..=250 => 1 + bytes,
            251..=0xffff => 3 + bytes,
            _ => 5 + bytes,
        };
        let value = |value: &Option<Bytes>| 1 + value.as_ref().map_or(0, |it| length(it.len()));
        let write = |write: &Write| length(write.key.len()) + value(&write.value);
        let token = token.as_ref().map_or(1, |token| 1 + length(token.as_bytes().len()));
        2 + token + length(writes.len()) - writes.len() + writes.iter().map(write).sum::<usize>()
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
    fn p24_the_bytes_of_records_of_two_phase_commit_stay_what_they_are() {
        let id = GlobalId { log: LogId(*b"0123456789abcdef"), epoch: 3, number: 9 };
        let (coordinator, participant) = (Address::from("co"), Address::from("p"));
        let branch = Branch { id, coordinator, participant: participant.clone() };
        let writes = vec![Write { key: "a".into(), value: None }];
        let reads =
            Reads { keys: vec!["r".into()], ranges: vec![crate::store::KeyRange::prefix("x")] };
        let (committed, aborted) = (Outcome::Committed, Outcome::Aborted);
        let participants = vec![(participant, LogId(*b"fedcba9876543210"))];
        const ID: &str = "0123456789abcdef\x03\x09";
        for (record, bytes) in [
            (
                TxnRecord::Prepare { branch, at: 7, writes: writes.clone(), reads },
                format!("\x01\x01{ID}\x02co\x01p\x07\x01\x01a\0\x01\x01r\x01\x01\x01x\x02\x01y"),
            ),
            (TxnRecord::Completed { id, outcome: committed }, format!("\x01\x02{ID}\0")),
            (TxnRecord::CommitAlone { id, writes }, format!("\x01\x03{ID}\x01\x01a\0")),
            (TxnRecord::Heuristic { id, outcome: aborted }, format!("\x01\x04{ID}\x01")),
            (TxnRecord::Compared { id, decided: committed }, format!("\x01\x05{ID}\0")),
            (TxnRecord::Cleared { id }, format!("\x01\x06{ID}")),
            (
                TxnRecord::Decision { id, participants },
                format!("\x01\x07{ID}\x01\x01pfedcba9876543210"),
            ),
            (TxnRecord::Forgotten { id }, format!("\x01\x08{ID}")),
        ] {
            let encoded = record.encode().unwrap();
            assert_eq!(encoded, bytes.as_bytes(), "{record:?}");
            assert_eq!(TxnRecord::decode(Lsn::FIRST, &encoded), Ok(record));
        }
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
