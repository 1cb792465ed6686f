//! Guards P1, P19 and P25 in log and snapshots together: both lie on one simulated disk, whose power is cut after each
//! operation, while clients commit and snapshots are written. From each state in which the disk may be found all that was
//! acknowledged is recovered, and so it is if the newest snapshot has gone bad as well.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "snapshots/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_wal::storage::Storage;
use actix_wal::testkit::{Cuts, Mark, OpLog, Persist, Recorder, SimDisk};
use actix_wal::{FlushPolicy, Wal, WalConfig};
use actix_wal_txn::messages::TakeSnapshot;
use actix_wal_txn::recovery::Recovery;
use actix_wal_txn::snapshot_file::{list, lsn_of, name_of};
use actix_wal_txn::snapshotting::SnapshotPlan;
use world::{Coordinator, check, life, run_to};

fn config() -> WalConfig {
    let mut config = WalConfig::new("unused");
    (config.block_size, config.segment_size) = (512, 24 * 512);
    config.max_in_flight_entries = 16;
    config.flush_policy = FlushPolicy::Eager;
    config
}

fn recovery(storage: &Arc<dyn Storage>) -> Recovery {
    let mut plan = SnapshotPlan::on_storage(Arc::clone(storage));
    plan.after_log_bytes = None;
    Recovery::new(Wal::open(config()).on_storage(Arc::clone(storage))).snapshots(plan)
}

const ACKNOWLEDGED: &str = "acknowledged";

/// Steps in small windows, each marked when its client has the answer.
async fn steps(coordinator: &Coordinator, log: &OpLog, from: u64, upto: u64) {
    for at in (from + 1..=upto).step_by(3).chain([upto]) {
        run_to(coordinator, at).await;
        log.mark(ACKNOWLEDGED, at);
    }
}

/// Two lives: snapshots with clients at work, without them, and one at an LSN that has one already.
async fn record() -> OpLog {
    let recorder = Recorder::new(SimDisk::new().mount().unwrap()).unwrap();
    let log = recorder.log();
    let storage: Arc<dyn Storage> = Arc::new(recorder);
    let mut done = 0;
    for _ in 0..2 {
        let (wal, coordinator) = life(recovery(&storage)).await;
        for _ in 0..4 {
            steps(&coordinator, &log, done, done + 9).await;
            let clients = actix::spawn({
                let (coordinator, log) = (coordinator.clone(), log.clone());
                async move { steps(&coordinator, &log, done + 9, done + 18).await }
            });
            coordinator.send(TakeSnapshot).await.unwrap().unwrap();
            clients.await.unwrap();
            done += 18;
        }
        for _ in 0..2 {
            coordinator.send(TakeSnapshot).await.unwrap().unwrap();
        }
        wal.close().await.unwrap();
    }
    log
}

/// What was seen over all images.
#[derive(Debug, Default)]
struct Seen {
    images: u64,
    began_with: BTreeSet<u64>,
    unfinished: u64,
    released: u64,
    passed_over: u64,
}

/// Recovers from an image. Returns how many steps that gives.
async fn recovered(disk: &SimDisk, seen: &mut Seen) -> u64 {
    let storage = disk.mount().unwrap();
    let (wal, recovered) = recovery(&storage).open().await.unwrap();
    let steps = check(&recovered);
    seen.began_with.insert(recovered.report.snapshot.map_or(0, |snapshot| snapshot.lsn.get()));
    seen.passed_over += recovered.report.bad.len() as u64;
    seen.released += u64::from(!wal.recovery_report().low_water.is_none());
    assert!(!disk.names().iter().any(|name| name.ends_with(".unfinished")));
    drop(recovered);
    drop(storage);
    wal.close().await.unwrap();
    steps
}

async fn look(disk: SimDisk, acknowledged: u64, what: &str, seen: &mut Seen) {
    seen.images += 1;
    seen.unfinished += u64::from(disk.names().iter().any(|name| name.ends_with(".unfinished")));
    let newest = disk.names().iter().filter_map(|name| lsn_of(name)).max();
    let bad = disk.fork();
    let steps = recovered(&disk, seen).await;
    assert!(steps >= acknowledged, "{what}: {steps} of {acknowledged}");
    if let Some(newest) = newest {
        assert!(bad.rot(&name_of(newest), 45, 3), "{what}: it has a first block");
        let again = recovered(&bad, seen).await;
        assert!(again >= acknowledged, "{what}, and {newest} is bad: {again} of {acknowledged}");
    }
}

fn images(cuts: &Cuts) -> Vec<(String, SimDisk)> {
    let few = cuts.possible_images();
    let ways: Vec<_> = if few <= 6 {
        (0..few).map(|number| Persist::Chosen { number }).collect()
    } else {
        let torn = (0..2).map(|seed| Persist::Torn { seed });
        [Persist::Dropped, Persist::Kept].into_iter().chain(torn).collect()
    };
    let cut = ways.into_iter().map(|how| (format!("{how:?}"), cuts.image(how)));
    cut.chain([("killed".to_owned(), cuts.killed())]).collect()
}

#[actix::test]
async fn p1_p19_p25_a_power_cut_after_any_operation_loses_nothing_even_if_a_snapshot_is_bad() {
    let log = record().await;
    let (mut cuts, mut seen) = (log.cuts(), Seen::default());
    loop {
        let told = cuts.marks().iter().filter(|Mark { kind, .. }| *kind == ACKNOWLEDGED);
        let acknowledged = told.map(|mark| mark.value).max().unwrap_or(0);
        for (how, disk) in images(&cuts) {
            let what = format!("after {} operations, {how}", cuts.position());
            look(disk, acknowledged, &what, &mut seen).await;
        }
        if !cuts.advance() {
            break;
        }
    }
    println!("{seen:?}");
    assert!(seen.began_with.len() > 8, "{seen:?}");
    assert!(seen.unfinished > 20 && seen.released > 100 && seen.passed_over > 100, "{seen:?}");
    let left = list(&*cuts.killed().mount().unwrap()).unwrap();
    assert_eq!(left.len(), 2, "what is not relied on has been removed: {left:?}");
}
