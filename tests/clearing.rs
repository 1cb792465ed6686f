//! Guards P13, P17, P19, P22 where thousands of segments are released at once: no commit, no open and no close waits
//! until their files are gone; all of them go, by and by; and nothing else does. On real files, with what is done on
//! the disk counted and not timed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::io;
use std::sync::{Arc, Mutex};

use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::intake::assigner::Assigner;
use actix_wal::testkit::internals::engine::intake::entry::{Payload, QueueItem};
use actix_wal::testkit::internals::engine::recovery::{Begun, Progress, recover};
use actix_wal::testkit::internals::engine::segments::supply::{Pool, SegmentSource};
use actix_wal::testkit::internals::engine::state::requests::QueueReceiver;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::engine::write::flush_loop::{
    FlushLoop, LoopEvent, Next, Worked,
};
use actix_wal::testkit::internals::runtime::clock::SystemClock;
use actix_wal::testkit::internals::runtime::threads::{Running, Threads, Turn, Worker};
use actix_wal::testkit::{OpLog, Recorder};
use actix_wal::{Durability, Lsn, RecordBatch, Wal, WalConfig};
use tempfile::TempDir;
use test_support::logs::{config, records_in, until, within};
use test_support::scratch::folder;

/// Segments of the log that is released, and records in each of them.
const SEGMENTS: usize = 400;

fn small_segments(folder: &TempDir) -> WalConfig {
    let mut config = config();
    config.segment_size = 6 * 512;
    config.directory = folder.path().to_owned();
    config
}

fn files(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

/// A log of many small segments. The last LSN in it.
async fn fill(folder: &TempDir) -> Lsn {
    let wal = within("open", Wal::open(small_segments(folder))).await.unwrap();
    let mut last = Lsn::NONE;
    while wal.segments().len() <= SEGMENTS {
        let group = [vec![1; 200], vec![2; 200]];
        wal.append_all(group.clone()).await.unwrap();
        wal.append_all(group).await.unwrap();
        last = wal.flush().await.unwrap();
    }
    wal.close().await.unwrap();
    last
}

/// Drives the preparer when the test says so.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<Option<Box<dyn Worker>>>>);

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByHand")
    }
}

impl Threads for ByHand {
    fn spawn(&self, _: &'static str, worker: Box<dyn Worker>) -> io::Result<Running> {
        *self.0.lock().unwrap() = Some(worker);
        Ok(Running::elsewhere())
    }
}

impl ByHand {
    /// Takes one step. `false` if there is none to take.
    fn step(&self) -> bool {
        let mut worker = self.0.lock().unwrap();
        let worker = worker.as_mut().unwrap();
        let works = worker.look() == Turn::Work;
        if works {
            worker.work();
        }
        works
    }
}

/// A log on real files without a thread.
struct Driven {
    run: FlushLoop,
    shared: Arc<Shared>,
    assigner: Assigner,
    queue: QueueReceiver,
    preparer: ByHand,
    done: OpLog,
}

impl Driven {
    fn open(folder: &TempDir) -> Driven {
        let config = small_segments(folder);
        let directory: Arc<dyn Storage> = Arc::new(Directory::open(folder.path()).unwrap());
        let recorder = Recorder::new(directory).unwrap();
        let done = recorder.log();
        let Parts { shared, queue } = Parts::with_clock(&config, Arc::new(SystemClock::default()));
        let nobody = &mut |_: RecordBatch, _: Progress| Ok(());
        let recovered = recover(Arc::new(recorder), &config, &shared, None, nobody).unwrap();
        let Begun { storage, style, writer, position, prepared, next_sequence, .. } = recovered;
        let preparer = ByHand::default();
        let size = writer.size();
        let mut pool =
            Pool::start(&preparer, storage, style, next_sequence, size, prepared).unwrap();
        pool.recycle(recovered.removable);
        let source = Box::new(pool);
        let run = FlushLoop::new(&config, Arc::clone(&shared), style, source, position, writer);
        let mut assigner = Assigner::new(Arc::clone(&shared));
        assigner.resume(position.next_lsn);
        Driven { run, shared, assigner, queue, preparer, done }
    }

    fn count(&self, what: &str) -> usize {
        self.done.lines().iter().filter(|line| line.starts_with(what)).count()
    }

    /// Works until it is as `is_done` says, and has the preparer work only where the log waits for it.
    fn work_until(&mut self, is_done: impl Fn(&Shared, &[LoopEvent]) -> bool) {
        let mut events = Vec::new();
        while !is_done(&self.shared, &events) {
            if self.run.work().unwrap() == Worked::NeedsSegment {
                assert!(self.preparer.step(), "the log waits for nothing");
            }
            events.extend(self.run.take_events());
        }
    }

    fn checkpoint(&mut self, lsn: Lsn) {
        self.shared.requests.checkpoint(lsn);
        self.work_until(|_, events| {
            events
                .iter()
                .any(|event| matches!(event, LoopEvent::Checkpointed(done) if *done == lsn))
        });
    }

    fn commit(&mut self) -> Lsn {
        let payload = Payload::One(vec![3; 300].into());
        let permit = self.shared.admission.try_acquire(1, payload.encoded_len()).unwrap();
        let lsn = self.assigner.assign(payload, Durability::GroupCommit, permit).unwrap().last;
        self.assigner.hand_over().unwrap();
        for item in self.queue.try_iter().collect::<Vec<_>>() {
            for entry in QueueItem::into_entries(item) {
                self.run.offer(entry).unwrap();
            }
        }
        self.work_until(|shared, _| shared.watermark.durable() >= lsn);
        lsn
    }
}

#[actix::test]
async fn p17_no_commit_waits_until_released_segments_are_gone() {
    let folder = folder();
    let last = fill(&folder).await;
    let mut log = Driven::open(&folder);
    assert!(log.shared.catalog.len() > SEGMENTS);
    log.checkpoint(last);
    assert!(log.shared.catalog.len() <= 2, "all others are released");
    let commits: Vec<Lsn> = (0..10).map(|_| log.commit()).collect();
    let (removed, syncs) = (log.count("remove "), log.count("sync directory"));
    let rotations = log.shared.stats().rotations as usize;
    assert!(rotations >= 3, "{rotations}");
    // A segment takes at most two syncs of the directory, and lets two removals go first.
    assert!(removed <= 2 * (rotations + 3), "{removed} before ten commits");
    assert!(syncs <= 3 * (rotations + 3), "{syncs} before ten commits");

    // The close does not wait for them either, and the next life clears up without being asked.
    let before = log.count("remove ");
    log.shared.requests.close();
    while log.run.next(log.shared.clock.now()) != Next::Ended {
        log.run.work().unwrap();
    }
    log.run.stop_source();
    assert!(!log.preparer.step(), "it ends, whatever is left to remove");
    assert!(log.count("remove ") <= before + 1, "one that was being prepared");
    drop(log);
    assert!(files(&folder) > SEGMENTS / 2, "{} files are left", files(&folder));

    let wal = within("open", Wal::open(small_segments(&folder))).await.unwrap();
    assert_eq!(wal.status().low_water, last);
    // But for those of the ten commits, and a few that are prepared.
    until("they are gone", || files(&folder) <= 16).await;
    let first = wal.read(last.next()).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(Some(&first.lsn), commits.first());
    wal.close().await.unwrap();
    let storage = Arc::new(Directory::open(folder.path()).unwrap());
    let left = records_in(storage, &small_segments(&folder));
    assert!(left.keys().eq(commits.iter()), "P19: {:?}", left.keys());
}

/// Any of the removals may be lost with the power, and any may not: all that is live is there all the same.
#[actix::test]
async fn p19_whichever_removals_power_loss_leaves_out_the_log_opens_with_all_that_is_live() {
    let folder = folder();
    let last = fill(&folder).await;
    let mut log = Driven::open(&folder);
    log.checkpoint(last);
    let mut commits = vec![log.commit()];
    while log.preparer.step() {}
    commits.push(log.commit());
    assert!(log.count("remove ") >= SEGMENTS - 20, "{}", log.count("remove "));
    let ops = log.done.len();
    for seed in 0..12u64 {
        let prefix = ops - (seed as usize * 37) % (ops / 2);
        let disk = log.done.image(prefix, actix_wal::testkit::Persist::Torn { seed });
        let left = records_in(disk.mount().unwrap(), &small_segments(&folder));
        let is_live = |lsn: &&Lsn| **lsn > last;
        let live: Vec<Lsn> = left.keys().filter(is_live).copied().collect();
        assert!(commits.starts_with(&live), "seed {seed}: {live:?}");
        assert!(prefix < ops || live == commits, "seed {seed}: {live:?}");
    }
}
