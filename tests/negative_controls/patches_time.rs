//! Bugs in how long things may take, and in who may be at work at one time.

use super::{Patch, edit};

const BATCHER: &str = "src/engine/batcher.rs";
const DISK: &str = "src/testkit/disk.rs";
const FLUSHER: &str = "src/actors/flusher/mod.rs";
const FLUSH_LOOP: &str = "src/engine/flush_loop/mod.rs";
const FLUSH_THREAD: &str = "src/actors/flush_thread.rs";
const REQUESTS: &str = "src/actors/flusher/requests.rs";

pub(super) const PATCHES: &[Patch] = &[
    Patch {
        name: "a new epoch is started while the old thread still syncs",
        promise: "P8",
        edits: &[
            edit(
                FLUSH_LOOP,
                "impl FlushLoop {\n    /// A loop that goes on where recovery",
                TWIN_LOOP,
            ),
            edit(
                FLUSH_LOOP,
                "    source: Box<dyn SegmentSource>,\n    batcher: Batcher,",
                "    source: Box<dyn SegmentSource>,\n    both: Both,\n    batcher: Batcher,",
            ),
            edit(
                FLUSH_LOOP,
                "        FlushLoop {\n            batcher: Batcher::new(",
                "        let both = Both(Arc::new(std::sync::Mutex::new(source)));\n        FlushLoop {\n            both: both.clone(),\n            batcher: Batcher::new(",
            ),
            edit(
                FLUSH_LOOP,
                "            style,\n            source,\n",
                "            style,\n            source: Box::new(both),\n",
            ),
            edit(
                FLUSH_THREAD,
                "    unread: AtomicBool,\n}\n",
                "    unread: AtomicBool,\n    pub(super) twin: Mutex<Option<(Box<FlushLoop>, QueueReceiver)>>,\n}\n",
            ),
            edit(
                FLUSH_THREAD,
                "        let worked = self.guarded(|Held { flush_loop, .. }, wiring, announced| {\n",
                "        let worked = self.guarded(|Held { flush_loop, queue }, wiring, announced| {\n            *wiring.board.twin.lock().unwrap_or_else(PoisonError::into_inner) = Some((flush_loop.twin(), queue.clone()));\n",
            ),
            // Else the copy alone would keep the directory.
            edit(
                FLUSH_THREAD,
                "        self.wiring.board.leave(Left::by(&mut flush_loop, &self.wiring.shared));\n",
                "        *self.wiring.board.twin.lock().unwrap_or_else(PoisonError::into_inner) = None;\n        self.wiring.board.leave(Left::by(&mut flush_loop, &self.wiring.shared));\n",
            ),
            edit(
                FLUSHER,
                "            self.raise(alarm, running.unwrap_or_default().as_secs());\n",
                "            self.raise(alarm, running.unwrap_or_default().as_secs());\n            let twin = || self.board.twin.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();\n            let twin = if alarm == Alarm::Stalled { twin() } else { None };\n            if let Some((mut flush_loop, queue)) = twin {\n                flush_loop.fault(&Cause::Stalled { seconds: 0 });\n                self.spawn(Idle { flush_loop, queue }, context);\n            }\n",
            ),
        ],
    },
    Patch {
        name: "a linger has no bound",
        promise: "P17",
        edits: &[
            edit(BATCHER, "self.linger_end(pending).min(latest)", "self.linger_end(pending)"),
            edit(BATCHER, "        self.last_ended + self.flush_time\n", "        Tick::MAX\n"),
        ],
    },
    Patch {
        name: "a window stays open for a second more",
        promise: "P17",
        edits: &[edit(
            BATCHER,
            "FlushPolicy::Window(bounds) => oldest.saturating_add(bounds.max_delay),",
            "FlushPolicy::Window(bounds) => oldest.saturating_add(bounds.max_delay + Duration::from_secs(1)),",
        )],
    },
    Patch {
        name: "an append that nobody waits for waits for one that somebody does",
        promise: "P4",
        edits: &[edit(
            BATCHER,
            "if pending.commits == 0 { latest }",
            "if pending.commits == 0 { Tick::MAX }",
        )],
    },
    Patch {
        name: "the lock goes with the first file that is closed",
        promise: "P20",
        edits: &[edit(
            DISK,
            "impl SimFile {\n",
            "impl Drop for SimFile {\n    fn drop(&mut self) {\n        self.lock.0.0.mounted.store(false, Ordering::Release);\n    }\n}\n\nimpl SimFile {\n",
        )],
    },
    Patch {
        name: "the lock is never given back",
        promise: "P20",
        edits: &[edit(
            REQUESTS,
            "            _ => {\n                self.closers.push(reply);\n",
            "            _ => {\n                std::mem::forget(self.storage.clone());\n                self.closers.push(reply);\n",
        )],
    },
    Patch {
        name: "a close is answered before the flush thread has ended",
        promise: "P22",
        edits: &[edit(
            REQUESTS,
            "            _ => {\n                self.closers.push(reply);\n",
            "            _ => {\n                let _ = reply.send(Ok(()));\n",
        )],
    },
];

/// A flush loop that can be had twice, over one supply of segments.
const TWIN_LOOP: &str = "
#[derive(Clone, Debug)]
struct Both(Arc<std::sync::Mutex<Box<dyn SegmentSource>>>);

impl Both {
    fn get(&self) -> std::sync::MutexGuard<'_, Box<dyn SegmentSource>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SegmentSource for Both {
    fn take(&mut self, need: Need) -> Supply {
        self.get().take(need)
    }

    fn wait(&mut self, at_most: Duration) {
        self.get().wait(at_most);
    }

    fn recycle(&mut self, name: String) {
        self.get().recycle(name);
    }

    fn remove(&mut self, name: String) {
        self.get().remove(name);
    }

    fn stop(&mut self) {
        self.get().stop();
    }
}

impl FlushLoop {
    /// Another one, which begins an epoch.
    pub fn twin(&self) -> Box<FlushLoop> {
        Box::new(FlushLoop {
            shared: Arc::clone(&self.shared),
            style: self.style,
            source: Box::new(self.both.clone()),
            both: self.both.clone(),
            batcher: self.batcher.clone(),
            fault_policy: self.fault_policy,
            seal_after: self.seal_after,
            mode: Mode::Running,
            position: self.position,
            writer: None,
            expected: self.expected,
            pending: self.pending.clone(),
            tally: self.tally,
            in_hand: Vec::new(),
            done: Vec::new(),
            failed: self.failed.clone(),
            never_started: self.never_started.clone(),
            touched: self.touched,
            doomed: Vec::new(),
            too_full: false,
            sealed: self.sealed,
            last_activity: self.last_activity,
            checkpointed: self.checkpointed,
            events: Vec::new(),
        })
    }

    /// A loop that goes on where recovery";
