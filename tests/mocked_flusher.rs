//! Guards P6. Shows how a user tests an actor of their own at message level, without a disk: a bank teller
//! that answers its clients when the watermark passes the LSN of their deposit, against a mocked Flusher.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture,
    WrapFuture,
};
use actix_wal::error::Cause;
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{
    AppendError, CheckpointError, CommitError, Durability, InFlight, LogState, Lsn, Outcome,
    OverloadPolicy, ReadError, Settled, Wal, WalConfig,
};
use tokio::sync::oneshot;

/// What a client of the teller hears about its deposit.
#[derive(Clone, Debug, PartialEq)]
enum Receipt {
    /// It is on disk.
    Safe(Lsn),
    /// It is certainly not on disk; deposit it again.
    Lost,
    /// Nobody knows until the log is opened again.
    Unclear,
    /// The teller does not take deposits at the moment.
    ComeBack,
}

/// A client deposits something.
struct Deposit(&'static str);

impl Message for Deposit {
    type Result = Receipt;
}

/// How is business?
struct Mood;

impl Message for Mood {
    type Result = String;
}

/// The actor under test: appends, and answers by what the log says later.
struct Teller {
    wal: Wal,
    log: InFlight<oneshot::Sender<Receipt>>,
    mood: String,
}

impl Teller {
    fn start(wal: &Wal) -> Addr<Teller> {
        Teller::create(|context| {
            let log = InFlight::new(wal.outbox(context.address().recipient()));
            Teller { wal: wal.clone(), log, mood: "open".into() }
        })
    }
}

fn answer(settled: Settled<'_, oneshot::Sender<Receipt>>) {
    for (client, outcome) in settled {
        let _ = client.send(receipt(outcome));
    }
}

fn receipt(outcome: Outcome) -> Receipt {
    match outcome {
        Ok(lsns) => Receipt::Safe(lsns.first),
        Err(CommitError::Refused(
            AppendError::Unavailable { .. } | AppendError::Overloaded { .. },
        )) => Receipt::ComeBack,
        Err(error) if error.is_not_durable() => Receipt::Lost,
        Err(_) => Receipt::Unclear,
    }
}

impl Actor for Teller {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (wal, me) = (self.wal.clone(), context.address().recipient());
        let subscribe = async move { wal.subscribe(me).await };
        context.wait(subscribe.into_actor(self).map(|_, _, _| ()));
    }
}

impl Handler<Deposit> for Teller {
    type Result = ResponseFuture<Receipt>;

    fn handle(&mut self, Deposit(what): Deposit, _: &mut Self::Context) -> Self::Result {
        let (client, answer) = oneshot::channel();
        if let Err((client, refused)) = self.log.append(what, client) {
            let _ = client.send(receipt(Err(refused.into())));
        }
        Box::pin(async move { answer.await.unwrap_or(Receipt::Unclear) })
    }
}

impl Handler<Accepted> for Teller {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        answer(self.log.accepted(accepted));
    }
}

impl Handler<LogEvent> for Teller {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        answer(self.log.event(&event));
        self.mood = match event {
            LogEvent::Ready { epoch, .. } => format!("open, epoch {epoch}"),
            LogEvent::Unavailable { .. } => "back in a moment".into(),
            LogEvent::Stalled { .. } => "the disk does not answer".into(),
            LogEvent::Poisoned { .. } => "out of order".into(),
            LogEvent::Closed { .. } => "closed".into(),
            _ => return,
        };
    }
}

impl Handler<Mood> for Teller {
    type Result = String;

    fn handle(&mut self, _: Mood, _: &mut Self::Context) -> String {
        self.mood.clone()
    }
}

fn teller(script: impl Into<MockScript>) -> (Addr<Teller>, Wal, MockHandle) {
    let (wal, mock) = MockLog::start(script);
    (Teller::start(&wal), wal, mock)
}

async fn deposit(teller: &Addr<Teller>, what: &'static str) -> Receipt {
    teller.send(Deposit(what)).await.expect("alive")
}

async fn mood(teller: &Addr<Teller>) -> String {
    teller.send(Mood).await.expect("alive")
}

/// Deposits that are on their way: started now, awaited later.
fn deposits(
    teller: &Addr<Teller>,
    whats: &[&'static str],
) -> Vec<actix::prelude::Request<Teller, Deposit>> {
    whats.iter().map(|what| teller.send(Deposit(what))).collect()
}

async fn receipts(deposits: Vec<actix::prelude::Request<Teller, Deposit>>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for deposit in deposits {
        receipts.push(deposit.await.expect("alive"));
    }
    receipts
}

/// Waits until the mock has received this many appends.
async fn received(mock: &MockHandle, count: usize) {
    while mock.received().await.len() < count {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn an_acknowledged_deposit_is_safe_and_its_bytes_are_those_of_the_client() {
    let (teller, _wal, mock) = teller(MockScript::acknowledge());
    assert_eq!(deposit(&teller, "ten").await, Receipt::Safe(Lsn::new(1)));
    assert_eq!(deposit(&teller, "twenty").await, Receipt::Safe(Lsn::new(2)));
    let payloads: Vec<_> = mock.received().await.into_iter().map(|record| record.payload).collect();
    assert_eq!(payloads, ["ten", "twenty"]);
    assert_eq!(mock.entries().await[0].durability, Durability::GroupCommit);
}

#[actix::test]
async fn nobody_hears_anything_before_the_watermark_has_passed() {
    let (teller, wal, mock) = teller(MockScript::manual());
    let waiting = deposits(&teller, &["a", "b", "c"]);
    received(&mock, 3).await;
    assert_eq!(wal.durable_lsn(), Lsn::NONE);
    assert_eq!(mock.acknowledge_through(Lsn::new(2)).await, Lsn::new(2));
    let mut waiting = waiting.into_iter();
    let two: Vec<_> = waiting.by_ref().take(2).collect();
    let safe = |lsn| Receipt::Safe(Lsn::new(lsn));
    assert_eq!(receipts(two).await, [safe(1), safe(2)]);
    let third = actix::spawn(receipts(waiting.collect()));
    // The teller has handled the watermark, and the third client has no answer.
    mood(&teller).await;
    assert!(!third.is_finished());
    mock.act(MockStep::Acknowledge).await;
    assert_eq!(third.await.expect("no panic"), [safe(3)]);
}

#[actix::test]
async fn a_delay_delays_and_holds_up_what_is_behind_it() {
    let (teller, _wal, mock) = teller([MockStep::Delay(Duration::from_millis(20))]);
    let waiting = deposits(&teller, &["slow", "behind it"]);
    let safe = |lsn| Receipt::Safe(Lsn::new(lsn));
    assert_eq!(receipts(waiting).await, [safe(1), safe(2)]);
    assert_eq!(mock.received().await.len(), 2);
}

#[actix::test]
async fn a_failed_deposit_is_lost_although_the_watermark_passes_it() {
    let (teller, wal, _mock) = teller([MockStep::Acknowledge, MockStep::fail()]);
    let waiting = deposits(&teller, &["kept", "lost", "kept too"]);
    let safe = |lsn| Receipt::Safe(Lsn::new(lsn));
    assert_eq!(receipts(waiting).await, [safe(1), Receipt::Lost, safe(3)]);
    assert_eq!(wal.durable_lsn(), Lsn::new(3));
    assert!(wal.wait_for_lsn(Lsn::new(2)).await.expect_err("lost").is_not_durable());
}

#[actix::test]
async fn a_log_that_falls_silent_is_unclear_when_it_is_closed_and_no_sooner() {
    let (teller, wal, mock) = teller([MockStep::Acknowledge, MockStep::GoSilent]);
    assert_eq!(deposit(&teller, "before").await, Receipt::Safe(Lsn::new(1)));
    let waiting = actix::spawn(receipts(deposits(&teller, &["a", "b"])));
    received(&mock, 3).await;
    mock.act(MockStep::Tell(LogEvent::Stalled { seconds: 10 })).await;
    assert_eq!(mood(&teller).await, "the disk does not answer");
    assert!(!waiting.is_finished(), "silence is no answer");
    let closed = wal.close().await.expect_err("not a clean close");
    let unresolved = closed.unresolved.map(|range| (range.first.get(), range.last.get()));
    assert_eq!(unresolved, Some((2, 3)));
    assert_eq!(waiting.await.expect("no panic"), [Receipt::Unclear, Receipt::Unclear]);
}

#[actix::test]
async fn clients_that_were_given_up_on_hear_that_it_is_unclear() {
    let (teller, _wal, mock) = teller([MockStep::GoSilent]);
    let waiting = deposits(&teller, &["a"]);
    received(&mock, 1).await;
    let cause = Cause::Stalled { seconds: 40 };
    mock.act(MockStep::Tell(LogEvent::GivenUp { cause })).await;
    assert_eq!(receipts(waiting).await, [Receipt::Unclear]);
}

#[actix::test]
async fn a_restart_costs_the_clients_nothing_and_the_teller_hears_of_it() {
    let (teller, wal, _mock) = teller([MockStep::Acknowledge, MockStep::restart()]);
    let waiting = deposits(&teller, &["a", "b", "c"]);
    let safe = |lsn| Receipt::Safe(Lsn::new(lsn));
    assert_eq!(receipts(waiting).await, [safe(1), safe(2), safe(3)]);
    assert_eq!(mood(&teller).await, "open, epoch 2");
    assert_eq!(wal.stats().restarts, 1);
}

#[actix::test]
async fn between_fault_and_restart_deposits_wait_or_are_sent_away_as_configured() {
    let mut config = WalConfig::new("mock");
    config.overload = OverloadPolicy::Refuse;
    let fault = MockStep::Restart(Cause::Closed, Duration::from_secs(3600));
    let (wal, mock) = MockLog::with_config(&config, [fault]);
    let teller = Teller::start(&wal);
    let waiting = deposits(&teller, &["in flight"]);
    received(&mock, 1).await;
    assert_eq!(mood(&teller).await, "back in a moment");
    assert!(matches!(wal.status().state, LogState::Unavailable(_)));
    assert_eq!(deposit(&teller, "now").await, Receipt::ComeBack);
    // A close does not wait for the end of the back-off.
    wal.close().await.expect("clean");
    assert_eq!(receipts(waiting).await, [Receipt::Safe(Lsn::new(1))]);
}

#[actix::test]
async fn a_poisoned_log_answers_everyone_and_takes_nothing_more() {
    let (teller, wal, mock) = teller(MockScript::manual());
    let waiting = deposits(&teller, &["in hand", "behind it"]);
    received(&mock, 2).await;
    mock.act(MockStep::poison()).await;
    assert!(matches!(wal.status().state, LogState::Poisoned(_)), "what was wished has happened");
    assert_eq!(receipts(waiting).await, [Receipt::Unclear, Receipt::Lost]);
    assert_eq!(mood(&teller).await, "out of order");
    assert_eq!(deposit(&teller, "too late").await, Receipt::Lost);
    assert!(matches!(wal.append("too late").await, Err(AppendError::Poisoned { .. })));
    wal.close().await.expect_err("a poisoned log does not close cleanly");
}

#[actix::test]
async fn a_close_makes_everything_safe_that_was_taken_and_the_teller_hears_of_it() {
    let (teller, wal, mock) = teller(MockScript::manual());
    let waiting = deposits(&teller, &["a", "b"]);
    received(&mock, 2).await;
    wal.close().await.expect("clean");
    let safe = |lsn| Receipt::Safe(Lsn::new(lsn));
    assert_eq!(receipts(waiting).await, [safe(1), safe(2)]);
    assert_eq!(mood(&teller).await, "closed");
    assert_eq!(deposit(&teller, "too late").await, Receipt::Lost);
}

#[actix::test]
async fn a_flusher_that_dies_leaves_nobody_waiting() {
    let (teller, wal, mock) = teller(MockScript::manual());
    let waiting = deposits(&teller, &["a", "b"]);
    received(&mock, 2).await;
    assert!(wal.outcome(Lsn::new(2)).is_none(), "it is open");
    tokio::join!(mock.kill(), mock.kill());
    let outcome = wal.outcome(Lsn::new(2)).expect("a log that has ended leaves nothing open");
    assert!(!outcome.expect_err("nobody acknowledged it").is_not_durable(), "nobody knows");
    assert!(wal.outcome(Lsn::new(3)).is_none(), "it was never assigned");
    assert_eq!(receipts(waiting).await, [Receipt::Unclear, Receipt::Unclear]);
    assert_eq!(mood(&teller).await, "closed");
    assert!(wal.append("too late").await.is_err());
    assert_eq!(mock.received().await.len(), 2, "it answers also when it is dead");
    wal.close().await.expect_err("there is nobody to close it");
}

#[actix::test]
async fn a_teller_that_comes_late_is_told_the_state_of_the_log() {
    let (wal, mock) = MockLog::start([MockStep::poison()]);
    wal.commit("poison").await.expect_err("poisoned");
    let teller = Teller::start(&wal);
    while mood(&teller).await != "out of order" {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(mock.received().await.len(), 1);
}

#[actix::test]
async fn without_a_disk_a_checkpoint_is_taken_and_a_read_is_refused_by_type() {
    let (wal, _mock) = MockLog::start(MockScript::acknowledge());
    let lsn = wal.commit("a").await.expect("durable");
    assert_eq!(wal.checkpoint(lsn).await.expect("durable"), lsn);
    let beyond = wal.checkpoint(lsn.next()).await;
    assert!(matches!(beyond, Err(CheckpointError::NeverAssigned { .. })), "{beyond:?}");
    match wal.read(lsn).await {
        Err(ReadError::Io(fault)) => {
            assert_eq!(fault.source.kind(), std::io::ErrorKind::Unsupported);
        }
        other => panic!("a mocked log has no disk: {other:?}"),
    }
}
