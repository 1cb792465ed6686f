//! Logs on storages that misbehave: opening them, waiting without sleeping, and reading back what is left.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Recipient};
use actix_wal::messages::LogEvent;
use actix_wal::storage::{self, Storage, StorageFile};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, SimDisk};
use actix_wal::{Cause, CommitError, FlushPolicy, Lsn, Wal, WalConfig};

use crate::recovered::replayed;
use crate::settings;

/// Longer than anything here takes, however slow the machine. Who needs all of it hangs.
pub const SOON: Duration = Duration::from_secs(30);

/// Small blocks and segments, no batching wait, quick restarts, and no seal within a test.
pub fn config() -> WalConfig {
    let mut config = settings::blocks(16);
    config.flush_policy = FlushPolicy::Eager;
    config.seal_after = SOON;
    config.restart_budget = settings::quick_restarts(3);
    config
}

/// The same, for a log in a real directory.
pub fn config_in(directory: &Path) -> WalConfig {
    let mut config = config();
    config.directory = directory.to_owned();
    config
}

/// The same, with a watchdog that soon gives up a sync that does not return.
pub fn impatient() -> WalConfig {
    let mut config = config();
    config.slow_sync = Duration::from_millis(20);
    config.stalled_after = Duration::from_millis(300);
    config.give_up_after = Duration::from_millis(300);
    config
}

/// Waits for as long as an impatient watchdog gives a sync to return, and no commit is left waiting: it counts the
/// looks of another log, whose sync is stuck.
pub async fn outlast_a_stuck_sync() {
    let world = World::new();
    let wal = world.open(impatient()).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    let outcome = within("commit", wal.commit("stuck")).await;
    let is_given_up =
        matches!(outcome, Err(CommitError::Unknown { cause: Cause::Stalled { .. }, .. }));
    assert!(is_given_up, "{outcome:?}");
    world.let_go();
    within("close", wal.close()).await.expect("the sync has returned");
}

/// A disk with faults, watched for promise P7.
#[derive(Debug, Default)]
pub struct World {
    pub disk: SimDisk,
    pub plan: FaultPlan,
    pub touched_again: Arc<AtomicU64>,
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        let inner = Arc::new(FaultyStorage::mount(&self.disk, self.plan.clone()).expect("free"));
        Arc::new(Watch { inner, touched_again: Arc::clone(&self.touched_again) })
    }

    pub async fn open(&self, config: WalConfig) -> Wal {
        within("open", Wal::open(config).on_storage(self.storage())).await.expect("opens")
    }

    /// No fault comes any more, and what is stuck goes on.
    pub fn let_go(&self) {
        self.plan.clear();
        self.plan.release();
    }

    /// Operations on a failed file after its failure (promise P7): there must be none.
    pub fn touched_again(&self) -> u64 {
        self.touched_again.load(Ordering::SeqCst)
    }

    /// Waits until nobody has the disk any more, and reads what the log holds.
    pub async fn records(&self) -> BTreeMap<Lsn, Vec<u8>> {
        until("the directory is free", || self.disk.mount().is_ok()).await;
        records_on(&self.disk)
    }
}

/// The bytes that all files take together.
pub fn bytes_on(disk: &SimDisk) -> u64 {
    disk.names().iter().map(|name| disk.read_file(name).unwrap_or_default().len() as u64).sum()
}

/// What a recovery of this disk replays.
pub fn records_on(disk: &SimDisk) -> BTreeMap<Lsn, Vec<u8>> {
    records_in(disk.mount().expect("free"), &config())
}

/// What a recovery in this storage replays. Panics if an LSN comes twice, or out of order.
pub fn records_in(storage: Arc<dyn Storage>, config: &WalConfig) -> BTreeMap<Lsn, Vec<u8>> {
    let recovered = replayed(storage, config, &Parts::new(config), None).expect("recovers");
    let lsns = recovered.records.iter().map(|(lsn, _)| lsn);
    assert!(lsns.is_sorted_by(|one, next| one < next), "order");
    recovered.records.into_iter().map(|(lsn, payload)| (Lsn::new(lsn), payload)).collect()
}

/// A rule for files that are part of the log, not those that are being prepared.
pub fn on_segments(rule: FaultRule) -> FaultRule {
    rule.file(|name| name.ends_with(".wal"))
}

/// A rule for files that are being prepared. Directory syncs are among them: nobody else does any.
pub fn on_prepared(op: FaultOp, effect: FaultEffect) -> FaultRule {
    FaultRule::on(op, effect).file(|name| name.ends_with(".tmp") || name.is_empty())
}

/// Fails the test if `future` takes for ever.
#[track_caller]
pub fn within<F: IntoFuture>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let waited = tokio::time::timeout(SOON, future.into_future());
    async move { waited.await.unwrap_or_else(|_| panic!("hangs: {what}")) }
}

/// Waits for a condition without blocking the Arbiter.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "does not come: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A subscriber that keeps what it hears.
#[derive(Clone, Debug, Default)]
pub struct Ear(pub Arc<Mutex<Vec<LogEvent>>>);

impl Ear {
    /// One that is not subscribed yet, and what it is subscribed as.
    pub fn started() -> (Ear, Recipient<LogEvent>) {
        let ear = Ear::default();
        let recipient = ear.clone().start().recipient();
        (ear, recipient)
    }

    pub async fn on(wal: &Wal) -> Ear {
        let (ear, recipient) = Ear::started();
        within("subscribe", wal.subscribe(recipient)).await.expect("open");
        ear
    }

    pub fn count(&self, is_it: impl Fn(&LogEvent) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| is_it(event)).count()
    }

    pub fn heard(&self, is_it: impl Fn(&LogEvent) -> bool) -> bool {
        self.count(is_it) > 0
    }

    /// The highest watermark, and the LSNs that were said to have failed.
    pub fn durable(&self) -> (Lsn, Vec<Lsn>) {
        let (mut highest, mut all) = (Lsn::NONE, Vec::new());
        for event in &*self.0.lock().unwrap() {
            if let LogEvent::Durable { through, failed, .. } = event {
                assert!(*through >= highest, "the watermark fell");
                highest = *through;
                for range in failed {
                    all.extend((range.first.get()..=range.last.get()).map(Lsn::new));
                }
            }
        }
        (highest, all)
    }
}

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Ear {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        self.0.lock().unwrap().push(event);
    }
}

/// A storage that notices when a file is written or synced after a write or sync of it has failed.
#[derive(Debug)]
struct Watch {
    inner: Arc<dyn Storage>,
    touched_again: Arc<AtomicU64>,
}

impl storage::Forward for Watch {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn file(&self, _: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        let touched_again = Arc::clone(&self.touched_again);
        Box::new(WatchedFile { inner, failed: AtomicBool::new(false), touched_again })
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Box<dyn StorageFile>,
    failed: AtomicBool,
    touched_again: Arc<AtomicU64>,
}

impl WatchedFile {
    /// Counts as failed until it has returned, so that a panic counts too. `EINTR` is no failure.
    fn watched<T>(&self, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.failed.swap(true, Ordering::SeqCst) {
            self.touched_again.fetch_add(1, Ordering::SeqCst);
        }
        let done = action();
        let interrupted = |error: &io::Error| error.kind() == io::ErrorKind::Interrupted;
        if done.as_ref().is_ok() || done.as_ref().is_err_and(interrupted) {
            self.failed.store(false, Ordering::SeqCst);
        }
        done
    }
}

impl storage::ForwardFile for WatchedFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.watched(|| self.inner.write_at(bytes, offset))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.watched(|| self.inner.set_size(size))
    }

    fn sync(&self) -> io::Result<()> {
        self.watched(|| self.inner.sync())
    }
}
