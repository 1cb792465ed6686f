//! Guards P10, P14, P20: what an operator reads. Every way in which a log does not open, done to real files, and
//! the whole message: what is so, whether a record is missing, and what to do. Salvage is advised only where
//! something may be lost.
//!
//! The table is for reading. In it `DIR` stands for the directory, `LOG` for the id of the log, `OTHER` for
//! that of another one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use actix::{Actor, Context, Handler};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::format::segment::{SegmentHeader, segment_name};
use actix_wal::{Existence, Lsn, Wal, WalConfig};
use test_support::small_logs::{closed_log, config, killed_log, renumbered, run};

/// 27 records in four segments, of which the last has a few; two more are prepared. Its process was killed.
const RECORDS: u64 = 27;

/// What lies where, in the last segment that is in use: the start frame, and a frame of one block a record.
const LAST: u64 = 4;

fn write_files(disk: &SimDisk, path: &Path) {
    for name in disk.names() {
        fs::write(path.join(&name), disk.read_file(&name).unwrap()).unwrap();
    }
}

fn at(path: &Path, sequence: u64) -> std::path::PathBuf {
    path.join(segment_name(sequence))
}

fn bytes(path: &Path, sequence: u64) -> Vec<u8> {
    fs::read(at(path, sequence)).unwrap()
}

fn change(path: &Path, sequence: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = bytes(path, sequence);
    change(&mut bytes);
    fs::write(at(path, sequence), bytes).unwrap();
}

fn rename(path: &Path, from: &str, to: &str) {
    fs::rename(path.join(from), path.join(to)).unwrap();
}

fn remove(path: &Path, sequence: u64) {
    fs::remove_file(at(path, sequence)).unwrap();
}

/// Behind the last frame of a file: whole blocks.
fn end_of_frames(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512)
}

fn another_log(path: &Path, from: u64, to: u64) {
    let other = killed_log(RECORDS);
    fs::write(at(path, to), other.read_file(&segment_name(from)).unwrap()).unwrap();
}

/// A segment with this number in name and header, in which nothing has begun.
fn unused(path: &Path, sequence: u64) {
    fs::write(at(path, sequence), renumbered(&bytes(path, 5), sequence)).unwrap();
}

/// What was done to the log, and the message of the open.
type Case = (&'static str, fn(&Path), &'static str);

const CASES: &[Case] = &[
    (
        "the newest segment is cut right behind its last frame",
        |p| change(p, LAST, |bytes| bytes.truncate(end_of_frames(bytes))),
        "damaged: 00000000000000000004.wal, offset 2560: the file has 2560 bytes of 6144; whether there were records from LSN 28 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "the newest segment has lost all zeros at its end",
        |p| {
            change(p, LAST, |bytes| {
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1)
            })
        },
        "damaged: 00000000000000000004.wal, offset 2048: the file has 2461 bytes of 6144; whether there were records from LSN 27 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "the newest segment is cut in its frames",
        |p| change(p, LAST, |bytes| bytes.truncate(1024)),
        "damaged: 00000000000000000004.wal, offset 1024: the file has 1024 bytes of 6144; whether there were records from LSN 25 on can not be told; if a copy left out the zeros at its end, give them back (truncate -s 6144 00000000000000000004.wal), else restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log here",
    ),
    (
        "the newest segment is cut, with a block of zeros left",
        |p| change(p, LAST, |bytes| bytes.truncate(end_of_frames(bytes) + 512)),
        "it opens",
    ),
    (
        "a middle segment is cut",
        |p| change(p, 2, |bytes| bytes.truncate(1536)),
        "damaged: 00000000000000000002.wal, offset 1536: the file has 1536 bytes of 6144; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the newest segment is empty",
        |p| change(p, LAST, Vec::clear),
        "damaged: 00000000000000000004.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "a middle segment is empty",
        |p| change(p, 2, Vec::clear),
        "damaged: 00000000000000000002.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "an empty file with the next number",
        |p| fs::write(at(p, 7), "").unwrap(),
        "damaged: 00000000000000000007.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "nothing but an empty file",
        |p| {
            (1..=6).for_each(|sequence| remove(p, sequence));
            fs::write(at(p, 1), "").unwrap();
        },
        "damaged: 00000000000000000001.wal: the file is empty, which a segment never is; whether it held records can not be told; restore it from a copy, or move it away if it was put here by hand and never was a segment",
    ),
    (
        "a few bytes of a header",
        |p| change(p, 3, |bytes| bytes.truncate(30)),
        "damaged: 00000000000000000003.wal: the file has only 30 bytes, too few for a segment header; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "something else than a segment",
        |p| change(p, 3, |bytes| bytes[0] = b'x'),
        "damaged: 00000000000000000003.wal: the first bytes are not those of a segment; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "a header with a flipped bit",
        |p| change(p, 3, |bytes| bytes[40] ^= 1),
        "damaged: 00000000000000000003.wal: the checksum of the segment header does not match; whether it held records can not be told; restore it from a copy; without one, an open with DamagePolicy::Salvage opens the log without it, and keeps the file aside",
    ),
    (
        "a later version",
        |p| change(p, 2, |bytes| bytes[8] = 9),
        "00000000000000000002.wal: format version 9 is newer than this crate, which reads up to version 1; open the log with a later version of actix-wal",
    ),
    (
        "the first segment is missing",
        |p| remove(p, 1),
        "damaged: 00000000000000000001.wal: the segment is missing; what was durable from LSN 1 on can not be read; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "a middle segment is missing",
        |p| remove(p, 2),
        "damaged: 00000000000000000002.wal: the segment is missing; what was durable from LSN 8 on can not be read; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "the newest segment is missing, but not what was prepared behind it",
        |p| remove(p, LAST),
        "damaged: 00000000000000000004.wal: the segment is missing; whether there were records from LSN 24 on can not be told; put it back, or restore the log from a copy; without one, an open with DamagePolicy::Salvage ends the log before it",
    ),
    (
        "two names exchanged",
        |p| {
            rename(p, &segment_name(2), "x");
            rename(p, &segment_name(3), &segment_name(2));
            rename(p, "x", &segment_name(3));
        },
        "damaged: 00000000000000000002.wal: the file is segment 3 under another name; no record is known to be missing; give the file back its name 00000000000000000003.wal if that is free, or move it away, and put segment 2 in its place",
    ),
    (
        "a segment twice",
        |p| fs::write(at(p, 3), bytes(p, 2)).unwrap(),
        "damaged: 00000000000000000003.wal: the file is segment 2 under another name; no record is known to be missing; give the file back its name 00000000000000000002.wal if that is free, or move it away, and put segment 3 in its place",
    ),
    (
        "a segment of another log",
        |p| another_log(p, 2, 2),
        "damaged: 00000000000000000002.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "a segment of another log, with a number of its own",
        |p| another_log(p, 6, 6),
        "damaged: 00000000000000000006.wal: the file belongs to log OTHER, this is log LOG; no record is known to be missing; move it away, and put the segment of this log in its place if there is one",
    ),
    (
        "a number that there is not",
        |p| unused(p, 0),
        "damaged: 00000000000000000000.wal: no segment ever has this sequence number; no record is known to be missing; move it away",
    ),
    (
        "a block was lost",
        |p| change(p, 2, |bytes| bytes[1536..2048].fill(0)),
        "damaged: 00000000000000000002.wal, offset 1536: no frame begins here; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a record was changed",
        |p| change(p, 2, |bytes| bytes[1536 + 200] ^= 1),
        "damaged: 00000000000000000002.wal, offset 1536: the records do not match their checksum; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the header of a frame was changed",
        |p| change(p, 2, |bytes| bytes[1536 + 50] ^= 1),
        "damaged: 00000000000000000002.wal, offset 1536: the frame header does not match its checksum; what was durable from LSN 10 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a record in the newest segment was changed",
        |p| change(p, LAST, |bytes| bytes[1024 + 200] ^= 1),
        "damaged: 00000000000000000004.wal, offset 1024: the records do not match their checksum, although a later frame at offset 1536 proves that it was durable; what was durable from LSN 25 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a start frame was changed",
        |p| change(p, 3, |bytes| bytes[700] ^= 1),
        "damaged: 00000000000000000003.wal, offset 512: its start frame is damaged: the records do not match their checksum; what was durable from LSN 16 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "the newest start frame was changed",
        |p| change(p, LAST, |bytes| bytes[520] ^= 1),
        "damaged: 00000000000000000004.wal, offset 512: the frame header does not match its checksum, although a later frame at offset 1024 proves that it was durable; what was durable from LSN 24 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a frame stands where another one should",
        |p| change(p, LAST, |bytes| bytes.copy_within(512..1024, 1024)),
        "damaged: 00000000000000000004.wal, offset 1024: the frame header does not match its checksum, although a later frame at offset 1536 proves that it was durable; what was durable from LSN 25 on can not be read; restore it from a copy; without one, an open with DamagePolicy::Salvage ends the log before it, and keeps the rest aside",
    ),
    (
        "a link in place of a segment",
        |p| {
            rename(p, &segment_name(LAST), "x");
            symlink("x", at(p, LAST)).unwrap();
        },
        "DIR: 00000000000000000004.wal is a symbolic link, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log",
    ),
    (
        "a folder in place of a segment",
        |p| {
            remove(p, LAST);
            fs::create_dir(at(p, LAST)).unwrap();
        },
        "DIR: 00000000000000000004.wal is a folder, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log",
    ),
    (
        "a compressed segment",
        |p| rename(p, &segment_name(2), "00000000000000000002.wal.gz"),
        "DIR: 00000000000000000002.wal.gz is named like a segment of a log, and that segment is not here; give it back its content and its name, or move it out of the directory if it belongs to no log",
    ),
    (
        "all in capital letters",
        |p| (1..=6).for_each(|s| rename(p, &segment_name(s), &segment_name(s).to_uppercase())),
        "DIR: 00000000000000000001.WAL is named like a segment of a log, and that segment is not here; give it back its content and its name, or move it out of the directory if it belongs to no log",
    ),
    (
        "one folder deeper",
        |p| {
            fs::create_dir(p.join("old")).unwrap();
            (1..=6).for_each(|s| rename(p, &segment_name(s), &format!("old/{}", segment_name(s))));
        },
        "DIR: old/00000000000000000001.wal lies in a folder, and the directory has no segment itself; open the folder or move its files up, or move it out of the directory to begin a new log here",
    ),
    (
        "only what was set aside",
        |p| {
            (1..=6)
                .for_each(|s| rename(p, &segment_name(s), &format!("{}.damaged", segment_name(s))))
        },
        "DIR: 00000000000000000001.wal.damaged was set aside by a salvage, and the segments that were written after it are not here; put them back, or move it out of the directory to begin a new log here",
    ),
    (
        "only what was being prepared",
        |p| {
            (1..=5).for_each(|sequence| remove(p, sequence));
            rename(p, &segment_name(6), &format!("{}.tmp", segment_name(6)));
        },
        "DIR: 00000000000000000006.wal.tmp was being prepared, and the segments before it are not here; put them back, or move it out of the directory to begin a new log here",
    ),
];

/// The message, with what differs from run to run taken out.
fn message(path: &Path, before: &str, error: &dyn std::error::Error) -> String {
    let mut text = error.to_string().replace(&path.display().to_string(), "DIR");
    text = text.replace(before, "LOG");
    let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| is_id(w))
            .map(str::to_owned)
            .collect()
    };
    for id in words(&text) {
        text = text.replace(&id, "OTHER");
    }
    text
}

fn log_id(path: &Path) -> String {
    SegmentHeader::decode(&bytes(path, 1)).unwrap().place.log_id.to_string()
}

fn settings(path: &Path) -> WalConfig {
    let mut config = config();
    config.directory = path.to_owned();
    config
}

#[test]
fn p10_p14_p20_every_refusal_says_what_is_so_whether_a_record_is_missing_and_what_to_do() {
    let (killed, mut wrong) = (killed_log(RECORDS), Vec::new());
    for (what, change, wanted) in CASES {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        write_files(&killed, folder.path());
        let id = log_id(folder.path());
        change(folder.path());
        let opened = run(async { Wal::open(settings(folder.path())).await.map(drop) });
        let found = match opened {
            Ok(()) => "it opens".to_owned(),
            Err(error) => message(folder.path(), &id, &error),
        };
        if found != *wanted {
            wrong.push(format!("{what}\n  wanted: {wanted}\n  found:  {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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
    let mut wrong = Vec::new();
    for (host, from, wanted) in HOSTS {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        write_files(&closed_log(5), folder.path());
        let opened = run(async {
            let host = Host(host).start().recipient();
            Wal::open(settings(folder.path())).replay_to(host, from.map(Lsn::new)).await.map(drop)
        });
        let found = match opened {
            Ok(()) => "it opens".to_owned(),
            Err(error) => message(folder.path(), "no id", &error),
        };
        if found != *wanted {
            wrong.push(format!("{host} from {from:?}\n  wanted: {wanted}\n  found:  {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Settings, and the message.
type Setting = (&'static str, fn(&Path) -> WalConfig, &'static str);

const SETTINGS: &[Setting] = &[
    (
        "no directory",
        |_| settings(Path::new("")),
        "directory is empty, but it must name the directory of the log",
    ),
    (
        "a file",
        |p| {
            fs::write(p.join("file"), "").unwrap();
            settings(&p.join("file"))
        },
        "DIR/file can not be the directory of a log: DIR/file is no directory; move it away, or configure another directory",
    ),
    (
        "a file above",
        |p| {
            fs::write(p.join("file"), "").unwrap();
            settings(&p.join("file/some/wal"))
        },
        "DIR/file/some/wal can not be the directory of a log: DIR/file is no directory; move it away, or configure another directory",
    ),
    (
        "a dead link",
        |p| {
            symlink("nowhere", p.join("link")).unwrap();
            settings(&p.join("link"))
        },
        "DIR/link can not be the directory of a log: DIR/link is a symbolic link that leads nowhere; mount or create what it leads to, or remove it",
    ),
    (
        "a folder that lets nobody",
        |_| settings(Path::new("/sys/kernel/wal")),
        "/sys/kernel/wal can not be the directory of a log: /sys/kernel does not permit it; let the user of this process search, read and write it",
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
    let mut wrong = Vec::new();
    for (what, settings, wanted) in SETTINGS {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = settings(folder.path());
        let opened = run(async { Wal::open(config).await.map(drop) });
        let found = match opened {
            Ok(()) => "it opens".to_owned(),
            Err(error) => message(folder.path(), "no id", &error),
        };
        if found != *wanted {
            wrong.push(format!("{what}\n  wanted: {wanted}\n  found:  {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A copy without the zeros at the end of the newest segment: giving them back is all there is to do.
#[test]
fn p10_a_segment_that_gets_its_zeros_back_opens_with_every_record() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_files(&killed_log(RECORDS), folder.path());
    let full = bytes(folder.path(), LAST).len();
    change(folder.path(), LAST, |bytes| bytes.truncate(end_of_frames(bytes)));
    run(async {
        Wal::open(settings(folder.path())).await.expect_err("more may have been durable");
        change(folder.path(), LAST, |bytes| bytes.resize(full, 0));
        let wal = Wal::open(settings(folder.path())).await.expect("as the message says");
        assert_eq!(wal.recovery_report().last_lsn.get(), RECORDS);
        wal.close().await.expect("closes");
    });
}

/// Where a whole block of zeros is left, the next frame would have begun there: nothing is missing.
#[test]
fn p10_a_segment_that_lacks_some_of_its_zeros_opens_with_every_record() {
    for rest in [512, 700, 1024] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        write_files(&killed_log(RECORDS), folder.path());
        change(folder.path(), LAST, |bytes| bytes.truncate(end_of_frames(bytes) + rest));
        run(async {
            let wal = Wal::open(settings(folder.path())).await.expect("nothing is missing");
            assert_eq!(wal.recovery_report().last_lsn.get(), RECORDS, "{rest}");
            wal.close().await.expect("closes");
        });
    }
}
