//! The way of every append from its caller to the Appender: first a permit, then the inbox.

use std::sync::Arc;

use actix::Recipient;

use crate::config::OverloadPolicy;
use crate::engine::intake::admission::{Admission, Permit, Refusal};
use crate::engine::intake::entry::Payload;
use crate::engine::intake::inbox::Inbox;
use crate::engine::state::shared::Shared;
use crate::error::{AppendError, Cause};
use crate::lsn::Epoch;
use crate::messages::wire::{Collect, Submit};
use crate::status::LogState;

/// Where appends go in. Clones lead to the same inbox, so what comes in by any of them keeps its order.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    shared: Arc<Shared>,
    overload: OverloadPolicy,
    inbox: Arc<Inbox<Submit>>,
    appender: Recipient<Collect>,
}

impl Entrance {
    pub(crate) fn new(
        shared: Arc<Shared>,
        overload: OverloadPolicy,
        appender: Recipient<Collect>,
    ) -> Self {
        Entrance { shared, overload, inbox: Arc::default(), appender }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Refuses what builds on an epoch that has ended already.
    #[inline]
    pub(crate) fn check(
        &self,
        builds_on: Option<Epoch>,
        entries: usize,
    ) -> Result<(), AppendError> {
        match builds_on {
            Some(epoch) if self.shared.watermark.has_ended(epoch) => {
                Err(self.refuse_ended(epoch, entries))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn refuse_ended(&self, epoch: Epoch, entries: usize) -> AppendError {
        let error = AppendError::EpochEnded { epoch };
        self.shared.note_refused(&error, entries);
        error
    }

    /// The right to have this append in flight: now, or after a wait if that is configured.
    pub(crate) async fn permit(&self, payload: &Payload) -> Result<Permit, AppendError> {
        let (entries, bytes) = (payload.count(), payload.encoded_len());
        let permit = match self.admission().try_acquire(entries, bytes) {
            Err(Refusal::Overloaded) if self.overload == OverloadPolicy::Wait => {
                let since = self.shared.meter.begin(&*self.shared.clock);
                let permit = self.admission().acquire(entries, bytes).await;
                self.shared.meter.admitted(since, &*self.shared.clock);
                permit
            }
            permit => permit,
        };
        permit.map_err(|refusal| self.refused(refusal, entries, bytes))
    }

    /// The right to have this append in flight, now or not at all.
    pub(crate) fn permit_now(&self, payload: &Payload) -> Result<Permit, AppendError> {
        self.permit_for(payload.count(), payload.encoded_len())
    }

    /// The right to have this much in flight, now or not at all.
    #[inline]
    pub(crate) fn permit_for(&self, entries: usize, bytes: usize) -> Result<Permit, AppendError> {
        let permit = self.admission().try_acquire(entries, bytes);
        permit.map_err(|refusal| self.refused(refusal, entries, bytes))
    }

    /// A permit that was kept, if it is one for this.
    pub(crate) fn check_permit(
        &self,
        permit: Permit,
        payload: &Payload,
    ) -> Result<Permit, AppendError> {
        let (entries, bytes) = (payload.count(), payload.encoded_len());
        if permit.covers(self.admission(), entries, bytes) {
            return Ok(permit);
        }
        let (permit_entries, permit_bytes) = (permit.entries(), permit.bytes());
        let error = AppendError::WrongPermit { permit_entries, permit_bytes, entries, bytes };
        self.shared.note_refused(&error, entries);
        Err(error)
    }

    /// Puts an append in. That keeps the order, and can not be cancelled.
    pub(crate) fn submit(&self, submit: Submit) -> Result<(), AppendError> {
        if !self.appender.connected() {
            submit.reply.withdraw();
            return Err(AppendError::Closed { cause: self.gone("Appender") });
        }
        if self.inbox.push(submit) {
            self.appender.do_send(Collect::new(&self.inbox));
        }
        Ok(())
    }

    /// Has the Appender drain the inbox before it handles the next message of the caller. Another thread may have
    /// pushed the first append and not sent its wake-up yet, while the append of the caller stands behind it.
    pub(crate) fn call(&self) {
        self.appender.do_send(Collect::new(&self.inbox));
    }

    /// Why an actor does not answer.
    pub(crate) fn gone(&self, actor: &'static str) -> Cause {
        match self.shared.state() {
            LogState::Closed(cause) | LogState::Poisoned(cause) => cause,
            _ => Cause::Stopped { actor },
        }
    }

    fn admission(&self) -> &Arc<Admission> {
        &self.shared.admission
    }

    fn refused(&self, refusal: Refusal, entries: usize, bytes: usize) -> AppendError {
        let admission = self.admission();
        let too_large = |size: usize, limit: usize, unit| AppendError::TooLarge {
            size: size as u64,
            limit: limit as u64,
            unit,
        };
        let error = match refusal {
            Refusal::Overloaded => AppendError::Overloaded {
                entries: admission.entries_in_flight(),
                bytes: admission.bytes_in_flight(),
            },
            Refusal::TooManyEntries => too_large(entries, admission.max_entries(), "records"),
            Refusal::TooManyBytes => too_large(bytes, admission.max_bytes(), "bytes"),
            Refusal::Closed => match self.shared.state() {
                LogState::Poisoned(cause) => AppendError::Poisoned { cause },
                LogState::Closed(cause) => AppendError::Closed { cause },
                _ => AppendError::Closed { cause: Cause::Closed },
            },
        };
        self.shared.note_refused(&error, entries);
        error
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Arbiter, Context, Handler};
    use bytes::Bytes;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::config::{Durability, WalConfig};
    use crate::messages::wire::Reply;
    use crate::messages::{Accepted, Ticket};
    use crate::{LogParts, Outbox};

    /// Counts what it drains.
    struct Collector(oneshot::Sender<usize>);

    impl Actor for Collector {
        type Context = Context<Self>;
    }

    impl Handler<Collect> for Collector {
        type Result = ();

        fn handle(&mut self, collect: Collect, _: &mut Self::Context) {
            let came = collect.take(Vec::new()).len();
            let first = std::mem::replace(&mut self.0, oneshot::channel().0);
            let _ = first.send(came);
        }
    }

    #[actix::test]
    async fn an_append_behind_one_whose_wake_up_is_not_sent_yet_can_wake_the_appender() {
        let LogParts { shared, .. } = LogParts::new(&WalConfig::new("unused"));
        let (came, counted) = oneshot::channel();
        let collector = Collector(came).start().recipient();
        let entrance = Entrance::new(Arc::clone(&shared), OverloadPolicy::Wait, collector);
        let submit = || {
            let payload = Payload::One(Bytes::from_static(b"x"));
            let permit = entrance.permit_now(&payload).expect("room");
            let (durability, reply) =
                (Durability::GroupCommit, Reply::Accepted(oneshot::channel().0));
            Submit { payload, durability, builds_on: None, permit, reply }
        };
        // A thread that is interrupted between putting in and calling.
        assert!(entrance.inbox.push(submit()));
        entrance.submit(submit()).expect("alive");
        entrance.call();
        assert_eq!(counted.await.expect("it was called"), 2);
    }

    /// Passes on what an outbox is told.
    struct Owner(mpsc::UnboundedSender<Accepted>);

    impl Actor for Owner {
        type Context = Context<Self>;
    }

    impl Handler<Accepted> for Owner {
        type Result = ();

        fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
            let _ = self.0.send(accepted);
        }
    }

    #[actix::test]
    async fn p6_an_append_that_is_refused_at_once_is_not_answered_again() {
        let LogParts { shared, .. } = LogParts::new(&WalConfig::new("unused"));
        let (tell, mut told) = mpsc::unbounded_channel();
        let owner = Owner(tell).start();
        // Its end has been seen, and nobody has closed the admission yet: there is a permit.
        let arbiter = Arbiter::new();
        let ended = Collector(oneshot::channel().0);
        let ended = Collector::start_in_arbiter(&arbiter.handle(), |_| ended).recipient();
        arbiter.stop();
        arbiter.join().expect("no panic");
        let entrance = Entrance::new(Arc::clone(&shared), OverloadPolicy::Wait, ended);
        let mut outbox = Outbox::new(entrance, owner.clone().recipient());
        let dead = outbox.append("nobody takes it");
        assert!(matches!(dead, Err(AppendError::Closed { .. })), "{dead:?}");
        let large = outbox.append(vec![0; shared.admission.max_bytes()]);
        assert!(matches!(large, Err(AppendError::TooLarge { .. })), "{large:?}");
        shared.admission.close();
        let closed = outbox.append("too late");
        assert!(matches!(closed, Err(AppendError::Closed { .. })), "{closed:?}");
        assert_eq!(shared.admission.entries_in_flight(), 0, "a refusal gives its permit back");
        // Whatever the owner was told before this is told before it.
        owner.do_send(Accepted {
            first: Ticket(7),
            count: 1,
            result: Err(AppendError::EmptyGroup),
        });
        assert_eq!(told.recv().await.expect("alive").first, Ticket(7));
    }
}
