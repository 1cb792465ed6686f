//! `walctl verify`: everything that is wrong with a log.

use std::path::PathBuf;

use actix_wal::Lsn;
use actix_wal::inspect::{Findings, LogItem, Problem, Progress, Severity};
use actix_wal_txn::record::TxnRecord;
use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::{Place, no_log};
use crate::progress::Bar;
use crate::snapshots::{Snapshot, Snapshots};
use crate::words;

/// Reads every live byte of a log and lists all that is wrong, with segment, offset, LSN and what to do.
///
/// It changes nothing, takes no lock and works beside a running log: then it says which figures may be of a moment ago. A
/// copy that was made while the log ran is checked like any other.
///
/// With --deep it also reads what no open does: segments that a checkpoint has released and that are still there. And
/// where snapshots lie beside the log, it decodes each record as one of a transaction.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl verify /var/lib/app/wal\n  walctl verify /backups/wal-monday --json\n  walctl verify /var/lib/app --deep\n\nExit status: 0 clean, 1 someone should look, 2 damage."
)]
pub(crate) struct Arguments {
    /// The directory of the log, or of a copy.
    dir: PathBuf,
    /// Reads released segments too, and decodes the records of transactions.
    #[arg(long)]
    deep: bool,
}

/// The JSON of `verify`.
#[derive(Serialize)]
struct Verified<'a> {
    directory: String,
    /// "clean", "attention" or "damaged".
    verdict: &'static str,
    had_owner: bool,
    opens: bool,
    refusal: Option<&'a str>,
    records: Option<u64>,
    last_lsn: Option<u64>,
    released_lsn: Option<u64>,
    bytes_read: u64,
    released_segments: Option<u64>,
    foreign_records: Option<u64>,
    problems: Vec<Line<'a>>,
    snapshots: &'a [Snapshot],
    snapshots_refusal: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    /// "note", "attention" or "damage".
    severity: &'static str,
    kind: &'static str,
    segment: Option<u64>,
    file: &'a str,
    offset: u64,
    lsn: Option<u64>,
    lost_first_lsn: Option<u64>,
    lost_last_lsn: Option<u64>,
    meaning: String,
    next_step: &'a str,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let place = Place::find(&arguments.dir)?;
    let findings = check(&place, arguments.deep)?;
    if findings.problems.iter().any(|problem| problem.kind == "no-log") {
        return Err(no_log(&arguments.dir));
    }
    let snapshots = match &place.snapshots {
        Some(folder) => {
            Some(Snapshots::check(folder, &place.files.overview().map_err(Failure::refused)?)?)
        }
        None => None,
    };
    let has_transactions = arguments.deep && place.snapshots.is_some();
    let foreign = if has_transactions { Some(Foreign::find(&place)?) } else { None };
    let exit = exit(&findings, snapshots.as_ref(), foreign.as_ref());
    let verified = Verified {
        foreign_records: foreign.as_ref().map(|it| it.count),
        ..Verified::of(&place, &findings, snapshots.as_ref(), exit)
    };
    output.json("verify", &verified)?;
    print(&place, &findings, output)?;
    if let Some(foreign) = &foreign {
        foreign.print(output)?;
    }
    if let Some(snapshots) = &snapshots {
        print_snapshots(snapshots, output)?;
    }
    Ok(exit)
}

fn check(place: &Place, is_deep: bool) -> Result<Findings, Failure> {
    let bar = Bar::bytes("checking");
    let mut progress = |at: Progress| bar.at(at.done, at.total);
    let checked = match is_deep {
        true => place.files.check_deep(&mut progress),
        false => place.files.check(&mut progress),
    };
    bar.end();
    checked.map_err(Failure::refused)
}

/// Records that are none of a transaction, in a log of transactions.
#[derive(Default)]
struct Foreign {
    count: u64,
    first: Option<(Lsn, String)>,
}

impl Foreign {
    fn find(place: &Place) -> Result<Self, Failure> {
        let mut foreign = Foreign::default();
        let mut frames = place.files.frames(Lsn::NONE).map_err(Failure::refused)?;
        while let Some(item) = frames.next().map_err(Failure::refused)? {
            // What can not be read has been told.
            let LogItem::Frame(frame) = item else { continue };
            for (lsn, payload) in frame.records() {
                if let Err(fault) = TxnRecord::decode(lsn, payload) {
                    foreign.count += 1;
                    foreign.first.get_or_insert_with(|| (lsn, fault.to_string()));
                }
            }
        }
        Ok(foreign)
    }

    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let Some((lsn, fault)) = &self.first else {
            return Ok(output.say("every record decodes as one of a transaction")?);
        };
        let (word, count) = (output.word(Severity::Attention), self.count);
        output.say(format_args!(
            "{word}: {count} records are none of a transaction, the first at LSN {lsn}: {fault}"
        ))?;
        Ok(output.say("    next: use a walctl of the version that wrote them; if there is none, ask who else writes this log")?)
    }
}

fn exit(findings: &Findings, snapshots: Option<&Snapshots>, foreign: Option<&Foreign>) -> Exit {
    let is_bad = |snapshot: &Snapshot| snapshot.problem.is_some();
    match (findings.worst(), snapshots) {
        (Some(Severity::Damage), _) => Exit::Damage,
        (_, Some(snapshots)) if snapshots.refusal.is_some() => Exit::Damage,
        (Some(Severity::Attention), _) => Exit::Attention,
        (_, Some(snapshots)) if snapshots.files.iter().any(is_bad) => Exit::Attention,
        _ if foreign.is_some_and(|foreign| foreign.count > 0) => Exit::Attention,
        _ => Exit::Fine,
    }
}

fn print_snapshots(snapshots: &Snapshots, output: &mut Output) -> Result<(), Failure> {
    for Snapshot { file, rows, bytes, problem, .. } in &snapshots.files {
        match problem {
            Some(problem) => {
                output.say(format_args!("{}: {problem}", output.word(Severity::Attention)))?;
                output.say(
                    "    next: nothing, if an older one is good: the log since that one is kept",
                )?;
            }
            None => {
                let (rows, bytes) = (rows.unwrap_or(0), words::bytes(bytes.unwrap_or(0)));
                output.say(format_args!("{file}: good, {rows} rows, {bytes}"))?;
            }
        }
    }
    if let Some(refusal) = &snapshots.refusal {
        output.say(format_args!("{}: {refusal}", output.word(Severity::Damage)))?;
        output.say("    next: restore log and snapshots from one backup")?;
    }
    Ok(())
}

impl<'a> Verified<'a> {
    fn of(
        place: &Place,
        findings: &'a Findings,
        snapshots: Option<&'a Snapshots>,
        exit: Exit,
    ) -> Self {
        let report = findings.report.as_ref();
        Verified {
            directory: place.log.display().to_string(),
            verdict: match exit {
                Exit::Fine => "clean",
                Exit::Attention => "attention",
                _ => "damaged",
            },
            had_owner: findings.had_owner,
            opens: findings.refusal.is_none(),
            refusal: findings.refusal.as_deref(),
            records: report.map(|_| findings.records),
            last_lsn: report.map(|report| report.last_lsn.get()),
            released_lsn: report.map(|report| report.low_water.get()),
            bytes_read: findings.bytes,
            released_segments: findings.released_segments,
            foreign_records: None,
            problems: findings.problems.iter().map(Line::of).collect(),
            snapshots: snapshots.map_or(&[], |it| &it.files),
            snapshots_refusal: snapshots.and_then(|it| it.refusal.as_deref()),
        }
    }
}

impl<'a> Line<'a> {
    fn of(problem: &'a Problem) -> Self {
        Line {
            severity: severity(problem.severity),
            kind: problem.kind,
            segment: problem.segment,
            file: &problem.file,
            offset: problem.offset,
            lsn: (!problem.lsn.is_none()).then(|| problem.lsn.get()),
            lost_first_lsn: problem.lost.map(|lost| lost.first.get()),
            lost_last_lsn: problem.lost.map(|lost| lost.last.get()),
            meaning: problem.to_string(),
            next_step: problem.remedy(),
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Attention => "attention",
        _ => "note",
    }
}

fn print(place: &Place, findings: &Findings, output: &mut Output) -> Result<(), Failure> {
    for problem in &findings.problems {
        output.say(format_args!("{}: {problem}", output.word(problem.severity)))?;
        if !problem.remedy().is_empty() {
            output.say(format_args!("    next: {}", problem.remedy()))?;
        }
    }
    let (dir, read) = (place.log.display(), words::bytes(findings.bytes));
    if findings.had_owner {
        output.say("the log is open: what was written during the check may be counted or not")?;
    }
    if let Some(count) = findings.released_segments {
        output.say(format_args!("{count} released segments were read as well"))?;
    }
    match &findings.report {
        Some(report) => {
            let (records, last) = (findings.records, report.last_lsn);
            let how = match (findings.worst(), report.clean) {
                (Some(Severity::Attention), _) => "opens, and someone should look",
                (_, true) => "clean: its last owner closed it",
                (_, false) => "clean",
            };
            output.say(format_args!(
                "{dir}: {how}; {records} live records up to LSN {last}, {read} read"
            ))?;
        }
        None => {
            let count =
                findings.problems.iter().filter(|it| it.severity == Severity::Damage).count();
            let places = if count == 1 { "place" } else { "places" };
            output.say(format_args!(
                "{dir}: damaged in {count} {places}; it does not open as it is"
            ))?;
            output.say(
                "first copy the directory; then follow `next`, or see what a cut would cost: walctl repair DIR --dry-run",
            )?;
        }
    }
    Ok(())
}
