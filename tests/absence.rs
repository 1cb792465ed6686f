//! Guards P20: absence is never read as emptiness. A directory that shows signs of a log is never begun anew, nor
//! taken for a log that ends before them: a table over real files, and the setting `MustExist`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use actix_wal::{DamagePolicy, Existence, OpenError, Wal};
use test_support::logs::config_in as config;
use test_support::logs::within;
use test_support::scratch::folder;

/// Records in the log: several segments.
const RECORDS: u64 = 40;

/// A log in `path`, closed.
async fn write_log(path: &Path) {
    let wal = within("open", Wal::open(config(path))).await.unwrap();
    for record in 0..RECORDS {
        within("commit", wal.commit(vec![record as u8; 300])).await.unwrap();
    }
    within("close", wal.close()).await.unwrap();
    let last = last_segment(path);
    assert!(segments(path).len() >= 3, "several segments, the last is {last:?}");
}

/// The segments in order.
fn segments(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "wal")).collect();
    found.sort();
    found
}

fn last_segment(path: &Path) -> PathBuf {
    segments(path).pop().unwrap()
}

/// The segment that holds the newest records: those behind it are only prepared.
fn last_used(path: &Path) -> PathBuf {
    let is_used = |path: &PathBuf| fs::read(path).unwrap()[512..].starts_with(b"awf1");
    segments(path).into_iter().rfind(is_used).unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// All that lies in a directory: names, what bears them, and what is in it.
fn everything(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).into_iter().flatten().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        let content = if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        found.insert(entry.path(), format!("{kind:?} {content:?}"));
        if kind.is_dir() {
            found.extend(everything(&entry.path()));
        }
    }
    found
}

/// Renames every segment, or the last one in use.
fn rename(paths: &[PathBuf], new: impl Fn(&str) -> String) -> String {
    for path in paths {
        fs::rename(path, path.with_file_name(new(&name(path)))).unwrap();
    }
    new(&name(&paths[0]))
}

/// Puts something that is no file in the place of each; the files go elsewhere.
fn replace(paths: &[PathBuf], put: impl Fn(&Path, &Path)) -> String {
    for path in paths {
        let aside = path.parent().unwrap().parent().unwrap().join(format!("aside-{}", name(path)));
        fs::rename(path, &aside).unwrap();
        put(path, &aside);
    }
    name(&paths[0])
}

fn folder_at(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn pipe_at(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn deeper(path: &Path) -> String {
    let (inner, all) = (path.join("wal"), segments(path));
    folder_at(&inner);
    all.iter().for_each(|file| fs::rename(file, inner.join(name(file))).unwrap());
    format!("wal/{}", name(&all[0]))
}

/// What was done to the directory of a log, and what the refusal says of the name that it gives.
type Refused = (&'static str, fn(&Path) -> String, &'static str);

const LINK: &str = "is a symbolic link, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log";
const FOLDER: &str = "is a folder, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log";
const OTHER_KIND: &str = "is a pipe, a socket or a device, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log";
const OTHER_NAME: &str = "is named like a segment of a log, and that segment is not here; give it back its content and its name, or move it out of the directory if it belongs to no log";
const DEEPER: &str = "lies in a folder, and the directory has no segment itself; open the folder or move its files up, or move it out of the directory to begin a new log here";
const UNFINISHED: &str = "was being prepared, and the segments before it are not here; put them back, or move it out of the directory to begin a new log here";
const SET_ASIDE: &str = "was set aside by a salvage, and the segments that were written after it are not here; put them back, or move it out of the directory to begin a new log here";

const REFUSED: &[Refused] = &[
    ("links", |path| replace(&segments(path), |at, to| symlink(to, at).unwrap()), LINK),
    ("newest is a link", |p| replace(&[last_used(p)], |at, to| symlink(to, at).unwrap()), LINK),
    ("dead links", |path| replace(&segments(path), |at, _| symlink("gone", at).unwrap()), LINK),
    ("folders", |path| replace(&segments(path), |at, _| folder_at(at)), FOLDER),
    ("pipes", |path| replace(&segments(path), |at, _| pipe_at(at)), OTHER_KIND),
    ("sockets", |path| replace(&segments(path), |at, _| drop(UnixListener::bind(at))), OTHER_KIND),
    ("first is a folder", |path| replace(&segments(path)[..1], |at, _| folder_at(at)), FOLDER),
    (
        "folder in the place of the next one",
        |path| {
            let next = format!("{:020}.wal.tmp", 1000);
            folder_at(&path.join(&next));
            next
        },
        FOLDER,
    ),
    ("gzip", |path| rename(&segments(path), |name| format!("{name}.gz")), OTHER_NAME),
    ("zstd", |path| rename(&segments(path), |name| format!("{name}.zst")), OTHER_NAME),
    ("backup", |path| rename(&segments(path), |name| format!("{name}.bak")), OTHER_NAME),
    ("rotated", |path| rename(&segments(path), |name| format!("{name}.1")), OTHER_NAME),
    ("tilde", |path| rename(&segments(path), |name| format!("{name}~")), OTHER_NAME),
    ("other suffix", |path| rename(&segments(path), |n| n.replace("wal", "log")), OTHER_NAME),
    ("no suffix", |path| rename(&segments(path), |n| n.replace(".wal", "")), OTHER_NAME),
    ("capital letters", |path| rename(&segments(path), str::to_uppercase), OTHER_NAME),
    ("under way", |path| rename(&segments(path), |name| format!(".{name}.Ab3dEf")), OTHER_NAME),
    ("prefix", |path| rename(&segments(path), |name| format!("old-{name}")), OTHER_NAME),
    (
        "newest compressed",
        |path| {
            let used = last_used(path);
            // What was only prepared behind it hides nothing.
            segments(path)
                .iter()
                .filter(|one| **one > used)
                .for_each(|one| fs::remove_file(one).unwrap());
            rename(&[used], |name| format!("{name}.gz"))
        },
        OTHER_NAME,
    ),
    (
        "newest compressed, with others prepared behind it",
        |path| rename(&[last_used(path)], |name| format!("{name}.gz")),
        OTHER_NAME,
    ),
    ("middle compressed", |p| rename(&segments(p)[1..2], |n| format!("{n}.gz")), OTHER_NAME),
    ("first compressed", |p| rename(&segments(p)[..1], |n| format!("{n}.gz")), OTHER_NAME),
    ("deeper", deeper, DEEPER),
    (
        "deeper, behind a link",
        |path| {
            let found = deeper(path);
            let aside = path.with_file_name("aside");
            fs::rename(path.join("wal"), &aside).unwrap();
            symlink(aside, path.join("wal")).unwrap();
            found
        },
        DEEPER,
    ),
    (
        "deeper and compressed",
        |path| {
            deeper(path);
            let all = segments(&path.join("wal"));
            format!("wal/{}", rename(&all, |name| format!("{name}.gz")))
        },
        DEEPER,
    ),
    (
        "only what was being prepared",
        |path| {
            let next = format!("{:020}.wal.tmp", 9);
            segments(path).iter().for_each(|file| fs::remove_file(file).unwrap());
            fs::write(path.join(&next), "").unwrap();
            next
        },
        UNFINISHED,
    ),
    (
        "only what was set aside",
        |path| rename(&segments(path), |name| format!("{name}.damaged")),
        SET_ASIDE,
    ),
];

#[actix::test]
async fn p20_what_stands_for_a_segment_is_refused_by_name_and_nothing_is_begun() {
    for (what, change, said) in REFUSED {
        let folder = folder();
        let path = folder.path().join("log");
        write_log(&path).await;
        let name = change(&path);
        let before = everything(folder.path());
        for policy in [DamagePolicy::Refuse, DamagePolicy::Salvage] {
            let mut config = config(&path);
            config.damage_policy = policy;
            let error = within(what, Wal::open(config)).await.expect_err(what);
            let is_sign = matches!(error, OpenError::SignsOfLog { .. });
            assert!(is_sign, "{what}: {error}");
            assert_eq!(error.to_string(), format!("{}: {name} {said}", path.display()), "{what}");
            assert!(
                everything(folder.path()) == before,
                "{what}: a refused open changed something"
            );
        }
    }
}

/// What was done beside a log, or in an empty directory: it opens.
type Opens = (&'static str, fn(&Path));

const HARMLESS: &[Opens] = &[
    ("nothing", |_| {}),
    ("lost+found", |path| {
        folder_at(&path.join("lost+found"));
        fs::set_permissions(path.join("lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    }),
    ("names of others", |path| {
        for name in ["LOCK", "notes.txt~", ".notes.swp", "7.wal", "x.wal", "wal.gz", "db-wal"] {
            fs::write(path.join(name), "x").unwrap();
        }
    }),
    ("folders of others", |path| {
        folder_at(&path.join("backup"));
        fs::write(path.join("backup/7.wal"), "x").unwrap();
        folder_at(&path.join("backup/deeper"));
    }),
    ("links of others", |path| {
        symlink("nowhere", path.join("dead")).unwrap();
        symlink(".", path.join("here")).unwrap();
        symlink("LOCK", path.join("file")).unwrap();
    }),
    ("a pipe of others", |path| pipe_at(&path.join("pipe"))),
    ("names that are not UTF-8", |path| {
        use std::os::unix::ffi::OsStrExt;
        fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    }),
    ("the first segment under way when the process died", |path| {
        fs::write(path.join(format!("{:020}.wal.tmp", 1)), vec![0; 700]).unwrap();
    }),
    ("copies of segments that are there", |path| {
        folder_at(&path.join("backup"));
        for segment in segments(path) {
            for copy in ["NAME.gz", "NAME.bak", "NAME.damaged", "NAME.damaged.2", "backup/NAME"] {
                fs::copy(&segment, path.join(copy.replace("NAME", &name(&segment)))).unwrap();
            }
        }
    }),
];

#[actix::test]
async fn p20_what_is_not_like_a_log_keeps_none_from_beginning() {
    for (what, change) in HARMLESS {
        let folder = folder();
        change(folder.path());
        write_log(folder.path()).await;
        assert_opens(what, folder.path()).await;
    }
    for (what, change) in HARMLESS {
        let folder = folder();
        write_log(folder.path()).await;
        change(folder.path());
        assert_opens(what, folder.path()).await;
    }
}

/// With all its records.
async fn assert_opens(what: &str, path: &Path) {
    let mut config = config(path);
    config.existence = Existence::MustExist;
    let wal =
        within("open", Wal::open(config)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(wal.recovery_report().last_lsn.get(), RECORDS, "{what}");
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p20_a_log_of_which_everything_was_released_or_salvaged_is_still_one() {
    let folder = folder();
    let path = folder.path();
    write_log(path).await;
    let wal = within("open", Wal::open(config(path))).await.unwrap();
    let all = wal.durable_lsn();
    within("checkpoint", wal.checkpoint(all)).await.unwrap();
    within("close", wal.close()).await.unwrap();
    assert_opens("released", path).await;

    segments(path).iter().for_each(|file| fs::write(file, "rubbish").unwrap());
    let mut salvaging = config(path);
    salvaging.damage_policy = DamagePolicy::Salvage;
    salvaging.existence = Existence::MustExist;
    let wal = within("salvage", Wal::open(salvaging.clone())).await.unwrap();
    let next = wal.recovery_report().next_lsn;
    within("close", wal.close()).await.unwrap();
    salvaging.damage_policy = DamagePolicy::Refuse;
    let wal = within("open", Wal::open(salvaging)).await.unwrap();
    assert!(wal.recovery_report().next_lsn >= next && next.get() > RECORDS);
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p20_where_a_log_must_exist_none_begins_and_nothing_is_created() {
    let folder = folder();
    let mount_point = folder.path().join("data");
    folder_at(&mount_point);
    let scratch = folder.path().join("scratch");
    folder_at(&scratch);
    fs::write(scratch.join(format!("{:020}.wal.tmp", 1)), "").unwrap();
    let unmounted = folder.path().join("link");
    symlink("not mounted", &unmounted).unwrap();
    let not_there =
        [folder.path().join("a/b"), mount_point.join("wal"), mount_point, scratch, unmounted];
    for path in not_there {
        let before = everything(folder.path());
        let mut config = config(&path);
        config.existence = Existence::MustExist;
        let error = within("open", Wal::open(config)).await.expect_err("there is no log");
        assert!(
            matches!(&error, OpenError::NoLog { directory } if *directory == path.display().to_string()),
            "{error}"
        );
        assert!(everything(folder.path()) == before, "{error}: something was created");
    }
}
