//! What every actor that stands in the Flusher's place must keep, as one suite: [`run_all`].
//!
//! Each check starts a fresh log with a real Appender and a real handle, and listens between the Flusher
//! and the Appender. A check panics when the contract is broken, like a test.
//!
//! 1. `Ready` comes before anything else, and no append is answered before it.
//! 2. The watermark never falls and is never ahead: no event says what has not been published, and no
//!    commit is answered before.
//! 3. What is held back stays open; released, it becomes durable in order.
//! 4. There is one `Durable` at most for each batch.
//! 5. A subscriber whose mailbox was full gets the final watermark, also when no batch follows.
//! 6. A subscriber that has unsubscribed gets no more events; one that subscribed twice gets each event once.
//! 7. A failed append is `NotDurable`, is told with its range, stays so when the watermark passes it, and
//!    gives its permit back; a late subscriber gets the range, too.
//! 8. Close makes durable what was accepted, answers everyone who waits, and may be repeated.
//! 9. Checkpoint takes what is durable and nothing else.
//! 10. An atomic group becomes durable as a whole.
//!
//! Here for the mock; `start` puts any other actor in its place, and `levers` say how its disk is made to
//! fail and to hold.
//!
//! ```
//! use std::sync::Arc;
//!
//! use actix::{Actor, Addr, Recipient};
//! use actix_wal::actors::Appender;
//! use actix_wal::messages::LogEvent;
//! use actix_wal::testkit::flusher_contract::{FlusherFactory, Levers, run_all};
//! use actix_wal::testkit::{MockLog, MockScript, MockStep};
//! use actix_wal::{FaultPolicy, LogParts, Lsn, Wal, WalConfig};
//!
//! struct Mocked;
//!
//! impl FlusherFactory for Mocked {
//!     fn config(&self) -> WalConfig {
//!         let mut config = WalConfig::new("unused");
//!         config.fault_policy = FaultPolicy::FailFast;
//!         config
//!     }
//!
//!     async fn start(
//!         &self,
//!         config: &WalConfig,
//!         parts: LogParts,
//!         appender: &Addr<Appender>,
//!         events: Recipient<LogEvent>,
//!     ) -> (Wal, Levers) {
//!         let script = MockScript::acknowledge();
//!         let (flusher, mock) = MockLog::flusher(&parts, config, script, events);
//!         let wal = Wal::compose(config, &parts, Default::default(), appender, &flusher.start());
//!         let (fail, hold, release) = (mock.clone(), mock.clone(), mock);
//!         let levers = Levers {
//!             fail_next: Box::new(move || fail.script_first(MockStep::fail())),
//!             hold: Box::new(move || hold.script_first(MockStep::Hold)),
//!             release: Box::new(move || release.release_through(Lsn::MAX)),
//!         };
//!         (wal, levers)
//!     }
//! }
//!
//! # actix::System::new().block_on(async {
//! let checks = run_all(&Mocked).await;
//! assert_eq!(checks.len(), 10);
//! # });
//! ```

mod listener;

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Recipient};
use tokio::sync::oneshot;

use listener::{Listener, Sleep, check_watermarks, events, failed, final_watermark, watermarks};

use crate::actors::Appender;
use crate::config::WalConfig;
use crate::engine::state::parts::LogParts;
use crate::error::{AppendError, CheckpointError, CommitError};
use crate::lsn::Lsn;
use crate::messages::{Append, LogEvent, WaitForLsn};
use crate::wal::Wal;

/// A whole check may take so many times as long as it waits for one thing that must happen.
const PATIENCE_OF_A_CHECK: u32 = 4;

/// How to start a kind of Flusher.
pub trait FlusherFactory {
    /// The settings of the logs. A failed append must be answered, not written again.
    fn config(&self) -> WalConfig;

    /// Starts one for an empty log, and composes the log of it. The Flusher sends its events to `events`, which passes
    /// them on to the Appender. It is asked for several, one after the other.
    fn start(
        &self,
        config: &WalConfig,
        parts: LogParts,
        appender: &Addr<Appender>,
        events: Recipient<LogEvent>,
    ) -> impl Future<Output = (Wal, Levers)>;

    /// How long a check waits for something that must happen. Never the measure of anything.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// What the suite does to the disk of a Flusher, or to what stands in for it.
pub struct Levers {
    /// The next batch fails, and is `NotDurable`.
    pub fail_next: Box<dyn Fn()>,
    /// From now on nothing that is appended becomes durable ...
    pub hold: Box<dyn Fn()>,
    /// ... until this is called.
    pub release: Box<dyn Fn()>,
}

impl fmt::Debug for Levers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levers").finish_non_exhaustive()
    }
}

/// A check that a Flusher does not pass.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The name of the check.
    pub check: &'static str,
    /// What was seen instead of what should be.
    pub seen: String,
}

/// Runs every check. Returns their names.
///
/// # Panics
/// The contract is broken: the message says which checks, and what was seen.
pub async fn run_all<F: FlusherFactory>(factory: &F) -> Vec<&'static str> {
    let (done, broken) = examine(factory, |_| true).await;
    let broken: Vec<_> = broken.iter().map(|one| format!("{}: {}", one.check, one.seen)).collect();
    assert!(broken.is_empty(), "the Flusher breaks its contract\n{}", broken.join("\n"));
    done
}

/// The same for the checks with these names alone, and without a panic: their names, and those of them that
/// are not passed. A check that does not come to an end is not passed.
pub async fn examine<F: FlusherFactory>(
    factory: &F,
    wanted: impl Fn(&str) -> bool,
) -> (Vec<&'static str>, Vec<Broken>) {
    let (mut done, mut broken) = (Vec::new(), Vec::new());
    macro_rules! run {
        ($check:ident, $checked:expr) => {
            let check = stringify!($check);
            if wanted(check) {
                done.push(check);
                if let Err(seen) = outcome($checked, factory.patience()).await {
                    broken.push(Broken { check, seen });
                }
            }
        };
        ($($check:ident,)*) => {
            $(run!($check, on_a_log(factory, $check));)*
        };
    }
    run!(says_ready_first, says_ready_first(factory));
    run!(
        raises_the_watermark_and_never_lowers_it,
        keeps_open_what_is_held_and_then_covers_it_in_order,
        tells_at_most_once_per_batch,
        tells_a_subscriber_that_was_slow_the_final_watermark,
        tells_nothing_to_who_has_unsubscribed,
        reports_what_failed_and_never_covers_it_up,
        answers_everyone_at_close,
        checkpoints_only_what_is_durable,
        makes_a_group_durable_as_a_whole,
    );
    (done, broken)
}

/// Runs a check on a fresh log, which must close cleanly after it.
async fn on_a_log<F: FlusherFactory>(factory: &F, check: impl AsyncFnOnce(&Subject)) {
    let subject = Subject::start_after(factory, |_, _| {}).await;
    check(&subject).await;
    subject.close().await;
}

/// How a check ends: well, in a panic, or not at all.
async fn outcome(check: impl Future<Output = ()>, patience: Duration) -> Result<(), String> {
    let mut check = pin!(check);
    // A check that has panicked is never polled again.
    let guarded = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(words(&*panic))),
        }
    });
    let limit = patience.saturating_mul(PATIENCE_OF_A_CHECK);
    let ended = tokio::time::timeout(limit, guarded).await;
    ended.unwrap_or_else(|_| Err(format!("it has not come to an end within {limit:?}")))
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// A log with a listener between Flusher and Appender.
struct Subject {
    wal: Wal,
    appender: Addr<Appender>,
    tap: Addr<Listener>,
    levers: Levers,
    patience: Duration,
}

impl Subject {
    /// Starts the log, after `first` has done something to its Appender.
    async fn start_after<F: FlusherFactory>(
        factory: &F,
        first: impl FnOnce(&Addr<Appender>, &LogParts),
    ) -> Subject {
        let config = factory.config();
        let parts = LogParts::new(&config);
        let appender = Appender::new(&parts, config.overload).start();
        let passes_on = Some((appender.clone().recipient(), Arc::clone(&parts.shared)));
        let tap = Listener { passes_on, ..Listener::default() }.start();
        first(&appender, &parts);
        let (wal, levers) = factory.start(&config, parts, &appender, tap.clone().recipient()).await;
        Subject { wal, appender, tap, levers, patience: factory.patience() }
    }

    async fn commit(&self, payload: &'static str) -> Lsn {
        done(self.wal.commit(payload).await, "a commit")
    }

    async fn append(&self, payload: &'static str) -> Lsn {
        done(self.wal.append(payload).await, "an append")
    }

    async fn close(&self) {
        done(self.wal.close().await, "a close");
    }

    async fn subscribe(&self, listener: &Addr<Listener>) {
        done(self.wal.subscribe(listener.clone().recipient()).await, "a subscription");
    }

    /// A listener that has subscribed.
    async fn subscriber(&self) -> Addr<Listener> {
        let listener = Listener::default().start();
        self.subscribe(&listener).await;
        listener
    }

    /// Waits until this is the last watermark that a listener has received.
    async fn wait_for_watermark(&self, listener: &Addr<Listener>, last: Lsn) {
        let what = format!("the watermark {last}");
        self.wait_for(listener, &what, |events| final_watermark(events) == last).await;
    }

    /// Waits until the events of a listener satisfy `enough`.
    async fn wait_for(
        &self,
        listener: &Addr<Listener>,
        what: &str,
        enough: impl Fn(&[LogEvent]) -> bool,
    ) {
        let began = Instant::now();
        loop {
            let received = events(listener).await;
            if enough(&received) {
                return;
            }
            assert!(
                began.elapsed() < self.patience,
                "{what} has not come; received so far: {received:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn says_ready_first<F: FlusherFactory>(factory: &F) {
    let mut early = None;
    let subject = Subject::start_after(factory, |appender, link| {
        let append = match Append::try_new(&link.shared.admission, "early") {
            Ok(append) => append,
            Err(refusal) => panic!("a fresh log has room: {refusal:?}"),
        };
        early = Some(appender.send(append));
    });
    let subject = subject.await;
    let Some(early) = early else { unreachable!("it has been sent") };
    let lsn = done(done(early.await, "an Append"), "an append before Ready");
    let events = events(&subject.tap).await;
    match events.first() {
        Some(LogEvent::Ready { next_lsn, .. }) => {
            assert_eq!(*next_lsn, lsn, "the first append gets the LSN that Ready names");
        }
        other => panic!("the first event is Ready, not {other:?}"),
    }
    subject.close().await;
}

async fn raises_the_watermark_and_never_lowers_it(subject: &Subject) {
    let mut last = Lsn::NONE;
    for round in 0..50 {
        let lsn = if round % 3 == 0 {
            subject.append("without waiting").await
        } else {
            let lsn = subject.commit("waited for").await;
            assert!(lsn <= subject.wal.durable_lsn(), "LSN {lsn} was acknowledged too early");
            lsn
        };
        assert_eq!(lsn, if last.is_none() { lsn } else { last.next() }, "LSNs are dense");
        last = lsn;
        assert!(subject.wal.durable_lsn() <= last, "durable is never ahead of accepted");
    }
    done(subject.wal.flush().await, "a flush");
    assert_eq!(subject.wal.durable_lsn(), last);
    subject.wait_for_watermark(&subject.tap, last).await;
    check_watermarks(&events(&subject.tap).await);
}

async fn keeps_open_what_is_held_and_then_covers_it_in_order(subject: &Subject) {
    let before = subject.commit("before").await;
    (subject.levers.hold)();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let lsn = subject.append("held").await;
        waiting.push((lsn, subject.appender.send(WaitForLsn(lsn))));
    }
    // The Flusher has had its chance: it answers this after whatever it would have said.
    let probe = subject.subscriber().await;
    // What does the work behind it has no such order, and gets a moment.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(subject.wal.durable_lsn(), before, "nothing that is held may become durable");
    assert_eq!(final_watermark(&events(&subject.tap).await), before);
    (subject.levers.release)();
    for (lsn, waiter) in waiting {
        done(done(waiter.await, "WaitForLsn"), "waiting for what was released");
        assert!(lsn <= subject.wal.durable_lsn());
    }
    let last = subject.wal.durable_lsn();
    subject.wait_for_watermark(&probe, last).await;
    check_watermarks(&events(&subject.tap).await);
    check_watermarks(&events(&probe).await);
}

async fn tells_at_most_once_per_batch(subject: &Subject) {
    let probe = subject.subscriber().await;
    (subject.levers.hold)();
    let mut last = Lsn::NONE;
    for _ in 0..100 {
        last = subject.append("one of many").await;
    }
    (subject.levers.release)();
    done(subject.wal.wait_for_lsn(last).await, "waiting for what was released");
    subject.wait_for_watermark(&probe, last).await;
    let batches = subject.wal.stats().batches as usize;
    for listener in [&probe, &subject.tap] {
        let told = watermarks(&events(listener).await).len();
        assert!(told <= batches, "{told} events were told for {batches} batches");
    }
    assert!(batches < 100, "a hundred appends that piled up are no hundred batches");
}

async fn tells_a_subscriber_that_was_slow_the_final_watermark(subject: &Subject) {
    let slow = Listener::default().start();
    let (wake, woken) = oneshot::channel();
    done(slow.send(Sleep(woken)).await, "falling asleep");
    subject.subscribe(&slow).await;
    let mut last = Lsn::NONE;
    for _ in 0..30 {
        last = subject.commit("while it sleeps").await;
    }
    // Its mailbox is full by far, and no batch follows.
    let _ = wake.send(());
    subject.wait_for_watermark(&slow, last).await;
    let told = events(&slow).await;
    check_watermarks(&told);
    assert!(watermarks(&told).len() < 30, "a full mailbox is told less, not everything later");
}

async fn tells_nothing_to_who_has_unsubscribed(subject: &Subject) {
    let (gone, stays) = (Listener::default().start(), Listener::default().start());
    for listener in [&gone, &stays, &stays] {
        subject.subscribe(listener).await;
    }
    let first = subject.commit("for both").await;
    subject.wait_for_watermark(&gone, first).await;
    let recipient = || gone.clone().recipient();
    assert!(done(subject.wal.unsubscribe(recipient()).await, "unsubscribing"));
    assert!(!done(subject.wal.unsubscribe(recipient()).await, "unsubscribing again"));
    let before = events(&gone).await.len();
    let last = subject.commit("for one").await;
    subject.wait_for_watermark(&stays, last).await;
    assert_eq!(events(&gone).await.len(), before, "it has unsubscribed");
    let told = watermarks(&events(&stays).await);
    let mut once = told.clone();
    once.dedup();
    assert_eq!(told, once, "subscribing twice is subscribing once");
}

async fn reports_what_failed_and_never_covers_it_up(subject: &Subject) {
    let probe = subject.subscriber().await;
    subject.commit("kept").await;
    (subject.levers.fail_next)();
    let lost = match subject.wal.commit("lost").await {
        Err(CommitError::NotDurable { lsn, .. }) => lsn,
        other => panic!("what failed is NotDurable, not {other:?}"),
    };
    let last = subject.commit("kept again").await;
    assert!(lost < last && last <= subject.wal.durable_lsn(), "the log goes on, above {lost}");
    for _ in 0..2 {
        match subject.wal.wait_for_lsn(lost).await {
            Err(CommitError::NotDurable { lsn, .. }) if lsn == lost => {}
            other => panic!("LSN {lost} stays NotDurable, and does not become {other:?}"),
        }
    }
    let told = |events: &[LogEvent]| failed(events).iter().any(|range| range.contains(lost));
    subject.wait_for(&probe, "the failed range", told).await;
    subject.wait_for(&subject.tap, "the failed range", told).await;
    let late = subject.subscriber().await;
    subject.wait_for(&late, "the failed range, for who comes late", told).await;
    let kept = failed(&events(&probe).await).iter().any(|range| range.contains(last));
    assert!(!kept, "what is durable has not failed");
    assert_eq!(subject.wal.status().entries_in_flight, 0, "every permit is given back");
    assert_eq!(subject.wal.stats().not_durable, 1);
}

async fn answers_everyone_at_close(subject: &Subject) {
    let probe = subject.subscriber().await;
    (subject.levers.hold)();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let lsn = subject.append("accepted before the close").await;
        waiting.push(subject.appender.send(WaitForLsn(lsn)));
    }
    let last = subject.wal.status().accepted;
    let close = {
        let wal = subject.wal.clone();
        actix::spawn(async move { wal.close().await })
    };
    let closing = |event: &LogEvent| matches!(event, LogEvent::Closing);
    subject.wait_for(&probe, "Closing", |events| events.iter().any(closing)).await;
    // The Flusher has had its chance to answer too early: it answers this later.
    let _ = subject.wal.subscribe(probe.clone().recipient()).await;
    tokio::task::yield_now().await;
    let is_early = close.is_finished() && subject.wal.durable_lsn() < last;
    assert!(!is_early, "a close is answered before what was accepted is durable");
    (subject.levers.release)();
    done(done(close.await, "the task that closes"), "a close");
    for waiter in waiting {
        done(done(waiter.await, "WaitForLsn"), "waiting for what a close made durable");
    }
    assert_eq!(subject.wal.durable_lsn(), last);
    done(subject.wal.close().await, "closing twice");
    match subject.wal.commit("too late").await {
        Err(CommitError::Refused(AppendError::Closed { .. })) => {}
        other => panic!("a closed log refuses appends, and does not answer {other:?}"),
    }
    done(subject.wal.wait_for_lsn(last).await, "waiting at a closed log");
    let never = subject.wal.wait_for_lsn(last.plus(100)).await;
    assert!(never.is_err(), "a wait at a closed log ends");
    let ended = |events: &[LogEvent]| matches!(events.last(), Some(LogEvent::Closed { .. }));
    subject.wait_for(&probe, "Closed as the last event", ended).await;
    assert_eq!(final_watermark(&events(&probe).await), last);
    let late = Listener::default().start();
    if subject.wal.subscribe(late.clone().recipient()).await.is_ok() {
        subject.wait_for(&late, "Closed, for who comes late", ended).await;
    }
}

async fn checkpoints_only_what_is_durable(subject: &Subject) {
    let lsn = subject.commit("durable").await;
    match subject.wal.checkpoint(lsn.plus(1)).await {
        Err(CheckpointError::NeverAssigned { next, .. }) => assert_eq!(next, lsn.next()),
        other => panic!("what was never assigned can not be released: {other:?}"),
    }
    let low_water = done(subject.wal.checkpoint(lsn).await, "a checkpoint");
    assert_eq!((low_water, subject.wal.status().low_water), (lsn, lsn));
    assert_eq!(done(subject.wal.checkpoint(lsn).await, "the same again"), lsn);
    subject.close().await;
    let after = subject.wal.checkpoint(lsn).await;
    assert!(matches!(after, Err(CheckpointError::Closed { .. })), "after a close: {after:?}");
}

async fn makes_a_group_durable_as_a_whole(subject: &Subject) {
    let group = done(subject.wal.append_all(["a", "b", "c"]).await, "a group");
    assert_eq!(group.count(), 3);
    done(subject.wal.wait_for_lsn(group.first).await, "its first record");
    assert!(subject.wal.durable_lsn() >= group.last, "one record of a group is never alone");
}

fn done<T, E: fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what} failed: {error:?}"))
}
