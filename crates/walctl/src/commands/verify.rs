//! `walctl verify`: everything that is wrong with a log.

use std::path::PathBuf;

use actix_wal::inspect::{Findings, Problem, Severity};
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
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl verify /var/lib/app/wal\n  walctl verify /backups/wal-monday --json\n\nExit status: 0 clean, 1 an unfinished write ends the log, 2 damage."
)]
pub(crate) struct Arguments {
    /// The directory of the log, or of a copy.
    dir: PathBuf,
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
    let bar = Bar::bytes("checking");
    let checked = place.files.check(&mut |at| bar.at(at.done, at.total));
    bar.end();
    let findings = checked.map_err(Failure::refused)?;
    if findings.problems.iter().any(|problem| problem.kind == "no-log") {
        return Err(no_log(&arguments.dir));
    }
    let snapshots = match &place.snapshots {
        Some(folder) => {
            Some(Snapshots::check(folder, &place.files.overview().map_err(Failure::refused)?)?)
        }
        None => None,
    };
    let exit = exit(&findings, snapshots.as_ref());
    output.json("verify", &Verified::of(&place, &findings, snapshots.as_ref(), exit))?;
    print(&place, &findings, output)?;
    if let Some(snapshots) = &snapshots {
        print_snapshots(snapshots, output)?;
    }
    Ok(exit)
}

fn exit(findings: &Findings, snapshots: Option<&Snapshots>) -> Exit {
    let is_bad = |snapshot: &Snapshot| snapshot.problem.is_some();
    match (findings.worst(), snapshots) {
        (Some(Severity::Damage), _) => Exit::Damage,
        (_, Some(snapshots)) if snapshots.refusal.is_some() => Exit::Damage,
        (Some(Severity::Attention), _) => Exit::Attention,
        (_, Some(snapshots)) if snapshots.files.iter().any(is_bad) => Exit::Attention,
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
            output
                .say(format_args!("{dir}: damaged in {count} places; it does not open as it is"))?;
            output.say(
                "first copy the directory; then follow `next`, or see what a cut would cost: walctl repair DIR --dry-run",
            )?;
        }
    }
    Ok(())
}
