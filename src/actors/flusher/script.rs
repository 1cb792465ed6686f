//! A Flusher whose flush loop is a script: see `testkit::MockLog`.

use std::any::Any;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix::Recipient;

use super::{Flusher, Hands, Idle, news_of};
use crate::config::{RestartBudget, WalConfig};
use crate::engine::state::parts::LogParts;
use crate::engine::write::flush_loop::FlushSteps;
use crate::messages::LogEvent;

/// What a script has its Flusher do.
pub(crate) enum ScriptEvent {
    /// Send this event.
    Tell(LogEvent),
    /// Call this, as everything before it has been sent.
    Passed(Mutex<Option<Box<dyn FnOnce() + Send>>>),
    /// Panic, with nothing on the terminal.
    Die,
}

impl fmt::Debug for ScriptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptEvent")
    }
}

impl Flusher {
    /// A Flusher of this flush loop. It never tries again by itself: each fault of the loop poisons the log.
    pub(crate) fn scripted(
        LogParts { shared, queue }: LogParts,
        config: &WalConfig,
        appender: Recipient<LogEvent>,
        mut flush_loop: Box<dyn FlushSteps>,
    ) -> Self {
        let begun = news_of(&mut *flush_loop, &shared);
        let within = Duration::MAX;
        let restart_budget = RestartBudget { restarts: 0, within, ..config.restart_budget };
        let config = WalConfig { restart_budget, ..config.clone() };
        let hands = Hands::BackingOff(Idle { flush_loop, queue });
        let mut flusher = Flusher::with(hands, None, shared, config, appender);
        // As after an open: the first epoch has begun before anything can subscribe.
        flusher.pass_on(begun);
        flusher
    }

    pub(super) fn obey(&mut self, event: &(dyn Any + Send + Sync)) {
        match event.downcast_ref() {
            Some(ScriptEvent::Tell(event)) => self.tell(event),
            Some(ScriptEvent::Passed(call)) => {
                let call = call.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(call) = call {
                    call();
                }
            }
            // Not while it is being dropped: it has died then.
            Some(ScriptEvent::Die) if self.alive.is_some() => {
                resume_unwind(Box::new("killed by its script"))
            }
            Some(ScriptEvent::Die) | None => {}
        }
    }
}
