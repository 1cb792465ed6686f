//! Role: listens to a Flusher for the checks of its contract, as a subscriber or before the Appender.
//! Owns: the events that it has received.
//! Receives: `LogEvent`; `Received` and `Sleep` from the checks.
//! Sends: each event on to the Appender, if it stands before one.
//! Never: changes what it passes on.

use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    WrapFuture,
};
use tokio::sync::oneshot;

use super::done;
use crate::engine::state::shared::Shared;
use crate::lsn::{Lsn, LsnRange};
use crate::messages::LogEvent;

pub(super) async fn events(listener: &Addr<Listener>) -> Vec<LogEvent> {
    let received = done(listener.send(Received).await, "asking a listener");
    received
        .unwrap_or_else(|lsn| panic!("LSN {lsn} was told to be durable before it was published"))
}

pub(super) fn watermarks(events: &[LogEvent]) -> Vec<Lsn> {
    let watermark = |event: &LogEvent| match event {
        LogEvent::Durable { through, .. } => Some(*through),
        _ => None,
    };
    events.iter().filter_map(watermark).collect()
}

pub(super) fn final_watermark(events: &[LogEvent]) -> Lsn {
    watermarks(events).last().copied().unwrap_or(Lsn::NONE)
}

pub(super) fn failed(events: &[LogEvent]) -> Vec<LsnRange> {
    let failed = |event: &LogEvent| match event {
        LogEvent::Durable { failed, .. } => failed.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(failed).collect()
}

pub(super) fn check_watermarks(events: &[LogEvent]) {
    let told = watermarks(events);
    assert!(told.is_sorted(), "the watermark falls: {told:?}");
    assert!(failed(events).is_empty(), "nothing has failed");
}

/// Records each event, and passes it on.
#[derive(Default)]
pub(super) struct Listener {
    pub(super) passes_on: Option<(Recipient<LogEvent>, Arc<Shared>)>,
    pub(super) events: Vec<LogEvent>,
    /// A watermark that was told before it was published.
    pub(super) ahead: Option<Lsn>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.passes_on.is_none() {
            context.set_mailbox_capacity(1);
        }
    }
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        self.events.push(event.clone());
        if let Some((appender, shared)) = &self.passes_on {
            if let LogEvent::Durable { through, .. } = &event
                && (*through > shared.watermark.durable() || *through > shared.watermark.accepted())
            {
                self.ahead = Some(*through);
            }
            appender.do_send(event);
        }
    }
}

struct Received;

impl Message for Received {
    type Result = Result<Vec<LogEvent>, Lsn>;
}

impl Handler<Received> for Listener {
    type Result = MessageResult<Received>;

    fn handle(&mut self, _: Received, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.ahead.map_or_else(|| Ok(self.events.clone()), Err))
    }
}

/// Handle nothing until this comes.
pub(super) struct Sleep(pub(super) oneshot::Receiver<()>);

impl Message for Sleep {
    type Result = ();
}

impl Handler<Sleep> for Listener {
    type Result = ();

    fn handle(&mut self, Sleep(woken): Sleep, context: &mut Self::Context) {
        context.wait(woken.into_actor(self).map(|_, _, _| ()));
    }
}
