//! Guards P10, P11, P20: whatever an operator names, the program has an answer and an exit code, and what it says of a log is so.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use actix_wal::testkit::Random;
use actix_wal::{Lsn, Wal, WalConfig};
use serde_json::Value;
use support::participant::participant_log;
use support::{copy_files, fixture, fixtures, folder, json, run, walctl};
use test_support::damages::damage;
use test_support::naive::{self, Answer, Files};

/// The commands that only read, with a directory.
const READING: &[&[&str]] = &[
    &["stat"],
    &["stat", "--frames", "--json"],
    &["verify"],
    &["verify", "--json"],
    &["dump", "--to", "50"],
    &["dump", "--json"],
    &["repair", "--dry-run"],
];

fn files_in(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("one"));
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("plain");
    let plain = entries.filter(|entry| entry.path().is_file());
    plain.map(|entry| (name(&entry), fs::read(entry.path()).expect("readable"))).collect()
}

fn write_files(directory: &Path, files: &Files) {
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).expect("written");
    }
}

/// Runs every reading command; each ends in one of these ways, and says why if it was refused.
fn every_command(directory: &Path, what: &str, codes: &[i32]) {
    for arguments in READING {
        let mut command = walctl(*arguments);
        command.arg(directory);
        let ended = run(command);
        assert!(
            codes.contains(&ended.code),
            "{what}, {arguments:?}: {}, {}",
            ended.code,
            ended.stderr
        );
        assert!(ended.code != 3 || !ended.stderr.is_empty(), "{what}, {arguments:?} says nothing");
    }
}

#[test]
fn p20_a_directory_of_any_kind_gets_an_answer_and_is_left_as_it_is() {
    let folder = folder();
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("made");
        path
    };
    every_command(&folder.path().join("nowhere"), "nothing", &[3]);
    every_command(&make("empty"), "an empty directory", &[3]);
    let foreign = make("foreign");
    fs::write(foreign.join("thesis.txt"), "mine").expect("written");
    every_command(&foreign, "somebody's directory", &[3]);
    every_command(&foreign.join("thesis.txt"), "a file", &[3]);
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("coreutils").success());
    every_command(&pipe, "a pipe", &[3]);
    symlink("loop", folder.path().join("loop")).expect("linked");
    every_command(&folder.path().join("loop"), "a link to itself", &[3]);

    // Names of segments that are none: `verify` has an answer for each.
    let segment = |directory: &Path| directory.join("00000000000000000001.wal");
    let odd = make("a pipe for a segment");
    assert!(
        std::process::Command::new("mkfifo").arg(segment(&odd)).status().expect("made").success()
    );
    every_command(&odd, "a pipe for a segment", &[2, 3]);
    let odd = make("a folder for a segment");
    fs::create_dir(segment(&odd)).expect("made");
    every_command(&odd, "a folder for a segment", &[2, 3]);
    let odd = make("a link to itself for a segment");
    symlink(segment(&odd), segment(&odd)).expect("linked");
    every_command(&odd, "a link for a segment", &[2, 3]);
    let odd = make("an empty segment");
    fs::write(segment(&odd), "").expect("written");
    every_command(&odd, "an empty segment", &[0, 1, 2]);
    let odd = make("noise");
    fs::write(segment(&odd), [0xa5; 9000]).expect("written");
    every_command(&odd, "noise", &[0, 1, 2]);
    assert_eq!(fs::read(segment(&odd)).expect("there"), [0xa5; 9000]);
}

#[test]
fn p11_any_bytes_get_an_answer_and_a_verdict_like_that_of_the_second_reader() {
    let seed = test_support::environment::seed("WALCTL_SEED");
    let mut random = Random::new(seed);
    let names = ["closed", "cut", "damaged", "recycled", "recycled_torn", "torn_tail"];
    let logs: Vec<_> = names.iter().map(|name| files_in(&fixtures().join(name))).collect();
    for round in 0..60 {
        let mut any = || logs[random.below(logs.len() as u64) as usize].clone();
        let (mut files, other) = (any(), any());
        (0..=random.below(3)).for_each(|_| damage(&mut files, &other, &mut random));
        let folder = folder();
        write_files(folder.path(), &files);
        every_command(folder.path(), &format!("round {round} of {seed}"), &[0, 1, 2, 3]);
        let (code, verified) =
            json(walctl(["verify".as_ref(), "--json".as_ref(), folder.path().as_os_str()]));
        let expected = match naive::read(&files) {
            Answer::Refused(..) => vec![2],
            Answer::Opened(opened) if opened.torn.is_some() => vec![0, 1],
            // Nothing but what is prepared, or aside.
            Answer::Opened(opened) if opened.last_lsn == 0 => vec![0, 1, 3],
            Answer::Opened(_) => vec![0],
        };
        assert!(expected.contains(&code), "round {round} of {seed}: {code}, {verified}");
    }
}

#[test]
fn a_segment_of_100_gb_or_2_to_the_63_by_its_header_is_read_in_little_memory() {
    let sizes: [(&str, u64, Option<u64>); 2] = [
        ("a sparse file of 100 GB", 100 << 30, None),
        ("a header that says 2^63", 1 << 20, Some(1 << 63)),
    ];
    for (what, file_bytes, header_bytes) in sizes {
        let folder = fixture("torn_tail");
        let log = folder.path().join("log");
        let path = log.join("00000000000000000001.wal");
        let file = fs::OpenOptions::new().write(true).read(true).open(&path).expect("there");
        if let Some(size) = header_bytes {
            file.write_all_at(&size.to_le_bytes(), 40).expect("written");
            let mut header = [0; 52];
            file.read_exact_at(&mut header, 0).expect("read");
            let checksum = crc32fast::hash(&header);
            file.write_all_at(&checksum.to_le_bytes(), 52).expect("written");
        }
        file.set_len(file_bytes).expect("a sparse file");
        for command in ["stat", "verify", "dump", "repair --dry-run"] {
            // All of its memory, not only what it touches.
            let script = format!("ulimit -v 65536; exec \"$0\" {command} \"$1\"");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &script, env!("CARGO_BIN_EXE_walctl")]).arg(&log);
            let ended = run(shell);
            assert!([0, 1, 2].contains(&ended.code), "{what}, {command}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_status_64_and_help_is_not() {
    for arguments in [
        &["stat"][..],
        &["frobnicate"],
        &["dump", "x", "--from", "many"],
        &["repair", "x"],
        &["repair", "x", "--dry-run", "--yes"],
        &[],
    ] {
        let ended = run(walctl(arguments));
        assert_eq!(ended.code, 64, "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty());
    }
    let ended = run(walctl(["--help"]));
    assert_eq!(ended.code, 0);
    assert!(ended.stdout.contains("Exit status of every command"), "{}", ended.stdout);
    let help = ended.stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 6, "{help}");
    for name in names {
        let ended = run(walctl([name, "--help"]));
        assert!(ended.stdout.contains("Example"), "{name} --help shows no example");
    }
}

#[test]
fn the_manual_and_the_completions_name_every_command() {
    let help = run(walctl(["--help"])).stdout;
    let manual = run(walctl(["man"]));
    assert!(manual.code == 0 && manual.stdout.starts_with(".ie") || manual.stdout.contains(".TH"));
    for command in ["stat", "verify", "dump", "backup", "restore", "repair"] {
        assert!(help.contains(command) && manual.stdout.contains(command), "{command}");
        let page = run(walctl(["man", command])).stdout;
        assert!(page.contains(&format!("walctl\\-{command}")), "{page}");
        for shell in ["bash", "zsh", "fish"] {
            let completions = run(walctl(["completions", shell]));
            assert!(completions.code == 0 && completions.stdout.contains(command), "{shell}");
        }
    }
    assert_eq!(run(walctl(["man", "frobnicate"])).code, 3);
    assert_eq!(run(walctl(["completions", "cmd"])).code, 64);
}

/// A log that is written by this process while the program looks at it.
fn running_log(directory: &Path) -> Wal {
    let mut config = WalConfig::new(directory);
    config.segment_size = 1 << 20;
    Wal::open(config).blocking().expect("opens")
}

#[test]
fn p20_beside_an_owner_reading_works_and_writing_is_refused() {
    let folder = folder();
    let log = folder.path().join("log");
    let wal = running_log(&log);
    for _ in 0..500 {
        wal.commit_blocking("a record").expect("durable");
    }
    let with = |arguments: &[&str]| {
        let mut command = walctl(arguments);
        command.arg(&log);
        command
    };
    let (code, stat) = json(with(&["stat", "--json"]));
    assert_eq!((code, &stat["last_lsn"]), (0, &500.into()));
    let owner = stat["owner"].as_str().expect("it has one");
    assert_eq!(owner, format!("process {}", std::process::id()));
    let (code, verified) = json(with(&["verify", "--json"]));
    assert_eq!(
        (code, &verified["had_owner"], &verified["records"]),
        (0, &true.into(), &500.into())
    );
    assert_eq!(run(with(&["dump"])).stdout.lines().count(), 500);
    for arguments in [["repair", "--yes"], ["repair", "--dry-run"]] {
        let ended = run(with(&arguments));
        assert_eq!(ended.code, 3);
        assert!(ended.stderr.contains(owner), "{}", ended.stderr);
    }
    let mut restore = with(&["restore"]);
    restore.arg(folder.path().join("new"));
    assert_eq!(run(restore).code, 3);
    let mut backup = with(&["backup"]);
    backup.arg(folder.path().join("backup"));
    assert_eq!(run(backup).code, 0);
    wal.close_blocking().expect("closes");
}

#[test]
fn p10_a_backup_of_a_running_log_is_clean_and_a_restore_ends_at_the_lsn_that_was_named() {
    let folder = folder();
    let (log, backup, restored) =
        (folder.path().join("log"), folder.path().join("backup"), folder.path().join("restored"));
    let wal = running_log(&log);
    for at in 0..300 {
        wal.commit_blocking(format!("{at}")).expect("durable");
    }
    let (code, done) =
        json(walctl(["backup".as_ref(), "--json".as_ref(), log.as_os_str(), backup.as_os_str()]));
    assert_eq!((code, &done["last_lsn"]), (0, &300.into()));
    for at in 0..50 {
        wal.commit_blocking(format!("{at}")).expect("durable");
    }
    wal.close_blocking().expect("closes");
    assert_eq!(run(walctl(["verify".as_ref(), backup.as_os_str()])).code, 0);
    let mut restore = walctl(["restore", "--until", "123"]);
    restore.arg(&backup).arg(&restored);
    assert_eq!(run(restore).code, 0);
    let wal = running_log(&restored);
    assert_eq!(wal.recovery_report().last_lsn, Lsn::new(123));
    wal.close_blocking().expect("closes");
}

#[test]
fn a_reader_of_the_output_that_leaves_ends_the_program_quietly() {
    let folder = folder();
    let log = folder.path().join("log");
    let wal = running_log(&log);
    for _ in 0..3000 {
        wal.append_blocking(vec![7; 200]).expect("accepted");
    }
    wal.close_blocking().expect("closes");
    for arguments in [["dump", "--format", "hex"], ["dump", "--format", "json"]] {
        let mut command = walctl(arguments);
        let command = command.arg(&log).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_exact(&mut [0; 10]).expect("it prints");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn p5_a_dump_that_follows_prints_what_is_appended_and_ends_at_its_last_lsn() {
    let folder = folder();
    let log = folder.path().join("log");
    let wal = running_log(&log);
    wal.commit_blocking("one").expect("durable");
    let mut command = walctl(["dump", "--follow", "--to", "40"]);
    let mut child = command.arg(&log).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().starts_with("1  "));
    for lsn in 2..=40 {
        wal.commit_blocking(format!("record {lsn}")).expect("durable");
        if lsn % 10 == 0 {
            (lsn - 9..=lsn).filter(|lsn| *lsn > 1).for_each(|lsn| {
                let line = next();
                assert!(line.starts_with(&format!("{lsn}  ")), "{line}");
            });
        }
    }
    assert!(child.wait().expect("it ends").success());
    wal.close_blocking().expect("closes");
}

#[test]
fn p10_a_dump_gives_what_the_second_reader_finds() {
    for name in ["closed", "cut", "recycled", "recycled_torn", "torn_tail"] {
        let Answer::Opened(opened) = naive::read(&files_in(&fixtures().join(name))) else {
            panic!("{name} opens");
        };
        let ended =
            run(walctl(["dump".as_ref(), "--json".as_ref(), fixtures().join(name).as_os_str()]));
        let found: Vec<(u64, String)> = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|line| {
                let lsn = line["lsn"].as_u64().expect("a number");
                (lsn, line["payload_hex"].as_str().expect("text").to_owned())
            })
            .collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected: Vec<_> =
            opened.records.iter().map(|(lsn, bytes)| (*lsn, hex(bytes))).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// A log with a damage early in it.
fn damaged_log(directory: &Path) {
    let mut config = WalConfig::new(directory);
    (config.segment_size, config.block_size) = (64 << 10, 512);
    config.flush_policy = actix_wal::FlushPolicy::Eager;
    let wal = Wal::open(config).blocking().expect("opens");
    for _ in 0..600 {
        wal.commit_blocking(vec![5; 300]).expect("durable");
    }
    wal.close_blocking().expect("closes");
    let second = directory.join("00000000000000000002.wal");
    let file = fs::OpenOptions::new().write(true).open(second).expect("there");
    file.write_all_at(&[0; 64], 20 * 512).expect("written");
}

#[test]
fn p10_p11_a_repair_loses_exactly_what_it_said_also_if_it_is_killed_at_any_moment() {
    let original = folder();
    damaged_log(original.path());
    let mut dry = walctl(["repair", "--dry-run", "--json"]);
    dry.arg(original.path());
    let before = files_in(original.path());
    let (code, said) = json(dry);
    assert_eq!((code, &said["action"]), (2, &"would-cut".into()));
    assert!(files_in(original.path()) == before, "a dry run changes nothing");
    let number = |field: &str| said[field].as_u64().unwrap_or_else(|| panic!("{field}: {said}"));
    assert_eq!(number("kept_to_lsn") + 1, number("lost_first_lsn"));
    assert_eq!((number("lost_last_lsn"), number("acknowledged_to_lsn")), (600, 600));
    assert!(number("lost_readable_records") > 0);

    let mut random = Random::new(test_support::environment::seed("WALCTL_SEED"));
    for round in 0..25 {
        let folder = folder();
        copy_files(original.path(), folder.path());
        let repair = || {
            let mut repair = walctl(["repair", "--yes"]);
            repair.arg(folder.path());
            repair
        };
        let mut child =
            repair().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(Duration::from_micros(random.below(12_000)));
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("it ends");
        // Its lock may outlive it by a moment.
        let ended = run(repair());
        assert_eq!(ended.code, 0, "round {round}: {}", ended.stderr);
        let mut verify = walctl(["verify", "--json"]);
        verify.arg(folder.path());
        let (code, verified) = json(verify);
        assert_eq!(code, 0, "{verified}");
        assert_eq!(verified["records"], said["kept_records"], "round {round}");
        assert_eq!(verified["last_lsn"], said["kept_to_lsn"], "round {round}");
        for name in said["set_aside"].as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            let kept = fs::read(folder.path().join(format!("{name}.damaged"))).expect("evidence");
            assert!(kept == before[name], "round {round}: {name} is kept as it was");
        }
    }
}

#[test]
fn p24_a_transaction_in_doubt_is_decided_by_hand_only_after_its_consequence_was_said() {
    let folder = folder();
    participant_log(folder.path());
    let txn = |arguments: &[&str]| {
        let mut command = walctl(["txn"]);
        command.arg(folder.path()).args(arguments);
        command
    };
    let listed = || json(txn(&["--json"]));
    let (code, list) = listed();
    let doubt = &list["in_doubt"][0];
    let id = doubt["id"].as_str().expect("an id").to_owned();
    assert_eq!((code, doubt["coordinator"].as_str()), (1, Some("bank-a")));
    assert_eq!(doubt["keys"], serde_json::json!(["bob", "-old"]));
    let differing = &list["by_hand"][0];
    assert_eq!(
        (&differing["outcome"], &differing["decided"]),
        (&"aborted".into(), &"committed".into())
    );

    let before = files_in(folder.path());
    let ended = run(txn(&["--resolve", &id, "--outcome", "abort"]));
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("broken apart") && ended.stdout.contains("--yes"),
        "{}",
        ended.stdout
    );
    assert!(files_in(folder.path()) == before, "without --yes nothing is changed");
    for refused in [
        &["--resolve", "nothing/1/1", "--outcome", "abort", "--yes"][..],
        &["--clear", &id, "--yes"],
    ] {
        assert_eq!(run(txn(refused)).code, 3, "{refused:?}");
    }
    for senseless in [&["--resolve", &id][..], &["--yes"], &["--resolve", &id, "--clear", &id]] {
        assert_eq!(run(txn(senseless)).code, 64, "{senseless:?}");
    }

    assert_eq!(run(txn(&["--resolve", &id, "--outcome", "abort", "--yes"])).code, 0);
    let (code, list) = listed();
    assert_eq!((code, list["in_doubt"].as_array().map(Vec::len)), (1, Some(0)), "{list}");
    let mut by_hand = list["by_hand"].as_array().expect("a list").iter();
    assert!(by_hand.any(|it| it["id"] == id.as_str() && it["outcome"] == "aborted"), "{list}");
    let differing = differing["id"].as_str().expect("an id");
    assert_eq!(run(txn(&["--clear", differing, "--yes"])).code, 0);
    let (_, list) = listed();
    assert_eq!(list["by_hand"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn p24_stat_names_the_transaction_that_is_in_doubt_and_what_frees_it() {
    let folder = folder();
    participant_log(folder.path());
    let stat = |arguments: &[&str]| {
        let mut command = walctl(["stat"]);
        command.arg(folder.path()).args(arguments);
        command
    };
    let held =
        |arguments: &[&str]| json(stat(arguments)).1["held_by"].as_array().expect("a list").clone();
    assert_eq!(held(&["--json"]).len(), 1, "no record is read");
    let held = held(&["--json", "--held"]);
    let (_, list) = json({
        let mut command = walctl(["txn", "--json"]);
        command.arg(folder.path());
        command
    });
    let id = list["in_doubt"][0]["id"].as_str().expect("an id");
    let frees = held[1]["frees"].as_str().expect("words");
    let resolve = format!("walctl txn {} --resolve {id} --outcome", folder.path().display());
    assert!(frees.contains("bank-a") && frees.contains(&resolve), "{held:?}");
    assert!(run(stat(&["--held"])).stdout.contains(frees));
    // A log of another kind has no such transactions to name.
    let mut other = walctl(["stat", "--held"]);
    other.arg(fixtures().join("closed"));
    let ended = run(other);
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(ended.stderr.contains("transaction"), "{}", ended.stderr);
}

/// A log with a record of a transaction and one of something else, below a directory with snapshots.
#[test]
fn p10_a_deep_verify_decodes_the_records_of_a_log_with_snapshots() {
    let data = folder();
    let log = data.path().join("log");
    fs::create_dir(&log).expect("made");
    participant_log(&log);
    fs::create_dir(data.path().join("snapshots")).expect("made");
    let verify = |arguments: &[&str]| {
        let mut command = walctl(["verify", "--json"]);
        command.arg(data.path()).args(arguments);
        json(command)
    };
    let (code, shallow) = verify(&[]);
    assert_eq!((code, &shallow["foreign_records"]), (0, &Value::Null));
    let (code, deep) = verify(&["--deep"]);
    assert_eq!((code, &deep["foreign_records"]), (0, &0.into()), "{deep}");
    assert!(deep["released_segments"].is_u64(), "{deep}");

    let wal = Wal::open(WalConfig::new(&log)).blocking().expect("opens");
    wal.commit_blocking("no transaction").expect("durable");
    wal.close_blocking().expect("closes");
    assert_eq!(verify(&[]).0, 0);
    let (code, deep) = verify(&["--deep"]);
    assert_eq!((code, &deep["foreign_records"]), (1, &1.into()), "{deep}");
    assert_eq!(deep["verdict"], "attention");
}

/// The names in the README, and where they are nested.
fn documented(command: &str) -> BTreeSet<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("there");
    let heading = |line: &str| line.starts_with("### ") && line.contains(&format!("`{command}`"));
    let section = readme.lines().skip_while(|line| !heading(line)).skip(1);
    let section: Vec<_> = section.take_while(|line| !line.starts_with('#')).collect();
    let text = section.join("\n");
    let names = text.split('`').skip(1).step_by(2);
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    names.filter(is_name).map(str::to_owned).collect()
}

fn names_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            names_in(value, names);
        }),
        Value::Array(values) => values.iter().for_each(|value| names_in(value, names)),
        _ => {}
    }
}

#[test]
fn every_field_of_json_is_documented_and_every_documented_one_is_there() {
    let data = folder();
    let log = data.path().join("log");
    fs::create_dir(&log).expect("made");
    damaged_log(&log);
    fs::write(log.join("notes.txt"), "x").expect("written");
    let snapshots = data.path().join("snapshots");
    fs::create_dir(&snapshots).expect("made");
    fs::write(snapshots.join("snapshot-0000000000000001"), "x").expect("written");
    let copy = data.path().join("copy");
    let closed = fixtures().join("closed");
    let closed = closed.to_str().expect("plain");
    let participant = folder();
    participant_log(participant.path());
    let participant = participant.path().to_str().expect("plain");
    let (log, copy) = (log.to_str().expect("plain"), copy.to_str().expect("plain"));
    let cases: [(&str, &[&str]); 7] = [
        ("txn", &["txn", participant]),
        ("stat", &["stat", log, "--frames"]),
        ("verify", &["verify", log, "--deep"]),
        ("dump", &["dump", closed, "--to", "1", "--decode", "txn"]),
        ("backup", &["backup", closed, copy]),
        ("repair", &["repair", log, "--dry-run"]),
        ("top", &["top", closed, "--interval", "0.01"]),
    ];
    for (command, arguments) in cases {
        let mut command_line = walctl(arguments);
        command_line.arg("--json");
        let (_, value) = json(command_line);
        let mut found = BTreeSet::new();
        names_in(&value, &mut found);
        if command != "dump" {
            assert!(found.remove("schema") && found.remove("command"));
        }
        // Words that fields can have as values are in the README too, and optional fields of a transaction.
        let known = documented(command);
        let missing: Vec<_> = found.difference(&known).collect();
        assert!(missing.is_empty(), "{command} has {missing:?}, which the README does not name");
        let values = value.to_string();
        let words = [
            "dump",
            "id",
            "outcome",
            "live",
            "released",
            "prepared",
            "unreadable",
            "clean",
            "attention",
            "damaged",
            "unfinished",
            "alike",
            "foreign",
            "note",
            "damage",
            "nothing",
            "cut",
            "transaction",
            "restore",
        ];
        let absent: Vec<_> = known
            .difference(&found)
            .filter(|name| {
                !words.contains(&name.as_str()) && !values.contains(&format!("\"{name}\""))
            })
            .collect();
        assert!(
            absent.is_empty(),
            "the README names {absent:?} of {command}, which it does not have"
        );
    }
}
