//! Bugs in how the log is read back.

use super::{Patch, edit};

const BEGIN: &str = "src/engine/recovery/begin.rs";
const FRAME: &str = "src/format/frame.rs";
const LIVE_WALK: &str = "src/engine/recovery/live_walk.rs";
const RECOVERY: &str = "src/engine/recovery/mod.rs";
const SCAN: &str = "src/format/scan.rs";
const SURVEY: &str = "src/engine/recovery/survey.rs";
const TAIL: &str = "src/engine/recovery/tail.rs";

pub(super) const PATCHES: &[Patch] = &[
    Patch {
        name: "recovery does not sync the directory",
        promise: "P12",
        edits: &[edit(
            SURVEY,
            "        storage\n            .sync_dir()\n            .map_err(|error| IoFault::new(IoOp::SyncDirectory, &location, None, error))?;\n",
            "",
        )],
    },
    Patch {
        name: "the last frame is adopted and not carried over",
        promise: "P12",
        edits: &[edit(
            TAIL,
            "self.last.filter(|last| last.header.count > 0);",
            "self.last.filter(|last| last.header.count > u32::MAX - 1);",
        )],
    },
    Patch {
        name: "the last frame is carried over and not cut",
        promise: "P9",
        edits: &[edit(
            TAIL,
            "            Position { low_water: self.after.low_water, ..self.before }",
            "            Position { ..self.after }",
        )],
    },
    Patch {
        name: "the last frame is replayed before its copy is durable",
        promise: "P12",
        edits: &[
            edit(
                RECOVERY,
                "    let live = recovery.live_until(tail.position.last_live);",
                "    let last = tail.carry.as_ref().map_or(tail.position.last_live, |last| last.header.last_lsn());\n    let live = recovery.live_until(last);",
            ),
            edit(
                RECOVERY,
                "    walk.run(&carried, report, &mut |frame, progress| replay.frame(frame, progress))?;",
                "    drop(carried);",
            ),
        ],
    },
    Patch {
        name: "no gap after an unclean end",
        promise: "P9",
        edits: &[edit(
            TAIL,
            "let unclean = if self.closed { 0 } else { self.in_flight_limit };",
            "let unclean = if self.closed { 0 } else { self.in_flight_limit.min(1) };",
        )],
    },
    Patch {
        name: "after an open the next LSN is taken",
        promise: "P9",
        edits: &[edit(
            BEGIN,
            "            next_lsn: tail.next_life,",
            "            next_lsn: position.next_lsn.min(tail.next_life),",
        )],
    },
    Patch {
        name: "the gap is not declared",
        promise: "P9",
        edits: &[edit(
            RECOVERY,
            "    report.gaps.iter().copied().chain(open_end).for_each(|gap| shared.note_gap(gap));",
            "    let _ = (report, open_end);",
        )],
    },
    Patch {
        name: "the salt is not checked",
        promise: "P13",
        edits: &[
            edit(
                SCAN,
                "            Some(expected) if expected.salt != header.salt => return wrong(\"salt\"),\n",
                "",
            ),
            edit(
                SCAN,
                "        self.expected.is_none_or(|expected| expected.salt == header.salt)",
                "        let _ = header;\n        true",
            ),
        ],
    },
    Patch {
        name: "a frame with another salt is taken for the next one",
        promise: "P13",
        edits: &[edit(
            SCAN,
            "            Some(expected) if expected.salt != header.salt => return wrong(\"salt\"),\n",
            "",
        )],
    },
    Patch {
        name: "the offset is not in the checksum",
        promise: "P13",
        edits: &[edit(
            FRAME,
            "    hasher.update(&offset.to_le_bytes());\n",
            "    let _ = offset;\n",
        )],
    },
    Patch {
        name: "the checksum of the records is not checked",
        promise: "P10",
        edits: &[edit(
            FRAME,
            "        if checksum != frame_checksum(&bytes[..end]) {",
            "        if false {",
        )],
    },
    Patch {
        name: "the checksum of the header is not checked",
        promise: "P10",
        edits: &[edit(
            FRAME,
            "        if read_le!(bytes, HEADER_CHECKSUM_AT, u32) != header_checksum(place, offset, bytes) {",
            "        if read_le!(bytes, HEADER_CHECKSUM_AT, u32) == header_checksum(place, offset, bytes) + 1 {",
        )],
    },
    Patch {
        name: "damage in the last segment is cut like a torn tail",
        promise: "P10",
        edits: &[edit(
            SCAN,
            "    (Some(true), None, Some(true), Kind::Damage),",
            "    (Some(true), None, Some(true), Kind::TornTail),",
        )],
    },
    Patch {
        name: "replay goes past damage in an earlier segment",
        promise: "P10",
        edits: &[edit(
            LIVE_WALK,
            "                    Verdict::Damage { fault, proof } => {\n                        return",
            "                    Verdict::Damage { fault, proof } => {\n                        if ending.offset > 0 {\n                            return Ok(());\n                        }\n                        return",
        )],
    },
    Patch {
        name: "replay goes past damage, and nobody compares the chains",
        promise: "P10",
        edits: &[
            edit(
                LIVE_WALK,
                "                    Verdict::Damage { fault, proof } => {\n                        return",
                "                    Verdict::Damage { fault, proof } => {\n                        if ending.offset > 0 {\n                            return Ok(());\n                        }\n                        return",
            ),
            edit(
                LIVE_WALK,
                "let broken = frame.header.chain != self.position.chain;",
                "let broken = frame.header.chain == 0 && self.position.chain == 1;",
            ),
            edit(
                LIVE_WALK,
                "self.sequence != last.sequence && start.chain != self.position.chain {",
                "self.sequence == last.sequence && start.chain != start.chain {",
            ),
        ],
    },
    Patch {
        name: "a foreign segment is accepted",
        promise: "P14",
        edits: &[edit(
            SURVEY,
            "        if header.place.log_id == self.log_id {",
            "        if header.place.log_id != crate::format::LogId([0; 16]) {",
        )],
    },
    Patch {
        name: "a missing segment is not missed",
        promise: "P14",
        edits: &[edit(
            TAIL,
            "            if let Some(missing) = (expected..segment.sequence).find(|number| !is_known(number)) {",
            "            if let Some(missing) = (expected..segment.sequence).find(|n| *n > 1 << 40 && !is_known(n)) {",
        )],
    },
    Patch {
        name: "a shortened segment is taken for a trimmed one",
        promise: "P10",
        edits: &[edit(
            TAIL,
            "        if found < expected && !segment.header.growing && !walk.closed {",
            "        if found < expected && !segment.header.growing && walk.closed && expected == 0 {",
        )],
    },
    Patch {
        name: "the live end of a segment is not heeded",
        promise: "P8",
        edits: &[edit(
            LIVE_WALK,
            "            return Ok(self.recovery.reader(segment, Until::LiveEnd(end))?);",
            "            return Ok(self.recovery.reader(segment, Until::LiveEnd(end.plus(2)))?);",
        )],
    },
    Patch {
        name: "records below the low-water mark come back",
        promise: "P2",
        edits: &[edit(
            RECOVERY,
            "    let from = from.unwrap_or(low_water.next());",
            "    let from = from.unwrap_or(Lsn::FIRST);",
        )],
    },
    Patch {
        name: "recovery forgets the low-water mark",
        promise: "P19",
        edits: &[edit(
            RECOVERY,
            "    position.low_water = position.low_water.max(header.low_water);",
            "    position.low_water = position.low_water.min(header.low_water);",
        )],
    },
    Patch {
        name: "a segment number is given out twice",
        promise: "P13",
        edits: &[edit(
            BEGIN,
            "        let mut next_sequence = self.highest.saturating_add(1);",
            "        let mut next_sequence = self.highest.max(1);",
        )],
    },
    Patch {
        name: "recovery removes segments before its start frame is durable",
        promise: "P19",
        edits: &[edit(
            BEGIN,
            "        let (writer, position) = self.write_start(&style, segment, &tail)?;\n",
            "        for gone in self.shared.catalog.take_removable(self.shared.clock.now()) {\n            let _ = self.storage.remove(&gone.name);\n        }\n        let _ = self.storage.sync_dir();\n        let (writer, position) = self.write_start(&style, segment, &tail)?;\n",
        )],
    },
    Patch {
        name: "a log that was closed is not clean",
        promise: "P22",
        edits: &[edit(
            TAIL,
            "        let clean = walk.closed && torn.is_none() && later_torn.is_none();",
            "        let clean = !walk.closed && torn.is_none() && later_torn.is_none();",
        )],
    },
];
