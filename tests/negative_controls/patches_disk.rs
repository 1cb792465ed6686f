//! Bugs in what the log does to its files.

use super::{Patch, edit};

const LOG_WRITER: &str = "src/engine/log_writer.rs";
const PREPARE: &str = "src/storage/prepare.rs";
const PREPARER: &str = "src/storage/preparer.rs";
const STORAGE: &str = "src/storage/mod.rs";

const SYNC: &str = "        self.file.sync().map_err(|error| fault(IoOp::Sync, error))?;\n";

pub(super) const PATCHES: &[Patch] = &[
    Patch { name: "skip the sync", promise: "P1", edits: &[edit(LOG_WRITER, SYNC, "")] },
    Patch {
        name: "trust the page cache after a failed sync",
        promise: "P7",
        edits: &[edit(LOG_WRITER, SYNC, "        let _ = self.file.sync();\n")],
    },
    Patch {
        name: "try a failed sync again",
        promise: "P7",
        edits: &[edit(
            LOG_WRITER,
            SYNC,
            "        self.file.sync().or_else(|_| self.file.sync()).map_err(|error| fault(IoOp::Sync, error))?;\n",
        )],
    },
    Patch {
        name: "sync before the write",
        promise: "P1",
        edits: &[
            edit(LOG_WRITER, SYNC, ""),
            edit(
                LOG_WRITER,
                "        write_all_at(&*self.file, frame.bytes, self.offset)\n",
                "        self.file.sync().map_err(|error| fault(IoOp::Sync, error))?;\n        write_all_at(&*self.file, frame.bytes, self.offset)\n",
            ),
        ],
    },
    Patch {
        name: "the cut is one LSN too high",
        promise: "P8",
        edits: &[edit(
            LOG_WRITER,
            "let start = Start { cut: position.last_live, in",
            "let start = Start { cut: position.last_live.next().min(opening.first_lsn.previous()), in",
        )],
    },
    Patch {
        name: "the cut is one LSN too low",
        promise: "P1",
        edits: &[edit(
            LOG_WRITER,
            "let start = Start { cut: position.last_live, in",
            "let start = Start { cut: position.last_live.previous(), in",
        )],
    },
    Patch {
        name: "the cut takes in whatever was handed out",
        promise: "P8",
        edits: &[edit(
            LOG_WRITER,
            "let start = Start { cut: position.last_live, in",
            "let start = Start { cut: opening.first_lsn.previous(), in",
        )],
    },
    Patch {
        name: "the frames of a segment overlap",
        promise: "P1",
        edits: &[edit(
            LOG_WRITER,
            "        self.offset += frame.bytes.len() as u64;",
            "        self.offset += (frame.bytes.len() as u64).min(512);",
        )],
    },
    Patch {
        name: "a segment is not synced before it has its name",
        promise: "P10",
        edits: &[edit(
            PREPARE,
            "        file.sync().map_err(PrepareFault::at(\"sync\", &job.temp_name))?;\n",
            "",
        )],
    },
    Patch {
        name: "no directory sync before a recycled file is overwritten",
        promise: "P13",
        edits: &[edit(
            PREPARE,
            "    storage.sync_dir().map_err(PrepareFault::at(\"sync the directory of\", temp))?;\n",
            "",
        )],
    },
    Patch {
        name: "no directory sync after a segment has its name",
        promise: "P1",
        edits: &[edit(
            PREPARE,
            "    if let Err(error) = storage.sync_dir() {",
            "    if let Err(error) = Ok::<(), io::Error>(()) {",
        )],
    },
    Patch {
        name: "a recycled file is said to be new",
        promise: "P13",
        edits: &[edit(PREPARER, "size, recycle.is_some());", "size, false);")],
    },
    Patch {
        name: "a recycled segment is not blanked",
        promise: "P13",
        edits: &[edit(
            PREPARE,
            "(job.header.len().next_multiple_of(job.block_size) + job.block_size) as u64;",
            "job.header.len() as u64;",
        )],
    },
    Patch {
        name: "a name that may not be durable is left behind",
        promise: "P10",
        edits: &[edit(PREPARER, "        if self.unsettled {\n", "        if false {\n")],
    },
    Patch {
        name: "a short write is taken for a whole one",
        promise: "P1",
        edits: &[edit(
            STORAGE,
            "            Ok(written) => {\n                bytes = &bytes[written..];\n                offset += written as u64;\n            }\n",
            "            Ok(_) => return Ok(()),\n",
        )],
    },
    Patch {
        name: "a write goes on at the old place after a short one",
        promise: "P1",
        edits: &[edit(
            STORAGE,
            "                offset += written as u64;\n",
            "                offset += 0;\n",
        )],
    },
    Patch {
        name: "EINTR is taken for a fault of the disk",
        promise: "P7",
        edits: &[edit(
            STORAGE,
            "            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),\n",
            "            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),\n            Err(error) if error.raw_os_error() == Some(4) => return Err(error),\n",
        )],
    },
    Patch {
        name: "a write that fails on a full disk is taken for done",
        promise: "P1",
        edits: &[edit(
            STORAGE,
            "            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),\n",
            "            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),\n            Err(error) if crate::error::is_no_space(&error) => return Ok(()),\n",
        )],
    },
];
