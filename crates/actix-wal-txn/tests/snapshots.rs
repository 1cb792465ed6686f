//! Guards P19, P25, P1 and P6 in snapshots that are written while clients commit, and in the recovery from them, at the
//! level of messages: with a real log and real files.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "snapshots/world.rs"]
mod world;

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, errno};
use actix_wal::{Lsn, Wal, WalConfig};
use actix_wal_txn::error::{RecoverError, SnapshotFailure};
use actix_wal_txn::messages::{GetSnapshots, GetUsage, SnapshotsStatus, TakeSnapshot};
use actix_wal_txn::recovery::{Recovered, Recovery, RecoveryProgress};
use actix_wal_txn::snapshot_file::{Section, SnapshotFault, SnapshotReader, list, name_of};
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::{Limits, StoreError};
use actix_wal_txn::tokens::TokenOutcome;
use world::{Coordinator, Folders, check, life, refused, run_to, token};

/// The folder, once no life has it open: a coordinator ends a moment after its log.
async fn storage(folders: &Folders) -> Arc<dyn Storage> {
    loop {
        match Directory::open(folders.snapshots()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                actix::clock::sleep(Duration::from_millis(1)).await;
            }
            opened => return Arc::new(opened.unwrap()),
        }
    }
}

/// The snapshots in it.
async fn there_are(folders: &Folders) -> Vec<u64> {
    list(&*storage(folders).await).unwrap().into_iter().map(Lsn::get).collect()
}

async fn status(coordinator: &Coordinator) -> SnapshotsStatus {
    coordinator.send(GetSnapshots).await.unwrap().unwrap()
}

/// Steps up to each of these, with a snapshot behind each, and a clean end.
async fn snapshots_at(folders: &Folders, steps: &[u64]) {
    let (wal, coordinator) = life(folders.recovery()).await;
    for upto in steps {
        run_to(&coordinator, *upto).await;
        let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
        assert_eq!(taken.lsn, Lsn::new(*upto), "one step is one record");
    }
    wal.close().await.unwrap();
}

#[actix::test]
async fn p25_a_snapshot_that_is_written_while_clients_commit_shows_exactly_its_lsn() {
    let folders = Folders::new();
    let (wal, coordinator) = life(folders.recovery()).await;
    run_to(&coordinator, 3000).await;
    let clients = actix::spawn({
        let coordinator = coordinator.clone();
        async move { run_to(&coordinator, 9000).await }
    });
    while coordinator.send(GetUsage).await.unwrap().on_the_way == 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    assert!(!clients.is_finished(), "nothing was committed meanwhile");
    clients.await.unwrap();
    assert!((3000..9000).contains(&taken.lsn.get()), "{taken:?}");
    assert_eq!(taken.released, None, "nothing stands behind the first one");
    wal.close().await.unwrap();
    drop(coordinator);

    // By the file alone: the state after as many steps as there were LSNs.
    let mut reader = SnapshotReader::open(&*storage(&folders).await, taken.lsn).unwrap();
    let (mut rows, mut tokens) = (Vec::new(), Vec::new());
    while let Some(section) = reader.next_block().unwrap() {
        match section {
            Section::Rows(more) => rows.extend(more.into_iter().map(|row| (row.key, row.value))),
            Section::Branches(_) => {}
            Section::Tokens { tokens: more, complete } => {
                assert!(complete);
                tokens.extend(more);
            }
        }
    }
    assert_eq!(rows.into_iter().collect::<world::State>(), world::state_after(taken.lsn.get()));
    drop(reader);
    let expected = (1..=taken.lsn.get()).map(|n| (token(n - 1), Lsn::new(n)));
    assert!(tokens.into_iter().eq(expected));

    let (wal, recovered) = folders.recovery().open().await.unwrap();
    assert_eq!(recovered.report.snapshot.map(|loaded| loaded.lsn), Some(taken.lsn));
    assert_eq!(recovered.report.commits, 9000 - taken.lsn.get());
    assert_eq!(check(&recovered), 9000);
    wal.close().await.unwrap();
}

#[actix::test]
async fn p19_two_snapshots_are_kept_and_the_log_is_released_up_to_the_older_one() {
    let folders = Folders::new();
    let (wal, coordinator) = life(folders.recovery()).await;
    for (upto, released) in [(10, None), (20, Some(10)), (30, Some(20)), (40, Some(30))] {
        run_to(&coordinator, upto).await;
        let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
        assert_eq!((taken.lsn, taken.released), (Lsn::new(upto), released.map(Lsn::new)));
        assert_eq!(wal.status().low_water, Lsn::new(released.unwrap_or(0)));
    }
    // Nothing is written again: that would take the newest one away for a moment.
    let same = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    assert_eq!((same.lsn, same.took), (Lsn::new(40), Duration::ZERO));
    let status = status(&coordinator).await;
    assert_eq!((status.newest, status.older), (Some(Lsn::new(40)), Some(Lsn::new(30))));
    assert_eq!((status.taken, status.failed, status.running), (4, 0, None));
    wal.close().await.unwrap();
    drop(coordinator);
    assert_eq!(there_are(&folders).await, [40, 30]);

    // The next life relies on the one that it has read.
    let (wal, coordinator) = life(folders.recovery()).await;
    run_to(&coordinator, 50).await;
    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    assert_eq!(taken.released, Some(Lsn::new(40)));
    wal.close().await.unwrap();
    drop(coordinator);
    assert_eq!(there_are(&folders).await, [50, 40]);
}

#[actix::test]
async fn p19_a_bad_newest_snapshot_falls_back_to_the_one_before_and_the_log_since() {
    for damage in ["a bit", "the end", "all of it", "its last block"] {
        let folders = Folders::new();
        snapshots_at(&folders, &[100, 200, 300]).await;
        let file = folders.snapshots().join(name_of(Lsn::new(300)));
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        match damage {
            "a bit" => bytes[middle] ^= 1,
            "the end" => bytes.truncate(bytes.len() - 1),
            "all of it" => bytes.clear(),
            _ => drop(bytes.drain(middle..middle + 64)),
        }
        fs::write(&file, bytes).unwrap();

        let (wal, recovered) = folders.recovery().open().await.unwrap();
        assert_eq!(check(&recovered), 300, "{damage}");
        let report = &recovered.report;
        assert_eq!((report.snapshot.unwrap().lsn, report.commits), (Lsn::new(200), 100));
        assert_eq!(report.bad.len(), 1, "{:?}", report.bad);
        assert!(report.bad[0].to_string().contains(&name_of(Lsn::new(300))), "{}", report.bad[0]);

        // The bad one counts for nothing: the log is not released up to it.
        let coordinator = world::coordinate(&wal, recovered).await;
        run_to(&coordinator, 400).await;
        let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
        assert_eq!(taken.released, Some(Lsn::new(200)), "{damage}");
        wal.close().await.unwrap();
        drop(coordinator);
        assert_eq!(there_are(&folders).await, [400, 200], "{damage}");
    }
}

#[actix::test]
async fn p10_without_a_good_snapshot_a_released_log_is_refused_with_what_is_wrong() {
    let folders = Folders::new();
    snapshots_at(&folders, &[100, 200, 300]).await;
    for lsn in [200, 300] {
        fs::write(folders.snapshots().join(name_of(Lsn::new(lsn))), "nothing").unwrap();
    }
    let text = refused(folders.recovery()).await.to_string();
    assert!(text.starts_with("the log has released its records up to LSN 200, so"), "{text}");
    for part in [&name_of(Lsn::new(200)), &name_of(Lsn::new(300)), "from a backup", "snapshots:"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A folder that is not there, as one whose disk is not mounted.
    fs::remove_dir_all(folders.snapshots()).unwrap();
    let text = refused(folders.recovery()).await.to_string();
    assert!(text.contains("there is none in "), "{text}");
    let text = refused(Recovery::new(Wal::open(folders.config()))).await.to_string();
    assert!(text.contains("no folder for snapshots was given"), "{text}");
}

#[actix::test]
async fn p14_a_snapshot_of_another_log_or_of_a_newer_program_is_refused_and_not_passed_over() {
    let (own, other) = (Folders::new(), Folders::new());
    snapshots_at(&own, &[10, 20]).await;
    snapshots_at(&other, &[10, 15]).await;
    let put = |lsn: u64, bytes: &[u8]| {
        fs::write(own.snapshots().join(name_of(Lsn::new(lsn))), bytes).unwrap();
    };
    let bytes = |of: &Folders, lsn| fs::read(of.snapshots().join(name_of(Lsn::new(lsn)))).unwrap();

    // An older one, which would not even be loaded.
    put(15, &bytes(&other, 15));
    let foreign = refused(own.recovery()).await;
    assert!(
        matches!(&foreign, RecoverError::Snapshot(error) if matches!(error.fault, SnapshotFault::Foreign { .. })),
        "{foreign}"
    );
    assert!(foreign.to_string().contains(&name_of(Lsn::new(15))), "{foreign}");
    fs::remove_file(own.snapshots().join(name_of(Lsn::new(15)))).unwrap();

    let good = bytes(&own, 20);
    let mut newer = good.clone();
    newer[8] = 2;
    put(20, &newer);
    let newer = refused(own.recovery()).await.to_string();
    assert!(newer.contains("version 2") && newer.contains("use a newer program"), "{newer}");

    put(20, &good);
    let (wal, recovered) = own.recovery().open().await.unwrap();
    assert_eq!(check(&recovered), 20, "what was refused has changed nothing");
    wal.close().await.unwrap();
}

#[actix::test]
async fn p10_a_snapshot_that_is_newer_than_the_log_is_refused() {
    for is_clean in [true, false] {
        let folders = Folders::new();
        let (wal, coordinator) = life(folders.recovery()).await;
        run_to(&coordinator, 50).await;
        if is_clean {
            wal.close().await.unwrap();
            drop((wal, coordinator));
            folders.copy_log("older");
        } else {
            // As it is while it runs: its next life leaves a gap above LSN 50.
            folders.copy_log("older");
            wal.close().await.unwrap();
            drop((wal, coordinator));
        }
        let (wal, coordinator) = life(folders.recovery()).await;
        run_to(&coordinator, 60).await;
        coordinator.send(TakeSnapshot).await.unwrap().unwrap();
        wal.close().await.unwrap();
        drop((wal, coordinator));

        folders.restore_log("older");
        for _ in 0..2 {
            let older = refused(folders.recovery()).await;
            let RecoverError::OlderLog { lsn, end, .. } = &older else { panic!("{older}") };
            assert_eq!((*end, *lsn > Lsn::new(50)), (Lsn::new(50), true), "clean: {is_clean}");
        }
        // What its text says to do.
        fs::remove_dir_all(folders.snapshots()).unwrap();
        let (wal, recovered) = folders.recovery().open().await.unwrap();
        assert_eq!(check(&recovered), 50);
        wal.close().await.unwrap();
    }
}

#[actix::test]
async fn p6_a_file_that_can_not_be_written_is_told_with_its_cause_and_commits_go_on() {
    use FaultOp::{Create, Rename, Sync, SyncDir, Write};
    let folders = Folders::new();
    let plan = FaultPlan::new();
    let faulty: Arc<dyn Storage> =
        Arc::new(FaultyStorage::new(storage(&folders).await, plan.clone()));
    let snapshots = SnapshotPlan::on_storage(Arc::clone(&faulty));
    let (wal, coordinator) = life(folders.recovery().snapshots(snapshots)).await;
    run_to(&coordinator, 3000).await;
    let mut done = 3000;
    for (op, errno) in [
        (Create, errno::EROFS),
        (Write, errno::ENOSPC),
        (Sync, errno::EIO),
        (Rename, errno::EIO),
        (SyncDir, errno::EIO),
    ] {
        plan.add(FaultRule::on(op, FaultEffect::Fail(errno)).times(1));
        let failed = coordinator.send(TakeSnapshot).await.unwrap().unwrap_err();
        let SnapshotFailure::File(error) = &failed else { panic!("{failed}") };
        let SnapshotFault::Io { source, .. } = &error.fault else { panic!("{failed}") };
        assert_eq!(source.raw_os_error(), Some(errno), "{op:?}");
        assert!(failed.to_string().contains(&name_of(Lsn::new(done))), "{failed}");
        assert_eq!(faulty.list().unwrap(), [], "{op:?} leaves nothing behind");
        done += 10;
        run_to(&coordinator, done).await;
    }
    plan.add(FaultRule::on(Write, FaultEffect::Panic).after(1).times(1));
    let failed = coordinator.send(TakeSnapshot).await.unwrap().unwrap_err();
    assert!(matches!(failed, SnapshotFailure::Panicked { .. }), "{failed}");
    assert_eq!(faulty.list().unwrap(), []);
    assert_eq!(status(&coordinator).await.failed, 6);

    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    assert_eq!((taken.lsn, taken.released), (Lsn::new(done), None));
    wal.close().await.unwrap();
}

#[actix::test]
async fn p16_a_slow_disk_holds_up_the_snapshot_and_neither_the_commits_nor_a_second_request() {
    let folders = Folders::new();
    let plan = FaultPlan::new();
    let faulty = Arc::new(FaultyStorage::new(storage(&folders).await, plan.clone()));
    let snapshots = SnapshotPlan::on_storage(faulty);
    let (wal, coordinator) = life(folders.recovery().snapshots(snapshots)).await;
    run_to(&coordinator, 8000).await;
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Stuck).after(1).times(1));
    let snapshot = actix::spawn(coordinator.send(TakeSnapshot));
    while plan.hits() == 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    run_to(&coordinator, 9000).await;
    let second = coordinator.send(TakeSnapshot).await.unwrap().unwrap_err();
    assert!(matches!(second, SnapshotFailure::Running { lsn } if lsn.get() == 8000), "{second}");
    assert_eq!(status(&coordinator).await.running, Some(Lsn::new(8000)));
    assert_eq!(
        coordinator.send(GetUsage).await.unwrap().store.oldest_snapshot,
        Some(Lsn::new(8000))
    );
    plan.release();
    assert_eq!(snapshot.await.unwrap().unwrap().unwrap().lsn, Lsn::new(8000));
    let usage = coordinator.send(GetUsage).await.unwrap();
    assert_eq!(usage.store.snapshots, 0, "its versions are kept no longer");
    wal.close().await.unwrap();
}

#[actix::test]
async fn p16_a_snapshot_that_takes_too_long_is_given_up_and_keeps_nothing() {
    let folders = Folders::new();
    let plan = FaultPlan::new();
    let faulty: Arc<dyn Storage> =
        Arc::new(FaultyStorage::new(storage(&folders).await, plan.clone()));
    let mut snapshots = SnapshotPlan::on_storage(Arc::clone(&faulty));
    snapshots.give_up_after = Duration::ZERO;
    let (wal, coordinator) = life(folders.recovery().snapshots(snapshots)).await;
    run_to(&coordinator, 8000).await;
    plan.add(FaultRule::on(FaultOp::Create, FaultEffect::Stuck).times(1));
    let snapshot = actix::spawn(coordinator.send(TakeSnapshot));
    while plan.hits() == 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    // What it shows is overwritten, and collected.
    run_to(&coordinator, 9000).await;
    while coordinator.send(GetUsage).await.unwrap().store.pinned > 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    plan.release();
    let failed = snapshot.await.unwrap().unwrap().unwrap_err();
    let is_too_old = matches!(&failed, SnapshotFailure::TooLong(StoreError::SnapshotTooOld { .. }));
    assert!(is_too_old, "{failed}");
    assert_eq!(faulty.list().unwrap(), []);
    wal.close().await.unwrap();
}

#[actix::test]
async fn p6_a_log_that_closes_or_a_coordinator_that_is_dropped_meanwhile_leaves_no_half_file() {
    for is_dropped in [false, true] {
        let folders = Folders::new();
        let plan = FaultPlan::new();
        let faulty: Arc<dyn Storage> =
            Arc::new(FaultyStorage::new(storage(&folders).await, plan.clone()));
        let snapshots = SnapshotPlan::on_storage(Arc::clone(&faulty));
        let (wal, recovered) = folders.recovery().snapshots(snapshots).open().await.unwrap();
        let (arbiter, coordinator) = world::coordinate_elsewhere(&wal, recovered).await;
        run_to(&coordinator, 8000).await;
        plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Stuck).after(1).times(1));
        let snapshot = actix::spawn(coordinator.send(TakeSnapshot));
        while plan.hits() == 0 {
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
        if is_dropped {
            arbiter.stop();
        } else {
            wal.close().await.unwrap();
        }
        let gone = snapshot.await.unwrap();
        assert!(matches!(gone, Ok(Err(SnapshotFailure::Stopped)) | Err(_)), "{gone:?}");
        plan.release();
        // The thread has a share of the storage until its end.
        drop(coordinator);
        while Arc::strong_count(&faulty) > 1 {
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(faulty.list().unwrap(), []);
        wal.close().await.unwrap();
    }
}

#[actix::test]
async fn a_snapshot_is_written_when_the_log_has_grown_enough() {
    let folders = Folders::new();
    let mut plan = SnapshotPlan::in_folder(folders.snapshots());
    plan.after_log_bytes = Some(20_000);
    let (wal, coordinator) = life(folders.recovery().snapshots(plan)).await;
    run_to(&coordinator, 100).await;
    assert_eq!(status(&coordinator).await.taken, 0);
    let mut done = 100;
    while wal.status().low_water.is_none() {
        done += 100;
        run_to(&coordinator, done).await;
    }
    assert!(status(&coordinator).await.older.is_some());
    wal.close().await.unwrap();
    drop(coordinator);
    let (wal, recovered) = folders.recovery().open().await.unwrap();
    assert_eq!(check(&recovered), done);
    wal.close().await.unwrap();
}

#[actix::test]
async fn p1_p19_a_process_that_is_killed_at_any_step_of_a_snapshot_recovers_all_it_was_told() {
    let folders = Folders::new();
    snapshots_at(&folders, &[1000, 2000]).await;
    let copies = Arc::new(Mutex::new(Vec::new()));
    let plan = FaultPlan::new();
    let (root, noted) = (folders.root(), Arc::clone(&copies));
    // All is as a killed process leaves it: before each step of the file, nothing else being done.
    plan.decide(move |operation| {
        let is_step =
            !matches!(operation.op, FaultOp::Open | FaultOp::Read | FaultOp::List | FaultOp::Size);
        if is_step {
            let mut noted = noted.lock().unwrap();
            let copy = Folders::copy_of(&root);
            noted.push((format!("{:?} of {}", operation.op, operation.file), copy));
        }
        None
    });
    let faulty = Arc::new(FaultyStorage::new(storage(&folders).await, plan.clone()));
    let snapshots = SnapshotPlan::on_storage(faulty);
    let (wal, coordinator) = life(folders.recovery().snapshots(snapshots)).await;
    run_to(&coordinator, 3000).await;
    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    assert_eq!(taken.released, Some(Lsn::new(2000)));
    let after = Folders::copy_of(&folders.root());
    wal.close().await.unwrap();
    drop(coordinator);
    drop(plan);
    let mut copies = std::mem::take(&mut *copies.lock().unwrap());
    copies.push(("the checkpoint".to_owned(), after));
    let seen: Vec<_> = copies.iter().map(|(what, _)| what.split(' ').next().unwrap()).collect();
    for op in ["Create", "Write", "Sync", "Rename", "SyncDir", "Remove"] {
        assert!(seen.contains(&op), "{seen:?}");
    }
    for (what, copy) in copies {
        let (wal, recovered) = copy.recovery().open().await.unwrap();
        assert_eq!(check(&recovered), 3000, "before {what}");
        assert_eq!(recovered.tokens.outcome(&token(7)), TokenOutcome::Committed(Lsn::new(8)));
        let entries = fs::read_dir(copy.snapshots()).unwrap();
        let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let is_left = |name: &std::ffi::OsString| name.to_string_lossy().contains("unfinished");
        assert!(!names.unwrap().iter().any(is_left), "before {what}");
        wal.close().await.unwrap();
    }
}

#[actix::test]
async fn a_recovery_tells_how_far_it_has_come() {
    let folders = Folders::new();
    snapshots_at(&folders, &[1000]).await;
    let (wal, coordinator) = life(folders.recovery()).await;
    run_to(&coordinator, 1500).await;
    wal.close().await.unwrap();
    drop(coordinator);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let recovery =
        folders.recovery().on_progress(move |progress| noted.lock().unwrap().push(progress));
    let (wal, recovered) = recovery.open().await.unwrap();
    let rows = recovered.report.snapshot.unwrap().rows;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen[0], RecoveryProgress::Loading { lsn: Lsn::new(1000), rows, of: rows });
    let Some(RecoveryProgress::Replaying { commits: 500, log }) = seen.last() else {
        panic!("{seen:?}")
    };
    assert!(log.done > 0 && log.done == log.total);
    wal.close().await.unwrap();
}

#[actix::test]
async fn p16_a_snapshot_that_does_not_fit_is_refused_with_the_bound() {
    let folders = Folders::new();
    snapshots_at(&folders, &[1000]).await;
    let limits = Limits { bytes: 1000, ..Limits::default() };
    let text = refused(folders.recovery().limits(limits)).await.to_string();
    assert!(text.contains("LSN 1000 does not fit") && text.contains("of 1000 that"), "{text}");
}

#[actix::test]
async fn without_a_folder_or_a_commit_there_is_no_snapshot() {
    let folders = Folders::new();
    let (wal, coordinator) = life(folders.recovery()).await;
    let nothing = coordinator.send(TakeSnapshot).await.unwrap().unwrap_err();
    assert!(matches!(nothing, SnapshotFailure::Nothing), "{nothing}");
    let bare = world::coordinate(&wal, Recovered::empty(Limits::default())).await;
    let no_folder = bare.send(TakeSnapshot).await.unwrap().unwrap_err();
    assert!(matches!(no_folder, SnapshotFailure::NoFolder), "{no_folder}");
    assert_eq!(bare.send(GetSnapshots).await.unwrap(), None);
    wal.close().await.unwrap();

    let used = SnapshotPlan::in_folder(folders.root().join("a file"));
    fs::write(folders.root().join("a file"), "").unwrap();
    let text = refused(folders.recovery().snapshots(used)).await.to_string();
    assert!(text.contains("a file, can not be used"), "{text}");
    let _: WalConfig = folders.config();
}
