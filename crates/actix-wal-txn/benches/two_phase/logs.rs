//! Clients that write a key in each of three parts of a data set: in one log, or with a log for each part.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use actix::{Actor, Addr, Context, Handler, Recipient, System};
use actix_wal::testkit::Random;
use actix_wal::{FlushPolicy, Open, Stats, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::messages::Execute;
use actix_wal_txn::recovery;
use actix_wal_txn::store::{Limits, Write};
use actix_wal_txn::two_phase::coordinator_actor::{self, CommitAcross, TwoPhaseCoordinator};
use actix_wal_txn::two_phase::decider::{DeciderLimits, Member};
use actix_wal_txn::two_phase::messages::{
    Operation, Outgoing, ToCoordinator, ToParticipant, Work, WorkKind,
};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{GetLife, TwoPhase};
use actix_wal_txn::two_phase::{Address, Life};
use bytes::Bytes;

use super::found::{Found, Part, latencies};
use crate::support::load::Load;
use crate::support::window::Window;

/// How many parts there are: the logs of a transaction.
pub(crate) const PARTS: u64 = 3;
/// How many keys each of them has.
pub(crate) const KEYS: u64 = 33_333;

/// A log prepares its next segment, in the background: four logs would write 256 MiB of zeros in the few seconds of a
/// measurement. In the long run a log writes as many zeros as records, which it does with small segments from the beginning.
const SEGMENT: u64 = 1 << 20;

const NAMES: [&str; PARTS as usize] = ["a", "b", "c"];

fn write(part: u64, key: u64, value: u64) -> Write {
    let key = Bytes::copy_from_slice(&(part * KEYS + key).to_be_bytes());
    Write { key, value: Some(Bytes::copy_from_slice(&value.to_be_bytes())) }
}

/// A write in each part. No two clients take the same key.
fn writes(random: &mut Random, client: u64, clients: u64) -> [Write; PARTS as usize] {
    [0, 1, 2].map(|part| {
        let key = random.below(KEYS / clients) * clients + client;
        write(part, key, random.number())
    })
}

fn opening(load: &Load, name: &str, policy: FlushPolicy) -> Open {
    let mut config = WalConfig::new(load.directory.join(name));
    config.flush_policy = policy;
    config.segment_size = SEGMENT;
    Wal::open(config)
}

async fn fill(coordinator: &Addr<TransactionCoordinator>, part: u64) {
    for first in (0..KEYS).step_by(1000) {
        let fill = Execute::new(move |latest| {
            let keys = first..KEYS.min(first + 1000);
            keys.map(|key| write(part, key, 0)).try_for_each(|it| Ok(latest.write(it)?))
        });
        coordinator.send(fill).await.unwrap().unwrap();
    }
}

/// Each client does it again and again until the time is over.
async fn clients<F: Future<Output = ()>>(
    load: &Load,
    transaction: impl Fn([Write; PARTS as usize]) -> F + Clone + 'static,
) -> Found {
    let window = Window::new(load);
    let shared = Rc::new(RefCell::new((latencies(), 0)));
    let clients = load.clients as u64;
    let work = (0..clients).map(|client| {
        let (window, shared, transaction) =
            (window.share(), Rc::clone(&shared), transaction.clone());
        actix::spawn(async move {
            let mut random = Random::new(client);
            while {
                let began = Instant::now();
                transaction(writes(&mut random, client, clients)).await;
                let (latencies, all) = &mut *shared.borrow_mut();
                *all += 1;
                if window.is_open() {
                    latencies.saturating_record(began.elapsed().as_micros() as u64);
                }
                window.goes_on()
            } {}
        })
    });
    let work: Vec<_> = work.collect();
    for client in work {
        client.await.unwrap();
    }
    let (latencies, transactions) = &*shared.borrow();
    Found { transactions: *transactions, ..Found::new(latencies, window.rate()) }
}

/// What logs have done between two moments.
fn part(name: &'static str, logs: &[Wal], before: &[Stats]) -> Part {
    let mut part = Part { name, logs: logs.len() as u64, ..Part::default() };
    for (log, before) in logs.iter().zip(before) {
        let now = log.stats();
        part.flushes += now.batches - before.batches;
        part.syncs += now.fsyncs - before.fsyncs;
        part.flush_nanos += now.flush_nanos - before.flush_nanos;
    }
    part
}

fn stats(logs: &[Wal]) -> Vec<Stats> {
    logs.iter().map(Wal::stats).collect()
}

/// One log, and one commit for the three writes.
pub(crate) fn one_commit(load: &Load, policy: FlushPolicy) -> Found {
    System::new().block_on(async {
        let opening = opening(load, "one", policy);
        let (wal, recovered) = recovery::open(opening, Limits::default()).await.expect("opens");
        let limits = CoordinatorLimits::default();
        let coordinator =
            TransactionCoordinator::start(&wal, recovered, limits).await.expect("it is open");
        for part in 0..PARTS {
            fill(&coordinator, part).await;
        }
        let logs = [wal];
        let before = stats(&logs);
        let mut found = clients(load, move |writes| {
            let coordinator = coordinator.clone();
            async move {
                let execute = Execute::new(move |latest| {
                    writes.into_iter().try_for_each(|it| Ok(latest.write(it)?))
                });
                coordinator.send(execute).await.unwrap().unwrap();
            }
        })
        .await;
        found.parts.push(part("the log of one commit", &logs, &before));
        close(&logs).await;
        found
    })
}

async fn close(logs: &[Wal]) {
    for log in logs {
        log.close().await.expect("it closes");
    }
}

/// Carries messages within the process, and loses none.
#[derive(Clone, Default)]
struct Carrier(Rc<Routes>);

#[derive(Default)]
struct Routes {
    participants: RefCell<HashMap<Address, Addr<TransactionCoordinator>>>,
    coordinator: OnceCell<Addr<TwoPhaseCoordinator>>,
}

impl Actor for Carrier {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // What finds no room is lost, and sent again after a while that is no part of this measurement.
        context.set_mailbox_capacity(1 << 16);
    }
}

impl Handler<Outgoing<ToParticipant>> for Carrier {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToParticipant>, _: &mut Self::Context) {
        self.0.participants.borrow()[&sent.to].do_send(sent.message);
    }
}

impl Handler<Outgoing<ToCoordinator>> for Carrier {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToCoordinator>, _: &mut Self::Context) {
        self.0.coordinator.get().expect("it has begun").do_send(sent.message);
    }
}

/// A participant with a log of its own, filled.
async fn participant(
    load: &Load,
    policy: FlushPolicy,
    part: u64,
    carrier: &Carrier,
) -> (Wal, Life) {
    let name = NAMES[part as usize];
    let opening = opening(load, name, policy);
    let (wal, recovered) = recovery::open(opening, Limits::default()).await.expect("opens");
    let transport: Recipient<_> = carrier.clone().start().recipient();
    let two_phase = TwoPhase { limits: ParticipantLimits::default(), transport };
    let limits = CoordinatorLimits::default();
    let participant =
        TransactionCoordinator::start_participant(&wal, recovered, limits, two_phase).await;
    let participant = participant.expect("it is open");
    fill(&participant, part).await;
    let life = participant.send(GetLife).await.unwrap().expect("it takes part");
    carrier.0.participants.borrow_mut().insert(name.into(), participant);
    (wal, life)
}

/// Two-phase commit over three logs: a write at each of three participants.
pub(crate) fn two_phase(load: &Load, policy: FlushPolicy) -> Found {
    System::new().block_on(async {
        let carrier = Carrier::default();
        let opening = opening(load, "decisions", policy);
        let opened = coordinator_actor::open(opening, "d".into(), DeciderLimits::default()).await;
        let (wal, decider) = opened.expect("opens");
        let transport = carrier.clone().start().recipient();
        let coordinator =
            TwoPhaseCoordinator::start(&wal, decider, transport).await.expect("it is open");
        carrier.0.coordinator.set(coordinator.clone()).expect("it is the only one");
        let (decisions, mut logs, mut lives) = ([wal], Vec::new(), Vec::new());
        for part in 0..PARTS {
            let (wal, life) = participant(load, policy, part, &carrier).await;
            logs.push(wal);
            lives.push(life);
        }
        let before = (stats(&decisions), stats(&logs));
        let mut found = clients(load, move |writes| {
            let works = writes.into_iter().zip(&lives).map(|(write, life)| Work {
                life: *life,
                kind: WorkKind::Whole(vec![Operation::Write(write)]),
            });
            let members =
                works.zip(NAMES).map(|(work, name)| Member { address: name.into(), work });
            let sent = coordinator.send(CommitAcross { members: members.collect() });
            async { sent.await.unwrap().expect("no two clients want the same key") }
        })
        .await;
        found.parts.push(part("a log of a participant", &logs, &before.1));
        found.parts.push(part("the log of decisions", &decisions, &before.0));
        close(&logs).await;
        close(&decisions).await;
        found
    })
}
