//! The way into the log for an actor that works by messages alone.

use std::sync::Arc;

use actix::Recipient;
use bytes::Bytes;

use crate::config::Durability;
use crate::engine::intake::entry::Payload;
use crate::entrance::Entrance;
use crate::error::AppendError;
use crate::messages::{Accepted, Reply, Submit, Ticket};

/// Appends without a future: an actor puts records in from its handlers, hears their LSNs as
/// [`Accepted`] messages, and of their durability by its [subscription](crate::Wal::subscribe). Made by
/// [`Wal::outbox`](crate::Wal::outbox).
///
/// Of all ways to commit this costs the least: there is no future and no channel per record, and
/// appends that are put in together share one message to the Appender and one back. They keep their order
/// among themselves, and towards what is appended by the handles of the log.
///
/// `Accepted` comes before any event that covers its LSNs. So a coordinator keeps its commits in a queue:
/// `Accepted` numbers the next ones, and [`LogEvent::Durable`](crate::LogEvent::Durable) takes from its
/// front what `through` has reached, except for what lies in `failed`.
///
/// It does not keep the log open: that closes with its last handle. It keeps its owner alive, so an actor that
/// holds its own outbox ends by `ctx.stop()`.
///
/// ```no_run
/// # use actix::{Actor, Context, Handler};
/// # use actix_wal::{messages::Accepted, Outbox, LogEvent};
/// struct Coordinator {
///     log: Outbox, // = wal.outbox(ctx.address().recipient())
/// }
/// # impl Actor for Coordinator { type Context = Context<Self>; }
/// impl Handler<Accepted> for Coordinator {
///     type Result = ();
///     fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
///         println!("{:?} and {} more: {:?}", accepted.first, accepted.count - 1, accepted.result);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Outbox {
    entrance: Entrance,
    owner: Arc<Recipient<Accepted>>,
    next: Ticket,
}

impl Outbox {
    pub(crate) fn new(entrance: Entrance, owner: Recipient<Accepted>) -> Self {
        Outbox { entrance, owner: Arc::new(owner), next: Ticket::default() }
    }

    /// Appends a record. Never waits: its LSN comes as a message, and is durable later.
    ///
    /// # Errors
    /// The record is not in the log. Past the bound on what is in flight that is
    /// [`Overloaded`](AppendError::Overloaded), whatever the configured policy is: an actor can not wait.
    pub fn append(&mut self, payload: impl Into<Bytes>) -> Result<Ticket, AppendError> {
        self.append_with(payload, Durability::GroupCommit)
    }

    /// [`append`](Self::append) with a choice of when the batch is flushed.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn append_with(
        &mut self,
        payload: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<Ticket, AppendError> {
        self.submit(Payload::One(payload.into()), durability)
    }

    /// Appends an atomic group: after a crash all of its records are there, or none.
    ///
    /// # Errors
    /// As for [`append`](Self::append), or the group is empty.
    pub fn append_all<P: Into<Bytes>>(
        &mut self,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<Ticket, AppendError> {
        let payloads: Vec<Bytes> = payloads.into_iter().map(Into::into).collect();
        if payloads.is_empty() {
            return Err(AppendError::EmptyGroup);
        }
        self.submit(Payload::Group(payloads), Durability::GroupCommit)
    }

    fn submit(&mut self, payload: Payload, durability: Durability) -> Result<Ticket, AppendError> {
        let permit = self.entrance.permit_now(&payload)?;
        let ticket = self.next;
        let reply = Reply::Message(Arc::clone(&self.owner), ticket);
        self.entrance.submit(Submit { payload, durability, permit, reply })?;
        self.next = ticket.plus(1);
        Ok(ticket)
    }
}
