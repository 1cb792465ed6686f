//! Guards P6, P7, P15, P20, P21: what passes is waited for and costs no restart of the budget, what does not pass
//! ends the log at once, and the first cause is shown. Threads, descriptors and memory run out, in a real
//! process under its limits and by factories that refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_wal::error::{FaultClass, IoFault, IoOp};
use actix_wal::messages::LogEvent;
use actix_wal::testkit::internals::runtime::threads::{SystemThreads, Threads};
use actix_wal::testkit::{ByHand, FaultEffect, FaultOp, FaultRule, errno};
use actix_wal::{
    AppendError, Cause, CommitError, LogState, OpenError, OverloadPolicy, Wal, WalConfig,
};
use test_support::child::{self, Job};
use test_support::lives::{Ledger, Life, Outcome, PATIENCE, command};
use test_support::logs::{
    Ear, World, config, impatient, on_prepared, on_segments, outlast_a_stuck_sync, until, within,
};
use test_support::refusing::Refusing;
use test_support::scratch::folder;
use test_support::skips::{leave_out, skip};

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

async fn open_on(world: &World, threads: &Arc<Refusing>) -> Result<Wal, OpenError> {
    open_with(config(), world, threads).await
}

async fn open_with(
    config: WalConfig,
    world: &World,
    threads: &Arc<Refusing>,
) -> Result<Wal, OpenError> {
    let threads = Arc::clone(threads) as Arc<dyn Threads>;
    within("open", Wal::open(config).on_storage(world.storage()).on_threads(threads)).await
}

/// The fault of a thread that was refused.
fn thread_fault(cause: &Cause) -> &IoFault {
    match cause {
        Cause::Shortage(fault) | Cause::Io(fault) if fault.op == IoOp::StartThread => fault,
        other => panic!("no thread was refused: {other}"),
    }
}

#[actix::test]
async fn p6_p15_a_log_that_does_not_get_its_threads_does_not_open_and_says_which_and_why() {
    for name in ["wal-recover", "wal-prepare", "wal-flush"] {
        for (errno, class) in
            [(errno::EAGAIN, FaultClass::Shortage), (errno::EPERM, FaultClass::Permanent)]
        {
            let (world, threads) = (World::new(), Arc::new(Refusing::default()));
            threads.next(name, 1, errno);
            let Err(OpenError::Start(cause)) = open_on(&world, &threads).await else {
                panic!("{name}: it opens, or for another reason does not");
            };
            let fault = thread_fault(&cause);
            assert_eq!((fault.file.as_str(), cause.class()), (name, class), "{cause}");
            assert_eq!(fault.source.raw_os_error(), Some(errno), "{cause}");
            assert!(cause.to_string().contains(&format!("(os error {errno})")), "{cause}");
            // P20: and nothing of it is left.
            until("the directory is free", || world.disk.mount().is_ok()).await;
            let wal = open_on(&world, &threads).await.expect("there are threads now");
            within("commit", wal.commit("x")).await.unwrap();
            within("close", wal.close()).await.unwrap();
        }
    }
}

#[actix::test]
async fn p21_a_running_log_waits_for_a_thread_however_often_it_is_refused_and_keeps_its_budget() {
    let (world, threads) = (World::new(), Arc::new(Refusing::default()));
    let wal = open_on(&world, &threads).await.unwrap();
    let ear = Ear::on(&wal).await;
    let budget = config().restart_budget.restarts;
    for _ in 0..budget {
        // More often than the budget allows, which is spent by the one real fault of each round.
        threads.next("wal-flush", 10, errno::EAGAIN);
        let eio = FaultRule::on(FaultOp::Write, FaultEffect::Fail(errno::EIO));
        world.plan.add(on_segments(eio).times(1));
        within("commit", wal.commit("x")).await.expect("it waited");
        assert_eq!(threads.left(), 0);
    }
    let told = |event: &LogEvent| match event {
        LogEvent::Unavailable { cause } => Some(cause.to_string()),
        _ => None,
    };
    let told: Vec<_> = ear.0.lock().unwrap().iter().filter_map(told).collect();
    let (first, then) = (&told[0], &told[1]);
    assert!(first.starts_with("writing ") && first.contains("os error 5"), "{first}");
    assert!(then.starts_with(first.as_str()), "the first cause is shown first: {then}");
    assert!(then.contains("after that: short of threads: starting the thread wal-flush"), "{then}");
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p6_a_poisoned_log_without_a_thread_to_end_on_is_closed_and_keeps_its_cause() {
    let (world, threads) = (World::new(), Arc::new(Refusing::default()));
    let wal = open_on(&world, &threads).await.unwrap();
    let erofs = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EROFS));
    world.plan.add(on_segments(erofs));
    threads.next("wal-flush", 1, errno::EAGAIN);
    within("commit", wal.commit("x")).await.unwrap_err();
    assert_eq!(threads.left(), 0, "it was not refused");
    let closed = within("close", wal.close()).await.unwrap_err();
    assert!(closed.cause.to_string().contains("(os error 30)"), "{closed}");
    until("the directory is free", || world.disk.mount().is_ok()).await;
}

#[actix::test]
async fn p15_open_answers_once_the_flush_thread_runs_and_not_before() {
    for is_dropped in [false, true] {
        let (world, threads) = (World::new(), ByHand::only("wal-flush"));
        let open = Wal::open(config()).on_storage(world.storage());
        let opening = actix::spawn(open.on_threads(Arc::new(threads.clone())).into_future());
        let mut late = None;
        until("the flush thread", || {
            late = late.take().or_else(|| threads.take());
            late.is_some()
        })
        .await;
        let mut go_on = || SystemThreads.spawn("wal-flush", late.take().unwrap()).unwrap();
        // Everything that the actors have to say to each other is said meanwhile.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!opening.is_finished(), "P15: it is open, and nobody would write");
        if is_dropped {
            opening.abort();
            let _ = opening.await;
            go_on();
            until("the directory is free", || world.disk.mount().is_ok()).await;
            continue;
        }
        go_on();
        let wal = within("open", opening).await.unwrap().unwrap();
        assert!(matches!(wal.status().state, LogState::Running));
        within("commit", wal.commit("x")).await.unwrap();
        within("close", wal.close()).await.unwrap();
    }
}

#[actix::test]
async fn p21_what_does_not_pass_poisons_at_once_and_spends_no_restart() {
    for errno in [errno::EROFS, errno::EACCES, errno::EPERM, errno::EFBIG] {
        // At a write, at a sync, and where the next segment is made.
        for op in [FaultOp::Write, FaultOp::Sync, FaultOp::Create] {
            let case = format!("{op:?} {errno}");
            let world = World::new();
            let wal = world.open(config()).await;
            let ear = Ear::on(&wal).await;
            let rule = FaultRule::on(op, FaultEffect::Fail(errno));
            world.plan.add(if op == FaultOp::Create { rule } else { on_segments(rule) });
            let error = loop {
                match within("commit", wal.commit(vec![7; 700])).await {
                    Ok(_) => assert!(op == FaultOp::Create, "{case}"),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains(&format!("(os error {errno})")), "{case}: {error}");
            until("poisoned", || wal.status().state.is_final()).await;
            let LogState::Poisoned(cause) = wal.status().state else { panic!("{case}") };
            assert_eq!(cause.class(), FaultClass::Permanent, "{case}: {cause}");
            assert_eq!(wal.stats().restarts, 0, "{case}: no restart helps");
            assert!(!ear.heard(|event| matches!(event, LogEvent::Unavailable { .. })), "{case}");
            assert_eq!(world.touched_again(), 0, "{case}: P7");
            within("close", wal.close()).await.unwrap_err();
        }
    }
}

#[actix::test]
async fn p7_p21_a_write_or_sync_without_memory_or_space_ends_the_file_and_never_the_log() {
    // A write finds the disk full on a copy-on-write file system, or with a quota, where space was taken already.
    for errno in [errno::ENOMEM, errno::EAGAIN, errno::ENOSPC, errno::EDQUOT] {
        for op in [FaultOp::Write, FaultOp::Sync] {
            let case = format!("{op:?} {errno}");
            let world = World::new();
            let wal = world.open(config()).await;
            // Many times what the budget allows, in a row.
            let rule = FaultRule::on(op, FaultEffect::Fail(errno)).times(20);
            world.plan.add(on_segments(rule));
            within("commit", wal.commit("x"))
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!((world.plan.hits(), wal.stats().restarts), (20, 20), "{case}");
            assert_eq!(world.touched_again(), 0, "{case}: P7");
            // The budget is as it was.
            let eio = FaultRule::on(op, FaultEffect::Fail(errno::EIO));
            world.plan.add(on_segments(eio).times(config().restart_budget.restarts.into()));
            within("commit", wal.commit("y"))
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            within("close", wal.close()).await.unwrap();
            assert_eq!(world.records().await.len(), 2, "{case}");
        }
    }
}

#[actix::test]
async fn p21_a_log_without_descriptors_waits_says_so_and_resumes() {
    for (errno, what) in [(errno::EMFILE, "file descriptors"), (errno::ENFILE, "of the system")] {
        for overload in [OverloadPolicy::Wait, OverloadPolicy::Refuse] {
            let world = World::new();
            let mut config = config();
            config.overload = overload;
            let wal = world.open(config).await;
            let ear = Ear::on(&wal).await;
            world.plan.add(FaultRule::on(FaultOp::Create, FaultEffect::Fail(errno)));
            let committing = {
                let wal = wal.clone();
                actix::spawn(async move {
                    let mut committed = 0;
                    while committed < 100 {
                        match wal.commit(vec![7; 700]).await {
                            Ok(_) => committed += 1,
                            Err(CommitError::Refused(AppendError::Unavailable { cause })) => {
                                assert_eq!(cause.class(), FaultClass::Shortage, "{cause}");
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                            Err(error) => panic!("what is this? {error}"),
                        }
                    }
                })
            };
            let unavailable = || match wal.status().state {
                LogState::Unavailable(cause) => Some(cause),
                _ => None,
            };
            until("it waits", || unavailable().is_some()).await;
            let cause = unavailable().unwrap();
            assert!(matches!(cause, Cause::Shortage(_)), "{cause}");
            assert!(cause.to_string().contains(what), "{cause}");
            // Longer than any number of restarts would take: each failure is a second apart by then.
            let hits = world.plan.hits();
            until("more attempts", || world.plan.hits() >= hits + 3).await;
            assert!(!wal.status().state.is_final(), "{:?}", wal.status().state);
            world.plan.clear();
            within("commits", committing).await.unwrap();
            assert_eq!(wal.stats().restarts, 1, "one epoch ends, and the next one waits");
            let heard = |event: &LogEvent| matches!(event, LogEvent::Unavailable { cause } if cause.class() == FaultClass::Shortage);
            assert!(ear.heard(heard));
            within("close", wal.close()).await.unwrap();
        }
    }
}

fn no_segment(world: &World, errno: i32) {
    world.plan.add(on_prepared(FaultOp::Create, FaultEffect::Fail(errno)));
}

/// What does not pass in this world until its plan is cleared and its threads are to be had.
type Lasts = fn(&World, &Refusing);

#[actix::test]
async fn p6_p21_a_shortage_that_lasts_is_not_taken_for_a_sync_that_hangs() {
    let short: [(&str, Lasts); 3] = [
        ("descriptors", |world, _| no_segment(world, errno::EMFILE)),
        ("space", |world, _| no_segment(world, errno::ENOSPC)),
        ("threads", |_, threads| threads.next("wal-flush", usize::MAX, errno::EAGAIN)),
    ];
    for (what, lasts) in short {
        let (world, threads) = (World::new(), Arc::new(Refusing::default()));
        let wal = open_with(impatient(), &world, &threads).await.unwrap();
        let ear = Ear::on(&wal).await;
        lasts(&world, &threads);
        // Each fault takes one of the segments that are prepared already.
        let eio = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO));
        world.plan.add(on_segments(eio).times(3));
        let committing = actix::spawn({
            let wal = wal.clone();
            async move { wal.commit("x").await }
        });
        let passes = |cause: &Cause| cause.class().passes();
        until(
            what,
            || matches!(wal.status().state, LogState::Unavailable(cause) if passes(&cause)),
        )
        .await;
        // Until it was known what is short, it may have been a preparer that hangs.
        let stalled = || ear.count(|event| matches!(event, LogEvent::Stalled { .. }));
        let before = stalled();
        outlast_a_stuck_sync().await;
        assert_eq!((wal.status().stalled, stalled()), (false, before), "{what}");
        // Nobody waits for longer than was configured, and is told what came first.
        match within(what, committing).await.unwrap() {
            Err(CommitError::Unknown { cause: Cause::Stalled { .. }, .. }) => {
                panic!("{what}: no sync hangs")
            }
            Err(CommitError::Unknown { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
        world.plan.clear();
        threads.next("wal-flush", 0, errno::EAGAIN);
        until("it resumes", || matches!(wal.status().state, LogState::Running)).await;
        within("commit", wal.commit("y")).await.expect("it goes on");
        within("close", wal.close()).await.unwrap();
        assert_eq!(stalled(), before, "{what}");
    }
}

#[actix::test]
async fn p21_a_full_disk_after_a_fault_is_said_with_the_fault_before_it() {
    let world = World::new();
    let wal = world.open(config()).await;
    // Segments are gone as soon as they are begun, and there is no space for another.
    world.plan.add(on_prepared(FaultOp::Create, FaultEffect::Fail(errno::ENOSPC)));
    let eio = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO));
    world.plan.add(on_segments(eio).times(3));
    let (last, wal2) = (Arc::new(Mutex::new(None)), wal.clone());
    let outcome = Arc::clone(&last);
    actix::spawn(async move {
        let committed = wal2.commit("y").await;
        *outcome.lock().unwrap() = Some(committed);
    });
    let said = || match wal.status().state {
        LogState::Unavailable(cause) if cause.is_no_space() => Some(cause.to_string()),
        _ => None,
    };
    until("it waits for space", || said().is_some() || last.lock().unwrap().is_some()).await;
    if let Some(said) = said() {
        assert!(
            said.starts_with("syncing ") && said.contains("; after that: the disk is full"),
            "{said}"
        );
        let refused = within("append", wal.append("z")).await;
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
    } else {
        panic!("the reserve was enough: {:?}", world.disk.names());
    }
    world.plan.clear();
    until("it resumes", || matches!(last.lock().unwrap().take(), Some(Ok(_)))).await;
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p6_the_first_cause_is_kept_and_shown_to_the_end() {
    let world = World::new();
    let wal = world.open(config()).await;
    let eio = |op| on_segments(FaultRule::on(op, FaultEffect::Fail(errno::EIO)));
    world.plan.add(eio(FaultOp::Write).times(1));
    // What is tried after it fails in another way.
    world.plan.add(eio(FaultOp::Sync));
    let error = within("commit", wal.commit("x")).await.unwrap_err();
    until("poisoned", || wal.status().state.is_final()).await;
    let LogState::Poisoned(cause) = wal.status().state else { panic!("{error}") };
    for said in
        [cause.to_string(), error.to_string(), wal.append("y").await.unwrap_err().to_string()]
    {
        let (first, then) = said.split_once("; after that: ").unwrap_or_else(|| panic!("{said}"));
        assert!(first.contains("writing ") && then.contains("syncing "), "{said}");
    }
}

/// A user that owns nothing else here, so that only our threads count against its limits, nor does anything
/// but a mode let it write. `None`, and a word of it, where that can not be.
struct Stranger(String);

impl Stranger {
    fn new(number: u32) -> Option<Stranger> {
        let id = (200_000 + number * 32_768 + std::process::id() % 32_768).to_string();
        let stranger = Stranger(id);
        let mut probe = stranger.as_him(Command::new("setpriv"));
        let this = std::env::current_exe().unwrap();
        probe.arg(this).args(["--list"]).stdout(Stdio::null()).stderr(Stdio::null());
        match probe.status() {
            Ok(status) if status.success() => Some(stranger),
            Ok(_) => {
                leave_out("no other user can be taken on, or it may not run this program");
                None
            }
            Err(_) => {
                skip("setpriv is not installed");
                None
            }
        }
    }

    fn words(&self) -> [String; 4] {
        let Stranger(id) = self;
        [
            "setpriv".into(),
            format!("--reuid={id}"),
            format!("--regid={id}"),
            "--clear-groups".into(),
        ]
    }

    fn as_him(&self, mut setpriv: Command) -> Command {
        setpriv.args(&self.words()[1..]);
        setpriv
    }

    /// A child of his, under limits.
    fn child(&self, limits: &[&str], job: &Job) -> Command {
        let words = self.words();
        let words = words.iter().map(String::as_str);
        let before: Vec<&str> = words.chain(["prlimit"]).chain(limits.iter().copied()).collect();
        command(&before, job)
    }

    fn give(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        let id = self.0.parse().unwrap();
        // Every folder above has to let him through.
        fs::set_permissions(directory.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        chown(directory, Some(id), Some(id)).unwrap();
    }
}

#[test]
fn p6_p15_a_process_that_is_short_of_threads_opens_and_works_or_says_what_is_short() {
    let Some(stranger) = Stranger::new(0) else { return };
    let folder = folder();
    let (mut refused, mut opened) = (Vec::new(), 0);
    for limit in 1..=12 {
        let mut ledger = Ledger::default();
        let mut job = Job::endless(&folder.path().join(format!("log-{limit}")));
        stranger.give(&job.directory);
        job.commits = 20;
        let job = ledger.begin(job);
        let mut command = stranger.child(&[&format!("--nproc={limit}")], &job);
        // What the harness says of a thread of its own that it does not get.
        command.stderr(Stdio::null());
        let status = Life::of(command).end(&mut ledger);
        println!("{limit}: {status}, {:?} {:?}", ledger.errors, ledger.states);
        match &ledger.errors[..] {
            [] if ledger.opened.is_some() => {
                assert!(status.success() && ledger.closed, "{limit}: {:?}", ledger.states);
                assert_eq!(ledger.count(Some(Outcome::Durable)), 20 * job.clients as usize);
                assert!(!ledger.states.iter().any(|state| state.starts_with("poisoned")));
                ledger.verify(&job.directory, &job.config());
                opened += 1;
            }
            // Not even the test harness has its thread.
            [] => assert!(ledger.opening.is_none(), "{limit}: neither opened nor refused"),
            [error] => {
                assert!(ledger.opened.is_none(), "P15: it was open: {error}");
                let is_typed = error
                    .starts_with("Start(Shortage(IoFault { op: StartThread, file: ")
                    && error.contains("code: 11,");
                assert!(is_typed, "{limit}: {error}");
                refused.push(error.clone());
            }
            many => panic!("{limit}: {many:?}"),
        }
    }
    assert!(opened >= 2, "the highest limits are no limits");
    // The preparer takes the place of the recovery, if that has ended by then.
    for names in [&["wal-recover"][..], &["wal-prepare", "wal-flush"]] {
        let is_one = |error: &String| names.iter().any(|name| error.contains(name));
        assert!(refused.iter().any(is_one), "{names:?}: {refused:#?}");
    }
}

/// Sets the soft limit on open files of a running process.
fn limit_files(process: u32, limit: &str) -> bool {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.to_string(), &format!("--nofile={limit}:")]);
    prlimit.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn p21_a_process_that_runs_out_of_descriptors_waits_and_resumes_and_nobody_is_refused() {
    let folder = folder();
    let mut ledger = Ledger::default();
    let job = ledger.begin(Job::endless(folder.path()));
    let life = Life::start(&job);
    life.acknowledges(100, &mut ledger);
    if !limit_files(life.id(), "1024") {
        return skip("prlimit is not installed, or may not change the limits of a child");
    }
    for _ in 0..2 {
        // Nothing can be opened, and what is open goes on.
        assert!(limit_files(life.id(), "3"));
        let (waits, began) = (|ledger: &Ledger| ledger.states.last().cloned(), Instant::now());
        let is_short = |ledger: &Ledger| {
            waits(ledger)
                .is_some_and(|state| state.starts_with("unavailable: short of file descriptors"))
        };
        life.listen(&mut ledger, PATIENCE, is_short);
        assert!(is_short(&ledger), "{:?} {:?}", ledger.states, ledger.errors);
        println!("after {:?}: {:?}", began.elapsed(), waits(&ledger));
        assert!(limit_files(life.id(), "1024"));
        life.acknowledges(500, &mut ledger);
    }
    life.kill(&mut ledger);
    assert!(ledger.errors.is_empty(), "{:?}", ledger.errors);
    ledger.verify(folder.path(), &job.config());
}

#[test]
fn p6_p21_a_directory_that_becomes_read_only_poisons_the_log_at_once() {
    let Some(stranger) = Stranger::new(1) else { return };
    let folder = folder();
    let mut ledger = Ledger::default();
    let job = ledger.begin(Job::endless(&folder.path().join("log")));
    stranger.give(&job.directory);
    let life = Life::of(stranger.child(&[], &job));
    life.acknowledges(100, &mut ledger);
    fs::set_permissions(&job.directory, Permissions::from_mode(0o555)).unwrap();
    assert!(life.end(&mut ledger).success(), "{:?}", ledger.errors);
    fs::set_permissions(&job.directory, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ledger.count(None), 0, "P6: somebody was told nothing");
    assert!(
        !ledger.errors.is_empty() && ledger.errors.iter().all(|error| error.contains("code: 13,"))
    );
    let unavailable = ledger.states.iter().any(|state| state.starts_with("unavailable"));
    assert!(!unavailable, "no restart helps: {:?}", ledger.states);
    ledger.verify(&job.directory, &job.config());
}
