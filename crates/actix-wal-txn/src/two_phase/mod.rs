//! Two-phase commit: a transaction over several logs commits in all of them or in none.
//!
//! The protocol is presumed abort (Mohan, Lindsay, Obermarck: *Transaction Management in the R\* Distributed Database
//! Management System*, ACM TODS 11(4), 1986). Each participant owns a log, and so does the coordinator that decides:
//!
//! ```text
//! client        decider                        participants
//!   | commit       |                                |
//!   |------------->|-- Prepare -------------------->| Prepare record, durable
//!   |              |<-- Prepared -------------------|
//!   |              | Decision record, durable       |
//!   |<- committed -|-- Commit --------------------->| Completed record, nobody waits
//!   |              |<-- Acknowledged ---------------| once that is durable
//!   |              | Forgotten record, nobody waits |
//! ```
//!
//! What has no decision is aborted: an abort writes nothing at the decider, and it forgets the transaction at once. A
//! participant that is prepared asks the decider until it has an answer. One that has nothing to write or to keep leaves
//! when it is asked to prepare. A transaction of one participant is committed there with one record.
//!
//! | part | what |
//! |---|---|
//! | [`decider`] | the decisions of one coordinator |
//! | [`participant`] | what one log has prepared |
//! | [`messages`] | what they say to each other; the host's transport may lose, double, delay and reorder it |
//!
//! These are plain types without actor, thread or clock. The actors around them:
//!
//! | actor | what |
//! |---|---|
//! | [`coordinator_actor`] | the coordinator that clients send their transactions to |
//! | [`participant_actor`] | the coordinator of one log, as a participant |

mod back_off;
mod begin;
pub mod coordinator_actor;
pub mod decider;
mod ended;
mod ids;
pub mod messages;
pub mod participant;
pub mod participant_actor;

use actix_wal::{AppendError, AppendOptions, Durability, Epoch, InFlight};
use bytes::Bytes;

pub use self::back_off::BackOff;
pub use self::ids::{Address, Branch, GlobalId, Life, Outcome};

/// Where records are put. An [`InFlight`] is one for records that build on nothing that is not durable. `T` comes out again with the outcome of the record.
pub trait Log<T> {
    /// Puts a record in. Never waits.
    ///
    /// # Errors
    /// It is not in the log; only with [`AppendError::Unknown`] may it be.
    fn append(&mut self, record: Bytes, durability: Durability, note: T)
    -> Result<(), AppendError>;
}

impl<T> Log<T> for InFlight<T> {
    fn append(
        &mut self,
        record: Bytes,
        durability: Durability,
        note: T,
    ) -> Result<(), AppendError> {
        self.append_with(record, durability, note).map(drop).map_err(|(_, refused)| refused)
    }
}

/// A way into a log for records that build on what is on its way there.
#[derive(Debug)]
pub(crate) struct OnEpoch<'a, T> {
    /// The way.
    pub(crate) log: &'a mut InFlight<T>,
    /// The epoch that all of that builds on.
    pub(crate) epoch: Epoch,
}

impl<T> Log<T> for OnEpoch<'_, T> {
    fn append(
        &mut self,
        record: Bytes,
        durability: Durability,
        note: T,
    ) -> Result<(), AppendError> {
        let options = AppendOptions { durability, builds_on: Some(self.epoch) };
        self.log.append_with(record, options, note).map(drop).map_err(|(_, refused)| refused)
    }
}
