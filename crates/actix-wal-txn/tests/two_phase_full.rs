//! Guards P16 and P24 where others fill the log between the two phases: the record that ends a transaction has room in it,
//! kept since the first phase. With a mocked Flusher, which makes nothing durable by itself.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Recipient};
use actix_wal::messages::Accepted;
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{AppendError, LogId, Lsn, Outbox, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::messages::GetUsage;
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::recovery::Recovered;
use actix_wal_txn::store::{Limits, Write};
use actix_wal_txn::two_phase::coordinator_actor::{
    self, AcrossError, CommitAcross, TwoPhaseCoordinator,
};
use actix_wal_txn::two_phase::decider::{BeginError, DeciderLimits, Member};
use actix_wal_txn::two_phase::messages::{
    Operation, Order, Outgoing, ToCoordinator, ToParticipant, Word, Work, WorkKind,
};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{DecideByHand, GetLife, TwoPhase};
use actix_wal_txn::two_phase::{BackOff, Branch, GlobalId, Life, Outcome};

/// Nothing is tried again while a test runs.
const NEVER: BackOff =
    BackOff { first: Duration::from_secs(3600), most: Duration::from_secs(3600) };

/// Room for so many records in flight.
const ROOM: usize = 6;

fn small() -> WalConfig {
    let mut config = WalConfig::new("unused");
    config.max_in_flight_entries = ROOM;
    config
}

/// Keeps what an actor says.
struct Inbox<M>(Arc<Mutex<Vec<M>>>);

impl<M: 'static> Actor for Inbox<M> {
    type Context = Context<Self>;
}

impl<M: Send + 'static> Handler<Outgoing<M>> for Inbox<M> {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<M>, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(sent.message);
    }
}

type Said<M> = Arc<Mutex<Vec<M>>>;

fn inbox<M: Send + 'static>() -> (Recipient<Outgoing<M>>, Said<M>) {
    let said = Said::default();
    (Inbox(Arc::clone(&said)).start().recipient(), said)
}

/// Waits for what other actors have to do before it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            actix::clock::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

async fn until_in_log(mock: &MockHandle, is_it: impl Fn(&TxnRecord) -> bool) {
    let decoded = |lsn, payload: &[u8]| TxnRecord::decode(lsn, payload).ok();
    until(async || {
        let received = mock.received().await;
        received.iter().filter_map(|it| decoded(it.lsn, &it.payload)).any(|it| is_it(&it))
    })
    .await;
}

struct Others;

impl Actor for Others {
    type Context = Context<Self>;
}

impl Handler<Accepted> for Others {
    type Result = ();

    fn handle(&mut self, _: Accepted, _: &mut Context<Self>) {}
}

/// Others fill the log, whose disk does nothing. Returns how many records they had room for.
fn fill(wal: &Wal) -> (usize, Outbox) {
    let mut outbox = wal.outbox(Others.start().recipient());
    let record = TxnRecord::Commit { token: None, writes: Vec::new() }.encode().unwrap();
    for count in 0.. {
        match outbox.append(record.clone()) {
            Ok(_) => {}
            Err(AppendError::Overloaded { .. }) => return (count, outbox),
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("the log has bounds")
}

const FROM: LogId = LogId([1; 16]);

fn branch() -> Branch {
    let id = GlobalId { log: FROM, epoch: 1, number: 1 };
    Branch { id, coordinator: "coordinator".into(), participant: "participant".into() }
}

fn order(order: Order) -> ToParticipant {
    ToParticipant { from: FROM, branch: branch(), order }
}

fn work(life: Life) -> Work {
    let write = Write { key: "x".into(), value: Some("1".into()) };
    Work { life, kind: WorkKind::Whole(vec![Operation::Write(write)]) }
}

struct Participant {
    wal: Wal,
    mock: MockHandle,
    actor: Addr<TransactionCoordinator>,
    said: Said<ToCoordinator>,
}

impl Participant {
    async fn start() -> Self {
        let (wal, mock) = MockLog::with_config(&small(), MockScript::manual());
        let (transport, said) = inbox();
        let limits = ParticipantLimits { back_off: NEVER, ..ParticipantLimits::default() };
        let (empty, bounds) = (Recovered::empty(Limits::default()), CoordinatorLimits::default());
        let two_phase = TwoPhase { limits, transport };
        let actor = TransactionCoordinator::start_participant(&wal, empty, bounds, two_phase);
        let actor = actor.await.unwrap();
        Participant { wal, mock, actor, said }
    }

    async fn asks_to_prepare(&self) {
        let life = self.actor.send(GetLife).await.unwrap().unwrap();
        self.actor.send(order(Order::Prepare(work(life)))).await.unwrap();
    }

    /// One whose transaction is prepared, and whose log is full then.
    async fn prepared_and_full() -> Self {
        let this = Participant::start().await;
        this.asks_to_prepare().await;
        until_in_log(&this.mock, |record| matches!(record, TxnRecord::Prepare { .. })).await;
        this.mock.acknowledge_through(Lsn::FIRST).await;
        this.until_said(|word| *word == Word::Prepared).await;
        let (others, _) = fill(&this.wal);
        assert_eq!(others, ROOM - 1, "one record has room still");
        this
    }

    async fn until_said(&self, is_it: impl Fn(&Word) -> bool) {
        until(async || self.said.lock().unwrap().iter().any(|said| is_it(&said.word))).await;
    }
}

#[actix::test]
async fn p16_p24_what_the_coordinator_decides_has_room_in_a_log_that_others_have_filled() {
    for outcome in [Outcome::Committed, Outcome::Aborted] {
        let at = Participant::prepared_and_full().await;
        let decided = if outcome == Outcome::Committed { Order::Commit } else { Order::Abort };
        at.actor.send(order(decided)).await.unwrap();
        let id = branch().id;
        until_in_log(&at.mock, |record| *record == TxnRecord::Completed { id, outcome }).await;
    }
}

#[actix::test]
async fn p16_p24_what_an_operator_decides_has_room_in_a_log_that_others_have_filled() {
    let at = Participant::prepared_and_full().await;
    let (id, outcome) = (branch().id, Outcome::Aborted);
    let operator = actix::spawn(at.actor.send(DecideByHand { id, outcome }));
    until_in_log(&at.mock, |record| *record == TxnRecord::Heuristic { id, outcome }).await;
    at.mock.acknowledge_through(Lsn::new(7)).await;
    operator.await.unwrap().unwrap().unwrap();
    // Its room is used; the log has all of it again.
    assert_eq!(fill(&at.wal).0, ROOM);
}

#[actix::test]
async fn p16_p24_after_a_fault_what_is_still_to_be_completed_has_room_again() {
    let at = Participant::start().await;
    at.asks_to_prepare().await;
    until_in_log(&at.mock, |record| matches!(record, TxnRecord::Prepare { .. })).await;
    at.mock.acknowledge_through(Lsn::FIRST).await;
    at.until_said(|word| *word == Word::Prepared).await;
    at.actor.send(order(Order::Commit)).await.unwrap();
    until_in_log(&at.mock, |record| matches!(record, TxnRecord::Completed { .. })).await;
    let in_flight = || at.wal.admission().entries_in_flight();
    assert_eq!(in_flight(), 1, "the completion is in the room that was kept for it");
    at.mock.act(MockStep::fail()).await;
    until(async || at.actor.send(GetUsage).await.unwrap().on_the_way == 0).await;
    until(async || in_flight() == 1).await;
    assert_eq!(fill(&at.wal).0, ROOM - 1);
    at.actor.send(order(Order::Commit)).await.unwrap();
    until(async || at.mock.received().await.len() == 2 + ROOM).await;
}

#[actix::test]
async fn p16_p24_a_prepare_that_leaves_no_room_for_its_end_is_refused() {
    let at = Participant::start().await;
    // All but one record.
    let mut outbox = at.wal.outbox(Others.start().recipient());
    for _ in 1..ROOM {
        outbox.append("x").unwrap();
    }
    at.asks_to_prepare().await;
    at.until_said(|word| matches!(word, Word::Refused(_))).await;
    assert_eq!(fill(&at.wal).0, 1, "it has given back what it had");
    assert_eq!(at.mock.received().await.len(), ROOM, "and put nothing in");
}

#[actix::test]
async fn p16_p24_a_decision_has_room_in_a_log_that_others_have_filled_and_without_it_nothing_begins()
 {
    let (wal, mock) = MockLog::with_config(&small(), MockScript::manual());
    let limits = DeciderLimits { back_off: NEVER, ..DeciderLimits::default() };
    let recovered = coordinator_actor::RecoveredDecider::empty(&wal, "coordinator".into(), limits);
    let (transport, said) = inbox::<ToParticipant>();
    let coordinator = TwoPhaseCoordinator::start(&wal, recovered, transport).await.unwrap();
    let lives = [[2; 16], [3; 16]].map(|log| Life { log: LogId(log), epoch: 1 });
    let member = |(life, address): (Life, &'static str)| Member {
        address: address.into(),
        work: work(life),
    };
    let members: Vec<_> = lives.into_iter().zip(["a", "b"]).map(member).collect();
    let client = actix::spawn(coordinator.send(CommitAcross { members: members.clone() }));
    until(async || said.lock().unwrap().len() == 2).await;
    assert_eq!(fill(&wal).0, ROOM - 1);

    let refused = coordinator.send(CommitAcross { members }).await.unwrap().unwrap_err();
    assert!(matches!(refused, AcrossError::Begin(BeginError::NoRoom(_))), "{refused}");
    let asked = said.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "nothing is asked of anybody");

    for (ToParticipant { branch, .. }, life) in asked.into_iter().zip(lives) {
        let vote = ToCoordinator { from: life.log, branch, word: Word::Prepared };
        coordinator.send(vote).await.unwrap();
    }
    until_in_log(&mock, |record| matches!(record, TxnRecord::Decision { .. })).await;
    mock.acknowledge_through(Lsn::new(6)).await;
    client.await.unwrap().unwrap().unwrap();
}
