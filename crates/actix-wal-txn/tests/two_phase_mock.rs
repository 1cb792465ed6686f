//! Guards P24 and P25 in two-phase commit when records do not become durable, at the level of messages, with mocked
//! Flushers: a prepare, a decision and a completion that fail, and a decision of which nobody knows.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod two_phase_sites;

use actix::Addr;
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, LogEvent, Lsn, Wal};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::messages::{Execute, GetUsage};
use actix_wal_txn::recovery::Recovered;
use actix_wal_txn::store::{Limits, Write};
use actix_wal_txn::two_phase::coordinator_actor::{
    AcrossError, CommitAcross, Decisions, GetDecisions, RecoveredDecider, TwoPhaseCoordinator,
};
use actix_wal_txn::two_phase::decider::{DeciderLimits, Member};
use actix_wal_txn::two_phase::messages::{Operation, Work, WorkKind};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{Doubts, GetInDoubt, GetLife, TwoPhase};
use bytes::Bytes;
use tokio::task::JoinHandle;
use two_phase_sites::transport::{Said, Transport, address};
use two_phase_sites::{BACK_OFF, COORDINATOR, until_nothing_is_left};

/// A coordinator and two participants, with logs that do what the test says.
struct World {
    transport: Transport,
    participants: Vec<(Wal, MockHandle, Addr<TransactionCoordinator>)>,
    coordinator: (Wal, MockHandle, Addr<TwoPhaseCoordinator>),
}

impl World {
    /// The scripts are those of both participants and of the coordinator.
    async fn start(scripts: [MockScript; 3]) -> World {
        let transport = Transport::default();
        let [first, second, of_coordinator] = scripts;
        let mut participants = Vec::new();
        for (side, script) in [first, second].into_iter().enumerate() {
            let (wal, mock) = MockLog::start(script);
            let limits = ParticipantLimits { back_off: BACK_OFF, ..ParticipantLimits::default() };
            let two_phase = TwoPhase { limits, transport: transport.recipient() };
            let (empty, bounds) =
                (Recovered::empty(Limits::default()), CoordinatorLimits::default());
            let started =
                TransactionCoordinator::start_participant(&wal, empty, bounds, two_phase).await;
            let started = started.unwrap();
            transport.routes().participants[side] = Some(started.clone());
            participants.push((wal, mock, started));
        }
        let coordinator = coordinator(&transport, of_coordinator).await;
        transport.routes().coordinator = Some(coordinator.2.clone());
        World { transport, participants, coordinator }
    }

    /// Sets a key at both.
    async fn commit(&self) -> JoinHandle<Result<(), AcrossError>> {
        let mut members = Vec::new();
        for (side, (_, _, participant)) in self.participants.iter().enumerate() {
            let life = participant.send(GetLife).await.unwrap().unwrap();
            let kind = WorkKind::Whole(vec![Operation::Write(write("1"))]);
            members.push(Member { address: address(side), work: Work { life, kind } });
        }
        let coordinator = self.coordinator.2.clone();
        actix::spawn(async move { coordinator.send(CommitAcross { members }).await.unwrap() })
    }

    fn says(&self, said: Said) -> usize {
        self.transport.routes().said.iter().filter(|it| **it == said).count()
    }

    /// Both participants ask again and again, and have no answer.
    async fn until_asked_in_vain(&self) {
        until_nothing_is_left("asked", async || {
            assert_eq!((self.says(Said::Commit), self.says(Said::Abort)), (0, 0));
            let asked = self.says(Said::InDoubt);
            (asked < 4).then(|| format!("asked {asked} times"))
        })
        .await;
    }

    async fn decisions(&self) -> Decisions {
        self.coordinator.2.send(GetDecisions).await.unwrap()
    }

    /// What is left of it anywhere.
    async fn left(&self) -> Option<String> {
        let decisions = self.decisions().await;
        if decisions != Decisions::default() {
            return Some(format!("{decisions:?}"));
        }
        for (_, _, participant) in &self.participants {
            let usage = participant.send(GetUsage).await.unwrap();
            let doubts = participant.send(GetInDoubt).await.unwrap();
            if usage.on_the_way > 0 || doubts != Doubts::default() {
                return Some(format!("{usage:?}, {doubts:?}"));
            }
        }
        None
    }

    async fn settle(&self) {
        until_nothing_is_left("settled", async || self.left().await).await;
        let holds = self.coordinator.0.holds();
        assert!(holds.is_empty(), "{holds:?}");
    }

    async fn values(&self) -> Vec<Option<Bytes>> {
        let mut values = Vec::new();
        for (_, _, participant) in &self.participants {
            let read = Execute::new(|latest| Ok(latest.get(b"x")?));
            values.push(participant.send(read).await.unwrap().unwrap().value);
        }
        values
    }

    /// The keys are free: others write them.
    async fn write_at_all(&self) {
        for (_, _, participant) in &self.participants {
            let execute = Execute::new(|latest| Ok(latest.write(write("2"))?));
            participant.send(execute).await.unwrap().unwrap();
        }
    }
}

async fn coordinator(
    transport: &Transport,
    script: MockScript,
) -> (Wal, MockHandle, Addr<TwoPhaseCoordinator>) {
    let limits = DeciderLimits { back_off: BACK_OFF, ..DeciderLimits::default() };
    let (wal, mock) = MockLog::start(script);
    let empty = RecoveredDecider::empty(&wal, address(COORDINATOR), limits);
    let started = TwoPhaseCoordinator::start(&wal, empty, transport.recipient()).await.unwrap();
    (wal, mock, started)
}

async fn until_appended(log: &MockHandle, records: usize) {
    until_nothing_is_left("appended", async || {
        let appended = log.received().await.len();
        (appended < records).then(|| format!("{appended} of {records} records"))
    })
    .await;
}

fn write(value: &'static str) -> Write {
    Write { key: "x".into(), value: Some(value.into()) }
}

fn all_well() -> MockScript {
    MockScript::acknowledge()
}

fn first(step: MockStep) -> MockScript {
    MockScript::new([step])
}

#[actix::test]
async fn p24_a_prepare_that_is_not_durable_aborts_everywhere_and_leaves_the_keys_free() {
    let world = World::start([all_well(), first(MockStep::fail()), all_well()]).await;
    let aborted = world.commit().await.await.unwrap().unwrap_err();
    assert!(matches!(aborted, AcrossError::Aborted { .. }), "{aborted}");
    assert!(aborted.to_string().contains("participant at 1 refuses"), "{aborted}");
    world.settle().await;
    assert_eq!(world.says(Said::Commit), 0);
    assert!(world.coordinator.1.received().await.is_empty(), "an abort writes nothing there");
    assert_eq!(world.values().await, [None, None]);
    world.write_at_all().await;
}

#[actix::test]
async fn p24_a_decision_that_is_not_durable_is_aborted_everywhere() {
    let world = World::start([all_well(), all_well(), first(MockStep::fail())]).await;
    let aborted = world.commit().await.await.unwrap().unwrap_err();
    assert!(matches!(aborted, AcrossError::Aborted { .. }), "{aborted}");
    world.settle().await;
    assert_eq!((world.says(Said::Commit), world.says(Said::Prepared)), (0, 2));
    assert_eq!(world.coordinator.1.received().await.len(), 1);
    assert_eq!(world.values().await, [None, None]);
    world.write_at_all().await;
}

#[actix::test]
async fn p24_p25_nothing_is_told_of_a_commit_before_its_decision_is_durable() {
    let world = World::start([all_well(), all_well(), first(MockStep::Hold)]).await;
    let client = world.commit().await;
    until_appended(&world.coordinator.1, 1).await;
    world.until_asked_in_vain().await;
    assert_eq!(world.decisions().await.rounds, 1);
    assert!(!client.is_finished());
    assert_eq!(world.coordinator.0.holds().len(), 1);
    world.coordinator.1.acknowledge_through(Lsn::new(1)).await;
    client.await.unwrap().unwrap();
    world.settle().await;
    assert_eq!(world.values().await, [Some("1".into()), Some("1".into())]);
}

#[actix::test]
async fn p24_p25_a_decision_of_which_nobody_knows_is_neither_committed_nor_aborted_until_the_log_knows()
 {
    let world = World::start([all_well(), all_well(), MockScript::manual()]).await;
    let client = world.commit().await;
    until_appended(&world.coordinator.1, 1).await;
    let hangs = LogEvent::GivenUp { cause: Cause::Stalled { seconds: 30 } };
    world.coordinator.1.act(MockStep::Tell(hangs)).await;
    let unknown = client.await.unwrap().unwrap_err();
    assert!(matches!(unknown, AcrossError::Unknown { .. }), "{unknown}");
    world.until_asked_in_vain().await;
    assert!(!world.coordinator.0.holds().is_empty(), "it may be the one that a restart finds");
    // It is put in again.
    until_appended(&world.coordinator.1, 2).await;
    world.coordinator.1.acknowledge_through(Lsn::new(2)).await;
    world.settle().await;
    assert_eq!(world.says(Said::Abort), 0);
    assert_eq!(world.values().await, [Some("1".into()), Some("1".into())]);
}

#[actix::test]
async fn p24_p25_a_completion_that_is_not_durable_is_put_in_again_and_acknowledged_after_that() {
    let completion = MockScript::new([MockStep::Acknowledge, MockStep::fail(), MockStep::Hold]);
    let world = World::start([completion, all_well(), all_well()]).await;
    world.commit().await.await.unwrap().unwrap();
    let (wal, mock, _) = &world.participants[0];
    until_appended(mock, 3).await;
    until_nothing_is_left("acknowledged", async || {
        (world.says(Said::Acknowledged) == 0).then(|| "no acknowledgement".to_owned())
    })
    .await;
    // That of the other one.
    let left = world.decisions().await.unacknowledged;
    assert_eq!(left[0].participants, [address(0)]);
    assert_eq!(world.coordinator.0.holds().len(), 1);
    mock.acknowledge_through(wal.status().accepted).await;
    world.settle().await;
    assert_eq!(world.values().await, [Some("1".into()), Some("1".into())]);
    let records = mock.received().await;
    assert_eq!(records[1].payload, records[2].payload);
}
