//! Guards P5, P6, P15, P22. Runs the contract of a Flusher for the real one, on a simulated disk and in a
//! real directory, and for the mock.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Recipient, Supervisor};
use actix_wal::actors::{Flusher, Recovery};
use actix_wal::format::segment::{FileKind, file_kind};
use actix_wal::messages::{LogEvent, Recover};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::flusher_contract::{FlusherFactory, Levers, Started, run_all};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, MockFlusher, MockHandle, MockScript,
    MockStep, SimDisk, errno,
};
use actix_wal::{FaultPolicy, Link, Lsn, WalConfig};

fn config() -> WalConfig {
    let mut config = WalConfig::new("unused");
    config.fault_policy = FaultPolicy::FailFast;
    config.segment_size = 1 << 16;
    // A seal would be a sync that the levers can not tell from that of a batch.
    config.seal_after = Duration::from_secs(3600);
    config
}

/// The real Flusher on storages that `new` makes.
struct Real<N>(N);

impl<N: Fn() -> io::Result<Arc<dyn Storage>>> FlusherFactory for Real<N> {
    type Flusher = Flusher;

    fn config(&self) -> WalConfig {
        config()
    }

    fn start(
        &self,
        config: &WalConfig,
        Link { shared, queue }: Link,
        appender: Recipient<LogEvent>,
    ) -> impl Future<Output = Started<Flusher>> {
        let plan = FaultPlan::new();
        let storage = (self.0)().expect("a fresh storage");
        let storage = Some(Arc::new(FaultyStorage::new(storage, plan.clone())) as _);
        let config = config.clone();
        async move {
            let recovery = Recovery::new(Arc::clone(&shared), config.clone()).start();
            let recover = Recover { storage, ..Recover::default() };
            let recovered = recovery.send(recover).await.expect("alive").expect("an empty log");
            let report = recovered.report().clone();
            let flusher = Flusher::new(recovered, shared, queue, config, appender);
            let flusher = Supervisor::start(|_| flusher);
            Started { flusher, report, levers: levers(plan) }
        }
    }
}

/// Levers on the syncs of segments that are part of the log.
fn levers(plan: FaultPlan) -> Levers {
    let on_sync = |effect| {
        let is_segment = |name: &str| matches!(file_kind(name), FileKind::Segment(_));
        FaultRule::on(FaultOp::Sync, effect).file(is_segment)
    };
    let (fail, hold, release) = (plan.clone(), plan.clone(), plan);
    Levers {
        fail_next: Box::new(move || fail.add(on_sync(FaultEffect::Fail(errno::EIO)).times(1))),
        hold: Box::new(move || hold.add(on_sync(FaultEffect::Stuck))),
        release: Box::new(move || {
            release.clear();
            release.release();
        }),
    }
}

struct Mocked;

impl FlusherFactory for Mocked {
    type Flusher = MockFlusher;

    fn config(&self) -> WalConfig {
        config()
    }

    async fn start(
        &self,
        _: &WalConfig,
        link: Link,
        appender: Recipient<LogEvent>,
    ) -> Started<MockFlusher> {
        let shared = Arc::clone(&link.shared);
        let flusher = MockFlusher::new(link, MockScript::acknowledge(), appender).start();
        let mock = MockHandle::new(flusher.clone(), shared);
        let (fail, hold, release) = (mock.clone(), mock.clone(), mock);
        let levers = Levers {
            fail_next: Box::new(move || fail.script_first(MockStep::fail())),
            hold: Box::new(move || hold.script_first(MockStep::Hold)),
            release: Box::new(move || release.release_through(Lsn::MAX)),
        };
        Started { flusher, report: Default::default(), levers }
    }
}

#[actix::test]
async fn the_real_flusher_keeps_the_contract_on_a_simulated_disk() {
    let checks = run_all(&Real(|| SimDisk::new().mount())).await;
    assert_eq!(checks.len(), 10);
}

#[actix::test]
async fn the_real_flusher_keeps_the_contract_in_a_real_directory() {
    let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let logs = std::cell::Cell::new(0);
    let fresh = || {
        logs.set(logs.get() + 1);
        let directory = Directory::open(parent.path().join(format!("log-{}", logs.get())))?;
        Ok(Arc::new(directory) as Arc<dyn Storage>)
    };
    run_all(&Real(fresh)).await;
}

#[actix::test]
async fn the_mocked_flusher_keeps_the_contract_too() {
    run_all(&Mocked).await;
}
