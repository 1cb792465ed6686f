//! Part two: starts a child that commits, kills it in mid-flight, and holds the log against what the
//! child had acknowledged.

use std::path::Path;
use std::time::Duration;

use actix_wal::testkit::Random;
use actix_wal::{Lsn, OpenError, RecoveryReport, Wal};

use super::Settings;
use crate::DemoError;
use crate::child::{self, Job};
use crate::clients::ledger::{Ledger, Verifier};
use crate::clients::told::Told;
use crate::voice::Voice;

/// Acknowledgements before the child is killed.
const ENOUGH: u64 = 1000;
/// The kill comes at a random moment within this time after that.
const FURTHER: Duration = Duration::from_millis(100);

/// What part two came to.
#[derive(Default)]
pub(crate) struct Kills {
    /// Children that were killed in mid-flight.
    pub(crate) kills: u64,
    /// What the clients were told, in all rounds, and what the looks at the whole log came to.
    pub(crate) ledger: Ledger,
}

/// Runs part two on a log in `directory`. All rounds share the log, so what an earlier one acknowledged
/// has to survive the later ones as well.
pub(crate) fn run(
    settings: &Settings,
    directory: &Path,
    voice: &mut Voice<'_>,
) -> Result<Kills, DemoError> {
    let mut kills = Kills::default();
    let mut again = child::this_program()?;
    let mut chance = Random::new(crate::soak::new_seed());
    for round in 1..=settings.kills {
        let ledger = &mut kills.ledger;
        let (before, described) = (ledger.counts.acknowledged, ledger.examples.len());
        let first_client = (round - 1) * settings.clients;
        ledger.admit(first_client..first_client + settings.clients);
        let job = Job::Quickstart { settings: *settings, first_client };
        let after = FURTHER.mul_f64(chance.below(1000) as f64 / 1000.0);
        let end = child::live_and_die(&mut again, &job, directory, after, |told| {
            ledger.note(told);
            ledger.counts.acknowledged - before >= ENOUGH
        })?;
        kills.kills += u64::from(end.is_a_kill());

        let report = look(settings, directory, ledger)?;
        let tail = report.and_then(|report| report.torn_tail);
        let tail = if tail.is_some() { ", and cut a torn tail" } else { "" };
        voice.say(format_args!(
            "  round {round}: {} acknowledged, {}; recovered {} of {} so far{tail}",
            ledger.counts.acknowledged - before,
            end.describe(),
            ledger.recovered,
            ledger.counts.acknowledged,
        ))?;
        for what in &ledger.examples[described..] {
            voice.say(format_args!("    {what}"))?;
        }
    }
    Ok(kills)
}

/// Recovers the log and compares all of it with what the clients were told.
fn look(
    settings: &Settings,
    directory: &Path,
    ledger: &mut Ledger,
) -> Result<Option<RecoveryReport>, DemoError> {
    let verifier = Verifier::default();
    let opened = actix::System::new().block_on(async {
        let wal = Wal::open(settings.config(directory)).replay_with(None, verifier.eye()).await?;
        let report = wal.recovery_report().clone();
        wal.close().await?;
        Ok::<_, DemoError>(report)
    });
    match opened {
        Ok(report) => {
            ledger.compare(verifier.take(), report.low_water);
            Ok(Some(report))
        }
        // The log says that records which it acknowledged are not there: that is the answer.
        Err(DemoError::Open(error @ OpenError::Damaged(_))) => {
            ledger.compare(verifier.take(), Lsn::NONE);
            ledger.note(Told::Broken(error.to_string()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
