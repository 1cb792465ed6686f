//! Guards P6: a subscriber that has no room just when something is said that is not said again hears of it once it has
//! room, also when no batch follows, and when there is no Flusher left to try again.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, Arbiter, Context, Handler};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, MockLog, MockScript, SimDisk, errno,
};
use actix_wal::{FaultPolicy, LogEvent, LogState, Lsn, LsnRange, RestartBudget, Wal, WalConfig};
use test_support::logs::{SOON, until, within};
use test_support::settings::segments_of;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

fn config() -> WalConfig {
    segments_of(1 << 18)
}

async fn open(plan: &FaultPlan, config: WalConfig) -> Wal {
    let storage = FaultyStorage::mount(&SimDisk::new(), plan.clone()).expect("free");
    let open = Wal::open(config).on_storage(Arc::new(storage));
    within("open", open.into_future()).await.expect("opens")
}

/// What happens to the next syncs of the log, and not to those of a segment that is being prepared.
fn on_syncs(effect: FaultEffect) -> FaultRule {
    FaultRule::on(FaultOp::Sync, effect).file(|name| name.ends_with(".wal"))
}

/// In short, so that a test can say what is heard, and in which order.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    Durable(u64),
    Failed(Vec<LsnRange>),
    Stalled,
    GivenUp,
    Poisoned,
    Closing,
    Closed,
    SegmentComplete,
    Other,
}

impl From<&LogEvent> for Word {
    fn from(event: &LogEvent) -> Word {
        match event {
            LogEvent::Durable { through, failed, .. } if failed.is_empty() => {
                Word::Durable(through.get())
            }
            LogEvent::Durable { failed, .. } => Word::Failed(failed.clone()),
            LogEvent::Stalled { .. } => Word::Stalled,
            LogEvent::GivenUp { .. } => Word::GivenUp,
            LogEvent::Poisoned { .. } => Word::Poisoned,
            LogEvent::Closing => Word::Closing,
            LogEvent::Closed { .. } => Word::Closed,
            LogEvent::SegmentComplete { .. } => Word::SegmentComplete,
            _ => Word::Other,
        }
    }
}

/// A subscriber whose mailbox holds one event. It is at work on the one before for as long as the test likes.
struct Busy {
    at_work: UnboundedSender<()>,
    go_on: Receiver<()>,
    heard: Arc<Mutex<Vec<Word>>>,
    /// It stops when it has done its first work.
    leaves: bool,
}

impl Actor for Busy {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1);
    }
}

impl Handler<LogEvent> for Busy {
    type Result = ();

    fn handle(&mut self, event: LogEvent, context: &mut Self::Context) {
        let _ = self.at_work.send(());
        let _ = self.go_on.recv(); // An error: it may go on, now and always.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(Word::from(&event));
        if self.leaves {
            context.stop();
        }
    }
}

/// The test's hold on a [`Busy`] subscriber, which has an Arbiter of its own.
struct Hold {
    at_work: UnboundedReceiver<()>,
    go_on: Option<Sender<()>>,
    heard: Arc<Mutex<Vec<Word>>>,
    subscriber: Addr<Busy>,
    arbiter: Arbiter,
}

impl Hold {
    /// Subscribes one, and has it work on the watermark of a first commit. There is room for one more event.
    async fn on(wal: &Wal, leaves: bool) -> Hold {
        let ((at_work, is_at_work), (go_on, may_go_on)) = (unbounded_channel(), channel());
        let (arbiter, heard) = (Arbiter::new(), Arc::default());
        let busy = Busy { at_work, go_on: may_go_on, heard: Arc::clone(&heard), leaves };
        let busy = Busy::start_in_arbiter(&arbiter.handle(), |_| busy);
        within("subscribe", wal.subscribe(busy.clone().recipient())).await.expect("runs");
        within("commit", wal.commit("it works on this")).await.expect("durable");
        let mut hold =
            Hold { at_work: is_at_work, go_on: Some(go_on), heard, subscriber: busy, arbiter };
        within("the first event", hold.at_work.recv()).await.expect("alive");
        hold
    }

    /// The same, with an event in its mailbox, and so without room.
    async fn full(wal: &Wal) -> Hold {
        let hold = Hold::on(wal, false).await;
        within("commit", wal.commit("this is in its mailbox")).await.expect("durable");
        hold
    }

    fn heard(&self) -> Vec<Word> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn let_go(&mut self) {
        assert_eq!(self.heard(), [], "it was at work");
        self.go_on = None;
    }

    /// It receives the last watermark, which was put off, and then the end.
    async fn hears_the_end(&mut self, last: Lsn) {
        self.let_go();
        let last = Word::Durable(last.get());
        self.hears(&[Word::Durable(1), Word::Durable(2), last, Word::Closed]).await;
    }

    async fn hears(&self, words: &[Word]) {
        let began = Instant::now();
        while self.heard() != words {
            assert!(began.elapsed() < SOON, "{words:?} never comes: {:?}", self.heard());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.go_on = None;
        self.arbiter.stop();
    }
}

#[actix::test]
async fn p6_without_room_when_a_poisoned_log_is_closed_the_end_is_heard_after_it_was_poisoned() {
    let (mut config, plan) = (config(), FaultPlan::new());
    config.restart_budget = RestartBudget { restarts: 0, ..RestartBudget::default() };
    let wal = open(&plan, config).await;
    let mut busy = Hold::on(&wal, false).await;
    plan.add(on_syncs(FaultEffect::Fail(errno::EIO)));
    within("commit", wal.commit("nobody knows")).await.expect_err("the disk is broken");
    // That it is poisoned is in the mailbox, so there is no room for more.
    within("close", wal.close()).await.expect_err("not cleanly");
    busy.let_go();
    busy.hears(&[Word::Durable(1), Word::Poisoned, Word::Closed]).await;
}

#[actix::test]
async fn p6_without_room_when_the_log_is_poisoned_and_closed_the_last_watermark_comes_before_the_end()
 {
    let (mut config, plan) = (config(), FaultPlan::new());
    config.restart_budget = RestartBudget { restarts: 0, ..RestartBudget::default() };
    let wal = open(&plan, config).await;
    let mut busy = Hold::full(&wal).await;
    let last = within("commit", wal.commit("put off")).await.expect("durable");
    plan.add(on_syncs(FaultEffect::Fail(errno::EIO)));
    within("commit", wal.commit("nobody knows")).await.expect_err("the disk is broken");
    within("close", wal.close()).await.expect_err("not cleanly");
    // Of the states the newest.
    busy.hears_the_end(last).await;
}

#[actix::test]
async fn p6_without_room_when_the_log_is_to_close_that_is_heard_before_the_disk_answers() {
    let plan = FaultPlan::new();
    let wal = open(&plan, config()).await;
    let mut busy = Hold::full(&wal).await;
    plan.add(on_syncs(FaultEffect::Stuck).times(1));
    let stuck = within("append", wal.append("stuck")).await.expect("accepted");
    assert!(plan.wait_until_stuck(SOON), "the disk does not answer");
    // What the flush thread had to say before has been read when this is answered.
    let seen = within("checkpoint", wal.checkpoint(Lsn::NONE)).await;
    seen.expect("nothing is asked for");
    let closing = actix::spawn({
        let wal = wal.clone();
        async move { wal.close().await }
    });
    until("the close", || matches!(wal.status().state, LogState::Closing)).await;
    busy.let_go();
    let mut words = vec![Word::Durable(1), Word::Durable(2), Word::Closing];
    busy.hears(&words).await;
    plan.release();
    within("close", closing).await.expect("no panic").expect("clean");
    words.extend([Word::Durable(stuck.get()), Word::Closed]);
    busy.hears(&words).await;
}

/// A log whose disk does not answer, the clock, the subscriber, and the LSN that is stuck.
async fn stuck(plan: &FaultPlan, give_up_after: Duration) -> (Wal, Hold, Lsn) {
    let mut config = config();
    config.slow_sync = Duration::from_millis(10);
    config.stalled_after = Duration::from_millis(20);
    config.give_up_after = give_up_after;
    let wal = open(plan, config).await;
    let busy = Hold::full(&wal).await;
    plan.add(on_syncs(FaultEffect::Stuck).times(1));
    let stuck = within("append", wal.append("stuck")).await.expect("accepted");
    assert!(plan.wait_until_stuck(SOON), "the disk does not answer");
    (wal, busy, stuck)
}

#[actix::test]
async fn p6_without_room_when_a_sync_is_stuck_that_is_heard_before_the_disk_answers() {
    let plan = FaultPlan::new();
    let (wal, mut busy, stuck) = stuck(&plan, 2 * SOON).await;
    until("a stuck sync", || wal.status().stalled).await;
    busy.let_go();
    let mut words = vec![Word::Durable(1), Word::Durable(2), Word::Stalled];
    busy.hears(&words).await;
    plan.release();
    within("wait", wal.wait_for_lsn(stuck)).await.expect("durable after all");
    words.push(Word::Durable(stuck.get()));
    busy.hears(&words).await;
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn p6_without_room_when_nobody_should_wait_on_that_is_heard_before_the_disk_answers() {
    let plan = FaultPlan::new();
    let (wal, mut busy, stuck) = stuck(&plan, Duration::from_millis(20)).await;
    within("wait", wal.wait_for_lsn(stuck)).await.expect_err("given up");
    busy.let_go();
    // Of the states the newest: that the sync is stuck was said before.
    busy.hears(&[Word::Durable(1), Word::Durable(2), Word::GivenUp]).await;
    plan.release();
    within("close", wal.close()).await.expect("clean");
}

/// A log in an Arbiter that the test ends.
async fn open_elsewhere() -> (Wal, Arbiter) {
    let arbiter = Arbiter::new();
    let storage = SimDisk::new().mount().expect("free");
    let open = Wal::open(config()).on_storage(storage).in_arbiter(arbiter.handle());
    (within("open", open.into_future()).await.expect("opens"), arbiter)
}

fn end(arbiter: Arbiter) {
    arbiter.stop();
    arbiter.join().expect("no panic");
}

#[actix::test]
async fn p6_without_room_when_the_flusher_is_dropped_the_last_watermark_and_the_end_are_heard() {
    let (wal, arbiter) = open_elsewhere().await;
    let mut busy = Hold::full(&wal).await;
    let last = within("commit", wal.commit("put off")).await.expect("durable");
    end(arbiter);
    assert!(matches!(wal.status().state, LogState::Closed(_)));
    busy.hears_the_end(last).await;
}

#[actix::test]
async fn p6_without_room_until_the_arbiter_of_a_closed_log_has_ended_the_end_is_heard_all_the_same()
{
    let (wal, arbiter) = open_elsewhere().await;
    let mut busy = Hold::full(&wal).await;
    let last = within("commit", wal.commit("put off")).await.expect("durable");
    within("close", wal.close()).await.expect("clean");
    end(arbiter);
    busy.hears_the_end(last).await;
}

#[actix::test]
async fn p6_without_room_when_a_mocked_flusher_dies_the_last_watermark_and_the_end_are_heard() {
    let (wal, mock) = MockLog::start(MockScript::acknowledge());
    let mut busy = Hold::full(&wal).await;
    let last = within("commit", wal.commit("put off")).await.expect("durable");
    mock.kill().await;
    busy.hears_the_end(last).await;
}

#[actix::test]
async fn a_subscriber_whose_mailbox_was_full_still_gets_the_final_watermark() {
    let wal = open(&FaultPlan::new(), config()).await;
    let mut busy = Hold::full(&wal).await;
    let last = within("commit", wal.commit("put off")).await.expect("durable");
    busy.let_go(); // No batch follows.
    busy.hears(&[Word::Durable(1), Word::Durable(2), Word::Durable(last.get())]).await;

    busy.arbiter.stop();
    until("it has stopped", || !busy.subscriber.connected()).await;
    within("commit", wal.commit("nobody hears")).await.expect("durable");
    let gone = busy.subscriber.clone().recipient();
    let forgotten = within("unsubscribe", wal.unsubscribe(gone)).await.expect("runs");
    assert!(!forgotten, "one that has stopped is forgotten");
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn a_subscriber_without_room_keeps_nobody_waiting_and_is_forgotten_when_it_has_gone() {
    let plan = FaultPlan::new();
    let wal = open(&plan, config()).await;
    let busy = Hold::on(&wal, true).await;
    let mut brisk = Hold::on(&wal, false).await;
    brisk.go_on = None;
    // The watermark at which it subscribed, and the one of its commit.
    brisk.hears(&[Word::Durable(1), Word::Durable(2)]).await;
    within("close", wal.close()).await.expect("clean");
    // The first has still not got through its first event, and has no room.
    brisk.hears(&[Word::Durable(1), Word::Durable(2), Word::Closing, Word::Closed]).await;
    assert_eq!(busy.heard(), []);
    // A Flusher that has told everybody who is still there ends with the last handle.
    let flusher = wal.recipients().close.downgrade();
    drop(wal);
    let mut busy = busy;
    busy.let_go();
    until("the end of the Flusher", || flusher.upgrade().is_none()).await;
    assert_eq!(busy.heard(), [Word::Durable(1)], "it left");
}

#[actix::test]
async fn p16_who_has_no_room_and_subscribes_again_and_again_is_told_once_what_has_failed() {
    let (mut config, plan) = (config(), FaultPlan::new());
    config.fault_policy = FaultPolicy::FailFast;
    let wal = open(&plan, config).await;
    let mut busy = Hold::full(&wal).await;
    plan.add(on_syncs(FaultEffect::Fail(errno::EIO)).times(1));
    within("commit", wal.commit("fails")).await.expect_err("the disk is broken");
    until("the next epoch", || matches!(wal.status().state, LogState::Running)).await;
    for _ in 0..3 {
        let again = busy.subscriber.clone().recipient();
        within("subscribe", wal.subscribe(again)).await.expect("runs");
    }
    busy.let_go();
    let failed = LsnRange::new(Lsn::new(3), Lsn::new(3)).into_iter().collect();
    let before = [Word::Durable(1), Word::Durable(2), Word::Failed(failed)];
    // The segment that failed ends there, and the log goes on.
    busy.hears(&[&before[..], &[Word::SegmentComplete, Word::Other]].concat()).await;
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn who_has_no_room_and_subscribes_again_misses_no_segment_that_was_complete_before() {
    let (mut config, plan) = (config(), FaultPlan::new());
    (config.block_size, config.segment_size) = (512, 6 * 512);
    let wal = open(&plan, config).await;
    let mut busy = Hold::on(&wal, false).await;
    let (rotations, mut last) = (wal.stats().rotations, Lsn::NONE);
    while wal.stats().rotations < rotations + 3 {
        last = within("commit", wal.commit(vec![0; 500])).await.expect("durable");
    }
    let again = busy.subscriber.clone().recipient();
    assert_eq!(within("subscribe", wal.subscribe(again)).await.expect("runs"), last);
    busy.let_go();
    let segments =
        |words: &[Word]| words.iter().filter(|word| **word == Word::SegmentComplete).count();
    until("the last segment", || segments(&busy.heard()) == 3).await;
    assert!(busy.heard().contains(&Word::Durable(last.get())), "{:?}", busy.heard());
    within("close", wal.close()).await.expect("clean");
}
