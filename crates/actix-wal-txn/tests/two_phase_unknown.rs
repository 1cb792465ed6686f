//! Guards P24 and P25 in a participant whose log does not know yet what has become of its records, with a mocked Flusher.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use actix_wal::testkit::{MockLog, MockStep};
use actix_wal::{Cause, LogEvent, LogId, Lsn};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{Execute, GetUsage};
use actix_wal_txn::recovery::Recovered;
use actix_wal_txn::store::{Limits, Write};
use actix_wal_txn::two_phase::messages::{
    Operation, Order, Outgoing, ToCoordinator, ToParticipant, Word, Work, WorkKind,
};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{GetInDoubt, GetLife, TwoPhase};
use actix_wal_txn::two_phase::{Branch, GlobalId};

/// Keeps what the participant says.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Word>>>);

impl Actor for Inbox {
    type Context = Context<Self>;
}

impl Handler<Outgoing<ToCoordinator>> for Inbox {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToCoordinator>, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(sent.message.word);
    }
}

impl Inbox {
    async fn until(&self, word: &Word) {
        while !self.0.lock().unwrap().contains(word) {
            actix::clock::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn write(value: &'static str) -> Write {
    Write { key: "x".into(), value: Some(value.into()) }
}

async fn settled(participant: &Addr<TransactionCoordinator>) {
    loop {
        let on_the_way = participant.send(GetUsage).await.unwrap().on_the_way;
        let in_doubt = participant.send(GetInDoubt).await.unwrap().in_doubt.len();
        if (on_the_way, in_doubt) == (0, 0) {
            return;
        }
        actix::clock::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn p24_p25_a_completion_of_which_nobody_knows_yet_is_not_done_again_over_what_came_after_it()
{
    // The prepare is durable; what comes next waits for the test.
    let (wal, mock) = MockLog::start([MockStep::Acknowledge, MockStep::Hold]);
    let inbox = Inbox::default();
    let limits = ParticipantLimits::default();
    let two_phase = TwoPhase { limits, transport: inbox.clone().start().recipient() };
    let (empty, bounds) = (Recovered::empty(Limits::default()), CoordinatorLimits::default());
    let participant =
        TransactionCoordinator::start_participant(&wal, empty, bounds, two_phase).await.unwrap();

    let from = LogId([1; 16]);
    let branch = Branch {
        id: GlobalId { log: from, epoch: 1, number: 1 },
        coordinator: "coordinator".into(),
        participant: "participant".into(),
    };
    let order = |order| ToParticipant { from, branch: branch.clone(), order };
    let life = participant.send(GetLife).await.unwrap().unwrap();
    let kind = WorkKind::Whole(vec![Operation::Write(write("1"))]);
    participant.send(order(Order::Prepare(Work { life, kind }))).await.unwrap();
    inbox.until(&Word::Prepared).await;
    participant.send(order(Order::Commit)).await.unwrap();
    // It comes after the completion, whose key is free again.
    let after = Execute::new(|latest| Ok(latest.write(write("2"))?));
    let after = actix::spawn(participant.send(after));
    while mock.received().await.len() < 3 {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
    mock.act(MockStep::Tell(LogEvent::GivenUp { cause: Cause::Stalled { seconds: 30 } })).await;
    let unknown = after.await.unwrap().unwrap().unwrap_err();
    assert!(matches!(unknown, TxnError::Unknown(_)), "{unknown}");
    // Its coordinator has no answer, and says it again.
    participant.send(order(Order::Commit)).await.unwrap();
    mock.acknowledge_through(Lsn::new(3)).await;

    settled(&participant).await;
    inbox.until(&Word::Acknowledged).await;
    let read = Execute::new(|latest| Ok(latest.get(b"x")?));
    assert_eq!(participant.send(read).await.unwrap().unwrap().value, Some("2".into()));
}
