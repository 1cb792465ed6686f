//! What the quickstart says: in words, and as one JSON object.

use std::io::{self, Write};

use actix_wal::WalConfig;
use serde::Serialize;

use super::config::Settings;
use super::kill::Kills;
use super::load::Load;
use crate::place::Workplace;

/// Where words go: to stdout, or to stderr if stdout is for JSON.
pub(crate) struct Voice {
    /// Whether stdout is for JSON.
    pub(crate) json: bool,
}

impl Voice {
    /// Says a line. That nobody listens is no reason to stop.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        let _ = if self.json {
            writeln!(io::stderr(), "{line}")
        } else {
            writeln!(io::stdout(), "{line}")
        };
    }

    /// What is about to happen, and where.
    pub(crate) fn introduce(&self, settings: &Settings, place: &Workplace) {
        let (clients, size) = (settings.clients, settings.size);
        let (filesystem, durable_medium) = (&place.filesystem, place.can_be_durable());
        self.say(format!("directory {} on {filesystem}", place.path.display()));
        if !durable_medium {
            self.say(format!(
                "  {filesystem} is memory: nothing in it survives power loss, so nothing below says \
                 anything\n  about durability or speed; choose a --dir on a disk"
            ));
        }
        self.say(format!(
            "\n1. {clients} clients commit {size} bytes each for {:?}, policy {}",
            settings.time,
            settings.policy.name()
        ));
    }

    /// The result of part one.
    pub(crate) fn tell_load(&self, load: &Load) {
        self.say(format!("  commits  {}, {:.0} per second", load.commits, load.rate()));
        self.say(format!(
            "  fsyncs   {}, all of them: {:.2} % fewer than commits",
            load.stats.fsyncs,
            reduction(load) * 100.0
        ));
        self.say(format!(
            "  latency  p50 {:.0} us, p99 {:.0} us",
            load.latency_us(0.5),
            load.latency_us(0.99)
        ));
        self.say(format!(
            "  faults   {} restarts of the Flusher; {} commits not durable, {} unknown, {} refused",
            load.stats.restarts, load.not_durable, load.unknown, load.refused
        ));
        let troubles = [
            ("an error", &load.first_error),
            ("poisoned", &load.poisoned),
            ("close", &load.close_error),
        ];
        for (what, trouble) in troubles {
            if let Some(trouble) = trouble {
                self.say(format!("  {what}: {trouble}"));
            }
        }
    }

    /// The result of part two.
    pub(crate) fn tell_kills(&self, kills: &Kills) {
        let (ledger, counts) = (&kills.ledger, &kills.ledger.counts);
        self.say(format!(
            "  acknowledged {}, recovered {}, lost {}",
            counts.acknowledged, ledger.recovered, counts.lost
        ));
        self.say(format!(
            "  {} twice, {} invented; {} more were in flight and are there as well",
            counts.duplicated, counts.resurrected, ledger.in_flight
        ));
        self.say(
            "\nWhat this does not prove: the page cache survives SIGKILL, so a log that never calls \
             fdatasync\nwould pass. That acknowledged records survive power loss is proved by \
             tests/power_cut.rs, which\nrebuilds the disk as it may be after a cut at every single write \
             and sync.",
        );
    }

    /// The report as the last line of stdout.
    pub(crate) fn print_json(&self, report: &Report<'_>) {
        if self.json
            && let Ok(line) = serde_json::to_string(report)
        {
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
}

/// 1 - fsyncs / commits: negative if there were more syncs than commits.
fn reduction(load: &Load) -> f64 {
    match load.commits {
        0 => 0.0,
        commits => 1.0 - load.stats.fsyncs as f64 / commits as f64,
    }
}

/// Everything, for programs. Part one: up to `close_error`; faults are those of both parts.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    clients: u64,
    size: usize,
    policy: &'a str,
    on_fault: &'a str,
    filesystem: &'a str,
    /// Whether the medium can keep anything through power loss.
    durable_medium: bool,
    segment_size: u64,
    seconds: f64,
    commits: u64,
    commits_per_second: f64,
    fsyncs: u64,
    fsync_reduction: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    batches: u64,
    bytes_written: u64,
    poisoned: Option<&'a str>,
    close_error: Option<&'a str>,
    restarts: u64,
    not_durable: u64,
    unknown: u64,
    refused: u64,
    /// Commits that did not end durable: not_durable + unknown + refused.
    errors: u64,
    kills: u64,
    acknowledged: u64,
    recovered: u64,
    lost: u64,
    duplicated: u64,
    invented: u64,
}

impl<'a> Report<'a> {
    /// The report of a whole run.
    pub(crate) fn new(
        settings: &Settings,
        place: &'a Workplace,
        load: &'a Load,
        kills: &Kills,
    ) -> Self {
        let (ledger, counts) = (&kills.ledger, &kills.ledger.counts);
        let not_durable = load.not_durable + counts.not_durable;
        let unknown = load.unknown + counts.unknown;
        Report {
            clients: settings.clients,
            size: settings.size,
            policy: settings.policy.name(),
            on_fault: settings.on_fault_name(),
            filesystem: &place.filesystem,
            durable_medium: place.can_be_durable(),
            segment_size: WalConfig::new("").segment_size,
            seconds: load.time.as_secs_f64(),
            commits: load.commits,
            commits_per_second: load.rate(),
            fsyncs: load.stats.fsyncs,
            fsync_reduction: reduction(load),
            p50_us: load.latency_us(0.5),
            p99_us: load.latency_us(0.99),
            p999_us: load.latency_us(0.999),
            max_us: load.latency_us(1.0),
            batches: load.stats.batches,
            bytes_written: load.stats.bytes_written,
            poisoned: load.poisoned.as_deref(),
            close_error: load.close_error.as_deref(),
            restarts: load.stats.restarts + counts.restarts,
            not_durable,
            unknown,
            refused: load.refused,
            errors: not_durable + unknown + load.refused,
            kills: kills.kills,
            acknowledged: counts.acknowledged,
            recovered: ledger.recovered,
            lost: counts.lost,
            duplicated: counts.duplicated,
            invented: counts.resurrected,
        }
    }
}
