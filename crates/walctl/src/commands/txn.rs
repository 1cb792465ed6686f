//! `walctl txn`: transactions over several logs that wait for their coordinator, and what operators have decided of them.

use std::path::PathBuf;

use actix_wal::{Existence, Wal, WalConfig};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::two_phase::participant::{Branches, HeuristicBranch, PreparedBranch};
use actix_wal_txn::two_phase::{GlobalId, Outcome};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::branches::branches;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::Place;
use crate::records::keys;
use crate::words;

/// Lists transactions that are prepared here and not decided, with their age and keys, and decisions by hand.
///
/// With --resolve it decides one by hand, for the case that its coordinator is gone for good. That can break a transaction
/// apart: other participants may have done, or will do, the opposite. The consequence is printed first, and nothing is done
/// without --yes. The program that owns the log must have ended.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("what").args(["resolve", "clear"])),
    after_help = "Examples:\n  walctl txn /var/lib/app\n  walctl txn /var/lib/app --resolve ID --outcome abort\n  walctl txn /var/lib/app --resolve ID --outcome abort --yes\n\nExit status of the list: 0 nothing waits, 1 something does."
)]
pub(crate) struct Arguments {
    /// The directory of the log of a participant, or that above it.
    dir: PathBuf,
    /// Decides the transaction with this id.
    #[arg(long, value_name = "ID", requires = "outcome")]
    resolve: Option<String>,
    /// What is decided.
    #[arg(long, value_enum, requires = "resolve")]
    outcome: Option<Decision>,
    /// Takes a difference between a decision by hand and that of the coordinator off the list.
    #[arg(long, value_name = "ID")]
    clear: Option<String>,
    /// Does it.
    #[arg(long, requires = "what")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decision {
    Commit,
    Abort,
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Commit => Outcome::Committed,
            Decision::Abort => Outcome::Aborted,
        }
    }
}

/// The JSON of `txn`.
#[derive(Serialize)]
struct Transactions {
    directory: String,
    in_doubt: Vec<InDoubt>,
    by_hand: Vec<ByHand>,
    /// What `--resolve` or `--clear` does, or did with `--yes`.
    action: Option<String>,
    done: bool,
}

#[derive(Serialize)]
struct InDoubt {
    id: String,
    coordinator: String,
    prepared_us: u64,
    keys: Vec<String>,
}

#[derive(Serialize)]
struct ByHand {
    id: String,
    coordinator: String,
    outcome: String,
    /// What the coordinator has decided, once it has said so.
    decided: Option<String>,
    differs: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let (place, _) = Place::with_log(&arguments.dir)?;
    let branches = branches(&place)?;
    let planned = plan(arguments, &branches)?;
    let mut report = Transactions::of(&place, &branches);
    print(&report, output)?;
    let Some((record, consequence)) = planned else {
        let is_quiet = report.in_doubt.is_empty() && report.by_hand.is_empty();
        output.json("txn", &report)?;
        return Ok(if is_quiet { Exit::Fine } else { Exit::Attention });
    };
    output.say(format_args!("\n{consequence}"))?;
    report.action = Some(consequence);
    if arguments.yes {
        output.flush()?;
        append(&place, &record)?;
        output.say("done, and durable: start the program that owns the log")?;
        report.done = true;
    } else {
        output.say("nothing was changed; to do it: the same with --yes")?;
    }
    output.json("txn", &report)?;
    Ok(if arguments.yes { Exit::Fine } else { Exit::Attention })
}

/// The record that `--resolve` or `--clear` appends, and what that means.
fn plan(
    arguments: &Arguments,
    branches: &Branches,
) -> Result<Option<(TxnRecord, String)>, Failure> {
    if let (Some(id), Some(decision)) = (&arguments.resolve, arguments.outcome) {
        let found = branches.in_doubt().find(|it| it.branch.id.to_string() == *id);
        let prepared = found.ok_or_else(|| {
            Failure::refused(format_args!(
                "transaction {id} is not in doubt here: it is decided, or was never prepared; walctl txn lists those that are"
            ))
        })?;
        let (id, outcome) = (prepared.branch.id, Outcome::from(decision));
        let record = TxnRecord::Heuristic { id, outcome };
        return Ok(Some((record, consequence(prepared, decision))));
    }
    let Some(id) = &arguments.clear else { return Ok(None) };
    let found = branches.heuristics().find(|it| it.branch.id.to_string() == *id && it.differs());
    let heuristic = found.ok_or_else(|| {
        Failure::refused(format_args!(
            "transaction {id} has no difference between a decision by hand and its coordinator's"
        ))
    })?;
    let id: GlobalId = heuristic.branch.id;
    let what = format!(
        "transaction {id} stays broken apart: {} here, {} elsewhere; it is listed no longer",
        heuristic.outcome,
        heuristic.decided.map_or_else(String::new, |decided| decided.to_string())
    );
    Ok(Some((TxnRecord::Cleared { id }, what)))
}

fn consequence(prepared: &PreparedBranch, decision: Decision) -> String {
    let (id, coordinator) = (prepared.branch.id, &prepared.branch.coordinator);
    let count = prepared.writes.len();
    let (does, opposite) = match decision {
        Decision::Commit => (format!("its {count} keys get their new values here"), "aborted"),
        Decision::Abort => (format!("its {count} keys keep their old values here"), "committed"),
    };
    format!(
        "to decide {id} by hand: {does}, and its locks are freed.\nif {coordinator} has {opposite} it, or will, the \
         transaction is broken apart and nobody can put it together again: look at the log of {coordinator} first \
         (walctl dump DIR --decode txn), and at the other participants"
    )
}

fn append(place: &Place, record: &TxnRecord) -> Result<(), Failure> {
    let overview = place.files.overview().map_err(Failure::refused)?;
    let mut config = WalConfig::new(&place.log);
    config.existence = Existence::MustExist;
    if let Some((block_size, segment_size)) = overview.sizes() {
        (config.block_size, config.segment_size) = (block_size, segment_size);
    }
    let bytes = record.encode().map_err(Failure::refused)?;
    let wal = Wal::open(config).blocking().map_err(Failure::refused)?;
    let committed = wal.commit_blocking(bytes).map_err(Failure::refused);
    let closed = wal.close_blocking().map_err(Failure::refused);
    committed.and(closed)
}

impl Transactions {
    fn of(place: &Place, branches: &Branches) -> Self {
        Transactions {
            directory: place.log.display().to_string(),
            in_doubt: branches.in_doubt().map(InDoubt::of).collect(),
            by_hand: branches.heuristics().map(ByHand::of).collect(),
            action: None,
            done: false,
        }
    }
}

impl InDoubt {
    fn of(prepared: &PreparedBranch) -> Self {
        InDoubt {
            id: prepared.branch.id.to_string(),
            coordinator: prepared.branch.coordinator.to_string(),
            prepared_us: prepared.at.saturating_mul(1000),
            keys: keys(&prepared.writes),
        }
    }
}

impl ByHand {
    fn of(heuristic: &HeuristicBranch) -> Self {
        ByHand {
            id: heuristic.branch.id.to_string(),
            coordinator: heuristic.branch.coordinator.to_string(),
            outcome: heuristic.outcome.to_string(),
            decided: heuristic.decided.map(|decided| decided.to_string()),
            differs: heuristic.differs(),
        }
    }
}

fn print(report: &Transactions, output: &mut Output) -> Result<(), Failure> {
    if report.in_doubt.is_empty() {
        output.say("no transaction is in doubt")?;
    }
    for InDoubt { id, coordinator, prepared_us, keys } in &report.in_doubt {
        let (age, keys) = (words::age(*prepared_us), keys.join(" "));
        output.say(format_args!(
            "in doubt: {id}, prepared {age}; coordinator {coordinator}; keys: {keys}"
        ))?;
    }
    for ByHand { id, coordinator, outcome, decided, differs } in &report.by_hand {
        let said = match (decided, differs) {
            (Some(decided), true) => {
                format!("{coordinator} has {decided} it: THE TRANSACTION IS BROKEN APART")
            }
            (Some(decided), false) => format!("{coordinator} has {decided} it, too"),
            (None, _) => format!("{coordinator} has not said what it decided"),
        };
        output.say(format_args!("by hand: {id}, {outcome} here; {said}"))?;
    }
    Ok(())
}
