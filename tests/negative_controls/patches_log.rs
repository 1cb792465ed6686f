//! Bugs in what the log does while it runs.

use super::{Patch, edit};

const ADMISSION: &str = "src/engine/admission.rs";
const APPENDER: &str = "src/actors/appender.rs";
const ASSIGNER: &str = "src/engine/assigner.rs";
const CATALOG: &str = "src/engine/catalog.rs";
const CURSOR: &str = "src/engine/cursor.rs";
const FLUSHER: &str = "src/actors/flusher/mod.rs";
const FAULTS: &str = "src/engine/flush_loop/faults.rs";
const FLUSH_LOOP: &str = "src/engine/flush_loop/mod.rs";
const FLUSH_THREAD: &str = "src/actors/flush_thread.rs";
const OUTCOMES: &str = "src/engine/outcomes.rs";
const RESTARTS: &str = "src/engine/restarts.rs";
const SHARED: &str = "src/engine/shared.rs";
const SUBSCRIBERS: &str = "src/actors/subscribers.rs";

const SETTLE: &str =
    "            if new_epoch {\n                this.settle_doomed();\n            }\n";

pub(super) const PATCHES: &[Patch] = &[
    Patch {
        name: "acknowledge before the sync",
        promise: "P1",
        edits: &[edit(
            APPENDER,
            "                self.waiters.add(range.last, Waiter::Commit(range, reply));",
            "                drop(reply.send(Ok(range)));",
        )],
    },
    Patch {
        name: "publish the watermark before the sync",
        promise: "P5",
        edits: &[edit(
            FLUSH_LOOP,
            "        let written = write(self, stamp);",
            "        if let Some(last) = self.in_hand.last() {\n            self.shared.publish_durable(last.last_lsn());\n        }\n        let written = write(self, stamp);",
        )],
    },
    Patch {
        name: "the watermark leads by one",
        promise: "P5",
        edits: &[edit(
            FLUSH_LOOP,
            "        self.shared.publish_durable(last);\n",
            "        self.shared.publish_durable(last.next());\n",
        )],
    },
    Patch {
        name: "the watermark is what was handed out",
        promise: "P5",
        edits: &[edit(
            SHARED,
            "        self.accepted.fetch_max(last.get(), Ordering::AcqRel);",
            "        self.accepted.fetch_max(last.get(), Ordering::AcqRel);\n        self.publish_durable(last);",
        )],
    },
    Patch {
        name: "a sync of the old epoch is heeded after the new one began",
        promise: "P8",
        edits: &[edit(
            FLUSH_LOOP,
            "        self.mode = Mode::Running;\n        self.shared.begin_epoch(",
            "        self.mode = Mode::Running;\n        self.shared.publish_durable(self.touched);\n        self.shared.begin_epoch(",
        )],
    },
    Patch {
        name: "go on in the file that failed",
        promise: "P7",
        edits: &[
            edit(
                FAULTS,
                "        self.failed.extend(self.writer.take().map(|writer| writer.name().to_owned()));\n",
                "",
            ),
            edit(
                FAULTS,
                "        self.mode = Mode::Starting;\n",
                "        self.mode = Mode::Starting;\n        if self.writer.is_some() {\n            self.epoch_begun();\n        }\n",
            ),
        ],
    },
    Patch {
        name: "FailFast answers before the cut is durable",
        promise: "P8",
        edits: &[edit(
            FAULTS,
            "            self.doom_touched(cause);\n            self.refuse_pending(cause);",
            "            self.refuse_pending(cause);",
        )],
    },
    Patch {
        name: "exceptions are noted after the watermark",
        promise: "P8",
        edits: &[
            edit(FLUSH_LOOP, SETTLE, ""),
            edit(
                FLUSH_LOOP,
                "        match self.mode {\n            Mode::Ended => Ok(Worked::Done),\n",
                "        if matches!(self.mode, Mode::Running) {\n            self.settle_doomed();\n        }\n        match self.mode {\n            Mode::Ended => Ok(Worked::Done),\n",
            ),
        ],
    },
    Patch {
        name: "the records of a failed batch are never answered",
        promise: "P6",
        edits: &[edit(FLUSH_LOOP, SETTLE, "")],
    },
    Patch {
        name: "followers are acknowledged after their leader failed",
        promise: "P8",
        edits: &[edit(
            FAULTS,
            "        self.shared.note_exception(range, Fate::NotDurable(cause.clone()));",
            "        let leader = LsnRange { last: range.first, ..range };\n        self.shared.note_exception(leader, Fate::NotDurable(cause.clone()));",
        )],
    },
    Patch {
        name: "what is not durable is said to be, once the watermark has passed it",
        promise: "P8",
        edits: &[edit(
            SHARED,
            "            if let Some(fate) = table.fate(lsn) {",
            "            if let Some(fate) = table.fate(lsn).filter(|_| !durable) {",
        )],
    },
    Patch {
        name: "a poisoned log says NotDurable of what was written",
        promise: "P8",
        edits: &[
            edit(
                FAULTS,
                "Fate::Unknown(doomed.cause.clone())",
                "Fate::NotDurable(doomed.cause.clone())",
            ),
            edit(
                FAULTS,
                "LoopEvent::Unknown(doomed.range, doomed.cause)",
                "LoopEvent::NotDurable(doomed.range, doomed.cause)",
            ),
        ],
    },
    Patch {
        name: "the batch in hand is handed back twice",
        promise: "P9",
        edits: &[edit(
            FAULTS,
            "        open.into_iter().rev().for_each(|entry| self.pending.push_front(entry));",
            "        open.iter().rev().for_each(|entry| self.pending.push_front(entry.clone()));\n        open.into_iter().rev().for_each(|entry| self.pending.push_front(entry));",
        )],
    },
    Patch {
        name: "the batch in hand is lost at a fault",
        promise: "P1",
        edits: &[edit(
            FAULTS,
            "        open.into_iter().rev().for_each(|entry| self.pending.push_front(entry));",
            "        drop(open);",
        )],
    },
    Patch {
        name: "the batch in hand is handed back the wrong way round",
        promise: "P9",
        edits: &[edit(
            FAULTS,
            "        open.into_iter().rev().for_each(|entry| self.pending.push_front(entry));",
            "        open.into_iter().for_each(|entry| self.pending.push_front(entry));",
        )],
    },
    Patch {
        name: "an LSN is given out again after a fault",
        promise: "P9",
        edits: &[
            edit(
                FLUSH_LOOP,
                "        let coming = self.pending.front()",
                "        if self.pending.is_empty() && epoch != self.position.epoch {\n            self.expected = self.in_hand.last().map_or(self.position.last_live.next(), Entry::next_lsn);\n        }\n        let coming = self.pending.front()",
            ),
            edit(
                ASSIGNER,
                "        self.next_lsn = self.next_lsn.max(next_lsn);",
                "        self.next_lsn = next_lsn;",
            ),
        ],
    },
    Patch {
        name: "after a fault the next LSN is one too high",
        promise: "P9",
        edits: &[edit(
            FLUSH_LOOP,
            "LoopEvent::EpochStarted(self.position.epoch, self.expected)",
            "LoopEvent::EpochStarted(self.position.epoch, self.expected.next())",
        )],
    },
    Patch {
        name: "an epoch keeps its number after a fault",
        promise: "P11",
        edits: &[edit(
            FLUSH_LOOP,
            "                self.open_segment(segment, self.position.epoch.next())?;",
            "                self.open_segment(segment, self.position.epoch)?;",
        )],
    },
    Patch {
        name: "LSNs are given out between a fault and the new epoch",
        promise: "P15",
        edits: &[
            edit(SHARED, "        self.accepting.store(false, Ordering::Release);\n", ""),
            edit(
                APPENDER,
                "            Gate::Open if self.shared.is_accepting() && self.parked.is_empty() => {",
                "            Gate::Open | Gate::Shut(_) => {",
            ),
        ],
    },
    Patch {
        name: "an actor hears of its LSNs with the event that covers them",
        promise: "P5",
        edits: &[
            edit(
                APPENDER,
                "        self.tell_accepted();\n        if let Err(cause) = self.assigner.hand_over() {",
                "        if let Err(cause) = self.assigner.hand_over() {",
            ),
            edit(
                APPENDER,
                "    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {\n",
                "    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {\n        self.tell_accepted();\n",
            ),
        ],
    },
    Patch {
        name: "what rides along in the intake is dropped",
        promise: "P6",
        edits: &[edit(
            APPENDER,
            "        arrived.drain(..).for_each(|submit| self.take(submit));",
            "        arrived.drain(..).take(1).for_each(|submit| self.take(submit));",
        )],
    },
    Patch {
        name: "a waiter is forgotten",
        promise: "P6",
        edits: &[edit(
            OUTCOMES,
            "            self.late.entry(lsn).or_default().push(waiter);",
            "            std::mem::forget(waiter);",
        )],
    },
    Patch {
        name: "a waiter is dropped",
        promise: "P6",
        edits: &[edit(
            OUTCOMES,
            "            self.late.entry(lsn).or_default().push(waiter);",
            "            drop(waiter);",
        )],
    },
    Patch {
        name: "nobody is told of a watermark that rose",
        promise: "P6",
        edits: &[edit(
            FLUSH_THREAD,
            "            if left.durable > *announced || !left.events.is_empty() {",
            "            if !left.events.is_empty() {",
        )],
    },
    Patch {
        name: "a flush answers before anything is durable",
        promise: "P6",
        edits: &[edit(
            APPENDER,
            "        if last <= self.shared.durable() || is_lost {",
            "        if last >= self.shared.durable() || is_lost {",
        )],
    },
    Patch {
        name: "permits leak",
        promise: "P16",
        edits: &[edit(
            FLUSH_LOOP,
            "        self.shared.admission.release(batch.entries, batch.bytes);\n        self.batcher",
            "        self.batcher",
        )],
    },
    Patch {
        name: "permits of a failed batch leak",
        promise: "P16",
        edits: &[edit(
            FAULTS,
            "        self.shared.admission.release(entries, bytes);\n        self.events.push(LoopEvent::NotDurable(range, cause));",
            "        let _ = (entries, bytes);\n        self.events.push(LoopEvent::NotDurable(range, cause));",
        )],
    },
    Patch {
        name: "permits are given back twice",
        promise: "P16",
        edits: &[edit(
            FLUSH_LOOP,
            "        self.shared.admission.release(batch.entries, batch.bytes);\n        self.batcher",
            "        self.shared.admission.release(2 * batch.entries, 2 * batch.bytes);\n        self.batcher",
        )],
    },
    Patch {
        name: "admission has no bound",
        promise: "P16",
        edits: &[edit(
            ADMISSION,
            "            entries: Semaphore::new(max_entries),",
            "            entries: Semaphore::new(1 << 20),",
        )],
    },
    Patch {
        name: "the queue is smaller than what may be in flight",
        promise: "P16",
        edits: &[edit(
            SHARED,
            "bounded(config.max_in_flight_entries + NUDGE_SLOTS)",
            "bounded(AWAKE)",
        )],
    },
    Patch {
        name: "a group is split over frames",
        promise: "P3",
        edits: &[edit(
            FLUSH_LOOP,
            "        self.pending.push_back(entry);\n",
            "        let mut lsn = entry.first_lsn;\n        for record in entry.payload.records() {\n            let payload = super::entry::Payload::One(record.clone());\n            self.pending.push_back(Entry { first_lsn: lsn, payload, ..entry });\n            lsn = lsn.next();\n        }\n",
        )],
    },
    Patch {
        name: "appends that were parked come back the wrong way round",
        promise: "P2",
        edits: &[edit(
            APPENDER,
            "        self.gate = Gate::Open;\n        self.submit_parked();",
            "        self.gate = Gate::Open;\n        self.parked.make_contiguous().reverse();\n        self.submit_parked();",
        )],
    },
    Patch {
        name: "appends that were parked are overtaken",
        promise: "P2",
        edits: &[
            edit(
                APPENDER,
                "        self.gate = Gate::Open;\n        self.submit_parked();\n",
                "        self.gate = Gate::Open;\n",
            ),
            edit(
                APPENDER,
                "            Gate::Open if self.shared.is_accepting() && self.parked.is_empty() => {\n                return self.accept(submit);\n",
                "            Gate::Open if self.shared.is_accepting() => {\n                self.accept(submit);\n                for submit in std::mem::take(&mut self.parked) {\n                    self.take(submit);\n                }\n                return;\n",
            ),
        ],
    },
    Patch {
        name: "a checkpoint removes a segment above the low-water mark",
        promise: "P19",
        edits: &[edit(
            CATALOG,
            "segment.live_end.is_some_and(|end| end <= releasable)",
            "(!releasable.is_none() && segment.live_end.is_some_and(|end| end <= releasable.plus(30)))",
        )],
    },
    Patch {
        name: "a checkpoint removes, and leaves its mark to the next frame",
        promise: "P19",
        edits: &[
            edit(
                FLUSH_LOOP,
                "        if self.position.low_water >= self.shared.catalog.low_water() {\n",
                "        {\n",
            ),
            edit(
                FLUSH_LOOP,
                "        if self.needs_low_water_frame(wish) {\n            self.write_empty(",
                "        let _ = self.needs_low_water_frame(wish);\n        if false {\n            self.write_empty(",
            ),
        ],
    },
    Patch {
        name: "a reader is shown what is not durable",
        promise: "P5",
        edits: &[edit(
            CURSOR,
            "        let durable = self.shared.durable();\n",
            "        let durable = self.shared.accepted();\n",
        )],
    },
    Patch {
        name: "a reader skips a record",
        promise: "P2",
        edits: &[edit(
            CURSOR,
            "                    batch.push(&frame, self.next);\n",
            "                    let skipped = u64::from(frame.header.count > 3);\n                    batch.push(&frame, self.next.plus(skipped));\n",
        )],
    },
    Patch {
        name: "a reader does not follow the cut",
        promise: "P8",
        edits: &[edit(
            CATALOG,
            "            before.live_end = Some(before.live_end.map_or(segment.cut, |end| end.min(segment.cut)));",
            "            before.live_end = Some(before.live_end.unwrap_or(segment.cut.plus(3)));",
        )],
    },
    Patch {
        name: "the close frame has the wrong next LSN",
        promise: "P9",
        edits: &[edit(
            FLUSH_LOOP,
            "let close = Empty::Close(self.expected);",
            "let close = Empty::Close(self.position.last_live.next());",
        )],
    },
    Patch {
        name: "the log is closed over what is still pending",
        promise: "P22",
        edits: &[edit(
            FLUSH_LOOP,
            "        if !self.pending.is_empty() {\n            return self.flush();\n        }\n        if self.wants_close() {\n            return self.close();\n        }\n",
            "        if self.wants_close() {\n            return self.close();\n        }\n        if !self.pending.is_empty() {\n            return self.flush();\n        }\n",
        )],
    },
    Patch {
        name: "the log is closed without a close frame",
        promise: "P22",
        edits: &[edit(FLUSH_LOOP, "        if closes {\n", "        if false {\n")],
    },
    Patch {
        name: "a closed file is trimmed too far",
        promise: "P22",
        edits: &[edit(
            "src/engine/log_writer.rs",
            "        self.file.set_size(self.offset).map_err(fault)?;",
            "        self.file.set_size(self.offset - 512).map_err(fault)?;",
        )],
    },
    Patch {
        name: "a slow subscriber misses what failed",
        promise: "P6",
        edits: &[edit(
            SUBSCRIBERS,
            "                self.failed.extend(failed);",
            "                self.failed = failed;",
        )],
    },
    Patch {
        name: "subscribers do not hear what failed",
        promise: "P6",
        edits: &[edit(
            SUBSCRIBERS,
            "                self.failed.extend(failed);",
            "                drop(failed);",
        )],
    },
    Patch {
        name: "a full disk poisons the log",
        promise: "P21",
        edits: &[edit(
            FLUSHER,
            "self.restarts.after_fault(now, !cause.is_no_space()) else {",
            "self.restarts.after_fault(now, true).filter(|_| !cause.is_no_space()) else {",
        )],
    },
    Patch {
        name: "a full disk is charged to the restarts",
        promise: "P21",
        edits: &[edit(FLUSHER, "after_fault(now, !cause.is_no_space())", "after_fault(now, true)")],
    },
    Patch {
        name: "a full disk is taken for a fault",
        promise: "P21",
        edits: &[edit(
            FLUSH_LOOP,
            "                self.enter_no_space(fault);\n                Ok(Worked::NeedsSegment)",
            "                Err(fault.into())",
        )],
    },
    Patch {
        name: "the restart budget is never given back",
        promise: "P17",
        edits: &[edit(RESTARTS, "        self.recent.retain(is_recent);\n", "")],
    },
    Patch {
        name: "a full disk drops what was accepted",
        promise: "P6",
        edits: &[edit(
            FAULTS,
            "        self.refuse_pending(&Cause::NoSpace(fault.clone()));\n        self.events",
            "        self.pending.clear();\n        self.recount();\n        self.events",
        )],
    },
];
