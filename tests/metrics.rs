//! Guards P23: what a recorder of metrics gets is what the table says and what happened, and publishing changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ::metrics::{GaugeFn, Key, KeyName, Metadata, SharedString};
use actix::{Actor, Arbiter, Context, Handler};
use actix_wal::messages::LogEvent;
use actix_wal::metrics::{self, Kind, Metric, TABLE, Unit};
use actix_wal::storage::{Forward, ForwardFile, Storage, StorageFile};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultRule, ManualClock, MockLog, MockScript, SimDisk, errno,
};
use actix_wal::{
    AppendError, CommitError, DamagePolicy, Durability, LogState, Lsn, OpenError, OverloadPolicy,
    Wal, WalConfig,
};
use test_support::logs::{World, config, on_segments, until, within};
use test_support::recorded::{self, Recorded};
use test_support::sources::{read, root};

/// Settings of a log with this name.
fn named(name: &str) -> WalConfig {
    let mut config = config();
    config.name = Some(name.to_owned());
    config
}

const STATES: [&str; 7] =
    ["opening", "running", "unavailable", "no_space", "poisoned", "closing", "closed"];

/// Publishes, and says in which state the log is by its metrics: exactly one.
#[track_caller]
fn published_state(recorded: &Recorded, wal: &Wal, log: &str) -> &'static str {
    wal.publish_metrics();
    state_of(recorded, log)
}

#[track_caller]
fn state_of(recorded: &Recorded, log: &str) -> &'static str {
    let value = |state| recorded.number(log, "wal_state", &[("state", state)]);
    let is: Vec<_> = STATES.into_iter().filter(|state| value(state) == 1.0).collect();
    let zero = STATES.into_iter().filter(|state| value(state) == 0.0).count();
    assert_eq!((is.len(), zero), (1, STATES.len() - 1), "{is:?}");
    is[0]
}

/// A life with a rotation, a refusal, a fault, a reader, a hold and a checkpoint.
async fn eventful_life(world: &World, log: &str) -> Wal {
    let wal = world.open(named(log)).await;
    for durability in [Durability::Synchronous, Durability::GroupCommit] {
        within("commit", wal.commit_with("x", durability)).await.unwrap();
    }
    wal.append_with("nobody waits", Durability::Async).await.unwrap();
    within("flush", wal.flush()).await.unwrap();
    let range = wal.append_all(["one", "two", "three"]).await.unwrap();
    within("group", wal.wait_for_lsn(range.last)).await.unwrap();
    let large = wal.append(vec![0; 1 << 20]).await;
    assert!(matches!(large, Err(AppendError::TooLarge { .. })), "{large:?}");
    within("rotate", wal.rotate()).await.unwrap();
    let fails = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(1);
    world.plan.add(on_segments(fails));
    within("commit", wal.commit("written again")).await.unwrap();
    within("checkpoint", wal.checkpoint(range.last)).await.unwrap();
    wal
}

#[actix::test]
async fn a_recorder_gets_exactly_the_metrics_of_the_table_with_exactly_their_labels() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "table");
    let wal = eventful_life(&world, log).await;
    let (_reader, _hold) = (wal.read(Lsn::new(7)).await.unwrap(), wal.hold(Lsn::new(7), "a test"));
    wal.publish_metrics();
    let names = |metric: &Metric| -> BTreeSet<String> {
        metric.labels.iter().map(|label| label.name.to_owned()).collect()
    };
    let kind = |kind| match kind {
        Kind::Counter => recorded::Kind::Counter,
        Kind::Gauge => recorded::Kind::Gauge,
        Kind::Histogram => recorded::Kind::Histogram,
    };
    let table: BTreeMap<_, _> = TABLE
        .iter()
        .map(|metric| (metric.name.to_owned(), (kind(metric.kind), names(metric))))
        .collect();
    assert_eq!(table.len(), TABLE.len(), "a name is in the table twice");
    assert_eq!(recorded.kinds(log), table);
    for metric in TABLE {
        for label in metric.labels.iter().filter(|label| !label.values.is_empty()) {
            let found = recorded.values_of_label(log, metric.name, label.name);
            let allowed: BTreeSet<_> =
                label.values.iter().map(|value| (*value).to_owned()).collect();
            // There is no series of an operation that never failed.
            let is_right =
                if label.name == "op" { found.is_subset(&allowed) } else { found == allowed };
            assert!(is_right, "{} {}: {found:?}", metric.name, label.name);
        }
        let unit = match metric.unit {
            Unit::Seconds => ::metrics::Unit::Seconds,
            Unit::Bytes => ::metrics::Unit::Bytes,
            Unit::Count => ::metrics::Unit::Count,
        };
        let described = recorded.description(metric.name);
        assert_eq!(described, Some((kind(metric.kind), Some(unit), metric.meaning.to_owned())));
    }
    within("close", wal.close()).await.unwrap();
}

#[test]
fn names_and_units_of_the_table_are_what_exporters_expect() {
    let (mut names, mut alerts) = (Vec::new(), 0);
    for metric in TABLE {
        let Metric { name, kind, unit, labels, meaning, normal, panel, .. } = *metric;
        assert!(name.starts_with("wal_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        let base = name.trim_end_matches("_total");
        assert_eq!(base.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
        assert_eq!(base.ends_with("_bytes"), unit == Unit::Bytes, "{name}");
        assert_eq!(labels[0].name, "log", "{name}");
        for text in [meaning, normal, panel] {
            assert!(!text.is_empty() && !text.contains('|'), "{name}: {text}");
        }
        assert_eq!(metric.buckets().is_some(), kind == Kind::Histogram);
        assert!(metric.alerts.iter().all(|alert| alert.starts_with("Wal")), "{name}");
        alerts += metric.alerts.len();
        names.push(name);
    }
    assert!(alerts > 15, "{alerts}");
    assert_eq!((metrics::SECONDS[0], metrics::SECONDS[21]), (16e-6, 30.0));
    for bounds in [&metrics::SECONDS[..], &metrics::RECORDS, &metrics::BYTES] {
        assert!(bounds.is_sorted_by(|one, next| one < next));
    }
}

#[actix::test]
async fn counters_are_those_of_the_statistics() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "statistics");
    let wal = eventful_life(&world, log).await;
    wal.publish_metrics();
    within("close", wal.close()).await.unwrap();
    let (stats, status) = (wal.stats(), wal.status());
    let sum = |name: &str| recorded.sum(log, name) as u64;
    let outcome = |outcome: &str| {
        let modes = ["synchronous", "group_commit", "async"];
        let of = |mode| {
            recorded.number(log, "wal_commits_total", &[("mode", mode), ("outcome", outcome)])
        };
        modes.map(of).iter().sum::<f64>() as u64
    };
    assert_eq!(sum("wal_appended_records_total"), stats.accepted);
    assert_eq!(outcome("durable"), stats.durable);
    assert_eq!(outcome("not_durable"), stats.not_durable);
    assert_eq!(outcome("unknown"), stats.unknown);
    assert_eq!(sum("wal_append_bytes_total"), stats.durable_bytes);
    assert_eq!(sum("wal_refusals_total"), stats.refused);
    assert_eq!(recorded.number(log, "wal_refusals_total", &[("reason", "too_large")]), 1.0);
    let flushes = |cause| recorded.number(log, "wal_flushes_total", &[("cause", cause)]) as u64;
    let empty = ["start", "seal", "checkpoint", "close"].map(flushes);
    assert_eq!(sum("wal_flushes_total") - empty.iter().sum::<u64>(), stats.batches);
    assert_eq!(flushes("seal"), stats.seals);
    assert_eq!((flushes("close"), flushes("epoch")), (1, 1));
    assert_eq!(sum("wal_rotations_total"), stats.rotations);
    assert_eq!(sum("wal_restarts_total"), stats.restarts);
    assert_eq!(sum("wal_syncs_total"), stats.fsyncs);
    assert_eq!(sum("wal_written_bytes_total"), stats.bytes_written);
    let io = [("op", "sync"), ("errno", "EIO")];
    assert_eq!(recorded.number(log, "wal_io_errors_total", &io) as u64, stats.io_errors);
    assert_eq!(sum("wal_durable_lsn"), status.durable.get());
    assert_eq!(sum("wal_accepted_lsn"), status.accepted.get());
    assert_eq!(sum("wal_checkpoint_lsn"), status.low_water.get());
    assert_eq!((stats.restarts, stats.io_errors, stats.refused), (1, 1, 1), "it was eventful");
    for stage in ["queue", "linger", "write", "sync", "notify", "commit"] {
        let name = format!("wal_{stage}_seconds");
        assert_eq!(recorded.value(log, &name, &[]).values.len() as u64, stats.batches, "{name}");
    }
    let records = recorded.value(log, "wal_batch_records", &[]).values;
    assert_eq!(records.iter().sum::<f64>() as u64, stats.durable);
    let bytes = recorded.value(log, "wal_batch_bytes", &[]).values;
    assert_eq!(bytes.iter().sum::<f64>() as u64, stats.durable_bytes);
}

/// A disk on which a write and a sync of the flush thread take as long as a clock says, which stands still otherwise.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn Storage>,
    clock: ManualClock,
}

const WRITE: Duration = Duration::from_micros(250);
const SYNC: Duration = Duration::from_micros(8_300);

impl Forward for Timed {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn file(&self, _: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(TimedFile { inner, clock: self.clock.clone() })
    }
}

#[derive(Debug)]
struct TimedFile {
    inner: Box<dyn StorageFile>,
    clock: ManualClock,
}

impl TimedFile {
    fn takes(&self, time: Duration) {
        if thread::current().name() == Some("wal-flush") {
            self.clock.advance(time);
        }
    }
}

impl ForwardFile for TimedFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.takes(WRITE);
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.takes(SYNC);
        self.inner.sync()
    }
}

async fn timed(log: &str) -> (Wal, ManualClock) {
    let clock = ManualClock::new();
    let inner = SimDisk::new().mount().unwrap();
    let storage = Arc::new(Timed { inner, clock: clock.clone() });
    let open = Wal::open(named(log)).on_storage(storage).with_clock(Arc::new(clock.clone()));
    (within("open", open).await.unwrap(), clock)
}

#[actix::test]
async fn three_batches_give_three_values_of_each_stage_in_seconds() {
    let (recorded, log) = (Recorded::globally(), "stages");
    let (wal, _clock) = timed(log).await;
    for _ in 0..3 {
        within("commit", wal.commit("x")).await.unwrap();
    }
    wal.publish_metrics();
    let stages =
        [("queue", 0.0), ("linger", 0.0), ("write", 0.000_25), ("sync", 0.0083), ("notify", 0.0)];
    for (stage, seconds) in stages.into_iter().chain([("commit", 0.008_55)]) {
        let values = recorded.value(log, &format!("wal_{stage}_seconds"), &[]).values;
        assert_eq!(values.len(), 3, "{stage}");
        for value in values {
            assert!((value - seconds).abs() < 1e-12, "{stage}: {value} is not {seconds}");
        }
    }
    assert_eq!(recorded.value(log, "wal_batch_records", &[]).values, [1.0; 3]);
    assert_eq!(recorded.value(log, "wal_admission_wait_seconds", &[]).values, [0.0; 0]);
    // What was published once is not published again.
    wal.publish_metrics();
    assert_eq!(recorded.value(log, "wal_sync_seconds", &[]).values.len(), 3);
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn the_age_of_what_is_not_durable_and_of_holds_and_readers_is_by_the_clock_of_the_log() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "ages");
    let clock = ManualClock::new();
    let open =
        Wal::open(named(log)).on_storage(world.storage()).with_clock(Arc::new(clock.clone()));
    let wal = within("open", open).await.unwrap();
    let first = within("commit", wal.commit("x")).await.unwrap();
    let number = |name: &str| recorded.number(log, name, &[]);
    let age = |kind| recorded.number(log, "wal_hold_age_seconds", &[("kind", kind)]);
    wal.publish_metrics();
    assert_eq!((number("wal_unsynced_bytes"), number("wal_unsynced_age_seconds")), (0.0, 0.0));
    assert_eq!((age("hold"), age("reader")), (0.0, 0.0));

    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    let stuck = wal.append("abc").await.unwrap();
    let hold = wal.hold(first, "a test").unwrap();
    assert!(world.plan.wait_until_stuck(Duration::from_secs(30)));
    clock.advance(Duration::from_secs(2));
    let reader = wal.read(first).await.unwrap();
    clock.advance(Duration::from_millis(1500));
    // The Appender notes the younger one beside it.
    wal.append("defg").await.unwrap();
    wal.publish_metrics();
    assert_eq!(number("wal_unsynced_age_seconds"), 3.5);
    assert_eq!(number("wal_unsynced_bytes"), (3 + 5 + 4 + 5) as f64);
    assert_eq!((age("hold"), age("reader")), (3.5, 1.5));
    assert_eq!(number("wal_in_flight_records"), 2.0);
    assert_eq!(number("wal_in_flight_bytes"), 17.0);

    world.let_go();
    within("flush", wal.flush()).await.unwrap();
    assert!(wal.durable_lsn() > stuck);
    drop((hold, reader));
    wal.publish_metrics();
    assert_eq!((number("wal_unsynced_bytes"), number("wal_unsynced_age_seconds")), (0.0, 0.0));
    assert_eq!((age("hold"), age("reader")), (0.0, 0.0));
    assert_eq!(number("wal_in_flight_records"), 0.0);
    within("close", wal.close()).await.unwrap();
}

/// `Wal::holds` ends leases that have run out. A look of the metrics must not.
#[actix::test]
async fn p23_publishing_ends_no_lease_of_a_reader() {
    let (recorded, log) = (Recorded::globally(), "lease");
    let clock = ManualClock::new();
    let storage = SimDisk::new().mount().unwrap();
    let mut config = named(log);
    config.reader_lease = Duration::from_secs(1);
    let open = Wal::open(config).on_storage(storage).with_clock(Arc::new(clock.clone()));
    let wal = within("open", open).await.unwrap();
    for _ in 0..3 {
        within("commit", wal.commit("x")).await.unwrap();
    }
    let mut reader = wal.read(Lsn::FIRST).await.unwrap();
    within("checkpoint", wal.checkpoint(Lsn::new(2))).await.unwrap();
    clock.advance(Duration::from_secs(5));
    wal.publish_metrics();
    let age = recorded.number(log, "wal_hold_age_seconds", &[("kind", "reader")]);
    assert_eq!(age, 5.0);
    let batch = within("read", reader.next_batch()).await;
    assert!(
        matches!(batch, Some(Ok(_))),
        "its lease has run out, and nobody has asked for its segment"
    );
    drop(reader);
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn the_state_moves_and_a_closed_log_has_nothing_in_flight() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "states");
    let mut config = named(log);
    config.restart_budget.backoff = Duration::from_millis(300);
    config.restart_budget.max_backoff = Duration::from_millis(300);
    let wal = world.open(config).await;
    assert_eq!(published_state(&recorded, &wal, log), "running");
    let fails = |errno| FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno)).times(1);
    world.plan.add(on_segments(fails(errno::EIO)));
    let lsn = wal.append("written again").await.unwrap();
    until("the fault", || matches!(wal.status().state, LogState::Unavailable(_))).await;
    assert_eq!(published_state(&recorded, &wal, log), "unavailable");
    assert_eq!(recorded.number(log, "wal_in_flight_records", &[]), 1.0);
    within("resend", wal.wait_for_lsn(lsn)).await.unwrap();
    assert_eq!(published_state(&recorded, &wal, log), "running");

    // They outlive the log, which has neither any more.
    let _permit = wal.admission().try_acquire(1, 10).unwrap();
    let _hold = wal.hold(lsn, "a test").unwrap();
    world.plan.add(on_segments(fails(errno::EROFS)));
    let poisoned = within("commit", wal.commit("lost")).await;
    assert!(matches!(poisoned, Err(CommitError::Unknown { .. } | CommitError::NotDurable { .. })));
    assert_eq!(published_state(&recorded, &wal, log), "poisoned");
    let io = [("op", "sync"), ("errno", "EROFS")];
    assert_eq!(recorded.number(log, "wal_io_errors_total", &io), 1.0);
    assert_eq!(recorded.number(log, "wal_unsynced_bytes", &[]), 0.0);
    let unknown = [("mode", "group_commit"), ("outcome", "unknown")];
    assert_eq!(recorded.number(log, "wal_commits_total", &unknown), 1.0);
    let refused = wal.append("too late").await;
    assert!(matches!(refused, Err(AppendError::Poisoned { .. })), "{refused:?}");
    assert!(within("close", wal.close()).await.is_err());
    // By the close itself.
    assert_eq!(state_of(&recorded, log), "closed");
    assert_eq!(recorded.number(log, "wal_refusals_total", &[("reason", "poisoned")]), 1.0);
    for gauge in ["wal_in_flight_records", "wal_in_flight_bytes", "wal_prepared_segments"] {
        assert_eq!(recorded.number(log, gauge, &[]), 0.0, "{gauge}");
    }
    assert_eq!(recorded.number(log, "wal_hold_age_seconds", &[("kind", "hold")]), 0.0);
}

#[actix::test]
async fn a_log_publishes_by_itself_and_says_that_it_has_closed_when_its_last_handle_is_dropped() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "alone");
    let wal = world.open(named(log)).await;
    within("commit", wal.commit("x")).await.unwrap();
    let committed = [("mode", "group_commit"), ("outcome", "durable")];
    let count = || recorded.number(log, "wal_commits_total", &committed);
    until("the thread publishes", || count() == 1.0).await;
    let free = || recorded.number(log, "wal_free_bytes", &[]);
    until("the free space is known, or it is known that there is none", || !free().eq(&0.0)).await;
    within("commit", wal.commit("y")).await.unwrap();
    drop(wal);
    until("it has closed", || state_of(&recorded, log) == "closed").await;
    let closes = || recorded.number(log, "wal_flushes_total", &[("cause", "close")]);
    assert_eq!((count(), closes()), (2.0, 1.0), "the last numbers are published too");

    // The next life goes on counting, and the one before does not disturb it.
    until("the directory is free", || world.disk.mount().is_ok()).await;
    let again = world.open(named(log)).await;
    assert_eq!(published_state(&recorded, &again, log), "running");
    assert_eq!(recorded.number(log, "wal_recovered_records", &[]), 2.0);
    within("commit", again.commit("z")).await.unwrap();
    again.publish_metrics();
    assert_eq!(count(), 3.0);
    within("close", again.close()).await.unwrap();
}

#[actix::test]
async fn what_the_flush_thread_writes_after_its_actors_have_ended_is_published_too() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "abandoned");
    let arbiter = Arbiter::new();
    let open = Wal::open(named(log)).on_storage(world.storage()).in_arbiter(arbiter.handle());
    let wal = within("open", open).await.unwrap();
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    wal.append("its sync is stuck").await.unwrap();
    assert!(world.plan.wait_until_stuck(Duration::from_secs(30)));
    arbiter.stop();
    arbiter.join().unwrap();
    until("the log has closed", || state_of(&recorded, log) == "closed").await;
    let committed = [("mode", "group_commit"), ("outcome", "durable")];
    let count = || recorded.number(log, "wal_commits_total", &committed);
    assert_eq!(count(), 0.0);
    // Also where a host asks, and after more than one look of the thread.
    wal.publish_metrics();
    world.let_go();
    until("the commit is published", || count() == 1.0).await;
    assert_eq!(state_of(&recorded, log), "closed");
}

#[actix::test]
async fn two_logs_of_a_process_are_told_apart_by_name_or_place() {
    let recorded = Recorded::globally();
    let (one, other) = (World::new(), World::new());
    let named = one.open(named("orders")).await;
    let place = other.storage().location();
    let placed = other.open(config()).await;
    for (wal, commits) in [(&named, 2), (&placed, 5)] {
        for _ in 0..commits {
            within("commit", wal.commit("x")).await.unwrap();
        }
        wal.publish_metrics();
    }
    let count = |log: &str| recorded.sum(log, "wal_commits_total");
    assert_eq!((count("orders"), count(&place)), (2.0, 5.0));
    within("close", named.close()).await.unwrap();
    within("close", placed.close()).await.unwrap();
}

#[actix::test]
async fn an_append_that_waits_for_room_and_one_that_is_refused_for_it_are_counted() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "room");
    let mut config = named(log);
    config.max_in_flight_entries = 1;
    assert_eq!(config.overload, OverloadPolicy::Wait);
    let wal = world.open(config).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    wal.append("takes all room").await.unwrap();
    let waiting = actix::spawn({
        let wal = wal.clone();
        async move { wal.commit("waits").await }
    });
    until("it waits", || wal.status().waiting_for_admission == 1).await;
    let permit = wal.admission().try_acquire(1, 10);
    assert!(permit.is_err());
    wal.publish_metrics();
    assert_eq!(recorded.number(log, "wal_waiting_appends", &[]), 1.0);
    assert_eq!(recorded.number(log, "wal_in_flight_limit_records", &[]), 1.0);
    world.let_go();
    within("the one that waited", waiting).await.unwrap().unwrap();
    wal.publish_metrics();
    assert_eq!(recorded.value(log, "wal_admission_wait_seconds", &[]).values.len(), 1);
    assert_eq!(recorded.number(log, "wal_waiting_appends", &[]), 0.0);
    within("close", wal.close()).await.unwrap();
}

/// A subscriber that handles nothing before it is let go.
struct Deaf(Receiver<()>);

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Deaf {
    type Result = ();

    fn handle(&mut self, _: LogEvent, _: &mut Self::Context) {
        // An error says that it was let go.
        let _ = self.0.recv();
    }
}

#[actix::test]
async fn a_subscriber_that_is_behind_shows_until_it_has_caught_up() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "subscriber");
    let wal = world.open(named(log)).await;
    within("commit", wal.commit("before")).await.unwrap();
    let (let_go, stays) = channel();
    let arbiter = Arbiter::new();
    let deaf = Deaf::start_in_arbiter(&arbiter.handle(), |_| Deaf(stays));
    within("subscribe", wal.subscribe(deaf.recipient())).await.unwrap();
    let lag = || {
        wal.publish_metrics();
        recorded.number(log, "wal_subscriber_lag_records", &[])
    };
    assert_eq!(lag(), 0.0);
    for _ in 0..60 {
        within("commit", wal.commit("x")).await.unwrap();
    }
    let behind = lag();
    assert!((30.0..60.0).contains(&behind), "{behind} behind, with a mailbox for a few");
    drop(let_go);
    until("it has caught up", || lag() == 0.0).await;
    within("close", wal.close()).await.unwrap();
    arbiter.stop();
}

#[actix::test]
async fn damage_is_counted_where_the_open_is_refused_and_where_it_is_salvaged() {
    let (recorded, world, log) = (Recorded::globally(), World::new(), "damage");
    let wal = world.open(named(log)).await;
    for _ in 0..3 {
        within("commit", wal.commit("x")).await.unwrap();
    }
    within("close", wal.close()).await.unwrap();
    drop(wal);
    until("the directory is free", || world.disk.mount().is_ok()).await;
    let first = world.disk.names().into_iter().find(|name| name.ends_with(".wal")).unwrap();
    // The frame of the second record: behind the header and the start frame.
    assert!(world.disk.rot(&first, 3 * 512 + 40, 1));
    let open = Wal::open(named(log)).on_storage(world.storage());
    let refused = within("open", open).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Damaged(_))), "{refused:?}");
    let count = |outcome| recorded.number(log, "wal_damages_total", &[("outcome", outcome)]);
    assert_eq!((count("refused"), count("salvaged")), (1.0, 0.0));
    let mut salvaging = named(log);
    salvaging.damage_policy = DamagePolicy::Salvage;
    let wal = world.open(salvaging).await;
    assert_eq!((count("refused"), count("salvaged")), (1.0, 1.0));
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn a_log_that_its_host_composes_is_published_when_the_host_asks() {
    let (recorded, log) = (Recorded::globally(), "composed");
    let (wal, _mock) = MockLog::with_config(&named(log), MockScript::acknowledge());
    within("commit", wal.commit("x")).await.unwrap();
    assert_eq!(published_state(&recorded, &wal, log), "running");
    assert_eq!(recorded.sum(log, "wal_appended_records_total"), 1.0);
    within("close", wal.close()).await.unwrap();
    assert_eq!(state_of(&recorded, log), "closed");
}

/// A recorder with a defect.
struct Panics;

impl ::metrics::Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> ::metrics::Counter {
        ::metrics::Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> ::metrics::Gauge {
        if key.labels().any(|label| label.value() == "panics at once") {
            panic!("a defect of a recorder");
        }
        ::metrics::Gauge::from_arc(Arc::new(Panics))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> ::metrics::Histogram {
        ::metrics::Histogram::noop()
    }
}

impl GaugeFn for Panics {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        panic!("a defect of a recorder");
    }
}

#[test]
fn p23_a_recorder_that_panics_costs_the_metrics_and_nothing_else() {
    for log in ["panics at once", "panics later"] {
        ::metrics::with_local_recorder(&Panics, || {
            actix::System::new().block_on(async {
                let world = World::new();
                let wal = world.open(named(log)).await;
                let lsn = within("commit", wal.commit("x")).await.unwrap();
                wal.publish_metrics();
                within("close", wal.close()).await.unwrap();
                assert_eq!(world.records().await[&lsn], b"x");
            });
        });
    }
}

/// The page that the table makes.
fn page() -> String {
    let mut page = read("docs/metrics.md");
    let marker = "<!-- the table: UPDATE_METRICS=1 cargo test --test metrics -->\n";
    let head = page.find(marker).expect("the page says where the table begins");
    page.truncate(head + marker.len());
    let mut panel = "";
    for metric in TABLE {
        if metric.panel != panel {
            panel = metric.panel;
            page += &format!("\n## {panel}\n\n");
            page += "| metric | type | labels | meaning | normally | alerts |\n";
            page += "|---|---|---|---|---|---|\n";
        }
        let labels: Vec<_> =
            metric.labels[1..].iter().map(|label| format!("`{}`", label.name)).collect();
        let alerts: Vec<_> = metric.alerts.iter().map(|alert| format!("`{alert}`")).collect();
        let alert = alerts.join(", ");
        let (name, kind, labels) = (metric.name, metric.kind.name(), labels.join(", "));
        let (meaning, normal) = (metric.meaning, metric.normal);
        page += &format!("| `{name}` | {kind} | {labels} | {meaning} | {normal} | {alert} |\n");
    }
    page += "\n## Labels\n\n| label | of | values |\n|---|---|---|\n";
    for metric in TABLE {
        for label in &metric.labels[1..] {
            let values: Vec<_> = label.values.iter().map(|value| format!("`{value}`")).collect();
            let values = if values.is_empty() { "open".to_owned() } else { values.join(", ") };
            page += &format!("| `{}` | `{}` | {values} |\n", label.name, metric.name);
        }
    }
    page
}

#[test]
fn the_page_of_metrics_is_the_table() {
    let page = page();
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(root().join("docs/metrics.md"), &page).unwrap();
    }
    assert!(
        read("docs/metrics.md") == page,
        "write it: UPDATE_METRICS=1 cargo test --test metrics"
    );
}

/// The names in backticks on a page that begin with `wal_`, without what stands behind them.
fn metrics_on(page: &str) -> std::collections::BTreeSet<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let words =
        quoted.flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
    words.filter(|word| word.starts_with("wal_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_and_setting_of_the_guide_to_tuning_exists_and_no_setting_is_left_out() {
    let guide = read("docs/tuning.md");
    let named = metrics_on(&guide);
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<_> =
        named.iter().filter(|name| TABLE.iter().all(|metric| metric.name != **name)).collect();
    assert!(unknown.is_empty(), "no log has {unknown:?}");
    let config = serde_json::to_value(actix_wal::WalConfig::new("x")).unwrap();
    let settings = config.as_object().unwrap().keys();
    let left_out: Vec<_> = settings.filter(|name| !guide.contains(&format!("`{name}`"))).collect();
    assert!(left_out.is_empty(), "the guide says nothing of {left_out:?}");
}
