//! `walctl probe`: how fast a disk syncs, and whether it syncs at all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::measure::bare::{self, BareFiles, FILE_BYTES, Method};
use crate::measure::device::Device;
use crate::measure::figures::Latencies;
use crate::output::{Failure, Output};
use crate::progress::Bar;
use crate::words;

/// What is written at once.
const SIZES: [usize; 5] = [512, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

/// The size by which a sync is judged: a page, which every file system writes at once.
const JUDGED: usize = 4 << 10;

/// The fastest devices need about 10 µs for a write that they must not lose. A sync that adds less than half of that to
/// the write has not waited for a device.
const LEAST_SYNC: Duration = Duration::from_micros(5);

/// Each size and method is tried at least this often, however slow the disk is.
const LEAST_TRIES: u64 = 3;

/// Measures writes and syncs of a disk, and says whether a sync there keeps data through a power loss.
///
/// It writes into files without a name, which are gone when it ends, and touches no other file. A device that answers a
/// sync before the data is safe looks fast here. Only a power loss shows that.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl probe /var/lib/app\n  walctl probe /var/lib/app --seconds 10 --json\n\nExit status: 0 syncs are real, 1 they are not or may not be, 3 nothing could be measured."
)]
pub(crate) struct Arguments {
    /// A directory on the disk.
    dir: PathBuf,
    /// How long it measures.
    #[arg(long, default_value_t = 3.0, value_parser = super::seconds)]
    seconds: f64,
}

/// The JSON of `probe`.
#[derive(Serialize)]
struct Probe {
    directory: String,
    device: Device,
    /// "syncs", "no-barriers" or "worthless".
    verdict: &'static str,
    reasons: Vec<String>,
    sync_us: f64,
    syncs_per_second: f64,
    writes: Vec<Row>,
}

#[derive(Clone, Serialize)]
struct Row {
    /// "write", "write-fdatasync", "append-fdatasync" or "write-dsync".
    method: &'static str,
    bytes: usize,
    tries: u64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    per_second: f64,
    bytes_per_second: f64,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let since = Instant::now();
    let device = Device::below(&arguments.dir)?;
    // The files, and as much again: a disk is not to be filled up by a measurement.
    device.needs_room(4 * FILE_BYTES)?;
    let mut files = BareFiles::create(&arguments.dir)?;
    let rows = measure(&mut files, since + Duration::from_secs_f64(arguments.seconds))?;
    let row =
        |method: Method| rows.iter().find(|row| row.method == method.name() && row.bytes == JUDGED);
    let median = |method: Method| row(method).map_or(0.0, |row| row.p50_us);
    let worth = Worth::of(&device, median(Method::Write), median(Method::Sync));
    let syncs_per_second = row(Method::Sync).map_or(0.0, |row| row.per_second);
    let probe = Probe {
        directory: arguments.dir.display().to_string(),
        device,
        verdict: worth.verdict,
        reasons: worth.reasons.clone(),
        sync_us: worth.sync_us,
        syncs_per_second,
        writes: rows,
    };
    output.json("probe", &probe)?;
    print(&probe, output)?;
    Ok(worth.exit())
}

/// All sizes by all methods. The time is divided among them; what one does not use, the others have.
fn measure(files: &mut BareFiles, end: Instant) -> Result<Vec<Row>, Failure> {
    let methods: Vec<_> = Method::ALL.into_iter().filter(|method| files.can(*method)).collect();
    let cases = methods.iter().flat_map(|method| SIZES.map(|size| (*method, size)));
    let mut left = (methods.len() * SIZES.len()) as u32;
    let bar = Bar::steps("probing", u64::from(left));
    let mut rows = Vec::new();
    for (method, size) in cases {
        let time = end.saturating_duration_since(Instant::now()) / left;
        let latencies = files.write_for(method, &bare::payload(size), time, LEAST_TRIES);
        if latencies.is_err() {
            bar.end();
        }
        rows.push(Row::of(method, size, &latencies?));
        left -= 1;
        bar.step();
    }
    bar.end();
    Ok(rows)
}

impl Row {
    fn of(method: Method, bytes: usize, latencies: &Latencies) -> Self {
        let quantiles = latencies.quantiles();
        let per_second = latencies.per_second();
        Row {
            method: method.name(),
            bytes,
            tries: latencies.count(),
            p50_us: quantiles.p50_us,
            p99_us: quantiles.p99_us,
            max_us: quantiles.max_us,
            per_second,
            bytes_per_second: per_second * bytes as f64,
        }
    }
}

const SYNCS: &str = "syncs";
const NO_BARRIERS: &str = "no-barriers";
const WORTHLESS: &str = "worthless";

/// What a sync of a disk is worth.
#[derive(Clone, Debug)]
pub(super) struct Worth {
    /// "syncs", "no-barriers" or "worthless".
    pub(super) verdict: &'static str,
    pub(super) reasons: Vec<String>,
    /// What a sync takes beyond the write.
    pub(super) sync_us: f64,
}

impl Worth {
    /// Measures it.
    pub(super) fn measure(
        device: &Device,
        files: &mut BareFiles,
        time: Duration,
    ) -> Result<Self, Failure> {
        let bytes = bare::payload(JUDGED);
        let mut median = |method, time| {
            let latencies = files.write_for(method, &bytes, time, LEAST_TRIES)?;
            Ok::<_, Failure>(latencies.quantiles().p50_us)
        };
        let write_us = median(Method::Write, time / 10)?;
        Ok(Worth::of(device, write_us, median(Method::Sync, time)?))
    }

    /// By the device, and by the medians of a write without and with a sync.
    fn of(device: &Device, write_us: f64, synced_us: f64) -> Self {
        let sync_us = (synced_us - write_us).max(0.0);
        let (verdict, reasons) = judge(device, sync_us);
        Worth { verdict, reasons, sync_us }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.verdict == SYNCS { Exit::Fine } else { Exit::Attention }
    }

    /// What figures of this disk are worth, if that is less than it seems.
    pub(super) fn warning(&self) -> Option<String> {
        let reasons = self.reasons.join("; ");
        match self.verdict {
            SYNCS => None,
            NO_BARRIERS => Some(format!("commits here may be lost with the power: {reasons}")),
            _ => Some(format!("these figures say nothing about durable commits: {reasons}")),
        }
    }
}

fn judge(device: &Device, sync_us: f64) -> (&'static str, Vec<String>) {
    let mut reasons = Vec::new();
    if device.is_memory {
        let name = &device.file_system;
        reasons.push(format!("{name} is memory: nothing on it survives a power loss"));
    }
    if device.file_system == "overlay" && device.has_option("volatile") {
        reasons.push("the overlay is mounted with `volatile`, which leaves syncs out".to_owned());
    }
    if sync_us < LEAST_SYNC.as_secs_f64() * 1e6 {
        reasons.push(format!(
            "a sync of {JUDGED} bytes takes {sync_us:.1} µs more than the write alone; no device writes in less than {} µs",
            LEAST_SYNC.as_micros()
        ));
    }
    if !reasons.is_empty() {
        return (WORTHLESS, reasons);
    }
    let no_barrier = ["nobarrier", "barrier=0"].into_iter().find(|it| device.has_option(it));
    if let Some(option) = no_barrier.filter(|_| device.may_cache()) {
        reasons.push(format!(
            "it is mounted with `{option}`: a sync does not flush the write cache of the device, so a power loss takes what \
             lies there unless a battery keeps it"
        ));
        return (NO_BARRIERS, reasons);
    }
    (
        SYNCS,
        vec![format!("a sync of {JUDGED} bytes takes {sync_us:.0} µs more than the write alone")],
    )
}

fn print(probe: &Probe, output: &mut Output) -> Result<(), Failure> {
    let device = &probe.device;
    output.say(format_args!("{}: {}", probe.directory, device.words()))?;
    if let Some(place) = &device.mount_point {
        output.say(format_args!("mounted at {place}: {}", device.mount_options.join(",")))?;
    }
    output.say("")?;
    let row = |row: &Row| {
        [
            row.method.to_owned(),
            words::bytes(row.bytes as u64),
            row.tries.to_string(),
            format!("{:.1}", row.p50_us),
            format!("{:.1}", row.p99_us),
            format!("{:.1}", row.max_us),
            format!("{:.0}", row.per_second),
            words::bytes(row.bytes_per_second as u64),
        ]
    };
    let rows: Vec<_> = probe.writes.iter().map(row).collect();
    let heads = ["method", "bytes", "tries", "p50 us", "p99 us", "max us", "per second", "bytes/s"];
    words::table(heads, &rows).iter().try_for_each(|line| output.say(line))?;
    output.say("")?;
    let reasons = probe.reasons.join("; ");
    match probe.verdict {
        SYNCS => {
            output.say(format_args!("syncs: {reasons}"))?;
            output.say(format_args!(
                "one client at a time commits at most {:.0} times a second here; more clients share a sync",
                probe.syncs_per_second
            ))?;
            output.say("that the device keeps what it has synced, only a power loss can show")?;
        }
        NO_BARRIERS => {
            output.say(format_args!("no barriers: {reasons}"))?;
            output.say("next: mount it without this option, or make sure of the battery")?;
        }
        _ => {
            output.say(format_args!("worthless: {reasons}"))?;
            output.say("next: put the log on a disk; here a commit is lost with the power")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::measure::device::BlockDevice;

    fn device(file_system: &str, options: &[&str], cache: &str) -> Device {
        let mut device = Device::below(Path::new("/")).expect("there is a root");
        device.file_system = file_system.to_owned();
        device.is_memory = file_system == "tmpfs";
        device.mount_options = options.iter().map(|&option| option.to_owned()).collect();
        let write_cache = Some(cache.to_owned());
        device.devices =
            vec![BlockDevice { name: "sda".to_owned(), write_cache, backing_file: None }];
        device
    }

    #[test]
    fn a_sync_is_worth_what_the_device_and_the_mount_make_of_it() {
        let cases = [
            (device("ext4", &["rw"], "write back"), 3.0, 120.0, SYNCS),
            (device("ext4", &["rw"], "write back"), 3.0, 3.4, WORTHLESS),
            (device("ext4", &["rw"], "write back"), 3.4, 3.0, WORTHLESS),
            (device("tmpfs", &["rw"], "write back"), 3.0, 120.0, WORTHLESS),
            (device("overlay", &["rw", "volatile"], "write back"), 3.0, 120.0, WORTHLESS),
            (device("overlay", &["rw"], "write back"), 3.0, 120.0, SYNCS),
            (device("ext4", &["rw", "nobarrier"], "write back"), 3.0, 60.0, NO_BARRIERS),
            (device("ext4", &["rw", "barrier=0"], "write back"), 3.0, 60.0, NO_BARRIERS),
            (device("xfs", &["rw", "nobarrier"], "write through"), 3.0, 60.0, SYNCS),
        ];
        for (device, write, synced, verdict) in cases {
            let Worth { verdict: found, reasons, .. } = Worth::of(&device, write, synced);
            assert_eq!(found, verdict, "{device:?} {write} {synced}");
            assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason.len() > 20));
        }
    }
}
