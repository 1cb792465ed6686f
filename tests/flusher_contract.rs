//! Guards P5, P6, P15, P22. Runs the contract of a Flusher for the real one, on a simulated disk and in a
//! real directory; the example of the contract runs it for the mock. For each check there are Flushers that break
//! its rule and are caught.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod flusher_contract {
    pub(crate) mod wrong;
}

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Recipient, Supervisor};
use actix_wal::actors::{Appender, Flusher, Recovery};
use actix_wal::messages::{LogEvent, Recover};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::flusher_contract::{FlusherFactory, Levers, examine, run_all};
use actix_wal::testkit::internals::format::segment::{FileKind, file_kind};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, SimDisk, errno,
};
use actix_wal::{FaultPolicy, LogParts, Wal, WalConfig};
use flusher_contract::wrong::{CAUGHT_BY, Wrong, WrongFactory};

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
    fn config(&self) -> WalConfig {
        config()
    }

    async fn start(
        &self,
        config: &WalConfig,
        parts: LogParts,
        appender: &Addr<Appender>,
        events: Recipient<LogEvent>,
    ) -> (Wal, Levers) {
        let plan = FaultPlan::new();
        let storage = (self.0)().expect("a fresh storage");
        let storage = Some(Arc::new(FaultyStorage::new(storage, plan.clone())) as _);
        let recovery = Recovery::new(&parts, config.clone()).start();
        let recover = Recover { storage, ..Recover::default() };
        let recovered = recovery.send(recover).await.expect("alive").expect("an empty log");
        let report = recovered.report().clone();
        let flusher = Flusher::new(recovered, &parts, config.clone(), events);
        let flusher = Supervisor::start(|_| flusher);
        (Wal::compose(config, &parts, report, appender, &flusher), levers(plan))
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

#[actix::test]
async fn the_real_flusher_keeps_the_contract_on_a_simulated_disk() {
    let checks = run_all(&Real(|| SimDisk::new().mount())).await;
    assert_eq!(checks.len(), 10);
}

#[actix::test]
async fn the_real_flusher_keeps_the_contract_in_a_real_directory() {
    let parent = test_support::scratch::folder();
    let logs = std::cell::Cell::new(0);
    let fresh = || {
        logs.set(logs.get() + 1);
        let directory = Directory::open(parent.path().join(format!("log-{}", logs.get())))?;
        Ok(Arc::new(directory) as Arc<dyn Storage>)
    };
    run_all(&Real(fresh)).await;
}

#[actix::test]
async fn for_each_check_a_flusher_that_breaks_its_rule_is_caught() {
    let factory = |wrong| WrongFactory { config: config(), wrong };
    // Whoever only stands between changes nothing.
    let mut checks = run_all(&factory(None)).await;
    assert_eq!(checks.len(), 10);
    // All at once: what is waited for in vain takes no longer than for one.
    let examined = CAUGHT_BY.iter().map(|&(wrong, check)| {
        let examined = async move { examine(&factory(Some(wrong)), |one| one == check).await };
        (wrong, check, actix::spawn(examined))
    });
    for (wrong, check, examined) in examined.collect::<Vec<_>>() {
        let (done, broken) = examined.await.expect("it does not panic");
        assert_eq!(done, [check]);
        let [broken] = &broken[..] else { panic!("{wrong:?} is not caught by {check}") };
        println!("{wrong:?}: {}: {}", broken.check, broken.seen);
        checks.retain(|one| *one != check);
    }
    assert_eq!(checks, [""; 0], "nothing shows that these checks can fail");
}

#[actix::test]
#[should_panic(expected = "tells_at_most_once_per_batch")]
async fn a_failure_names_the_check() {
    let wrong = Some(Wrong::RepeatsItself);
    run_all(&WrongFactory { config: config(), wrong }).await;
}
