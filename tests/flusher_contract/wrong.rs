//! Flushers that break one rule each: a mock, and somebody between it and everyone else.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, Response, ResponseFuture,
};
use actix_wal::actors::{Appender, Flusher};
use actix_wal::error::{CheckpointError, CloseError};
use actix_wal::messages::{
    Checkpoint, Close, GetSegments, GetStats, GetStatus, LogEvent, Read, ReadRange, Rotate,
    Subscribe, Unsubscribe,
};
use actix_wal::testkit::flusher_contract::{FlusherFactory, Levers};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, LogParts, Lsn, Wal, WalConfig};

test_support::caught_by! {
    SpeaksBeforeReady => "says_ready_first",
    IsNeverReady => "says_ready_first",
    IsAhead => "raises_the_watermark_and_never_lowers_it",
    FallsBack => "raises_the_watermark_and_never_lowers_it",
    SkipsTheLast => "raises_the_watermark_and_never_lowers_it",
    WritesWhatIsHeld => "keeps_open_what_is_held_and_then_covers_it_in_order",
    NeverLetsGo => "keeps_open_what_is_held_and_then_covers_it_in_order",
    RepeatsItself => "tells_at_most_once_per_batch",
    ForgetsTheSlow => "tells_a_subscriber_that_was_slow_the_final_watermark",
    TellsTheSlowEverything => "tells_a_subscriber_that_was_slow_the_final_watermark",
    GoesOnTelling => "tells_nothing_to_who_has_unsubscribed",
    TellsTwice => "tells_nothing_to_who_has_unsubscribed",
    DeniesThatItKnewThem => "tells_nothing_to_who_has_unsubscribed",
    AcknowledgesWhatFailed => "reports_what_failed_and_never_covers_it_up",
    HidesWhatFailed => "reports_what_failed_and_never_covers_it_up",
    TellsLatecomersNothing => "reports_what_failed_and_never_covers_it_up",
    KeepsPermits => "reports_what_failed_and_never_covers_it_up",
    ClosesTooEarly => "answers_everyone_at_close",
    ClosesOnce => "answers_everyone_at_close",
    EndsWithoutAWord => "answers_everyone_at_close",
    ReleasesWhatIsNotDurable => "checkpoints_only_what_is_durable",
    ForgetsTheMark => "checkpoints_only_what_is_durable",
    CheckpointsAfterTheEnd => "checkpoints_only_what_is_durable",
    SplitsGroups => "makes_a_group_durable_as_a_whole",
}

/// Who stands between the mock and the rest of the log.
pub(crate) struct WrongFlusher {
    wrong: Option<Wrong>,
    mock: Addr<Flusher>,
    levers: MockHandle,
    shared: Arc<Shared>,
    appender: Recipient<LogEvent>,
    /// Kept here by those who are wrong about them; else the mock has them.
    subscribers: Vec<Recipient<LogEvent>>,
    closed: bool,
}

impl WrongFlusher {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn keeps_subscribers(&self) -> bool {
        matches!(
            self.wrong,
            Some(
                Wrong::ForgetsTheSlow
                    | Wrong::TellsTheSlowEverything
                    | Wrong::TellsLatecomersNothing
                    | Wrong::EndsWithoutAWord
                    | Wrong::ClosesTooEarly
                    | Wrong::TellsTwice
                    | Wrong::HidesWhatFailed
            )
        )
    }

    /// What the Appender hears instead of an event.
    fn bend(&mut self, event: LogEvent) -> Vec<LogEvent> {
        let Some(wrong) = self.wrong else { return vec![event] };
        match (wrong, event) {
            (Wrong::SpeaksBeforeReady, event @ LogEvent::Ready { .. }) => {
                vec![LogEvent::Stalled { seconds: 1 }, event]
            }
            (Wrong::IsNeverReady, LogEvent::Ready { .. }) => Vec::new(),
            (Wrong::IsAhead, LogEvent::Durable { epoch, through, failed }) => {
                vec![LogEvent::Durable { epoch, through: through.next(), failed }]
            }
            (Wrong::FallsBack, LogEvent::Durable { epoch, through, failed }) => {
                let before = Lsn::new(through.get().saturating_sub(1));
                let again = LogEvent::Durable { epoch, through: before, failed: Vec::new() };
                vec![LogEvent::Durable { epoch, through, failed }, again]
            }
            // What follows covers it, so it is missed only if nothing does.
            (Wrong::SkipsTheLast, LogEvent::Durable { through, .. }) if through.get() == 50 => {
                Vec::new()
            }
            (Wrong::RepeatsItself, event @ LogEvent::Durable { .. }) => vec![event.clone(), event],
            (Wrong::HidesWhatFailed, LogEvent::Durable { epoch, through, .. }) => {
                vec![LogEvent::Durable { epoch, through, failed: Vec::new() }]
            }
            (Wrong::KeepsPermits, LogEvent::Durable { epoch, through, failed }) => {
                if !failed.is_empty() {
                    std::mem::forget(self.shared.admission.try_acquire(1, 1).expect("room"));
                }
                vec![LogEvent::Durable { epoch, through, failed }]
            }
            (_, event) => vec![event],
        }
    }

    fn tell_subscribers(&mut self, event: &LogEvent) {
        for subscriber in &self.subscribers {
            match (self.wrong, event) {
                (Some(Wrong::EndsWithoutAWord), LogEvent::Closed { .. }) => {}
                (Some(Wrong::ForgetsTheSlow), _) => drop(subscriber.try_send(event.clone())),
                _ => subscriber.do_send(event.clone()),
            }
        }
    }

    /// Has the first record of all durable before the rest of its group.
    fn split(&self) {
        if self.shared.watermark.durable().is_none() && !self.shared.watermark.accepted().is_none()
        {
            self.shared.watermark.raise_durable(Lsn::FIRST);
            let epoch = self.shared.watermark.epoch();
            let told = LogEvent::Durable { epoch, through: Lsn::FIRST, failed: Vec::new() };
            self.appender.do_send(told);
        }
    }
}

impl Actor for WrongFlusher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.is(Wrong::SplitsGroups) {
            // The mock holds all of it, until the close.
            self.levers.script_first(MockStep::Hold);
            context.run_interval(Duration::from_millis(1), |this, _| this.split());
        }
    }
}

/// What the mock says.
impl Handler<LogEvent> for WrongFlusher {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        self.closed |= matches!(event, LogEvent::Closed { .. });
        for event in self.bend(event) {
            self.tell_subscribers(&event);
            self.appender.do_send(event);
        }
    }
}

impl Handler<Subscribe> for WrongFlusher {
    type Result = ResponseFuture<Lsn>;

    fn handle(
        &mut self,
        Subscribe(recipient): Subscribe,
        _: &mut Self::Context,
    ) -> ResponseFuture<Lsn> {
        if self.is(Wrong::WritesWhatIsHeld) {
            self.shared.watermark.raise_durable(self.shared.watermark.accepted());
        }
        let durable = self.shared.watermark.durable();
        if self.keeps_subscribers() {
            if self.is(Wrong::TellsTwice) || !self.subscribers.contains(&recipient) {
                self.subscribers.push(recipient);
            }
            return Box::pin(async move { durable });
        }
        let subscribed = self.mock.send(Subscribe(recipient));
        Box::pin(async move { subscribed.await.unwrap_or(durable) })
    }
}

impl Handler<Unsubscribe> for WrongFlusher {
    type Result = ResponseFuture<bool>;

    fn handle(
        &mut self,
        Unsubscribe(recipient): Unsubscribe,
        _: &mut Self::Context,
    ) -> ResponseFuture<bool> {
        let before = self.subscribers.len();
        if self.keeps_subscribers() {
            self.subscribers.retain(|known| *known != recipient);
            let was_there = self.subscribers.len() < before;
            return Box::pin(async move { was_there });
        }
        // It is told as before, and only said to be gone.
        if self.is(Wrong::GoesOnTelling) && !self.subscribers.contains(&recipient) {
            self.subscribers.push(recipient.clone());
        }
        let unsubscribed = self.mock.send(Unsubscribe(recipient));
        let denies = self.is(Wrong::DeniesThatItKnewThem);
        Box::pin(async move { unsubscribed.await.unwrap_or(false) && !denies })
    }
}

impl Handler<Checkpoint> for WrongFlusher {
    type Result = ResponseFuture<Result<Lsn, CheckpointError>>;

    fn handle(&mut self, Checkpoint(lsn): Checkpoint, _: &mut Self::Context) -> Self::Result {
        let is_durable = lsn <= self.shared.watermark.durable();
        let lies = match self.wrong {
            Some(Wrong::ReleasesWhatIsNotDurable) => !is_durable,
            Some(Wrong::CheckpointsAfterTheEnd) => self.closed,
            Some(Wrong::ForgetsTheMark) => is_durable && !self.closed,
            _ => false,
        };
        if lies {
            return Box::pin(async move { Ok(lsn) });
        }
        let done = self.mock.send(Checkpoint(lsn));
        Box::pin(async move { done.await.expect("the mock is alive") })
    }
}

/// Messages that the mock answers, about which no Flusher is wrong.
macro_rules! pass_on {
    ($($message:ty),*) => {
        $(impl Handler<$message> for WrongFlusher {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                let done = self.mock.send(message);
                Box::pin(async move { done.await.expect("the mock is alive") })
            }
        })*
    };
}

pass_on!(Read, ReadRange, GetSegments, Rotate, GetStats, GetStatus);

impl Handler<Close> for WrongFlusher {
    type Result = Response<Result<(), CloseError>>;

    fn handle(&mut self, close: Close, _: &mut Self::Context) -> Self::Result {
        if self.closed && self.is(Wrong::ClosesOnce) {
            let error = CloseError { cause: Cause::Closed, unresolved: None };
            return Response::reply(Err(error));
        }
        if !self.closed && self.is(Wrong::ClosesTooEarly) {
            self.tell_subscribers(&LogEvent::Closing);
            return Response::reply(Ok(()));
        }
        let done = self.mock.send(close);
        Response::fut(async move { done.await.expect("the mock is alive") })
    }
}

/// Starts Flushers that break this rule, or none.
pub(crate) struct WrongFactory {
    pub(crate) config: WalConfig,
    pub(crate) wrong: Option<Wrong>,
}

impl FlusherFactory for WrongFactory {
    fn config(&self) -> WalConfig {
        self.config.clone()
    }

    fn patience(&self) -> Duration {
        // Where nothing is wrong it has to be enough; where something is, it is waited for in vain.
        Duration::from_secs(if self.wrong.is_none() { 30 } else { 1 })
    }

    async fn start(
        &self,
        config: &WalConfig,
        parts: LogParts,
        appender: &Addr<Appender>,
        events: Recipient<LogEvent>,
    ) -> (Wal, Levers) {
        let wrong = self.wrong;
        let shared = Arc::clone(&Parts::from(parts.clone()).shared);
        let context = Context::new();
        let bent = context.address().recipient();
        let (mock, levers) = MockLog::flusher(&parts, config, MockScript::acknowledge(), bent);
        let (mock, handle) = (mock.start(), levers.clone());
        let subscribers = Vec::new();
        let flusher = context.run(WrongFlusher {
            wrong,
            mock,
            levers,
            shared,
            appender: events,
            subscribers,
            closed: false,
        });
        let (fail, hold, release) = (handle.clone(), handle.clone(), handle);
        let levers = Levers {
            fail_next: Box::new(move || {
                if wrong != Some(Wrong::AcknowledgesWhatFailed) {
                    fail.script_first(MockStep::fail());
                }
            }),
            hold: Box::new(move || hold.script_first(MockStep::Hold)),
            release: Box::new(move || {
                if wrong != Some(Wrong::NeverLetsGo) {
                    release.release_through(Lsn::MAX);
                }
            }),
        };
        (Wal::compose(config, &parts, Default::default(), appender, &flusher), levers)
    }
}
