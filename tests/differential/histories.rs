//! Logs as the real actors leave them: rotated, recycled, failed and restarted, checkpointed, closed or cut off.

use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::Medium;
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Persist, SimDisk, errno,
};
use actix_wal::{Durability, FaultPolicy, FlushPolicy, RestartBudget, Wal, WalConfig};

use actix_wal::testkit::Random;
use test_support::agree::files_on;
use test_support::naive::Files;

/// What is left of a log at several instants of its lives.
pub(crate) fn history(seed: u64) -> Vec<Files> {
    actix::System::new().block_on(History::new(seed).run())
}

struct History {
    random: Random,
    disk: SimDisk,
    block: u32,
    found: Vec<Files>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let grows = random.below(3) == 0;
        let medium = if grows { Medium::CopyOnWrite } else { Medium::InPlace };
        let block = [512, 512, 512, 1024, 4096][random.below(5) as usize];
        History { random, disk: SimDisk::with_medium(medium), block, found: Vec::new() }
    }

    fn config(&mut self) -> WalConfig {
        let mut config = WalConfig::new("unused");
        config.block_size = self.block;
        config.segment_size = u64::from(self.block) * (6 + self.random.below(12));
        config.max_in_flight_entries = 4 + self.random.below(20) as usize;
        config.flush_policy = match self.random.below(2) {
            0 => FlushPolicy::Eager,
            _ => FlushPolicy::default(),
        };
        config.seal_after = Duration::from_millis(1 + 10_000 * self.random.below(2));
        config.fault_policy = match self.random.below(2) {
            0 => FaultPolicy::Resend,
            _ => FaultPolicy::FailFast,
        };
        config.restart_budget = RestartBudget {
            restarts: 4 * self.random.below(3) as u32,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
        };
        config
    }

    async fn run(mut self) -> Vec<Files> {
        for _ in 0..=self.random.below(3) {
            self.live().await;
            self.power_loss();
        }
        self.found
    }

    /// One life: opened, used, and closed or not.
    async fn live(&mut self) {
        let plan = FaultPlan::new();
        let storage = FaultyStorage::mount(&self.disk, plan.clone()).expect("free");
        let opened = Wal::open(self.config()).on_storage(Arc::new(storage)).await;
        let wal = opened.expect("what power loss leaves can be opened");
        if self.random.below(2) == 0 {
            self.plan_faults(&plan);
        }
        for _ in 0..self.random.below(25) {
            self.work(&wal).await;
            if self.random.below(6) == 0 {
                self.keep();
            }
        }
        if self.random.below(2) == 0 {
            // A log that has failed for good can not be closed cleanly; it is read all the same.
            drop(wal.close().await);
        }
        self.keep();
    }

    fn plan_faults(&mut self, plan: &FaultPlan) {
        for _ in 0..=self.random.below(2) {
            let (op, effect) = match self.random.below(4) {
                0 => (FaultOp::Sync, FaultEffect::FailAfter(errno::EIO)),
                1 => (FaultOp::Write, FaultEffect::Fail(errno::EIO)),
                2 => (FaultOp::Write, FaultEffect::Short(300)),
                _ => (FaultOp::Sync, FaultEffect::Fail(errno::EIO)),
            };
            let rule = FaultRule::on(op, effect).after(self.random.below(20)).times(1);
            plan.add(rule.file(|name| name.ends_with(".wal")));
        }
    }

    /// What fails here fails because it was planned: nobody asks for the outcome.
    async fn work(&mut self, wal: &Wal) {
        match self.random.below(12) {
            0..=4 => drop(wal.commit(self.payload()).await),
            5..=6 => {
                let group: Vec<_> = (0..=self.random.below(4)).map(|_| self.payload()).collect();
                drop(wal.append_all(group).await);
            }
            7..=8 => drop(wal.append_with(self.payload(), Durability::Async).await),
            9 => drop(wal.checkpoint(wal.durable_lsn()).await),
            10 => actix::clock::sleep(Duration::from_millis(2)).await,
            _ => drop(wal.flush().await),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let len = match self.random.below(6) {
            0 => 0,
            1 => self.random.below(u64::from(self.block) + 300),
            _ => self.random.below(120),
        };
        (0..len).map(|_| self.random.number() as u8).collect()
    }

    fn persist(&mut self) -> Persist {
        match self.random.below(4) {
            0 => Persist::Dropped,
            1 => Persist::Kept,
            _ => Persist::Torn { seed: self.random.number() },
        }
    }

    /// Keeps what a process that is killed now leaves, or what power loss leaves.
    fn keep(&mut self) {
        let persist = self.persist();
        let left = match self.random.below(2) {
            0 => self.disk.fork(),
            _ => self.disk.crash(persist),
        };
        self.found.push(files_on(&left));
    }

    /// The next life begins on what power loss leaves of this one.
    fn power_loss(&mut self) {
        let persist = self.persist();
        self.disk = self.disk.crash(persist);
    }
}
