//! Guards P1, P5: runs the quickstart's child under `strace` and reads in the trace that no client is told
//! of a record before an `fdatasync` returned which began after the record had been written.

#![allow(clippy::unwrap_used, clippy::expect_used)] // also in the helpers of the tests

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use demo::quickstart::{OnFault, Policy, Settings, child};
use test_support::skips;
use test_support::trace::{Audit, judge};

/// Set in the process that is traced: the directory of its log.
const CHILD: &str = "ACTIX_WAL_STRACE_CHILD";
/// The test that is the child in the traced process.
const CHILD_TEST: &str = "the_child_that_is_traced";
/// Acknowledgements before the child is killed. Under strace each one takes a while.
const ENOUGH: usize = 2000;
/// No run takes as long, however slow the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

fn settings(policy: Policy) -> Settings {
    Settings {
        clients: 24,
        size: 100,
        seconds: Duration::ZERO,
        kills: 0,
        policy,
        on_fault: OnFault::Resend,
    }
}

/// Does nothing unless it is the traced process of the other test: then it is the quickstart's child.
#[test]
fn the_child_that_is_traced() {
    let Ok(directory) = std::env::var(CHILD) else {
        return;
    };
    let policy = if directory.ends_with("eager") { Policy::Eager } else { Policy::Adaptive };
    child::run(&settings(policy), Path::new(&directory), 0).expect("the log opens");
}

#[test]
fn no_acknowledgement_is_written_before_the_sync_that_covers_it_has_returned() {
    let folder = test_support::scratch::folder();
    if !strace_works() {
        return skips::skip("strace is not installed, or it may not trace here");
    }
    for policy in ["adaptive", "eager"] {
        let audit = judge(&record(&folder.path().join(policy))).unwrap();
        assert!(audit.acknowledged >= ENOUGH, "{policy}: the trace is incomplete: {audit:?}");
        assert!(audit.syncs >= 10, "{policy}: one sync can not have covered it all: {audit:?}");
        assert!(audit.early.is_empty(), "{policy}: acknowledged before durable: {audit:?}");
    }
}

fn strace_works() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// The trace of a child that was killed after enough acknowledgements.
fn record(directory: &Path) -> String {
    let trace = directory.with_extension("trace");
    let mut strace = Command::new("strace")
        // Strings in hexadecimal, as long as the header of a frame.
        .args(["-f", "-xx", "-s", "104", "-o"])
        .arg(&trace)
        .args(["-e", "trace=pwrite64,write,fdatasync,fsync,close"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", CHILD_TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // strace says which threads it meets
        .spawn()
        .unwrap();
    let started = Instant::now();
    let lines = BufReader::new(strace.stdout.take().unwrap()).lines();
    let acknowledged = lines
        .map_while(Result::ok)
        .take_while(|_| started.elapsed() < DEADLINE)
        .filter(|line| line.starts_with("!A "))
        .take(ENOUGH)
        .count();
    // With its pipe closed the child ends by itself, and strace after it, with the whole trace written.
    let ended = strace.wait().unwrap();
    assert_eq!(acknowledged, ENOUGH, "the child ended early: {ended}");
    fs::read_to_string(trace).unwrap()
}

/// Six lines of a trace in which LSN 1 is written to file 5 and acknowledged, in an order to choose.
fn story(order: [&str; 6]) -> Audit {
    let mut header = vec![0u8; 104];
    header[..4].copy_from_slice(b"awf1");
    header[32..40].copy_from_slice(&1u64.to_le_bytes());
    header[48..52].copy_from_slice(&1u32.to_le_bytes());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let lines = order.map(|step| match step {
        "write begins" => {
            format!("11 pwrite64(5, \"{}\"..., 4096, 8192 <unfinished ...>", hex(&header))
        }
        "write ends" => "11 <... pwrite64 resumed>) = 4096".to_owned(),
        "sync begins" => "13 fdatasync(5 <unfinished ...>".to_owned(),
        "sync ends" => "13 <... fdatasync resumed>) = 0".to_owned(),
        "sync fails" => "13 <... fdatasync resumed>) = -1 EIO (Input/output error)".to_owned(),
        "other sync" => "12 fdatasync(6)                          = 0".to_owned(),
        "close" => "11 close(5)                          = 0".to_owned(),
        "told" => format!("10 write(7, \"{}\", 9 <unfinished ...>", hex(b"!A 0 0 1\n")),
        other => panic!("no such step: {other}"),
    });
    judge(&lines.join("\n")).unwrap()
}

#[test]
fn the_judge_of_traces_knows_an_early_acknowledgement_when_it_sees_one() {
    let sound = ["write begins", "write ends", "sync begins", "other sync", "sync ends", "told"];
    let audit = story(sound);
    assert_eq!((audit.acknowledged, audit.early.len()), (1, 0), "{audit:?}");

    let early = [
        ["write begins", "write ends", "sync begins", "told", "sync ends", "other sync"],
        ["write begins", "write ends", "other sync", "told", "sync begins", "sync ends"],
        ["write begins", "sync begins", "write ends", "sync ends", "other sync", "told"],
        ["sync begins", "sync ends", "write begins", "write ends", "other sync", "told"],
        ["write begins", "write ends", "sync begins", "sync fails", "other sync", "told"],
        ["write begins", "write ends", "close", "sync begins", "sync ends", "told"],
        ["told", "write begins", "write ends", "sync begins", "sync ends", "other sync"],
    ];
    for order in early {
        assert_eq!(story(order).early, [1], "{order:?}");
    }
}
