//! Guards P1, P6, P7, P8, P21: system calls of a real process fail, one after the other: `EIO` and `ENOSPC`
//! at the N-th write, sync, rename, open and so on, injected by `strace`. The process ends, every client gets
//! one outcome, and a clean open finds what was acknowledged and nothing that was refused.
//!
//! strace counts for each thread by itself, and a restart of the Flusher is a new thread. So a small N is a
//! fault that comes back until the restarts are spent, and a large N comes once; both are what disks do.
//!
//! `WAL_STRACE=all` takes every N up to the number of calls of a whole run; by default it is a sample, which
//! `WAL_STRACE_SEED` repeats.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use test_support::child;

use actix_wal::testkit::Random;
use tempfile::TempDir;
use test_support::child::Job;
use test_support::environment::{asks_for_all, seed};
use test_support::lives::{Ledger, Life, Outcome, command, copy_files};
use test_support::skips::skip;

/// Every call with which the log changes the world, and some that it needs for that.
const CALLS: [&str; 7] =
    ["pwrite64", "fdatasync", "renameat2", "openat", "ftruncate", "fsync", "unlinkat"];

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

#[test]
fn p1_p6_p7_p8_an_io_error_of_any_call_is_answered_and_loses_nothing() {
    inject("EIO", false, &CALLS);
}

#[test]
fn p1_p8_what_an_io_error_makes_fail_at_once_is_never_replayed() {
    inject("EIO", true, &["pwrite64", "fdatasync"]);
}

#[test]
fn p1_p6_p8_p21_a_full_disk_at_any_call_is_answered_and_loses_nothing() {
    inject("ENOSPC", false, &CALLS);
}

fn inject(errno: &str, fail_fast: bool, calls: &[&str]) {
    if !strace_works() {
        return skip("strace is not installed, or it may not trace here");
    }
    let bench = Bench::new(fail_fast);
    let most = bench.count();
    let mut random = Random::new(seed("WAL_STRACE_SEED"));
    for call in calls {
        // Batches are a matter of chance, so the next run may have a few more calls.
        let most = most.get(*call).copied().unwrap_or(0) + 2;
        let mut hit = 0;
        let chosen = choose(most, &mut random);
        for n in &chosen {
            hit += u32::from(bench.run(call, errno, *n) > 0);
        }
        println!("{call} {errno}: {hit} of {} runs were hit", chosen.len());
        assert!(hit > 0, "{call} never failed");
    }
}

/// Which of the calls fail, one in each run.
fn choose(most: u64, random: &mut Random) -> BTreeSet<u64> {
    if asks_for_all("WAL_STRACE") {
        return (1..=most).collect();
    }
    (0..7).map(|_| 1 + random.below(most)).chain([1]).collect()
}

fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "inject=sync:error=EIO", "true"]);
    strace.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A log that was killed in mid-flight, and a short workload that opens it.
struct Bench {
    folder: TempDir,
    ledger: Ledger,
    fail_fast: bool,
}

impl Bench {
    fn new(fail_fast: bool) -> Bench {
        let folder = test_support::scratch::folder();
        let mut ledger = Ledger::default();
        let origin = folder.path().join("origin");
        let mut job = Job::endless(&origin);
        job.segment_size = 32 << 10;
        let job = ledger.begin(job);
        let life = Life::start(&job);
        life.acknowledges(200, &mut ledger);
        life.kill(&mut ledger);
        Bench { folder, ledger, fail_fast }
    }

    fn job(&self, directory: &Path) -> Job {
        let mut job = Job::endless(directory);
        (job.clients, job.commits, job.segment_size) = (4, 16, 32 << 10);
        job.fail_fast = self.fail_fast;
        job
    }

    /// How often each call is made in a run without faults, by the thread that makes it most often.
    fn count(&self) -> BTreeMap<String, u64> {
        let calls = CALLS.join(",");
        let Run { ledger, trace, .. } = self.trace(&[&format!("trace={calls}")], None);
        assert!(ledger.closed && ledger.count(Some(Outcome::Durable)) > 0, "{:?}", ledger.errors);
        let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for line in trace.lines() {
            let Some((thread, event)) = line.split_once(' ') else { continue };
            if let Some((call, _)) = event.trim_start().split_once('(') {
                *by_thread.entry((thread, call)).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((_, call), count) in by_thread {
            let most: &mut u64 = most.entry(call.to_owned()).or_default();
            *most = count.max(*most);
        }
        most
    }

    /// One run in which the N-th of these calls fails, and what must be true of it. Returns how many
    /// calls did fail.
    fn run(&self, call: &str, errno: &str, n: u64) -> usize {
        // Others open files too, so of those only what lies in the directory counts.
        let only = self.folder.path().join("log");
        let only = (call == "openat").then_some(&only);
        let inject = format!("inject={call}:error={errno}:when={n}");
        let traced = format!("trace=pwrite64,fdatasync,{call}");
        println!("{inject}");
        let mut run = self.trace(&[&traced, &inject], only.map(PathBuf::as_path));
        let faults = run.trace.matches("(INJECTED)").count();
        let what = format!("{inject}, {faults} faults, errors {:#?}", run.ledger.errors);
        assert_eq!(run.ledger.count(None), 0, "P6: somebody was told nothing; {what}");
        touched_again(&run.trace).inspect(|file| panic!("P7: {file} was used again; {what}"));
        for error in &run.ledger.errors {
            assert!(is_typed(error, errno), "what is this? {error}\n{what}");
        }
        let all_durable = run.ledger.count(Some(Outcome::NotDurable)) == 0
            && run.ledger.count(Some(Outcome::Unknown)) == 0
            && run.ledger.closed;
        if run.ledger.opened.is_none() {
            assert!(faults > 0 && !run.ledger.errors.is_empty(), "it did not open; {what}");
        } else if faults == 0 || (faults == 1 && errno == "EIO" && !self.fail_fast) {
            assert!(all_durable, "one passing fault costs nobody anything; {what}");
        }
        if faults > 0 && errno == "ENOSPC" {
            run.ledger.was_closed_on_a_full_disk();
        }
        run.ledger.verify(&run.directory, &self.job(&run.directory).config());
        faults
    }

    fn trace(&self, expressions: &[&str], only: Option<&Path>) -> Run {
        let directory = self.folder.path().join("log");
        let trace = self.folder.path().join("trace");
        // What an earlier run has left.
        let _ = fs::remove_dir_all(&directory);
        copy_files(&self.folder.path().join("origin"), &directory);
        let mut before = vec!["strace", "-f", "--seccomp-bpf", "-y", "-s", "0", "-o"];
        before.push(trace.to_str().unwrap());
        expressions.iter().for_each(|expression| before.extend(["-e", expression]));
        only.iter().for_each(|only| before.extend(["-P", only.to_str().unwrap()]));
        let mut ledger = self.ledger.clone();
        let job = ledger.begin(self.job(&directory));
        let mut command = command(&before, &job);
        command.stderr(Stdio::null()); // strace says which threads it meets
        // What the killed life had in flight stays open; this life is told everything.
        ledger.settle_earlier();
        let status = Life::of(command).end(&mut ledger);
        assert!(status.success(), "{expressions:?}: {status}, {:?}", ledger.errors);
        Run { ledger, trace: fs::read_to_string(&trace).unwrap(), directory }
    }
}

struct Run {
    ledger: Ledger,
    trace: String,
    directory: PathBuf,
}

/// Whether an error says what it comes from.
fn is_typed(error: &str, errno: &str) -> bool {
    match errno {
        "EIO" => error.contains("code: 5,") || error.contains("op: Prepare"),
        _ => error.contains("StorageFull"),
    }
}

/// The segment that was written or synced after a write or sync of it had failed (promise P7).
fn touched_again(trace: &str) -> Option<String> {
    let (mut failed, mut begun) = (BTreeSet::new(), BTreeMap::new());
    for line in trace.lines() {
        let (thread, event) = line.split_once(' ')?;
        let event = event.trim_start();
        if event.starts_with("pwrite64(") || event.starts_with("fdatasync(") {
            let file = event.split(['<', '>']).nth(1)?;
            // A scratch file that failed is removed; the next one has its name.
            if file.ends_with(".wal") {
                if failed.contains(file) {
                    return Some(file.to_owned());
                }
                begun.insert(thread, file);
            } else {
                begun.remove(thread);
            }
        }
        let is_one = |name: &str| event.contains(name);
        if event.contains("(INJECTED)") && (is_one("pwrite64") || is_one("fdatasync")) {
            failed.extend(begun.get(thread).copied());
        }
    }
    None
}

#[test]
fn a_segment_that_is_used_after_its_fault_is_noticed() {
    let fault = "7 fdatasync(5</x/1.wal> <unfinished ...>\n8 pwrite64(6</x/2.wal>, \"\"..., 4, 0) = 4\n\
         7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n";
    assert_eq!(touched_again(fault), None);
    let other = format!("{fault}7 fdatasync(5</x/2.wal>) = 0\n");
    assert_eq!(touched_again(&other), None);
    let again = format!("{fault}9 fdatasync(5</x/1.wal>) = 0\n");
    assert_eq!(touched_again(&again).as_deref(), Some("/x/1.wal"));
}
