//! `SIGKILL` at random moments of a log's life, again and again, with one ledger over all of its lives.

use std::path::Path;
use std::time::Duration;

use crate::child::Job;
use crate::environment::{number, seed};
use crate::lives::{Ledger, Life, PATIENCE};
use actix_wal::testkit::Random;

/// How many kills the environment asks for.
pub fn wanted(by_default: u32) -> u32 {
    number("WAL_KILLS").unwrap_or(by_default)
}

/// What so many kills came to.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    /// While clients were committing.
    under_load: u32,
    /// Between the first step of an open and its last.
    while_opening: u32,
    torn_tails: u32,
}

/// Kills the log in `directory` at least `kills` times. Every life opens what the last one left behind.
pub fn kill_again_and_again(directory: &Path, kills: u32) {
    println!("WAL_KILLS={kills}");
    // The plan; the moments are the machine's.
    let mut random = Random::new(seed("WAL_KILL_SEED"));
    let (mut ledger, mut tally) = (Ledger::default(), Tally::default());
    let mut opening = Duration::from_millis(5);
    while tally.kills < kills {
        // The first lives fill the log; later ones are killed in the middle of an open too.
        match if tally.kills < 2 { 2 } else { random.below(4) } {
            0 => kill_while_opening(directory, &mut ledger, &mut tally, part(&mut random, opening)),
            1 => {
                opening = kill_under_load(directory, &mut ledger, &mut tally, &mut random);
                let at = part(&mut random, opening);
                kill_while_opening(directory, &mut ledger, &mut tally, at);
            }
            _ => opening = kill_under_load(directory, &mut ledger, &mut tally, &mut random),
        }
        let recovered = ledger.verify(directory, &Job::endless(directory).config());
        tally.torn_tails += u32::from(recovered.report.torn_tail.is_some());
    }
    println!("{tally:?}, {} acknowledged", ledger.acknowledged);
    assert!(tally.under_load >= 2, "{tally:?}");
    assert!(kills < 50 || tally.while_opening >= kills / 20, "{tally:?}");
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let digits = |name: &str| name.trim_end_matches(".wal").parse::<u64>().ok();
    let newest = names.filter_map(|name| digits(name.to_str()?)).max().unwrap();
    let files = std::fs::read_dir(directory).unwrap().count() as u64;
    let few = ledger.acknowledged < 2000;
    assert!(few || newest > files + u64::from(kills), "segments were neither filled nor released");
}

fn part(random: &mut Random, of: Duration) -> Duration {
    of.mul_f64(random.below(1200) as f64 / 1000.0)
}

/// Lets clients commit for a while. Returns how long the log took to open.
fn kill_under_load(
    directory: &Path,
    ledger: &mut Ledger,
    tally: &mut Tally,
    random: &mut Random,
) -> Duration {
    let job = ledger.begin(Job::endless(directory));
    let life = Life::start(&job);
    life.acknowledges(20, ledger);
    life.listen(ledger, Duration::from_micros(random.below(200_000)), |_| false);
    life.kill(ledger);
    assert!(ledger.errors.is_empty(), "{:?}", ledger.errors);
    tally.kills += 1;
    tally.under_load += 1;
    ledger.opened.expect("it was open")
}

/// Kills so soon after the open has begun.
fn kill_while_opening(directory: &Path, ledger: &mut Ledger, tally: &mut Tally, at: Duration) {
    let job = ledger.begin(Job::endless(directory));
    let life = Life::start(&job);
    life.listen(ledger, PATIENCE, |ledger| ledger.opening.is_some());
    assert!(ledger.opening.is_some(), "it does not come so far");
    life.listen(ledger, at, |_| false);
    life.kill(ledger);
    assert!(ledger.errors.is_empty(), "{:?}", ledger.errors);
    tally.kills += 1;
    tally.while_opening += u32::from(ledger.opened.is_none());
}
