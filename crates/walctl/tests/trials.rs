//! Guards P1 and P2 at one remove: `demo` and `soak` find every acknowledged record after real kills and say so as the README
//! documents, call a loss a loss, touch no directory of others, and leave no process behind.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{contents, documented, folder, json, memory, paths, run, walctl};

const FINE: i32 = 0;
const ATTENTION: i32 = 1;
const BROKEN: i32 = 2;
const REFUSED: i32 = 3;

const SIGINT: i32 = 2;

/// No step takes as long, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn trial(command: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut trial = walctl([command]);
    trial.arg(directory).args(arguments);
    trial
}

/// A short demo with so many kills.
fn demo(directory: &Path, kills: &str) -> Command {
    trial("demo", directory, &["--clients", "4", "--seconds", "0.2", "--kills", kills])
}

/// The fields are those of the README, and those of the README are there.
fn is_documented(report: &Value, command: &str) {
    assert_eq!((&report["schema"], &report["command"]), (&1.into(), &command.into()));
    let mut found = BTreeSet::new();
    paths(report, "", &mut found);
    found.retain(|path| path != "schema" && path != "command");
    if report["rising"].as_array().is_some_and(Vec::is_empty) {
        found.insert("rising[]".to_owned());
    }
    assert_eq!(found, documented(&format!("\n### `{command}`\n")));
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} of {report}"))
}

#[test]
fn p1_the_demo_kills_for_real_and_finds_all_that_was_acknowledged() {
    let folder = folder();
    let mut command = demo(folder.path(), "2");
    command.args(["--size", "50", "--policy", "eager", "--on-fault", "failfast", "--json"]);
    let (code, report) = json(command);
    assert_eq!(code, FINE, "{report}");
    is_documented(&report, "demo");
    for (field, value) in [("kills", 2), ("clients", 4), ("size", 50), ("lost", 0), ("broken", 0)] {
        assert_eq!(number(&report, field), value, "{field} of {report}");
    }
    assert_eq!((&report["policy"], &report["on_fault"]), (&"eager".into(), &"failfast".into()));
    assert!(number(&report, "acknowledged") >= 2000, "{report}");
    assert_eq!(number(&report, "recovered"), number(&report, "acknowledged"));
    assert!(number(&report, "commits") > 0 && number(&report, "fsyncs") > 0, "{report}");
    assert_eq!(report["durable_medium"], true);
}

#[test]
fn p1_the_soak_injects_faults_and_kills_for_real_and_finds_nothing() {
    let folder = folder();
    let mut command = trial("soak", folder.path(), &["--seconds", "3", "--seed", "1", "--json"]);
    command.stderr(Stdio::null());
    let (code, report) = json(command);
    assert_eq!(code, FINE, "{report}");
    is_documented(&report, "soak");
    assert_eq!((number(&report, "seed"), number(&report, "lost")), (1, 0));
    for field in ["acknowledged", "compared", "faults", "kills", "opens", "periods"] {
        assert!(number(&report, field) > 0, "{field} of {report}");
    }
    assert!(
        report["last"]["fds"].as_u64() > Some(0) && report["first"]["files"].as_u64() > Some(0)
    );
}

#[test]
fn words_say_what_happens_and_a_directory_of_an_earlier_run_is_used_again() {
    let folder = folder();
    let place = folder.path().join("new");
    for _ in 0..2 {
        let ended = run(demo(&place, "1"));
        assert_eq!(ended.code, FINE, "{}{}", ended.stdout, ended.stderr);
        for part in ["4 clients commit 128 bytes", "round 1: ", "SIGKILL after", "lost 0"] {
            assert!(ended.stdout.contains(part), "{part} in {}", ended.stdout);
        }
    }
    let other = folder.path().join("other");
    let ended = run(trial("soak", &other, &["--seconds", "0.1"]));
    assert!(ended.stdout.contains("too short to judge floors"), "{}", ended.stdout);
    let refused = run(trial("soak", &place, &["--seconds", "0.1"]));
    assert!(refused.code == REFUSED && refused.stderr.contains("earlier soak"), "of a demo");
}

/// A run under way.
struct Running {
    process: Child,
    /// Where its words go, read up to some line.
    words: BufReader<Box<dyn Read>>,
    /// The other one of standard output and standard error.
    other: Box<dyn Read>,
}

/// Runs it until it has said a line that contains `word`.
fn run_until(command: &mut Command, word: &str) -> Running {
    let is_json = command.get_args().any(|argument| argument == "--json");
    let mut process =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdout: Box<dyn Read> = Box::new(process.stdout.take().expect("piped"));
    let stderr: Box<dyn Read> = Box::new(process.stderr.take().expect("piped"));
    let (words, other) = if is_json { (stderr, stdout) } else { (stdout, stderr) };
    let mut words = BufReader::new(words);
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        let read = words.read_line(&mut line).expect("text");
        assert!(read > 0, "it ended, and never said {word}");
    }
    Running { process, words, other }
}

/// A log that forgets what it has acknowledged: its directory is replaced by an empty one in mid-flight.
#[test]
fn p1_records_that_are_lost_end_the_demo_with_the_exit_status_of_damage() {
    let folder = folder();
    let place = folder.path().join("place");
    let mut command = demo(&place, "6");
    let mut running = run_until(command.arg("--json"), "round 1: ");
    fs::rename(place.join("kill"), folder.path().join("gone")).expect("renamed");
    let report: Value = serde_json::from_reader(&mut running.other).expect("JSON");
    let status = running.process.wait().expect("it ends");
    assert_eq!(status.code(), Some(BROKEN), "{report}");
    // The new log gives their LSNs to other records, up to some LSN.
    assert!(number(&report, "lost") + number(&report, "duplicated") >= 1000, "{report}");
}

#[test]
fn a_directory_of_others_and_one_in_use_are_refused_and_stay_as_they_are() {
    let folder = folder();
    let log = folder.path().join("log");
    fs::create_dir(&log).expect("made");
    fs::write(log.join("00000000000000000001.wal"), "precious").expect("written");
    let file = log.join("00000000000000000001.wal");
    let before = contents(folder.path());
    for command in ["demo", "soak"] {
        for (place, reason) in [
            (folder.path(), "neither empty nor"),
            (&*log, "neither empty nor"),
            (&*file, "can not be used"),
        ] {
            let (code, refusal) = json(trial(command, place, &["--json"]));
            let error = refusal["error"].as_str().unwrap_or_default();
            assert!(code == REFUSED && error.contains(reason), "{refusal}");
            assert_eq!((&refusal["command"], &refusal["exit"]), (&command.into(), &REFUSED.into()));
        }
    }
    assert_eq!(contents(folder.path()), before);

    let place = folder.path().join("place");
    let mut first = run_until(&mut demo(&place, "1000"), "round 1: ");
    let second = run(demo(&place, "1"));
    first.process.kill().expect("killed");
    first.process.wait().expect("ended");
    assert!(second.code == REFUSED && second.stderr.contains("in use"), "{}", second.stderr);
}

#[test]
fn a_record_that_no_log_takes_is_refused_before_anything_is_made() {
    let folder = folder();
    let place = folder.path().join("place");
    let ended = run(trial("demo", &place, &["--size", "1073741824"]));
    assert!(ended.code == REFUSED && ended.stderr.contains("the most is"), "{}", ended.stderr);
    assert!(!place.exists());
    for senseless in [["--seconds", "-1"], ["--seconds", "nan"], ["--kills", "x"], ["--size", "15"]]
    {
        assert_eq!(run(trial("demo", &place, &senseless)).code, 64, "{senseless:?}");
    }
    for senseless in [["--hours", "-1"], ["--hours", "inf"], ["--seed", "x"]] {
        assert_eq!(run(trial("soak", &place, &senseless)).code, 64, "{senseless:?}");
    }
    assert!(!place.exists());
}

#[test]
fn memory_proves_nothing() {
    let Some(place) = memory() else { return };
    let mut command = demo(&place.path().join("demo"), "1");
    let (code, report) = json({
        command.arg("--json");
        command
    });
    assert_eq!((code, &report["durable_medium"]), (ATTENTION, &false.into()), "{report}");
    let ended = run(trial("soak", &place.path().join("soak"), &["--seconds", "0.5"]));
    assert!(ended.code == ATTENTION && ended.stdout.contains("is memory"), "{}", ended.stdout);
}

/// The processes that this one has started and that still run.
fn children(parent: u32) -> Vec<String> {
    let of_parent = |process: &String| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // What follows the name, which may hold anything: the state, and the parent.
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(of_parent).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The same, as from a terminal: what a shell runs in the background ignores the signal, and so would its children.
fn interruptible(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT").arg(command.get_program()).args(command.get_args());
    env.stdin(Stdio::null());
    env
}

#[test]
fn an_interruption_ends_the_program_and_its_child() {
    let (demo_place, soak_place) = (folder(), folder());
    let soak = trial("soak", soak_place.path(), &["--seconds", "1000"]);
    for (command, word) in [(demo(demo_place.path(), "1000"), "round 1: "), (soak, "soak for")] {
        let mut running = run_until(&mut interruptible(&command), word);
        let parent = running.process.id();
        wait_until("it has a child", || !children(parent).is_empty());
        let ids = children(parent);
        // To the parent alone: from a terminal both have it.
        let sent = Command::new("kill").args(["-s", "INT", &parent.to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let mut ended = None;
        wait_until("it ends", || {
            ended = running.process.try_wait().expect("a process");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|ended| ended.signal()), Some(SIGINT));
        for id in ids {
            wait_until("the child ends", || {
                let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                !String::from_utf8_lossy(&command).contains("walctl")
            });
        }
    }
    let again = run(demo(demo_place.path(), "1"));
    assert_eq!(again.code, FINE, "{}", again.stderr);
}

#[test]
fn a_reader_that_is_gone_ends_it() {
    let folder = folder();
    let Running { mut process, words, mut other } =
        run_until(&mut demo(folder.path(), "1000"), "round 1: ");
    drop(words);
    assert_eq!(process.wait().expect("it ends").code(), Some(FINE));
    // A child would have it open still.
    let mut errors = String::new();
    other.read_to_string(&mut errors).expect("text");
    assert_eq!(errors, "");
}
