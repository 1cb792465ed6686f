//! What a fault comes to: a wait and a restart, the end of the log, or of its start.

use std::time::Duration;

use actix::{ActorContext, AsyncContext, Context};

use super::diary::quietly;
use super::{Flusher, Hands, Idle, Retired, flush_thread, news_of};
use crate::engine::write::flush_loop::LoopEvent;
use crate::error::{Cause, CloseError, FaultClass, IoFault};
use crate::messages::LogEvent;
use crate::runtime::threads::Once;
use crate::status::LogState;

impl Flusher {
    /// The flush thread has ended with a fault: a restart, or the end.
    pub(super) fn fault(&mut self, mut idle: Idle, fault: Cause, context: &mut Context<Self>) {
        self.diary.failed(&fault);
        let queued = flush_thread::take_queued(&mut *idle.flush_loop, &idle.queue);
        let fault = match queued {
            Ok(()) => fault,
            Err(broken) => fault.followed_by(broken),
        };
        let class = fault.class();
        // What was before the fault comes before it.
        self.pass_on(news_of(&mut *idle.flush_loop, &self.shared));
        let cause = self.note_fault(fault);
        idle.flush_loop.fault(&cause);
        self.pass_on(news_of(&mut *idle.flush_loop, &self.shared));
        let now = self.shared.clock.now();
        let wait = match class {
            FaultClass::Permanent => None,
            class => self.restarts.after_fault(now, !class.passes()),
        };
        let Some(wait) = wait else {
            return self.poison(idle, cause, context);
        };
        self.shared.counters.restarts.add(1);
        // A close waits for a fault that passes, but not for back-offs one after the other.
        let wait = if self.closing() && !class.passes() { Duration::ZERO } else { wait };
        self.tell_unavailable();
        self.sum_up();
        self.hands = Hands::Faulted(idle, wait);
        // The Supervisor starts this actor again, with everything it holds and its mailbox in order.
        context.stop();
    }

    /// Keeps what went wrong first since the last epoch, and what went wrong last.
    pub(super) fn note_fault(&mut self, fault: Cause) -> Cause {
        let (since, cause) = match self.unavailable.take() {
            Some((since, first)) => (since, first.followed_by(fault)),
            None => (self.shared.clock.now(), fault),
        };
        self.unavailable = Some((since, cause.clone()));
        cause
    }

    pub(super) fn tell_unavailable(&mut self) {
        let Some((_, cause)) = self.unavailable.clone() else {
            return;
        };
        self.go(LogState::Unavailable(cause.clone()));
        self.tell(&LogEvent::Unavailable { cause });
    }

    /// Nothing was accepted yet. The open fails with the cause, and the host may try again.
    pub(super) fn fail_to_start(&mut self, idle: Idle, cause: Cause) {
        quietly(|| tracing::error!(%cause, "the log can not be started"));
        drop(idle);
        let error = CloseError { cause: cause.clone(), unresolved: None };
        self.end(cause);
        self.answer_closers(&Err(error));
    }

    fn poison(&mut self, mut idle: Idle, cause: Cause, context: &mut Context<Self>) {
        let _ = flush_thread::take_queued(&mut *idle.flush_loop, &idle.queue);
        idle.flush_loop.abandon(&cause);
        self.go(LogState::Poisoned(cause.clone()));
        self.shared.admission.close();
        self.hands = Hands::Nobody;
        let news = news_of(&mut *idle.flush_loop, &self.shared);
        self.unavailable = None;
        let failed = news.events.iter().filter_map(|event| match event {
            LoopEvent::NotDurable(range, _) => Some(*range),
            _ => None,
        });
        let failed = failed.collect();
        self.pass_on(news);
        self.sum_up();
        let unknown = self.unknown.clone();
        self.tell(&LogEvent::Poisoned { cause: cause.clone(), failed, unknown });
        self.refuse_wishes(&cause);
        // Who follows the tail has to learn that it ends here.
        self.shared.tail.notify_waiters();
        // The supply of segments may be busy with a disk that is ill: not on this thread.
        let retired = context.address().recipient();
        let retire = move || {
            idle.flush_loop.stop_source();
            drop(idle);
            retired.do_send(Retired);
        };
        match self.threads.spawn(flush_thread::NAME, Box::new(Once::new(retire))) {
            Ok(thread) => self.thread = Some(thread),
            // Then the supply was dropped, and gives the directory back when it comes to that.
            Err(error) => {
                let fault = IoFault::no_thread(flush_thread::NAME, error);
                quietly(|| tracing::warn!(%fault, "nobody waits for the end of the preparer"));
                context.notify(Retired);
            }
        }
    }
}
