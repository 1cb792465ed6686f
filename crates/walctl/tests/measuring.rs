//! Guards P1 at one remove: `probe`, `bench` and `tune` measure the disk on which commits are to survive. They give what
//! the README documents, refuse what they must not touch, and leave nothing behind. No test here asserts a speed.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{contents, documented, memory, names, paths};
use tempfile::TempDir;
use test_support::mounts::{EXT4, Mount};
use test_support::skips::leave_out;

const FINE: i32 = 0;
const ATTENTION: i32 = 1;
const REFUSED: i32 = 3;
const USAGE: i32 = 64;

/// A new directory on a real disk.
fn place() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written")
}

fn walctl(arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walctl"));
    command.arg(arguments[0]).arg(directory).args(&arguments[1..]).stdin(Stdio::null());
    command
}

/// Runs it, and checks how it ends.
fn run(arguments: &[&str], directory: &Path, status: i32) -> (String, String) {
    let Output { status: ended, stdout, stderr } =
        walctl(arguments, directory).output().expect("it can be started");
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(ended.code(), Some(status), "{arguments:?}\n{stdout}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

fn json(arguments: &[&str], directory: &Path, status: i32) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (stdout, _) = run(&arguments, directory, status);
    assert_eq!(stdout.lines().count(), 1, "one object on one line: {stdout}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// A directory with a log and a file in it, as an operator has one.
fn lived_in() -> (TempDir, BTreeMap<PathBuf, Vec<u8>>) {
    let place = place();
    fs::create_dir(place.path().join("wal")).unwrap();
    for name in ["notes.txt", "00000000000000000001.wal", "wal/00000000000000000001.wal"] {
        fs::write(place.path().join(name), format!("precious {name}")).unwrap();
    }
    let contents = contents(place.path());
    (place, contents)
}

/// The fields are those of the README, and those of the README are there.
fn is_documented(command: &str, objects: &[&Value]) {
    let mut found = BTreeSet::new();
    for object in objects {
        assert_eq!(
            (&object["schema"], &object["command"]),
            (&Value::from(1), &Value::from(command))
        );
        paths(object, "", &mut found);
    }
    found.retain(|path| path != "schema" && path != "command");
    let mut expected = documented(&format!("\n### `{command}`\n"));
    expected.extend(documented("\n## Measuring a disk\n"));
    assert!(expected.len() > 15, "the tables were not found");
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(only(&found, &expected), [""; 0], "not in the README");
    assert_eq!(only(&expected, &found), [""; 0], "only in the README");
}

fn number(value: &Value, field: &str) -> f64 {
    let found = field.split('.').fold(value, |value, name| &value[name]);
    found.as_f64().unwrap_or_else(|| panic!("{field} of {value}"))
}

const PROBE: [&str; 3] = ["probe", "--seconds", "0.2"];
const BENCH: [&str; 5] = ["bench", "--seconds", "0.2", "--clients", "4"];

#[test]
fn probe_gives_every_size_by_every_method_and_its_fields_are_documented() {
    let place = place();
    let probe = json(&PROBE, place.path(), FINE);
    is_documented("probe", &[&probe]);
    assert_eq!(probe["verdict"], "syncs");
    let writes = probe["writes"].as_array().unwrap();
    let cells: BTreeSet<_> = writes
        .iter()
        .map(|row| (row["method"].as_str().unwrap(), row["bytes"].as_u64().unwrap()))
        .collect();
    for method in ["write", "write-fdatasync", "append-fdatasync", "write-dsync"] {
        for bytes in [512, 4096, 16_384, 65_536, 1_048_576] {
            assert!(cells.contains(&(method, bytes)), "{method} {bytes}");
        }
    }
    assert_eq!(writes.len(), 20);
    for row in writes {
        let (p50, max) = (number(row, "p50_us"), number(row, "max_us"));
        assert!(number(row, "tries") >= 3.0 && p50 > 0.0 && p50 <= max, "{row}");
    }
    assert_eq!(names(place.path()), BTreeSet::new(), "nothing is left");
}

#[test]
fn probe_says_in_words_what_a_sync_is_worth() {
    let (text, _) = run(&PROBE, place().path(), FINE);
    for part in ["append-fdatasync", "1.00 MiB", "mounted at", "\nsyncs: ", "only a power loss"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn memory_is_worthless() {
    let Some(place) = memory() else { return };
    let probe = json(&PROBE, place.path(), ATTENTION);
    assert_eq!(
        (&probe["verdict"], &probe["device"]["is_memory"]),
        (&"worthless".into(), &true.into())
    );
    assert!(probe["reasons"][0].as_str().unwrap().contains("memory"), "{probe}");
    let (text, _) = run(&PROBE, place.path(), ATTENTION);
    assert!(text.contains("\nworthless: ") && text.contains("next: "), "{text}");
    let (text, _) = run(&BENCH, place.path(), ATTENTION);
    assert!(
        text.contains("say nothing about durable commits") && text.contains("is memory"),
        "{text}"
    );
    assert_eq!(names(place.path()), BTreeSet::new(), "nothing is left");
}

#[test]
fn bench_measures_closed_and_open_loops_and_its_fields_are_documented() {
    let place = place();
    let closed = json(&BENCH, place.path(), FINE);
    let rate =
        ["bench", "--seconds", "0.5", "--rate", "200", "--policy", "eager", "--size", "1000"];
    // A busy machine may not keep up with any rate.
    let output = walctl(&[&rate[..], &["--json"]].concat(), place.path()).output().unwrap();
    let open: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    is_documented("bench", &[&closed, &open]);
    assert_eq!((&closed["sync_verdict"], &closed["warning"]), (&"syncs".into(), &Value::Null));
    let status = if open["keeps_up"] == true { FINE } else { ATTENTION };
    assert_eq!(output.status.code(), Some(status));
    assert_eq!((&closed["loop"], &open["loop"]), (&"closed".into(), &"open".into()));
    assert_eq!((&closed["clients"], &closed["rate"]), (&4.into(), &Value::Null));
    assert_eq!((&open["clients"], &open["rate"]), (&Value::Null, &200.into()));
    assert_eq!((&open["policy"], &open["max_entries"]), (&"eager".into(), &Value::Null));
    assert_eq!((&closed["policy"], &closed["max_entries"]), (&"adaptive".into(), &100.into()));
    assert_eq!(open["offered"], 100, "half a second of 200 a second");
    for bench in [&closed, &open] {
        let at = |field| number(bench, field);
        assert!(
            at("commits") > 0.0 && at("syncs") > 0.0 && at("cpu_us_per_commit") > 0.0,
            "{bench}"
        );
        assert!(at("latency.p50_us") <= at("latency.p99_us"), "{bench}");
        assert!(at("latency.p999_us") <= at("latency.max_us"), "{bench}");
        let ratio = at("commits_per_second") / at("bare.writes_per_second");
        assert!((at("ratio_to_bare") / ratio - 1.0).abs() < 0.001, "{bench}");
    }
    assert_eq!(names(place.path()), BTreeSet::new(), "nothing is left");
}

/// A run of a few seconds, in which a cell is too short to tell anything but that it is there.
const TUNE: [&str; 4] = ["tune", "--quick", "--cell-seconds", "0.02"];

const DISKS: [&str; 3] = ["real", "simulated-1ms", "simulated-8.3ms"];

#[test]
fn tune_gives_every_cell_a_recommendation_with_its_reason_and_a_report() {
    let (place, before) = lived_in();
    let report = TempDir::new().unwrap();
    let report = report.path().join("report.html");
    let tune =
        json(&[&TUNE[..], &["--html", report.to_str().unwrap()]].concat(), place.path(), FINE);
    is_documented("tune", &[&tune]);
    let cells = tune["cells"].as_array().unwrap();
    let advice = tune["recommendations"].as_array().unwrap();
    assert_eq!((cells.len(), advice.len()), (3 * 3 * 5, 3 * 3));
    for disk in DISKS {
        for clients in [1, 16, 256] {
            let is_here = |it: &&Value| it["disk"] == disk && it["clients"] == clients;
            let here: Vec<_> = cells.iter().filter(is_here).collect();
            let settings: BTreeSet<_> = here.iter().map(|it| setting(it)).collect();
            assert_eq!(settings.len(), 5, "{disk} {clients}: {settings:?}");
            let taken: Vec<_> = here.iter().filter(|it| it["is_recommended"] == true).collect();
            let advice: Vec<_> = advice.iter().filter(is_here).collect();
            assert_eq!((taken.len(), advice.len()), (1, 1), "{disk} {clients}");
            assert_eq!(setting(taken[0]), setting(advice[0]));
            assert_eq!(taken[0]["is_default"], advice[0]["is_default"]);
            assert!(advice[0]["reason"].as_str().unwrap().len() > 40, "{}", advice[0]);
            assert!(advice[0]["setting"].as_str().unwrap().starts_with("flush_policy = "));
        }
    }
    is_self_contained(&fs::read_to_string(&report).unwrap());
    assert_eq!(contents(place.path()), before, "nothing is left, and nothing is touched");
}

fn setting(it: &Value) -> String {
    format!("{} {} {}", it["policy"], it["max_delay_ms"], it["max_entries"])
}

/// The report needs no network, and has the plots of each disk.
fn is_self_contained(page: &str) {
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for disk in DISKS {
        for plot in ["throughput", "p99"] {
            let figure = page.split(&format!("<figure id=\"{disk}-{plot}\">")).nth(1).unwrap();
            let figure = figure.split("</figure>").next().unwrap();
            assert!(figure.starts_with("<svg") && figure.contains("<polyline"), "{disk} {plot}");
            assert!(figure.contains("adaptive 10 ms / 100 (default)"), "{disk} {plot}");
        }
    }
    assert_eq!(page.matches("<svg").count(), 6);
}

#[test]
fn tune_says_in_words_what_it_recommends() {
    let (text, notes) = run(&TUNE, place().path(), FINE);
    for part in [
        "simulated-8.3ms: a sync takes 8300 us",
        "window 2 ms / 100",
        "\nrecommended:\n",
        "real, 1 client: ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(notes.contains("measuring for about") && notes.contains("interrupted"), "{notes}");
}

#[test]
fn a_report_that_can_not_be_written_is_refused_before_anything_is_measured() {
    let place = place();
    for file in ["missing/report.html", "."] {
        let file = place.path().join(file);
        let arguments = [&TUNE[..], &["--html", file.to_str().unwrap()]].concat();
        let (_, error) = run(&arguments, place.path(), REFUSED);
        assert!(error.contains("--html") && !error.contains("measuring"), "{error}");
    }
    assert_eq!(names(place.path()), BTreeSet::new());
}

#[test]
fn bench_says_in_words_what_it_measured() {
    let (text, notes) = run(&BENCH, place().path(), FINE);
    for part in ["4 clients", "adaptive 10 ms / 100", "commits/s", "p99.9", "bare disk", "ratio"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(notes.contains("walctl-scratch") && notes.contains("interrupted"), "{notes}");
}

/// Of each 400 ms the process stands still for 300. So three of four commits were due while it did, half of all by 100 ms
/// or more too late. Counted from when they were sent, all but a few would take a sync or two.
#[test]
fn an_open_loop_does_not_hide_that_it_stood_still() {
    let place = place();
    let mut command = walctl(&["bench", "--rate", "500", "--seconds", "2", "--json"], place.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let signal = |name: &str| {
        let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
        assert!(status.expect("kill is there").success(), "{name}");
    };
    let until = Instant::now() + Duration::from_secs(60);
    let scratch = place.path().join("walctl-scratch");
    let begun = Instant::now();
    // The directory is removed at the end.
    while scratch.exists() || begun.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < until, "it never ends");
        signal("STOP");
        thread::sleep(Duration::from_millis(300));
        signal("CONT");
        thread::sleep(Duration::from_millis(100));
    }
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let bench: Value = serde_json::from_str(&text).expect("JSON");
    assert!(number(&bench, "latency.p50_us") > 50_000.0, "{bench}");
}

#[test]
fn other_files_are_untouched() {
    let (place, before) = lived_in();
    run(&PROBE, place.path(), FINE);
    run(&BENCH, place.path(), FINE);
    assert_eq!(contents(place.path()), before);
}

#[test]
fn a_scratch_directory_that_is_not_ours_is_refused_and_untouched() {
    let place = place();
    let scratch = place.path().join("walctl-scratch");
    fs::create_dir(&scratch).unwrap();
    fs::write(scratch.join("thesis"), "years of work").unwrap();
    let before = contents(place.path());
    let (_, error) = run(&BENCH, place.path(), REFUSED);
    assert!(error.contains("thesis"), "{error}");
    assert_eq!(contents(place.path()), before);
}

#[test]
fn what_an_interrupted_run_left_is_removed_by_the_next() {
    let place = place();
    let scratch = place.path().join("walctl-scratch");
    let mut command = walctl(&["bench", "--seconds", "60"], place.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let has_segments = || {
        let files = fs::read_dir(scratch.join("log-0")).into_iter().flatten().flatten();
        files.count() >= 2
    };
    while !has_segments() {
        assert!(Instant::now() < until, "the log never began");
        thread::sleep(Duration::from_millis(5));
    }
    let (_, error) = run(&BENCH, place.path(), REFUSED);
    assert!(error.contains("another walctl"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(has_segments(), "the kill has left them");
    run(&BENCH, place.path(), FINE);
    assert_eq!(names(place.path()), BTreeSet::new(), "nothing is left");
}

#[test]
fn what_is_no_directory_is_refused() {
    let place = place();
    let file = place.path().join("file");
    fs::write(&file, "contents").unwrap();
    for command in ["probe", "bench", "tune"] {
        let (_, error) = run(&[command], &place.path().join("missing"), REFUSED);
        assert!(error.contains("missing: No such file"), "{error}");
        let (_, error) = run(&[command], &file, REFUSED);
        assert!(error.contains("it is no directory"), "{error}");
        let refusal = json(&[command], &file, REFUSED);
        assert_eq!(refusal["exit"], REFUSED, "{refusal}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"contents");
}

#[test]
fn arguments_that_make_no_sense_are_a_usage_error() {
    let place = place();
    for bad in [
        &["probe", "--seconds", "0"][..],
        &["probe", "--seconds", "inf"],
        &["probe", "--seconds", "soon"],
        &["bench", "--clients", "0"],
        &["bench", "--size", "0"],
        &["bench", "--rate", "0"],
        &["bench", "--rate", "5", "--clients", "5"],
        &["bench", "--policy", "lazy"],
        &["tune", "--size", "0"],
        &["tune", "--quick", "--cell-seconds", "-1"],
    ] {
        run(bad, place.path(), USAGE);
    }
    let too_much = ["bench", "--clients", "65536", "--size", "1048576"];
    let (_, error) = run(&too_much, place.path(), REFUSED);
    assert!(error.contains("fewer clients"), "{error}");
    assert_eq!(names(place.path()), BTreeSet::new(), "nothing is left");
}

#[test]
fn a_full_disk_and_a_read_only_one_are_refused() {
    // A quarter of what a log needs.
    let Some(disk) = Mount::new(EXT4) else { return };
    for command in ["probe", "bench", "tune"] {
        let (_, error) = run(&[command], &disk.place, REFUSED);
        assert!(error.contains("the disk is full"), "{error}");
    }
    if let Err(why) = disk.remount("ro") {
        return leave_out(&format!("it can not be mounted read-only here: {why}"));
    }
    for command in ["probe", "bench", "tune"] {
        let (_, error) = run(&[command], &disk.place, REFUSED);
        assert!(error.contains("Read-only file system"), "{error}");
    }
}

#[test]
fn every_command_has_an_example() {
    for command in ["probe", "bench", "tune"] {
        let (help, _) = run(&[command, "--help"], Path::new("."), FINE);
        assert!(help.contains(&format!("Examples:\n  walctl {command} /")), "{help}");
    }
}
