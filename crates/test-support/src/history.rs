//! A log at work: clients that commit in every mode while it rotates, is checkpointed, fails, is restarted,
//! closed and opened again. What they are told stands as marks in the stream of operations.

use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::Storage;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, errno};
use actix_wal::{
    AppendError, CommitError, Durability, FaultPolicy, FlushPolicy, Lsn, Wal, WalConfig,
};

use crate::facts::{Fact, Key, assigned, payload};
use crate::settings;
use crate::witness::Witness;
use actix_wal::testkit::Random;

/// Clients that commit at the same time.
const CLIENTS: u32 = 6;

/// How a life of the log goes.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    /// Nothing fails.
    Calm,
    /// Writes and syncs fail now and then; the log restarts.
    Faulty(FaultPolicy),
    /// At some point nothing works any more: the log is poisoned, and so ends uncleanly.
    Doomed,
}

/// The storage of a history, and the handles to make it fail.
#[derive(Clone, Debug)]
pub struct World {
    pub storage: Arc<dyn Storage>,
    /// Faults that the disk knows nothing of.
    pub above: FaultPlan,
    /// Faults of the disk, which loses what a failed sync should have written.
    pub below: FaultPlan,
    pub witness: Witness,
}

pub fn config() -> WalConfig {
    let mut config = settings::blocks(32);
    config.max_in_flight_entries = 24;
    config.flush_policy = FlushPolicy::Adaptive(actix_wal::Bounds {
        max_delay: Duration::from_millis(2),
        ..actix_wal::Bounds::default()
    });
    config.seal_after = Duration::from_millis(1);
    config.restart_budget = settings::quick_restarts(1000);
    config
}

/// One life of the log: opened, used by all clients, and ended.
pub async fn live(world: &World, life: Life, appends: u32, round: u32, random: &mut Random) {
    let mut config = config();
    if let Life::Faulty(policy) = life {
        config.fault_policy = policy;
        plan_faults(world, random);
    }
    if matches!(life, Life::Doomed) {
        config.restart_budget.restarts = 2;
    }
    world.witness.note(Fact::Opening);
    let wal = Wal::open(config).on_storage(Arc::clone(&world.storage)).await.expect("it opens");
    if matches!(life, Life::Doomed) {
        let after = random.below(u64::from(appends));
        for op in [FaultOp::Write, FaultOp::Sync] {
            world.above.add(FaultRule::on(op, FaultEffect::Fail(errno::EIO)).after(after));
        }
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let random = Random::new(random.number());
            let (wal, witness) = (wal.clone(), world.witness.clone());
            let next = round * 1_000_000;
            actix::spawn(Client { client, next, random, wal, witness }.run(appends))
        })
        .collect();
    for client in clients {
        client.await.expect("a client ends in peace");
    }
    let closed = wal.close().await;
    if closed.is_ok() {
        world.witness.note(Fact::Closed);
    } else {
        assert!(matches!(life, Life::Doomed), "{closed:?}");
    }
    world.above.clear();
    world.below.clear();
}

/// A dozen faults, spread over the life.
fn plan_faults(world: &World, random: &mut Random) {
    let is_segment = |name: &str| name.ends_with(".wal");
    for _ in 0..4 {
        let after = random.below(60);
        let (plan, op, effect) = match random.below(9) {
            0 => (&world.above, FaultOp::Sync, FaultEffect::Fail(errno::EIO)),
            1 => (&world.above, FaultOp::Sync, FaultEffect::FailAfter(errno::EIO)),
            2 => (&world.above, FaultOp::Write, FaultEffect::Fail(errno::EIO)),
            3 => (&world.above, FaultOp::Write, FaultEffect::Short(700)),
            4 => (&world.below, FaultOp::Write, FaultEffect::FailAfter(errno::EIO)),
            5 => (&world.above, FaultOp::SyncDir, FaultEffect::Fail(errno::EIO)),
            _ => (&world.below, FaultOp::Sync, FaultEffect::Fail(errno::EIO)),
        };
        // Not the very first operations: a log that can not be opened is another test's matter.
        let rule = FaultRule::on(op, effect).after(after + 8).times(1 + random.below(2));
        let any_name = op == FaultOp::SyncDir;
        plan.add(rule.file(move |name| any_name || is_segment(name)));
    }
}

struct Client {
    client: u32,
    next: u32,
    random: Random,
    wal: Wal,
    witness: Witness,
}

impl Client {
    async fn run(mut self, appends: u32) {
        let mut unwatched = Vec::new();
        for _ in 0..appends {
            match self.random.below(20) {
                0..=8 => self.commit(Durability::GroupCommit).await,
                9..=11 => self.commit(Durability::Synchronous).await,
                12..=14 => unwatched.extend(self.append_unwatched().await),
                15..=17 => self.group().await,
                18 => actix::clock::sleep(Duration::from_millis(3)).await,
                _ => self.checkpoint().await,
            }
            self.witness.note(Fact::Watermark(self.wal.durable_lsn()));
        }
        for (key, lsn) in unwatched {
            self.outcome(key, lsn).await;
        }
    }

    fn key(&mut self, count: u32) -> Key {
        self.next += 1;
        let key = Key { client: self.client, sequence: self.next };
        self.witness.note(Fact::Submitted { key, count });
        key
    }

    fn len(&mut self) -> u32 {
        let limit = if self.random.below(12) == 0 { 4000 } else { 300 };
        self.random.below(limit) as u32
    }

    async fn commit(&mut self, durability: Durability) {
        let (key, len) = (self.key(1), self.len());
        let committed = self.wal.commit_with(payload(key, 0, 1, len), durability).await;
        if let Some(first) = assigned(&committed) {
            self.witness.note(Fact::Assigned { key, first });
        }
        self.ended(key, committed.map(drop));
    }

    fn ended(&self, key: Key, outcome: Result<(), CommitError>) {
        match outcome {
            Ok(()) => self.witness.note(Fact::Acknowledged { key }),
            Err(error) => self.failed(key, &error),
        }
    }

    fn failed(&self, key: Key, error: &CommitError) {
        assert!(!matches!(error, CommitError::NeverAssigned { .. }), "{error}");
        if error.is_not_durable() {
            self.witness.note(Fact::NotDurable { key });
        }
    }

    /// An append that nobody waits for, until the end of the life.
    async fn append_unwatched(&mut self) -> Option<(Key, Lsn)> {
        let (key, len) = (self.key(1), self.len());
        let appended = self.wal.append_with(payload(key, 0, 1, len), Durability::Async).await;
        self.accepted(key, appended)
    }

    fn accepted(&self, key: Key, appended: Result<Lsn, AppendError>) -> Option<(Key, Lsn)> {
        match appended {
            Ok(first) => {
                self.witness.note(Fact::Assigned { key, first });
                Some((key, first))
            }
            Err(error) => {
                self.failed(key, &error.into());
                None
            }
        }
    }

    async fn group(&mut self) {
        let count = 2 + self.random.below(4) as u32;
        let key = self.key(count);
        let records: Vec<_> =
            (0..count).map(|index| payload(key, index, count, self.len())).collect();
        let appended = self.wal.append_all(records).await;
        let last = appended.as_ref().map_or(Lsn::NONE, |range| range.last);
        if self.accepted(key, appended.map(|range| range.first)).is_some() {
            self.outcome(key, last).await;
        }
    }

    async fn outcome(&self, key: Key, lsn: Lsn) {
        self.ended(key, self.wal.wait_for_lsn(lsn).await);
    }

    async fn checkpoint(&self) {
        let durable = self.wal.durable_lsn().get();
        let lsn = Lsn::new(durable.saturating_sub(30));
        if !lsn.is_none() {
            self.witness.note(Fact::Checkpoint(lsn));
            let _ = self.wal.checkpoint(lsn).await;
        }
    }
}
