//! Instructions and allocations of the hot path, counted by valgrind and compared with a baseline: unlike
//! times they are the same on a busy machine.
//!
//! ```text
//! cargo bench --bench instructions              # a table; fails if a piece costs more than the baseline says
//! cargo bench --bench instructions -- --update  # writes a new baseline
//! cargo bench --bench instructions -- --json    # the table as one JSON object
//! ```
//!
//! The tests have the log with metrics, and so do these commands. The baseline is of the log without:
//! `RUSTFLAGS="--cfg wal_plain" cargo bench --bench instructions`, as CI runs it.
//!
//! The counts depend on the compiler, so the baseline says which one it is of; with another one they are
//! shown and not compared. They depend a little on the C library and the processor too, which choose how
//! memory is copied: that is what the tolerance is for.
//!
//! Each piece runs in a process of its own, of which only what is below one function is counted. Its profile
//! stays in `target/tmp/instructions-*.out`, for `callgrind_annotate`.

#![allow(clippy::expect_used)] // A benchmark that can not go on has no result.

mod instructions {
    pub(crate) mod commits;
    pub(crate) mod pieces;
    pub(crate) mod replay;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use instructions::pieces::{PIECES, Piece};
use serde_json::{Value, json};

/// How far a count may be from the baseline, in either direction.
const TOLERANCE: f64 = 0.05;
/// The functions of the C library that give memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
/// So much per batch is nobody's loss: a wake-up that came a moment later, a table that grew.
const FEW_ALLOCATIONS: f64 = 1.0;

/// What a piece costs per batch.
#[derive(Clone, Copy)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(at) = args.iter().position(|arg| arg == "--run") {
        let piece = PIECES.iter().find(|piece| Some(piece.name) == args.get(at + 1).map(|x| &**x));
        (piece.expect("a piece").run)();
        return ExitCode::SUCCESS;
    }
    if has("--test") {
        PIECES.iter().for_each(|piece| (piece.run)());
        return ExitCode::SUCCESS;
    }
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !valgrind.is_ok_and(|status| status.success()) {
        eprintln!("instructions: nothing is counted, there is no valgrind here");
        return if std::env::var_os("CI").is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    let costs: Vec<_> = PIECES.iter().map(|piece| (piece, count(piece))).collect();
    let compiler = compiler();
    if has("--json") {
        println!("{}", as_json(&compiler, &costs));
    } else {
        print_table(&costs);
    }
    let mut faults = allocating(&costs);
    if has("--update") {
        let text = serde_json::to_string_pretty(&as_json(&compiler, &costs)).expect("plain values");
        fs::write(baseline_path(), text + "\n").expect("the baseline can be written");
    } else {
        faults.extend(compare(&compiler, &costs));
    }
    faults.iter().for_each(|fault| eprintln!("instructions: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn baseline_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json")
}

/// The compiler and what it compiles for.
fn compiler() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("there is a rustc");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?");
    format!("{}, {}", line("rustc "), line("host: "))
}

/// Runs a piece in a process of its own and counts.
fn count(piece: &Piece) -> Cost {
    let file = format!("instructions-{}.out", piece.name.replace([' ', ','], "-"));
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let status = Command::new("valgrind")
        // One instruction that moves a block is counted once for each byte, and not every processor has it.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--dump-instr=yes"])
        .args(["--dump-line=no", "--compress-strings=no", "--compress-pos=no"])
        .arg("--toggle-collect=*pieces*measured*")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().expect("this program has a name"))
        .args(["--run", piece.name])
        .status();
    assert!(status.expect("valgrind runs").success(), "{} failed", piece.name);
    let text = fs::read_to_string(profile).expect("valgrind has left its counts");
    let cost = read_profile(&text);
    assert!(cost.instructions > 0.0, "{}: nothing was counted", piece.name);
    let per_batch = |count: f64| count / piece.batches as f64;
    Cost { instructions: per_batch(cost.instructions), allocations: per_batch(cost.allocations) }
}

/// A profile says for each function how often each of its instructions was run, and at its end what all of it
/// comes to. So the first instruction of an allocator tells how often it was called; calls themselves are noted
/// also where nothing is to be counted.
fn read_profile(text: &str) -> Cost {
    let mut firsts: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    let mut instructions = 0.0;
    let (mut function, mut is_call) = ("", false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.parse().unwrap_or(0.0);
        } else if let Some(at_and_runs) = line.strip_prefix("0x")
            && ALLOCATORS.contains(&function)
            && !is_call
            && let Some((at, runs)) = at_and_runs.split_once(' ')
            && let (Ok(at), Ok(runs)) = (u64::from_str_radix(at, 16), runs.parse())
        {
            let first = firsts.entry(function).or_insert((at, runs));
            *first = if at < first.0 { (at, runs) } else { *first };
        }
        // The line behind this one says what the call has cost.
        is_call = line.starts_with("calls=");
    }
    Cost { instructions, allocations: firsts.values().fold(0.0, |sum, (_, runs)| sum + runs) }
}

fn print_table(costs: &[(&Piece, Cost)]) {
    println!("{:22} {:>13} {:>14} {:>13} {:>14}", "", "instructions", "", "allocations", "");
    println!(
        "{:22} {:>13} {:>14} {:>13} {:>14}",
        "piece", "per record", "per batch", "per record", "per batch"
    );
    for (piece, cost) in costs {
        let records = piece.records as f64;
        println!(
            "{:22} {:13.1} {:14.0} {:13.2} {:14.2}",
            piece.name,
            cost.instructions / records,
            cost.instructions,
            cost.allocations / records,
            cost.allocations
        );
    }
}

fn as_json(compiler: &str, costs: &[(&Piece, Cost)]) -> Value {
    let row = |piece: &Piece, cost: &Cost| {
        let row = json!({
            "records_per_batch": piece.records,
            "instructions_per_batch": cost.instructions.round() as u64,
            "allocations_per_batch": (cost.allocations * 100.0).round() / 100.0,
        });
        (piece.name.to_owned(), row)
    };
    let rows: BTreeMap<_, _> = costs.iter().map(|(piece, cost)| row(piece, cost)).collect();
    json!({ "compiler": compiler, "pieces": rows })
}

/// Pieces that must not allocate, and do.
fn allocating(costs: &[(&Piece, Cost)]) -> Vec<String> {
    let allocate =
        costs.iter().filter(|(piece, cost)| piece.allocates_nothing && cost.allocations > 0.0);
    allocate
        .map(|(piece, cost)| {
            format!("{} allocates {} times per batch, and must not", piece.name, cost.allocations)
        })
        .collect()
}

/// What costs more than the baseline says. What costs less is said too, or the next loss would go unseen.
fn compare(compiler: &str, costs: &[(&Piece, Cost)]) -> Vec<String> {
    let text = fs::read_to_string(baseline_path()).unwrap_or_default();
    let baseline: Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(of) = baseline["compiler"].as_str() else {
        return vec!["there is no baseline; write one with `-- --update`".to_owned()];
    };
    if of != compiler {
        // Also on a server: there a new compiler comes by itself, and its counts are not this commit's fault.
        println!("not compared: the baseline is of {of}, and this is {compiler}");
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (piece, cost) in costs {
        let row = &baseline["pieces"][piece.name];
        let checks = [
            ("instructions", cost.instructions, &row["instructions_per_batch"], 0.0),
            ("allocations", cost.allocations, &row["allocations_per_batch"], FEW_ALLOCATIONS),
        ];
        for (what, now, before, few) in checks {
            let Some(before) = before.as_f64() else {
                faults.push(format!("{} has no baseline; add it with `-- --update`", piece.name));
                break;
            };
            let change = format!("{}: {now:.1} {what} per batch, was {before:.1}", piece.name);
            if now > before * (1.0 + TOLERANCE) + few {
                let hint = "if that is worth it, write a new baseline with `-- --update`";
                faults.push(format!("{change}; {hint}"));
            } else if now < before * (1.0 - TOLERANCE) - few {
                eprintln!("instructions: better: {change}; keep it with `-- --update`");
            }
        }
    }
    faults
}
