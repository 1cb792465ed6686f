//! Guards P6 (no call waits forever) in programs of every kind: each blocking call works, or is refused with a typed
//! error, wherever it is made; each asynchronous call can be awaited by any executor; no call panics for want of an
//! environment.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use actix::{Arbiter, System};
use actix_wal::messages::ReplayRefused;
use actix_wal::testkit::SimDisk;
use actix_wal::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, Lsn, OpenError, ReadError, Wal,
    WalConfig,
};
use test_support::logs;
use test_support::logs::{SOON, config};
use tokio::runtime::{Builder, Runtime};

/// Runs this on a thread of its own. A call that never returns fails the test, and does not hang it.
#[track_caller]
fn bounded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || drop(done.send(work())));
    result.recv_timeout(SOON).unwrap_or_else(|error| panic!("{what} hangs or panicked: {error}"))
}

/// A log of its own, with segments for some thousand records.
fn open(disk: &SimDisk) -> Wal {
    let mut config = config();
    config.segment_size = 1 << 20;
    let opening = Wal::open(config).on_storage(disk.mount().expect("free"));
    bounded("open", move || opening.blocking()).expect("opens")
}

/// A blocking call, and how often it is made: the budget of a task of tokio is 128.
struct Call {
    name: &'static str,
    times: u64,
    /// Makes the call for this number, counted from 1.
    make: fn(&Wal, u64),
}

/// In this order: each finds the records that the ones before have made.
const CALLS: [Call; 6] = [
    Call {
        name: "commit",
        times: 1_000,
        make: |wal, _| assert!(wal.commit_blocking("record").expect("durable") > Lsn::NONE),
    },
    Call {
        name: "append",
        times: 1_000,
        make: |wal, _| assert!(wal.append_blocking("record").expect("accepted") > Lsn::NONE),
    },
    Call {
        name: "wait_for_lsn",
        times: 300,
        make: |wal, _| {
            let lsn = wal.append_blocking("record").expect("accepted");
            wal.wait_for_lsn_blocking(lsn).expect("durable");
        },
    },
    Call {
        name: "flush",
        times: 300,
        make: |wal, _| {
            let lsn = wal.append_blocking("record").expect("accepted");
            assert!(wal.flush_blocking().expect("durable") >= lsn);
        },
    },
    Call {
        name: "checkpoint",
        times: 300,
        make: |wal, number| {
            let lsn = Lsn::new(number);
            assert_eq!(wal.checkpoint_blocking(lsn).expect("durable"), lsn);
        },
    },
    Call {
        name: "read",
        times: 300,
        make: |wal, number| {
            // The checkpoints have released as many as there were calls.
            let from = Lsn::new(300 + number);
            let record = wal.read_blocking(from).expect("there").next().expect("durable");
            assert_eq!(record.expect("whole").lsn, from);
        },
    },
];

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

type Work = Box<dyn FnOnce() + Send>;

type Place = (&'static str, fn(Work));

/// Where blocking calls are made.
const PLACES: [Place; 10] = [
    ("a plain thread", |work| work()),
    ("block_on", |work| multi_thread().block_on(async move { work() })),
    ("a task", |work| {
        let runtime = multi_thread();
        runtime.block_on(runtime.spawn(async move { work() })).expect("no panic");
    }),
    ("block_on of one thread", |work| current_thread().block_on(async move { work() })),
    ("a task on one thread", |work| {
        let runtime = current_thread();
        runtime.block_on(runtime.spawn(async move { work() })).expect("no panic");
    }),
    ("a LocalSet", |work| {
        let local = tokio::task::LocalSet::new();
        let task = local.spawn_local(async move { work() });
        local.block_on(&current_thread(), task).expect("no panic");
    }),
    ("spawn_blocking", |work| {
        let runtime = multi_thread();
        runtime.block_on(runtime.spawn_blocking(work)).expect("no panic");
    }),
    ("block_in_place", |work| {
        let runtime = multi_thread();
        let task = runtime.spawn(async move { tokio::task::block_in_place(work) });
        runtime.block_on(task).expect("no panic");
    }),
    ("spawn_blocking of a System", |work| {
        let spawned = async move { tokio::task::spawn_blocking(work).await };
        System::new().block_on(spawned).expect("no panic");
    }),
    ("a thread whose System has ended", |work| {
        System::new().block_on(async {});
        work();
    }),
];

#[test]
fn p6_every_blocking_call_is_answered_again_and_again_wherever_it_is_made() {
    for (place, run) in PLACES {
        let wal = open(&SimDisk::new());
        for Call { name, times, make } in CALLS {
            let wal = wal.clone();
            let calls = Box::new(move || (1..=times).for_each(|number| make(&wal, number)));
            bounded(&format!("{name} in {place}"), move || run(calls));
        }
        bounded("close", move || wal.close_blocking()).expect("clean");
    }
}

#[test]
fn p6_a_log_is_opened_and_closed_by_blocking_calls_in_all_of_these_places() {
    for (place, run) in PLACES {
        let disk = SimDisk::new();
        let opening = Wal::open(config()).on_storage(disk.mount().expect("free"));
        let life = Box::new(move || {
            let wal = opening.blocking().expect("opens");
            wal.commit_blocking("record").expect("durable");
            wal.close_blocking().expect("clean");
            wal.close_blocking().expect("twice is no error");
        });
        bounded(place, move || run(life));
        assert_eq!(logs::records_on(&disk).len(), 1, "{place}");
    }
}

/// What each call answers where it may not block.
fn refused_by_all(wal: &Wal, lsn: Lsn) {
    let would_block = |error: AppendError| assert!(matches!(error, AppendError::WouldBlockArbiter));
    would_block(wal.append_blocking("x").unwrap_err());
    match wal.commit_blocking("x").unwrap_err() {
        CommitError::Refused(refused) => would_block(refused),
        other => panic!("{other:?}"),
    }
    // These say nothing about records that are there.
    for error in [wal.wait_for_lsn_blocking(lsn).unwrap_err(), wal.flush_blocking().unwrap_err()] {
        let unknown = CommitError::Unknown { lsn, cause: Cause::WouldBlockArbiter };
        assert_eq!(format!("{error:?}"), format!("{unknown:?}"));
        assert!(!error.is_not_durable());
    }
    let checkpoint = wal.checkpoint_blocking(lsn).unwrap_err();
    assert!(matches!(checkpoint, CheckpointError::WouldBlockArbiter), "{checkpoint:?}");
    let read = wal.read_blocking(lsn).unwrap_err();
    assert!(matches!(read, ReadError::WouldBlockArbiter), "{read:?}");
    let close = wal.close_blocking().unwrap_err();
    assert!(matches!(close, CloseError { cause: Cause::WouldBlockArbiter, .. }), "{close:?}");
    let open = Wal::open(config()).blocking().unwrap_err();
    assert!(matches!(open, OpenError::WouldBlockArbiter), "{open:?}");
    for error in [read.to_string(), close.to_string(), open.to_string()] {
        assert!(error.contains("await"), "what to do instead: {error}");
    }
}

#[test]
fn p6_no_call_blocks_the_thread_of_an_arbiter() {
    let wal = open(&SimDisk::new());
    let lsn = wal.commit_blocking("record").expect("durable");
    let handle = wal.clone();
    bounded("a System", move || System::new().block_on(async { refused_by_all(&handle, lsn) }));
    let handle = wal.clone();
    bounded("an Arbiter", move || {
        System::new().block_on(async {
            let (done, refused) = tokio::sync::oneshot::channel();
            Arbiter::new().spawn(async move {
                refused_by_all(&handle, lsn);
                let _ = done.send(());
            });
            refused.await.expect("all of them");
        });
    });
    wal.commit_blocking("no call has closed it").expect("durable");
    wal.close_blocking().expect("clean");
}

/// An executor that has nothing to do with tokio.
fn by_hand<F: Future>(future: F) -> F::Output {
    #[derive(Default)]
    struct Bell(Mutex<bool>, Condvar);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }
    }
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let rung = bell.0.lock().unwrap();
        *bell.1.wait_while(rung, |rung| !*rung).unwrap() = false;
    }
}

/// Every asynchronous call of a handle, from the open to the close.
async fn call_everything(disk: SimDisk) {
    let opening = Wal::open(config()).on_storage(disk.mount().expect("free"));
    let wal = opening.on_own_thread().await.expect("opens");
    let first = wal.append("one").await.expect("accepted");
    wal.wait_for_lsn(first).await.expect("durable");
    let group = wal.append_all(["two", "three"]).await.expect("accepted");
    assert_eq!(wal.flush().await.expect("durable"), group.last);
    let mut follower = wal.read(group.last).await.expect("there").follow();
    assert_eq!(follower.next().await.expect("durable").expect("whole").lsn, group.last);
    let last = wal.commit("four").await.expect("durable");
    assert_eq!(follower.next().await.expect("durable").expect("whole").lsn, last);
    drop(follower);
    let mut records = wal.read(first).await.expect("there");
    let mut count = 0;
    while let Some(batch) = records.next_batch().await {
        count += batch.expect("whole").len();
    }
    assert_eq!(count, 4);
    drop(records);
    assert_eq!(wal.checkpoint(first).await.expect("durable"), first);
    let released = wal.read(first).await.expect_err("a checkpoint has released it");
    assert!(matches!(released, ReadError::Released { .. }), "{released:?}");
    wal.close().await.expect("clean");
    wal.close().await.expect("twice is no error");
    let late = wal.commit("late").await.expect_err("closed");
    assert!(matches!(late, CommitError::Refused(AppendError::Closed { .. })), "{late:?}");
    let late = wal.read(last).await.expect_err("closed");
    assert!(matches!(late, ReadError::Closed { .. }), "{late:?}");
}

#[test]
fn p6_every_call_can_be_awaited_by_any_executor() {
    bounded("no runtime", || by_hand(call_everything(SimDisk::new())));
    bounded("tokio", || multi_thread().block_on(call_everything(SimDisk::new())));
    bounded("a task", || {
        let runtime = multi_thread();
        runtime.block_on(runtime.spawn(call_everything(SimDisk::new()))).expect("no panic");
    });
    bounded("one thread", || current_thread().block_on(call_everything(SimDisk::new())));
    bounded("a System", || System::new().block_on(call_everything(SimDisk::new())));
}

#[test]
fn an_open_without_a_system_is_refused_and_says_what_to_do() {
    let opening = || Wal::open(WalConfig::new("target/never-opened"));
    let refusals = [
        bounded("no runtime", move || by_hand(opening().into_future())),
        bounded("tokio", move || multi_thread().block_on(opening().into_future())),
        bounded("a task", move || {
            let runtime = multi_thread();
            runtime.block_on(runtime.spawn(opening().into_future())).expect("no panic")
        }),
        bounded("one thread", move || current_thread().block_on(opening().into_future())),
        bounded("after a System", move || {
            System::new().block_on(async {});
            by_hand(opening().into_future())
        }),
    ];
    for refused in refusals {
        let error = refused.expect_err("there is no System");
        assert!(matches!(error, OpenError::NoSystem), "{error:?}");
        assert!(error.to_string().contains("on_own_thread"), "{error}");
    }
    assert!(!std::path::Path::new("target/never-opened").exists());
}

#[test]
fn an_open_in_an_arbiter_that_has_stopped_is_refused() {
    let refused = bounded("a dead Arbiter", || {
        System::new().block_on(async {
            let arbiter = Arbiter::new();
            let handle = arbiter.handle();
            arbiter.stop();
            arbiter.join().expect("no panic");
            Wal::open(config()).in_arbiter(handle).await
        })
    });
    let refused = refused.expect_err("it runs nothing");
    let stopped = OpenError::Start(Cause::Stopped { actor: "Arbiter" });
    assert_eq!(format!("{refused:?}"), format!("{stopped:?}"));
}

#[test]
fn a_system_without_timers_is_refused_and_says_what_to_do() {
    let refused = bounded("no timers", || {
        let opening = Wal::open(config()).on_storage(SimDisk::new().mount().expect("free"));
        System::with_tokio_rt(current_thread).block_on(opening.into_future())
    });
    let refused = refused.expect_err("the actors need timers");
    assert!(matches!(refused, OpenError::NoTimers), "{refused:?}");
    assert!(refused.to_string().contains("enable_time"), "{refused}");
}

#[test]
fn an_open_can_be_spawned_on_an_arbiter() {
    let (opened, wal) = channel();
    let disk = SimDisk::new();
    let opening = Wal::open(config()).on_storage(disk.mount().expect("free"));
    let handle = thread::spawn(move || {
        System::new().block_on(async move {
            let arbiter = Arbiter::new();
            arbiter.spawn(async move { drop(opened.send(opening.await)) });
            let wal = tokio::task::spawn_blocking(move || wal.recv_timeout(SOON)).await.unwrap();
            let wal: Wal = wal.expect("answered").expect("opens");
            wal.commit("record").await.expect("durable");
            wal.close().await.expect("clean");
        });
    });
    bounded("spawn", move || handle.join()).expect("no panic");
    assert_eq!(logs::records_on(&disk).len(), 1);
}

#[test]
fn a_function_is_replayed_to_batch_by_batch_and_can_refuse() {
    let disk = SimDisk::new();
    let wal = open(&disk);
    for number in 0..300_u32 {
        wal.append_blocking(number.to_le_bytes().to_vec()).expect("accepted");
    }
    wal.close_blocking().expect("clean");

    let (send, records) = channel();
    let mounted = disk.mount().expect("free");
    let opening =
        Wal::open(config()).on_storage(mounted).replay_with(Lsn::new(101), move |replay| {
            replay.records.records().for_each(|record| send.send(record).expect("listened to"));
            assert!(replay.progress.done <= replay.progress.total);
            Ok(())
        });
    let wal = bounded("open", move || opening.blocking()).expect("opens");
    // The function was dropped, so the channel ends.
    let lsns: Vec<_> = records.into_iter().map(|record| record.lsn.get()).collect();
    assert_eq!(lsns, (101..=300).collect::<Vec<_>>());
    assert_eq!(wal.recovery_report().replayed, 200);
    wal.close_blocking().expect("clean");

    type Refuse = fn() -> Result<(), ReplayRefused>;
    let refuses: [(Refuse, &str); 2] = [
        (|| Err(ReplayRefused("not today".into())), "refused what it was given"),
        (|| panic!("out of range"), "panicked"),
    ];
    for (answer, why) in refuses {
        let mounted = disk.mount().expect("free");
        let opening = Wal::open(config()).on_storage(mounted);
        let opening = opening.replay_with(None, move |_| answer());
        match bounded("open", move || opening.blocking()) {
            Err(OpenError::Replay { reason }) => {
                let place =
                    format!("the function that it goes to {why} with the records from LSN 1");
                assert!(reason.starts_with(&place), "{reason}");
                let said = ["not today", "out of range"];
                assert!(said.iter().any(|said| reason.ends_with(said)), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
