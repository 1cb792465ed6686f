//! Guards P24 and P25 in the actors of two-phase commit, at the level of their messages, with real logs on real files: a
//! coordinator and two participants, a transport that loses and doubles, and restarts.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{Begin, Execute, GetSnapshots, Put, TakeSnapshot};
use actix_wal_txn::recovery::Recovery;
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::{StoreError, Write};
use actix_wal_txn::two_phase::coordinator_actor::{
    self, AcrossError, CommitAcross, GetDecisions, TwoPhaseCoordinator,
};
use actix_wal_txn::two_phase::decider::{DeciderLimits, Member};
use actix_wal_txn::two_phase::messages::{
    Operation, Order, Outgoing, ToCoordinator, ToParticipant, Work, WorkKind,
};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{DecideByHand, GetInDoubt, GetLife, TwoPhase};
use actix_wal_txn::two_phase::{Address, BackOff, Outcome};
use actix_wal_txn::workspace::WorkError;
use bytes::Bytes;

const BACK_OFF: BackOff =
    BackOff { first: Duration::from_millis(10), most: Duration::from_millis(50) };

/// Who is reached where, in this process; and what is lost.
#[derive(Default)]
struct Routes {
    participants: HashMap<Address, Addr<TransactionCoordinator>>,
    coordinator: Option<Addr<TwoPhaseCoordinator>>,
    /// Nothing gets to the coordinator, or from it.
    is_cut: bool,
    /// No commit gets to a participant.
    loses_commits: bool,
    carried: u64,
}

#[derive(Clone, Default)]
struct Transport(Arc<Mutex<Routes>>);

impl Actor for Transport {
    type Context = Context<Self>;
}

impl Routes {
    /// Each third message is lost, and each second one is doubled.
    fn copies(&mut self) -> u64 {
        self.carried += 1;
        if self.is_cut || self.carried.is_multiple_of(3) { 0 } else { 1 + self.carried % 2 }
    }
}

impl Handler<Outgoing<ToParticipant>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToParticipant>, _: &mut Context<Self>) {
        let mut routes = self.0.lock().unwrap();
        if routes.loses_commits && sent.message.order == Order::Commit {
            return;
        }
        for _ in 0..routes.copies() {
            if let Some(participant) = routes.participants.get(&sent.to) {
                participant.do_send(sent.message.clone());
            }
        }
    }
}

impl Handler<Outgoing<ToCoordinator>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToCoordinator>, _: &mut Context<Self>) {
        let mut routes = self.0.lock().unwrap();
        for _ in 0..routes.copies() {
            if let Some(coordinator) = &routes.coordinator {
                coordinator.do_send(sent.message.clone());
            }
        }
    }
}

type Participant = (Wal, Addr<TransactionCoordinator>);

async fn participant(folder: &Path, name: &'static str, transport: &Transport) -> Participant {
    participant_with(folder, name, transport, |_| {}).await
}

async fn participant_with(
    folder: &Path,
    name: &'static str,
    transport: &Transport,
    configure: impl FnOnce(&mut SnapshotPlan),
) -> Participant {
    let opening = Wal::open(WalConfig::new(folder.join(name)));
    let mut plan = SnapshotPlan::in_folder(folder.join(format!("{name} snapshots")));
    configure(&mut plan);
    let (wal, recovered) = Recovery::new(opening).snapshots(plan).open().await.unwrap();
    let limits = ParticipantLimits { back_off: BACK_OFF, ..ParticipantLimits::default() };
    let two_phase = TwoPhase { limits, transport: transport.clone().start().recipient() };
    let bounds = CoordinatorLimits::default();
    let coordinator =
        TransactionCoordinator::start_participant(&wal, recovered, bounds, two_phase).await;
    let coordinator = coordinator.unwrap();
    transport.0.lock().unwrap().participants.insert(name.into(), coordinator.clone());
    (wal, coordinator)
}

async fn coordinator(folder: &Path, transport: &Transport) -> (Wal, Addr<TwoPhaseCoordinator>) {
    let opening = Wal::open(WalConfig::new(folder.join("decider")));
    let limits = DeciderLimits { back_off: BACK_OFF, ..DeciderLimits::default() };
    let (wal, decider) = coordinator_actor::open(opening, "d".into(), limits).await.unwrap();
    let recipient = transport.clone().start().recipient();
    let coordinator = TwoPhaseCoordinator::start(&wal, decider, recipient).await.unwrap();
    transport.0.lock().unwrap().coordinator = Some(coordinator.clone());
    (wal, coordinator)
}

async fn member(at: &Participant, name: &'static str, operations: Vec<Operation>) -> Member {
    let life = at.1.send(GetLife).await.unwrap().unwrap();
    let kind = WorkKind::Whole(operations);
    Member { address: name.into(), work: Work { life, kind } }
}

fn set(key: &'static str, value: &'static str) -> Operation {
    Operation::Write(Write { key: key.into(), value: Some(value.into()) })
}

async fn read(at: &Participant, key: &'static str) -> Result<Option<Bytes>, TxnError> {
    let execute = Execute::new(move |latest| Ok(latest.get(key.as_bytes())?));
    at.1.send(execute).await.unwrap().map(|executed| executed.value)
}

/// Waits until it is decided.
async fn read_decided(at: &Participant, key: &'static str) -> Option<Bytes> {
    loop {
        match read(at, key).await {
            Ok(value) => return value,
            Err(TxnError::Work(WorkError::Store(StoreError::Prepared { .. }))) => {
                actix::clock::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn until_in_doubt(at: &Participant, count: usize) {
    while at.1.send(GetInDoubt).await.unwrap().in_doubt.len() != count {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
}

#[actix::test]
async fn p24_a_transaction_commits_in_all_logs_or_in_none_over_a_bad_network() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (_wal, across) = coordinator(folder.path(), &transport).await;

    // An open transaction of one, and work that is sent whole to the other.
    let txn = a.1.send(Begin::default()).await.unwrap().unwrap();
    a.1.send(Put { txn, key: "x".into(), value: "1".into() }).await.unwrap().unwrap();
    let life = a.1.send(GetLife).await.unwrap().unwrap();
    let open = Member { address: "a".into(), work: Work { life, kind: WorkKind::Open(txn) } };
    let members = vec![open, member(&b, "b", vec![set("y", "1")]).await];
    across.send(CommitAcross { members }).await.unwrap().unwrap();
    assert_eq!(read_decided(&a, "x").await, Some("1".into()));
    assert_eq!(read_decided(&b, "y").await, Some("1".into()));

    // One of them refuses.
    let expect = Operation::Expect { key: "y".into(), value: Some("2".into()) };
    let members = vec![
        member(&a, "a", vec![set("x", "2")]).await,
        member(&b, "b", vec![expect, set("y", "3")]).await,
    ];
    let refused = across.send(CommitAcross { members }).await.unwrap().unwrap_err();
    assert!(matches!(&refused, AcrossError::Aborted { .. }), "{refused}");
    // If its answer was lost, it is asked again, and has ended it.
    let reasons = ["key y does not have the expected value", "has ended there already"];
    assert!(reasons.iter().any(|why| refused.to_string().contains(why)), "{refused}");
    assert_eq!(read_decided(&a, "x").await, Some("1".into()));

    // One participant commits by itself.
    let members = vec![member(&a, "a", vec![set("x", "4")]).await];
    across.send(CommitAcross { members }).await.unwrap().unwrap();
    assert_eq!(read(&a, "x").await.unwrap(), Some("4".into()));
    while across.send(GetDecisions).await.unwrap().rounds > 0 {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
}

#[actix::test]
async fn p24_what_is_prepared_survives_restarts_of_all_and_is_locked_until_it_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (decider_wal, across) = coordinator(folder.path(), &transport).await;
    let members = vec![
        member(&a, "a", vec![set("x", "1")]).await,
        member(&b, "b", vec![set("y", "1")]).await,
    ];
    let commit = tokio::spawn(across.send(CommitAcross { members }));
    until_in_doubt(&a, 1).await;
    transport.0.lock().unwrap().is_cut = true;
    let was_decided = across.send(GetDecisions).await.unwrap().needs_from.is_some();
    for wal in [&a.0, &b.0, &decider_wal] {
        wal.close().await.unwrap();
    }
    drop((a, b, decider_wal, across));
    let told = commit.await.unwrap();

    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let in_doubt = a.1.send(GetInDoubt).await.unwrap().in_doubt;
    if in_doubt.len() == 1 {
        let refused = read(&a, "x").await.unwrap_err();
        assert!(refused.to_string().contains("prepared and not decided"), "{refused}");
    }
    transport.0.lock().unwrap().is_cut = false;
    let (_wal, across) = coordinator(folder.path(), &transport).await;
    until_in_doubt(&a, 0).await;
    until_in_doubt(&b, 0).await;
    let (x, y) = (read_decided(&a, "x").await, read_decided(&b, "y").await);
    assert_eq!(x, y);
    if was_decided || matches!(told, Ok(Ok(()))) {
        assert_eq!(x, Some("1".into()));
    }
    while across.send(GetDecisions).await.unwrap().rounds > 0 {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
}

#[actix::test]
async fn p24_a_decision_by_hand_that_differs_is_listed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (_wal, across) = coordinator(folder.path(), &transport).await;
    // One of them does not answer, so that the other stays in doubt.
    transport.0.lock().unwrap().participants.remove(&Address::from("b"));
    let members = vec![
        member(&a, "a", vec![set("x", "1")]).await,
        member(&b, "b", vec![set("y", "1")]).await,
    ];
    let commit = tokio::spawn(across.send(CommitAcross { members }));
    until_in_doubt(&a, 1).await;
    let id = a.1.send(GetInDoubt).await.unwrap().in_doubt[0].branch.id;
    // Its coordinator is away.
    transport.0.lock().unwrap().is_cut = true;
    let by_hand = DecideByHand { id, outcome: Outcome::Committed };
    // It may still be on its way into the log.
    while a.1.send(by_hand).await.unwrap().is_err() {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(read(&a, "x").await.unwrap(), Some("1".into()));
    transport.0.lock().unwrap().is_cut = false;
    let told = commit.await.unwrap().unwrap().unwrap_err();
    assert!(matches!(told, AcrossError::Aborted { .. }), "{told}");
    while !a.1.send(GetInDoubt).await.unwrap().by_hand.iter().any(|it| it.differs()) {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
    a.0.close().await.unwrap();
    drop(a);
    let a = participant(folder.path(), "a", &transport).await;
    let listed = a.1.send(GetInDoubt).await.unwrap().by_hand;
    assert!(matches!(&listed[..], [one] if one.branch.id == id && one.differs()), "{listed:?}");
}

#[actix::test]
async fn p24_what_is_prepared_is_in_snapshots_and_is_found_when_its_record_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (_wal, across) = coordinator(folder.path(), &transport).await;
    // One of them is not reached, so that the other stays in doubt.
    let away = transport.0.lock().unwrap().participants.remove(&Address::from("b")).unwrap();
    let members = vec![
        member(&a, "a", vec![set("x", "1")]).await,
        member(&b, "b", vec![set("y", "1")]).await,
    ];
    let commit = tokio::spawn(across.send(CommitAcross { members }));
    until_in_doubt(&a, 1).await;
    let prepared = a.0.status().accepted;
    for value in ["1", "2"] {
        let write = Write { key: "other".into(), value: Some(value.into()) };
        let other = Execute::new(move |latest| Ok(latest.write(write)?));
        a.1.send(other).await.unwrap().unwrap();
        a.1.send(TakeSnapshot).await.unwrap().unwrap();
    }
    assert!(a.0.status().low_water >= prepared, "the record is released");
    a.0.close().await.unwrap();
    drop(a);
    let a = participant(folder.path(), "a", &transport).await;
    assert_eq!(a.1.send(GetInDoubt).await.unwrap().in_doubt.len(), 1);
    let refused = read(&a, "x").await.unwrap_err();
    assert!(refused.to_string().contains("prepared and not decided"), "{refused}");

    transport.0.lock().unwrap().participants.insert("b".into(), away);
    let told = commit.await.unwrap().unwrap();
    until_in_doubt(&a, 0).await;
    let (x, y) = (read_decided(&a, "x").await, read_decided(&b, "y").await);
    assert_eq!((x.is_some(), y.is_some()), (told.is_ok(), told.is_ok()), "{told:?}");
}

#[actix::test]
async fn p24_a_decision_survives_checkpoints_until_all_have_acknowledged_it() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (mut wal, mut across) = coordinator(folder.path(), &transport).await;
    transport.0.lock().unwrap().loses_commits = true;
    let members = vec![
        member(&a, "a", vec![set("x", "1")]).await,
        member(&b, "b", vec![set("y", "1")]).await,
    ];
    across.send(CommitAcross { members }).await.unwrap().unwrap();
    let needed = across.send(GetDecisions).await.unwrap().needs_from.unwrap();
    // The second time it is the recovery that holds it.
    for _ in 0..2 {
        let released = wal.checkpoint(wal.status().durable).await.unwrap();
        assert!(released < needed, "{released}");
        wal.close().await.unwrap();
        drop((wal, across));
        (wal, across) = coordinator(folder.path(), &transport).await;
        assert_eq!(across.send(GetDecisions).await.unwrap().unacknowledged.len(), 1);
    }
    transport.0.lock().unwrap().loses_commits = false;
    for (at, key) in [(&a, "x"), (&b, "y")] {
        assert_eq!(read_decided(at, key).await, Some("1".into()));
    }
    while across.send(GetDecisions).await.unwrap().rounds > 0 {
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
    assert!(wal.holds().is_empty(), "{:?}", wal.holds());
}

#[actix::test]
async fn p24_work_that_began_before_its_participant_was_restarted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let a = participant(folder.path(), "a", &transport).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (_wal, across) = coordinator(folder.path(), &transport).await;
    let late = member(&a, "a", vec![set("x", "1")]).await;
    a.0.close().await.unwrap();
    drop(a);
    let a = participant(folder.path(), "a", &transport).await;
    let members = vec![late, member(&b, "b", vec![set("y", "1")]).await];
    let refused = across.send(CommitAcross { members }).await.unwrap().unwrap_err();
    let reasons = ["has been restarted", "has ended there already"];
    assert!(reasons.iter().any(|why| refused.to_string().contains(why)), "{refused}");
    assert_eq!((read_decided(&a, "x").await, read_decided(&b, "y").await), (None, None));
}

#[actix::test]
async fn p16_what_two_phase_commit_writes_counts_for_the_next_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::default();
    let often = |plan: &mut SnapshotPlan| plan.after_log_bytes = Some(1000);
    let a = participant_with(folder.path(), "a", &transport, often).await;
    let b = participant(folder.path(), "b", &transport).await;
    let (_wal, across) = coordinator(folder.path(), &transport).await;
    let mut members = vec![member(&a, "a", vec![set("x", "1")]).await];
    members.push(member(&b, "b", vec![set("y", "1")]).await);
    let taken = async {
        while a.1.send(GetSnapshots).await.unwrap().unwrap().taken == 0 {
            // Some abort, since the one before still has the key.
            drop(across.send(CommitAcross { members: members.clone() }).await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap();
}
