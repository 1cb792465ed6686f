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

use actix_wal::messages::Permit;
use actix_wal::{AppendError, AppendOptions, Durability, Epoch, InFlight};
use bytes::Bytes;

pub use self::back_off::BackOff;
pub use self::ids::{Address, Branch, GlobalId, Life, Outcome};

/// Where records are put. `T` comes out again with the outcome of the record.
pub trait Log<T> {
    /// Keeps room for one record of at most so many bytes: the log takes that later, however much of others is in flight
    /// then. `None`: it takes any record at any time.
    ///
    /// # Errors
    /// It has none.
    fn keep_room(&mut self, bytes: usize) -> Result<Option<Permit>, AppendError>;

    /// Puts a record in, into the room that was kept for it, if any. Never waits.
    ///
    /// # Errors
    /// It is not in the log; only with [`AppendError::Unknown`] may it be. The room is free again.
    fn append(
        &mut self,
        record: Bytes,
        room: Option<Permit>,
        durability: Durability,
        note: T,
    ) -> Result<(), AppendError>;
}

/// A real log as such a place.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    /// The way into the log.
    pub(crate) log: &'a mut InFlight<T>,
    /// The epoch that the records build on; none if they build on nothing that is not durable.
    pub(crate) builds_on: Option<Epoch>,
    /// The bytes of the records that were put in.
    pub(crate) bytes: usize,
}

impl<'a, T> Place<'a, T> {
    pub(crate) fn new(log: &'a mut InFlight<T>, builds_on: Option<Epoch>) -> Self {
        Place { log, builds_on, bytes: 0 }
    }
}

impl<T> Log<T> for Place<'_, T> {
    fn keep_room(&mut self, bytes: usize) -> Result<Option<Permit>, AppendError> {
        self.log.outbox().permit(bytes).map(Some)
    }

    fn append(
        &mut self,
        record: Bytes,
        room: Option<Permit>,
        durability: Durability,
        note: T,
    ) -> Result<(), AppendError> {
        let options = AppendOptions { durability, builds_on: self.builds_on };
        let bytes = record.len();
        let put_in = match room {
            Some(room) => self.log.append_permitted(record, options, room, note),
            None => self.log.append_with(record, options, note),
        };
        put_in.map_err(|(_, refused)| refused)?;
        self.bytes += bytes;
        Ok(())
    }
}
