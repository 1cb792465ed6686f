//! How long an operator waits: `stat` on a thousand segments, `verify` and `dump` on half a gigabyte, all from the page cache.
//!
//! ```text
//! cargo bench -p walctl --bench looking -- [dir=DIR]
//! ```
//!
//! Each figure is the median of nine runs of the whole program. The speed of memory in the same run stands beside them:
//! `cat` of the same files.

#![allow(clippy::expect_used, reason = "a bench that can not go on has failed")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actix_wal::{Wal, WalConfig};

const RUNS: usize = 9;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let is_test = arguments.iter().any(|word| word == "--test");
    let dir = arguments.iter().find_map(|word| word.strip_prefix("dir="));
    let dir = dir.unwrap_or(env!("CARGO_TARGET_TMPDIR"));
    let (segments, megabytes) = if is_test { (20, 2) } else { (1000, 512) };
    let folder = tempfile::tempdir_in(dir).expect("a directory on a disk");

    let many = folder.path().join("many");
    write(&many, 64 << 10, segments * (64 << 10), 20_000);
    let count = std::fs::read_dir(&many).expect("there").count();
    let time = median(|| walctl(&["stat"], &many));
    println!("stat, {count} segments: {:.1} ms", time.as_secs_f64() * 1e3);

    for (what, record) in [("records of 128 bytes", 128), ("records of 4 KiB", 4096)] {
        let log = folder.path().join(format!("large-{record}"));
        let records = write(&log, 64 << 20, megabytes << 20, record);
        let bytes: u64 = files(&log).iter().map(|file| file.metadata().expect("there").len()).sum();
        let gigabytes = |time: Duration| bytes as f64 / 1e9 / time.as_secs_f64();
        let cat = median(|| cat(&log));
        let verify = median(|| walctl(&["verify"], &log));
        println!(
            "verify, {what}: {:.2} GB/s of files; cat {:.2} GB/s",
            gigabytes(verify),
            gigabytes(cat)
        );
        for format in ["text", "json", "hex"] {
            let time = median(|| walctl(&["dump", "--format", format], &log));
            let millions = records as f64 / 1e6 / time.as_secs_f64();
            println!("dump --format {format}, {what}: {millions:.2} M records/s");
        }
    }
}

/// A closed log of about so many bytes of records.
fn write(directory: &Path, segment: u64, bytes: u64, record: usize) -> u64 {
    let mut config = WalConfig::new(directory);
    config.segment_size = segment;
    let wal = Wal::open(config).blocking().expect("opens");
    let (payload, count) = (bytes::Bytes::from(vec![b'x'; record]), bytes / record as u64);
    (0..count).for_each(|_| {
        wal.append_blocking(payload.clone()).expect("accepted");
    });
    wal.close_blocking().expect("closes");
    count
}

fn files(directory: &Path) -> Vec<File> {
    let entries = std::fs::read_dir(directory).expect("there");
    entries.map(|entry| File::open(entry.expect("one").path()).expect("readable")).collect()
}

fn median(mut run: impl FnMut()) -> Duration {
    run();
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn walctl(arguments: &[&str], directory: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walctl"));
    let null = File::options().write(true).open("/dev/null").expect("there");
    let status = command.args(arguments).arg(directory).stdout(null).status().expect("it starts");
    assert!(status.success(), "{arguments:?}");
}

fn cat(directory: &Path) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat \"$0\"/* | cat > /dev/null"]).arg(directory).stdin(Stdio::null());
    assert!(command.status().expect("it starts").success());
}
