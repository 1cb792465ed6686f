//! What the quickstart says: in words, and as one JSON object.

use actix_wal::WalConfig;
use serde::Serialize;

use super::kill::Kills;
use super::load::Load;
use super::{OnFault, Policy, Settings};
use crate::place::Place;
use crate::voice::Voice;
use crate::{DemoError, Verdict};

/// What is about to happen.
pub(crate) fn introduce(settings: &Settings, voice: &mut Voice<'_>) -> Result<(), DemoError> {
    let Settings { clients, size, seconds, policy, .. } = settings;
    let policy = policy.of_log().name();
    voice.say(format_args!(
        "\n1. {clients} clients commit {size} bytes each for {seconds:?}, policy {policy}"
    ))
}

/// The result of part one.
pub(crate) fn tell_load(load: &Load, voice: &mut Voice<'_>) -> Result<(), DemoError> {
    voice.say(format_args!("  commits  {}, {:.0} per second", load.commits, load.rate()))?;
    voice.say(format_args!(
        "  fsyncs   {}, all of them: {:.2} % fewer than commits",
        load.stats.fsyncs,
        reduction(load) * 100.0
    ))?;
    voice.say(format_args!(
        "  latency  p50 {:.0} us, p99 {:.0} us",
        load.latency_us(0.5),
        load.latency_us(0.99)
    ))?;
    voice.say(format_args!(
        "  faults   {} restarts of the Flusher; {} commits not durable, {} unknown, {} refused",
        load.stats.restarts, load.not_durable, load.unknown, load.refused
    ))?;
    let troubles = [
        ("an error", &load.first_error),
        ("poisoned", &load.poisoned),
        ("close", &load.close_error),
    ];
    for (what, trouble) in troubles {
        if let Some(trouble) = trouble {
            voice.say(format_args!("  {what}: {trouble}"))?;
        }
    }
    Ok(())
}

/// The result of part two.
pub(crate) fn tell_kills(kills: &Kills, voice: &mut Voice<'_>) -> Result<(), DemoError> {
    let (ledger, counts) = (&kills.ledger, &kills.ledger.counts);
    voice.say(format_args!(
        "  acknowledged {}, recovered {}, lost {}",
        counts.acknowledged, ledger.recovered, counts.lost
    ))?;
    voice.say(format_args!(
        "  {} twice, {} invented; {} more were in flight and are there as well",
        counts.duplicated, counts.resurrected, ledger.in_flight
    ))?;
    voice.say(
        "\nWhat this does not prove: the page cache survives SIGKILL, so a log that never calls \
         fdatasync\nwould pass. That acknowledged records survive power loss is proved by \
         tests/power_cut.rs, which\nrebuilds the disk as it may be after a cut at every single write \
         and sync.",
    )
}

/// 1 - fsyncs / commits: negative if there were more syncs than commits.
fn reduction(load: &Load) -> f64 {
    match load.commits {
        0 => 0.0,
        commits => 1.0 - load.stats.fsyncs as f64 / commits as f64,
    }
}

/// Everything, for programs. Part one: up to `close_error`; faults are those of both parts.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    directory: String,
    clients: u64,
    size: usize,
    policy: Policy,
    on_fault: OnFault,
    filesystem: String,
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
    poisoned: Option<String>,
    close_error: Option<String>,
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
    /// Other promises that were broken.
    broken: u64,
}

impl Report {
    /// The report of a whole run.
    pub(crate) fn new(settings: &Settings, place: &Place, load: &Load, kills: &Kills) -> Self {
        let (ledger, counts) = (&kills.ledger, &kills.ledger.counts);
        let not_durable = load.not_durable + counts.not_durable;
        let unknown = load.unknown + counts.unknown;
        Report {
            directory: place.name(),
            clients: settings.clients,
            size: settings.size,
            policy: settings.policy,
            on_fault: settings.on_fault,
            filesystem: place.filesystem.clone(),
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
            poisoned: load.poisoned.clone(),
            close_error: load.close_error.clone(),
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
            broken: counts.broken,
        }
    }

    /// What a run with so many rounds of part two has shown.
    pub(crate) fn verdict(&self, rounds: u64) -> Verdict {
        let Report { lost, duplicated, invented, broken, .. } = *self;
        let is_sound = (lost, duplicated, invented, broken) == (0, 0, 0, 0);
        let has_failed = self.poisoned.is_some() || self.close_error.is_some();
        let is_doubtful = has_failed || self.kills < rounds || !self.durable_medium;
        Verdict::of(is_sound, is_doubtful)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: impl FnOnce(&mut Report)) -> Verdict {
        let mut report = Report { durable_medium: true, kills: 2, ..Report::default() };
        change(&mut report);
        report.verdict(2)
    }

    #[test]
    fn any_broken_promise_counts_more_than_any_doubt() {
        assert_eq!(report(|_| {}), Verdict::Kept);
        let doubts: [fn(&mut Report); 4] = [
            |it| it.kills = 1,
            |it| it.durable_medium = false,
            |it| it.poisoned = Some("a sync failed".to_owned()),
            |it| it.close_error = Some("a sync failed".to_owned()),
        ];
        let breaks: [fn(&mut Report); 4] =
            [|it| it.lost = 1, |it| it.duplicated = 1, |it| it.invented = 1, |it| it.broken = 1];
        for doubt in doubts {
            assert_eq!(report(doubt), Verdict::Doubtful);
        }
        for broken in breaks {
            assert_eq!(report(broken), Verdict::Broken);
            let both =
                |it: &mut Report| doubts.iter().chain([&broken]).for_each(|change| change(it));
            assert_eq!(report(both), Verdict::Broken);
        }
    }
}
