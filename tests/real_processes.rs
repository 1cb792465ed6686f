//! Guards P1, P2, P6, P8, P9, P11, P20: real processes on a real file system are killed at random moments, under
//! load and while they open the log, and are denied the directory. Whatever they had told anybody holds.
//!
//! `WAL_KILLS=200 cargo test --test real_processes` kills so often; by default it is a handful.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use test_support::child;
use test_support::scratch::folder;

use test_support::child::Job;
use test_support::kills::{kill_again_and_again, wanted};
use test_support::lives::{Ledger, Life, PATIENCE, command};
use test_support::skips::leave_out;

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

#[test]
fn p1_p2_p9_p11_a_log_that_is_killed_at_any_moment_again_and_again_keeps_what_it_acknowledged() {
    let folder = folder();
    kill_again_and_again(folder.path(), wanted(20));
}

/// A life under load, and the ledger of it, after so many acknowledgements.
fn under_load(directory: &Path, enough: u64) -> (Life, Ledger) {
    let mut ledger = Ledger::default();
    let job = ledger.begin(Job::endless(directory));
    let life = Life::start(&job);
    life.acknowledges(enough, &mut ledger);
    (life, ledger)
}

/// The one thing that a child said that could not open the log.
fn refusal(command: Command) -> String {
    let mut ledger = Ledger::default();
    let began = Instant::now();
    assert!(Life::of(command).end(&mut ledger).success());
    assert!(began.elapsed() < PATIENCE / 4, "at once, not after a wait");
    assert!(ledger.opened.is_none() && ledger.errors.len() == 1, "{:?}", ledger.errors);
    ledger.errors.remove(0)
}

#[test]
fn p20_second_openers_are_refused_at_once_and_the_first_one_is_not_harmed() {
    let folder = folder();
    let (life, mut ledger) = under_load(folder.path(), 20);
    for _ in 0..5 {
        let error = refusal(command(&[], &Job::endless(folder.path())));
        assert!(error.starts_with("Locked"), "{error}");
        life.acknowledges(50, &mut ledger);
    }
    life.kill(&mut ledger);
    assert!(ledger.errors.is_empty(), "{:?}", ledger.errors);
    ledger.verify(folder.path(), &Job::endless(folder.path()).config());
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_that_says_so() {
    let folder = folder();
    let directory = folder.path().join("log");
    let (life, mut ledger) = under_load(&directory, 20);
    life.kill(&mut ledger);
    let Some(lock) = ReadOnly::new(&directory) else {
        // Root, on a file system without such attributes, or in a container: no tool would help.
        return leave_out("neither a mode nor chattr makes the directory read-only here");
    };
    let error = refusal(command(&[], &Job::endless(&directory)));
    println!("{error}");
    let says_so =
        ["PermissionDenied", "ReadOnlyFilesystem"].iter().any(|kind| error.contains(kind));
    assert!(error.starts_with("Io(IoFault") && error.contains("file: ") && says_so, "{error}");
    drop(lock);
    ledger.verify(&directory, &Job::endless(&directory).config());
    // It can be written again: nothing was lost by trying.
    let job = ledger.begin(Job { commits: 20, ..Job::endless(&directory) });
    assert!(Life::start(&job).end(&mut ledger).success() && ledger.closed, "{:?}", ledger.errors);
    ledger.verify(&directory, &job.config());
}

/// A directory in which nothing can be created, for as long as this value lives. For root, whom no mode
/// binds, it and its files are immutable.
struct ReadOnly<'a>(&'a Path);

impl ReadOnly<'_> {
    fn new(directory: &Path) -> Option<ReadOnly<'_>> {
        let lock = ReadOnly(directory);
        lock.set("a-w", "+i");
        let is_locked = std::fs::write(directory.join("probe"), "").is_err();
        is_locked.then_some(lock)
    }

    fn set(&self, mode: &str, attribute: &str) {
        let quiet = |program: &str, change: &str| {
            let mut command = Command::new(program);
            command.args(["-R", change]).arg(self.0);
            // Only root may, and not on every file system; `new` looks whether it worked.
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        quiet("chmod", mode);
        quiet("chattr", attribute);
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        self.set("u+w", "-i");
        self.set("u+w", "-i"); // the mode of what was immutable a moment ago
        let _ = std::fs::remove_file(self.0.join("probe"));
    }
}

#[test]
fn p6_a_directory_that_is_removed_ends_the_log_with_typed_errors() {
    let folder = folder();
    let directory = folder.path().join("log");
    let (life, mut ledger) = under_load(&directory, 100);
    let before = ledger.acknowledged;
    // A segment may be made between the last name that is removed and the directory itself.
    let deadline = Instant::now() + PATIENCE;
    while std::fs::remove_dir_all(&directory).is_err() && directory.exists() {
        assert!(Instant::now() < deadline, "it can not be removed");
    }
    // What fits into open files is written to them still. Then a new one is needed, and there is none.
    assert!(life.end(&mut ledger).success(), "{:?}", ledger.errors);
    assert_eq!(ledger.count(None), 0, "P6: somebody was told nothing");
    assert!(!ledger.errors.is_empty());
    for error in &ledger.errors {
        assert!(error.contains("NotFound"), "what is this? {error}");
    }
    assert!(!directory.exists(), "it does not come back by itself");
    println!("{} acknowledged while or after it was removed", ledger.acknowledged - before);
}

#[test]
fn p1_a_directory_that_is_renamed_goes_on_under_its_new_name() {
    let folder = folder();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let (life, mut ledger) = under_load(&old, 100);
    std::fs::rename(&old, &new).unwrap();
    // Some segments on.
    life.acknowledges(1400, &mut ledger);
    let error = refusal(command(&[], &Job::endless(&new)));
    assert!(error.starts_with("Locked"), "P20: the lock goes with the directory: {error}");
    life.kill(&mut ledger);
    assert!(ledger.errors.is_empty() && !old.exists(), "{:?}", ledger.errors);
    ledger.verify(&new, &Job::endless(&new).config());
}

/// A child that may not make a file larger than this.
fn limited(kib: u64, ignores_the_signal: bool, job: &Job) -> Command {
    let trap = if ignores_the_signal { "trap '' XFSZ; " } else { "" };
    // The unit of POSIX is 512 bytes.
    let script = format!("{trap}ulimit -f {} && exec \"$0\" \"$@\"", kib * 2);
    command(&["sh", "-c", &script], job)
}

#[test]
fn p1_p6_p8_a_limit_on_the_size_of_files_is_a_typed_fault_and_loses_nothing() {
    let folder = folder();
    // Below the first segment, the log does not open; between it and the next one, that can not be made.
    let mut job = Job::endless(&folder.path().join("small"));
    job.segment_size = 512 << 10;
    let error = refusal(limited(256, true, &job));
    assert!(error.contains("FileTooLarge"), "{error}");

    let mut ledger = Ledger::default();
    let mut job = Job::endless(&folder.path().join("log"));
    job.segment_size = 4 << 20;
    let job = ledger.begin(job);
    let status = Life::of(limited(2 << 10, true, &job)).end(&mut ledger);
    assert!(status.success() && ledger.acknowledged > 100, "{:?}", ledger.errors);
    assert_eq!(ledger.count(None), 0, "P6: somebody was told nothing");
    assert!(!ledger.errors.is_empty());
    for error in &ledger.errors {
        assert!(error.contains("FileTooLarge"), "what is this? {error}");
    }
    ledger.verify(&job.directory, &job.config());
    // Without the limit it goes on.
    let job = ledger.begin(Job { commits: 50, ..job });
    assert!(Life::start(&job).end(&mut ledger).success() && ledger.closed, "{:?}", ledger.errors);
    ledger.verify(&job.directory, &job.config());
}

#[test]
fn p1_a_process_that_the_limit_on_files_kills_has_lost_nothing() {
    let folder = folder();
    let mut ledger = Ledger::default();
    let mut job = Job::endless(folder.path());
    job.segment_size = 4 << 20;
    let job = ledger.begin(job);
    let status = Life::of(limited(2 << 10, false, &job)).end(&mut ledger);
    assert_eq!(status.signal(), Some(25), "SIGXFSZ; {:?}", ledger.errors);
    ledger.verify(&job.directory, &job.config());
}
