//! Guards P2, P9, P10, P11, P13, P14, P20: every damage by one change, and what an operator reads. The whole message of
//! the open, on real files: what is so, whether a record is missing, and what to do. Salvage is advised only where
//! something may be lost; and where there is damage, it cuts the log there and leaves one that works. Directories
//! that show signs of a log are in `tests/absence.rs`.
//!
//! The table is for reading. In it `DIR` stands for the directory, `LOG` for the id of the log, `OTHER` for
//! that of another one, and `SIZE` for the size of the last segment that is in use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use actix::{Actor, Context, Handler};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::format::segment::{SegmentHeader, segment_name};
use actix_wal::{Existence, Lsn, OpenError, Wal, WalConfig};
use test_support::refusals::{copy, refuse, remove, salvage};
use test_support::scratch::folder;
use test_support::small_logs::{
    change, closed_log, config, frames, killed_log, renumbered, run, segments, unused,
};

/// 27 records in four segments, of which the last has a few; two more are prepared. Its process was killed.
const RECORDS: u64 = 27;

/// The last segment that is in use: its start frame, and a frame of one block a record.
const LAST: u64 = 4;

fn write_files(disk: &SimDisk, path: &Path) {
    for name in disk.names() {
        fs::write(path.join(&name), disk.read_file(&name).unwrap()).unwrap();
    }
}

fn swap(disk: &SimDisk, one: u64, other: u64) {
    let before = disk.fork();
    copy(&before, one, disk, other);
    copy(&before, other, disk, one);
}

/// A segment of another log instead of one of this log.
fn another_log(disk: &SimDisk, sequence: u64) {
    copy(&killed_log(RECORDS), sequence, disk, sequence);
}

/// Behind the last frame of a file: whole blocks.
fn end_of_frames(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512)
}

/// What was done to the log, and the message of the open.
type Case = (&'static str, fn(&SimDisk), &'static str);

const CASES: &[Case] = &[
    (
        "the newest segment is cut right behind its last frame",
        |disk| change(disk, LAST, |bytes| bytes.truncate(end_of_frames(bytes))),
        "damaged: 00000000000000000004.wal, offset 2560: the file has 2560 bytes of 6144; whether there were records from LSN 28 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "the newest segment has lost all zeros at its end",
        |disk| {
            change(disk, LAST, |bytes| {
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1)
            })
        },
        "damaged: 00000000000000000004.wal, offset 2048: the file has SIZE bytes of 6144; whether there were records from LSN 27 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "the newest segment is cut in its frames",
        |disk| change(disk, LAST, |bytes| bytes.truncate(1024)),
        "damaged: 00000000000000000004.wal, offset 1024: the file has 1024 bytes of 6144; whether there were records from LSN 25 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "a middle segment is cut",
        |disk| change(disk, 2, |bytes| bytes.truncate(1536)),
        "damaged: 00000000000000000002.wal, offset 1536: the file has 1536 bytes of 6144; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the newest segment is empty",
        |disk| change(disk, LAST, Vec::clear),
        "damaged: 00000000000000000004.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "a middle segment is empty",
        |disk| change(disk, 2, Vec::clear),
        "damaged: 00000000000000000002.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "an empty file with the next number",
        |disk| disk.write_file(&segment_name(7), Vec::new()),
        "damaged: 00000000000000000007.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "a few bytes of a header",
        |disk| change(disk, 3, |bytes| bytes.truncate(30)),
        "damaged: 00000000000000000003.wal: the file has only 30 bytes, too few for a segment header; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "something else than a segment",
        |disk| change(disk, 3, |bytes| bytes[0] = b'x'),
        "damaged: 00000000000000000003.wal: the first bytes are not those of a segment; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "a header with a flipped bit",
        |disk| change(disk, 3, |bytes| bytes[40] ^= 1),
        "damaged: 00000000000000000003.wal: the checksum of the segment header does not match; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "the first header with a flipped bit",
        |disk| change(disk, 1, |bytes| bytes[3] ^= 1),
        "damaged: 00000000000000000001.wal: the first bytes are not those of a segment; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "the newest header with a flipped bit",
        |disk| change(disk, LAST, |bytes| bytes[20] ^= 64),
        "damaged: 00000000000000000004.wal: the checksum of the segment header does not match; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "a later version",
        |disk| change(disk, 2, |bytes| bytes[8] = 9),
        "00000000000000000002.wal: format version 9 is newer than this crate, which reads up to version 1; open the log with a later version of actix-wal",
    ),
    (
        "the first segment is missing",
        |disk| remove(disk, 1),
        "damaged: 00000000000000000001.wal: the segment is missing; what was durable from LSN 1 on can not be read; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "a middle segment is missing",
        |disk| remove(disk, 2),
        "damaged: 00000000000000000002.wal: the segment is missing; what was durable from LSN 8 on can not be read; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "the newest segment is missing, but not what was prepared behind it",
        |disk| remove(disk, LAST),
        "damaged: 00000000000000000004.wal: the segment is missing; whether there were records from LSN 24 on can not be told; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "two names exchanged",
        |disk| swap(disk, 2, 3),
        "damaged: 00000000000000000002.wal: the file is segment 3 under another name; no record is known to be missing; give the file back its name 00000000000000000003.wal if that is free, or move it away, and put segment 2 in its place",
    ),
    (
        "the first two names exchanged",
        |disk| swap(disk, 1, 2),
        "damaged: 00000000000000000001.wal: the file is segment 2 under another name; no record is known to be missing; give the file back its name 00000000000000000002.wal if that is free, or move it away, and put segment 1 in its place",
    ),
    (
        "the last two names exchanged",
        |disk| swap(disk, 3, 4),
        "damaged: 00000000000000000003.wal: the file is segment 4 under another name; no record is known to be missing; give the file back its name 00000000000000000004.wal if that is free, or move it away, and put segment 3 in its place",
    ),
    (
        "a segment twice",
        |disk| copy(&disk.fork(), 2, disk, 3),
        "damaged: 00000000000000000003.wal: the file is segment 2 under another name; no record is known to be missing; give the file back its name 00000000000000000002.wal if that is free, or move it away, and put segment 3 in its place",
    ),
    (
        "a segment of another log",
        |disk| another_log(disk, 2),
        "damaged: 00000000000000000002.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "the first segment of another log",
        |disk| another_log(disk, 1),
        "damaged: 00000000000000000001.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "the newest segment of another log",
        |disk| another_log(disk, LAST),
        "damaged: 00000000000000000004.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "a segment of another log, with a number of its own",
        |disk| another_log(disk, 6),
        "damaged: 00000000000000000006.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "a number that there is not",
        |disk| {
            let blank = unused(disk).pop().expect("a prepared segment");
            disk.write_file(&segment_name(0), renumbered(&blank.bytes, 0));
        },
        "damaged: 00000000000000000000.wal: no segment ever has this sequence number; no record is known to be missing; move it away",
    ),
    (
        "a block was lost",
        |disk| change(disk, 2, |bytes| bytes[1536..2048].fill(0)),
        "damaged: 00000000000000000002.wal, offset 1536: no frame begins here; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a record was changed",
        |disk| change(disk, 2, |bytes| bytes[1536 + 200] ^= 1),
        "damaged: 00000000000000000002.wal, offset 1536: the records do not match their checksum; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the header of a frame was changed",
        |disk| change(disk, 2, |bytes| bytes[1536 + 50] ^= 1),
        "damaged: 00000000000000000002.wal, offset 1536: the frame header does not match its checksum; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a record in the newest segment was changed",
        |disk| change(disk, LAST, |bytes| bytes[1024 + 200] ^= 1),
        "damaged: 00000000000000000004.wal, offset 1024: the records do not match their checksum, although a later frame at offset 1536 proves that it was durable; what was durable from LSN 25 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a start frame was changed",
        |disk| change(disk, 3, |bytes| bytes[700] ^= 1),
        "damaged: 00000000000000000003.wal, offset 512: its start frame is damaged: the records do not match their checksum; what was durable from LSN 16 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the newest start frame was changed",
        |disk| change(disk, LAST, |bytes| bytes[520] ^= 1),
        "damaged: 00000000000000000004.wal, offset 512: the frame header does not match its checksum, although a later frame at offset 1024 proves that it was durable; what was durable from LSN 24 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a frame stands where another one should",
        |disk| change(disk, LAST, |bytes| bytes.copy_within(512..1024, 1024)),
        "damaged: 00000000000000000004.wal, offset 1024: the frame header does not match its checksum, although a later frame at offset 1536 proves that it was durable; what was durable from LSN 25 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
];

/// The message, with what differs from run to run taken out.
fn message(path: &Path, error: &OpenError) -> String {
    let text = error.to_string().replace(&path.display().to_string(), "DIR");
    let Some((before, after)) = text.split_once("belongs to log ") else { return text };
    format!("{before}belongs to log OTHER{}", &after[32..])
}

fn settings(path: &Path) -> WalConfig {
    let mut config = config();
    config.directory = path.to_owned();
    config
}

/// Gathers the messages that are not as they should be, so that a changed text is seen in all its places.
#[derive(Default)]
struct Wrong(String);

impl Wrong {
    fn compare(&mut self, what: &str, path: &Path, opened: Result<(), OpenError>, wanted: &str) {
        let found = opened.map_or_else(|error| message(path, &error), |()| "it opens".to_owned());
        if found != wanted {
            self.0 += &format!("\n{what}\n  wanted: {wanted}\n  found:  {found}");
        }
    }

    fn assert_none(self) {
        assert!(self.0.is_empty(), "{}", self.0);
    }
}

#[test]
fn p10_p14_p20_every_refusal_says_what_is_so_whether_a_record_is_missing_and_what_to_do() {
    let (sound, mut wrong) = (killed_log(RECORDS), Wrong::default());
    assert_eq!(frames(&sound).last().map(|last| last.segment), Some(LAST));
    let id = SegmentHeader::decode(&segments(&sound)[0].bytes).unwrap().place.log_id.to_string();
    for (what, damage, wanted) in CASES {
        let (disk, folder) = (sound.fork(), folder());
        damage(&disk);
        write_files(&disk, folder.path());
        let opened = run(async { Wal::open(settings(folder.path())).await.map(drop) });
        // A checksum may end with a zero.
        let size = disk.read_file(&segment_name(LAST)).map_or(0, |bytes| bytes.len());
        let wanted = wanted.replace("LOG", &id).replace("SIZE", &size.to_string());
        wrong.compare(what, folder.path(), opened, &wanted);
    }
    wrong.assert_none();
}

#[test]
fn p10_every_damage_is_refused_twice_in_the_same_words_and_salvaged_to_a_log_that_works() {
    let sound = killed_log(RECORDS);
    for (what, damage, _) in CASES.iter().filter(|case| case.2.starts_with("damaged: ")) {
        let disk = sound.fork();
        damage(&disk);
        let refused = refuse(what, &disk);
        let known = refused.lsn.get();
        // A header says nothing of LSNs: what is missed is all that the segment held, if it held anything.
        let start = frames(&sound).into_iter().find(|frame| frame.segment == refused.segment);
        let first = start.map_or(RECORDS + 1, |frame| frame.header.first_lsn.get());
        let lsn = if refused.offset > 0 { known } else { first };
        assert!(known == lsn || (known == 0 && refused.offset == 0), "{what}: {refused}");
        salvage(what, &disk, &refused, lsn, RECORDS);
    }
}

/// Takes some records, and no more.
struct Host(&'static str);

impl Actor for Host {
    type Context = Context<Self>;
}

impl Handler<Replay> for Host {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, context: &mut Self::Context) -> Self::Result {
        use actix::ActorContext;
        match self.0 {
            "refuses" => Err(ReplayRefused("the third record is no command".to_owned())),
            "panics" => panic!("record {:?} is no command", replay.records.first_lsn()),
            "stops" => {
                context.terminate();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A host, from where it replays, and the message.
const HOSTS: &[(&str, Option<u64>, &str)] = &[
    (
        "refuses",
        None,
        "the log is sound, but its replay ended early: the actor that it goes to refused what it was given with the records from LSN 1 on: the third record is no command",
    ),
    (
        "panics",
        None,
        "the log is sound, but its replay ended early: the actor that it goes to was stopped or has panicked with the records from LSN 1 on; if it panicked, the reason is on standard error",
    ),
    (
        "stops",
        None,
        "the log is sound, but its replay ended early: the actor that it goes to was stopped or has panicked; if it panicked, the reason is on standard error",
    ),
    ("takes all", Some(0), "it opens"),
    ("takes all", Some(6), "it opens"),
    (
        "takes all",
        Some(7),
        "replay from LSN 7 is not possible: the log ends before LSN 6; if the log once had it, an older copy was restored: look for the newer one",
    ),
    (
        "takes all",
        Some(1000),
        "replay from LSN 1000 is not possible: the log ends before LSN 6; if the log once had it, an older copy was restored: look for the newer one",
    ),
];

#[test]
fn p10_what_goes_wrong_in_a_replay_is_told_apart_from_damage() {
    let mut wrong = Wrong::default();
    for (host, from, wanted) in HOSTS {
        let folder = folder();
        write_files(&closed_log(5), folder.path());
        let opened = run(async {
            let host = Host(host).start().recipient();
            Wal::open(settings(folder.path())).replay_to(host, from.map(Lsn::new)).await.map(drop)
        });
        wrong.compare(&format!("{host} from {from:?}"), folder.path(), opened, wanted);
    }
    wrong.assert_none();
}

/// Settings, and the message.
type Setting = (&'static str, fn(&Path) -> WalConfig, &'static str);

/// The directory has a file, a link to it, a link that leads nowhere, and an empty file instead of a segment.
const SETTINGS: &[Setting] = &[
    (
        "no directory",
        |_| settings(Path::new("")),
        "directory is empty, but it must name the directory of the log",
    ),
    (
        "nothing but an empty file",
        |p| settings(&p.join("empty")),
        "damaged: 00000000000000000001.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "a file",
        |p| settings(&p.join("file")),
        "DIR/file can not be the directory of a log: DIR/file is no directory; move it away, or configure another directory",
    ),
    (
        "a file right above",
        |p| settings(&p.join("file/wal")),
        "DIR/file/wal can not be the directory of a log: DIR/file is no directory; move it away, or configure another directory",
    ),
    (
        "a file further above",
        |p| settings(&p.join("file/some/wal")),
        "DIR/file/some/wal can not be the directory of a log: DIR/file is no directory; move it away, or configure another directory",
    ),
    (
        "a link to a file above",
        |p| settings(&p.join("link/wal")),
        "DIR/link/wal can not be the directory of a log: DIR/link is no directory; move it away, or configure another directory",
    ),
    (
        "a dead link",
        |p| settings(&p.join("dead")),
        "DIR/dead can not be the directory of a log: DIR/dead is a symbolic link that leads nowhere; mount or create what it leads to, or remove it",
    ),
    // The kernel lets nobody create folders here.
    (
        "a folder that lets nobody",
        |_| settings(Path::new("/sys/kernel/some/wal")),
        "/sys/kernel/some/wal can not be the directory of a log: /sys/kernel does not permit it; let the user of this process search, read and write it",
    ),
    (
        "no log where one must be",
        |p| {
            let mut config = settings(&p.join("wal"));
            config.existence = Existence::MustExist;
            config
        },
        "there is no log in DIR/wal, and there must be one (existence is MustExist); see whether its file system is mounted, or open it with MayBegin once to begin a log",
    ),
    (
        "a wrong setting",
        |p| {
            let mut config = settings(p);
            config.block_size = 1000;
            config
        },
        "block_size is 1000, but it must be a power of two from 512 to 65536",
    ),
];

#[test]
fn p20_a_directory_that_can_not_be_one_is_told_with_what_is_in_the_way() {
    let mut wrong = Wrong::default();
    for (what, settings, wanted) in SETTINGS {
        let folder = folder();
        let at = |name| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("nowhere", at("dead")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("empty").join(segment_name(1)), "").unwrap();
        let config = settings(folder.path());
        let opened = run(async { Wal::open(config).await.map(drop) });
        wrong.compare(what, folder.path(), opened, wanted);
    }
    wrong.assert_none();
}

fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let newest = path.join(segment_name(LAST));
    let mut bytes = fs::read(&newest).unwrap();
    change(&mut bytes);
    fs::write(newest, bytes).unwrap();
}

/// A copy without the zeros at the end of the newest segment: giving them back is all there is to do.
#[test]
fn p10_a_segment_that_gets_its_zeros_back_opens_with_every_record() {
    let folder = folder();
    write_files(&killed_log(RECORDS), folder.path());
    change_file(folder.path(), |bytes| bytes.truncate(end_of_frames(bytes)));
    run(async {
        Wal::open(settings(folder.path())).await.expect_err("more may have been durable");
        change_file(folder.path(), |bytes| bytes.resize(6144, 0));
        let wal = Wal::open(settings(folder.path())).await.expect("as the message says");
        assert_eq!(wal.recovery_report().last_lsn.get(), RECORDS);
        wal.close().await.expect("closes");
    });
}

/// Where a whole block of zeros is left, the next frame would have begun there: nothing is missing.
#[test]
fn p10_a_segment_that_lacks_some_of_its_zeros_opens_with_every_record() {
    for rest in [512, 700, 1024] {
        let folder = folder();
        write_files(&killed_log(RECORDS), folder.path());
        change_file(folder.path(), |bytes| bytes.truncate(end_of_frames(bytes) + rest));
        run(async {
            let wal = Wal::open(settings(folder.path())).await.expect("nothing is missing");
            assert_eq!(wal.recovery_report().last_lsn.get(), RECORDS, "{rest}");
            wal.close().await.expect("closes");
        });
    }
}
