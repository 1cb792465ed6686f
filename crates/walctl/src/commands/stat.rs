//! `walctl stat`: what is in a directory, and what keeps it there.

use std::path::{Path, PathBuf};

use actix_wal::inspect::{OtherFile, Outline, Overview, SegmentOverview, SegmentState};
use actix_wal::storage::{Medium, filesystem_name};
use clap::Args;
use serde::Serialize;

use super::owner;
use crate::exit::Exit;
use crate::held::{self, Holder};
use crate::output::{Failure, Output};
use crate::place::Place;
use crate::words;

/// Shows the segments, LSNs and epochs of a log, and what keeps its segments.
///
/// Without --frames and --held it reads headers only, so it takes milliseconds and works beside a running log. It does not tell whether the records
/// are sound: `walctl verify` does.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl stat /var/lib/app/wal\n  walctl stat /var/lib/app/wal --frames\n  walctl stat /var/lib/app --held\n  walctl stat /var/lib/app/wal --json | jq .live_bytes"
)]
pub(crate) struct Arguments {
    /// The directory of the log.
    dir: PathBuf,
    /// Counts frames, records and padding of every segment too. Takes a second for some gigabytes.
    #[arg(long)]
    frames: bool,
    /// Reads the records too, and names the transactions over several logs that are in doubt and keep segments.
    #[arg(long)]
    held: bool,
}

/// The JSON of `stat`.
#[derive(Serialize)]
struct Stat {
    directory: String,
    file_system: String,
    owner: Option<String>,
    log_id: Option<String>,
    epoch: u64,
    last_lsn: u64,
    next_lsn: u64,
    released_lsn: u64,
    promised_lsn: u64,
    closed_cleanly: bool,
    file_bytes: u64,
    live_bytes: u64,
    free_bytes: Option<u64>,
    segments: Vec<Segment>,
    other_files: Vec<Other>,
    held_by: Vec<Holder>,
}

#[derive(Serialize)]
struct Segment {
    sequence: u64,
    file: String,
    file_bytes: u64,
    /// "live", "released", "prepared", "torn-start", "newer-version" or "unreadable".
    state: &'static str,
    epoch: Option<u64>,
    first_lsn: Option<u64>,
    last_lsn: Option<u64>,
    begun_us: Option<u64>,
    frames: Option<u64>,
    records: Option<u64>,
    record_bytes: Option<u64>,
    padding_bytes: Option<u64>,
    used_bytes: Option<u64>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Other {
    file: String,
    /// "unfinished", "set-aside", "alike" or "foreign".
    state: &'static str,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let (place, overview) = Place::with_log(&arguments.dir)?;
    let stat = look(arguments, &place, &overview)?;
    output.json("stat", &stat)?;
    print(&stat, arguments.frames, output)?;
    let is_odd = stat.segments.iter().any(|segment| segment.problem.is_some());
    Ok(if is_odd { Exit::Attention } else { Exit::Fine })
}

fn look(arguments: &Arguments, place: &Place, overview: &Overview) -> Result<Stat, Failure> {
    let mut segments = Vec::new();
    for segment in &overview.segments {
        let outline = match segment.started() {
            Some(started) if started.outline.is_none() && arguments.frames => {
                overview.outline(&place.files, segment).map_err(Failure::refused)?
            }
            Some(started) => started.outline,
            None => None,
        };
        segments.push(Segment::of(overview, segment, outline));
    }
    let live = |segment: &&Segment| segment.state == "live";
    let mut held_by = held::by_headers(place, overview)?;
    if arguments.held {
        held_by.extend(held::by_transactions(place)?);
    }
    Ok(Stat {
        directory: place.log.display().to_string(),
        file_system: file_system(&place.log, overview),
        owner: place.files.owner().map(owner),
        log_id: overview.log_id.map(|id| id.to_string()),
        epoch: overview.epoch.get(),
        last_lsn: overview.last_lsn.get(),
        next_lsn: overview.next_lsn.get(),
        released_lsn: overview.low_water.get(),
        promised_lsn: overview.promised.get(),
        closed_cleanly: overview.is_closed,
        file_bytes: overview.segments.iter().map(|segment| segment.file_bytes).sum(),
        live_bytes: segments.iter().filter(live).map(|segment| segment.file_bytes).sum(),
        free_bytes: overview.free_bytes,
        held_by,
        other_files: overview.others.iter().map(Other::of).collect(),
        segments,
    })
}

fn file_system(log: &Path, overview: &Overview) -> String {
    let name = filesystem_name(log).unwrap_or_else(|_| "unknown".to_owned());
    match overview.medium {
        Medium::Memory => format!("{name}, which is memory: nothing survives a power loss"),
        _ => name,
    }
}

impl Segment {
    fn of(overview: &Overview, segment: &SegmentOverview, outline: Option<Outline>) -> Self {
        let started = segment.started();
        let lsns = started.and_then(|started| started.lsns());
        let (state, problem) = match &segment.state {
            SegmentState::Unreadable(damage) => ("unreadable", Some(damage.to_string())),
            SegmentState::Newer { reason } => ("newer-version", Some(reason.clone())),
            SegmentState::Prepared => ("prepared", None),
            SegmentState::Started(started) if overview.is_released(started) => ("released", None),
            SegmentState::Started(_) => ("live", None),
            _ => ("torn-start", None),
        };
        Segment {
            sequence: segment.sequence,
            file: segment.name.clone(),
            file_bytes: segment.file_bytes,
            state,
            epoch: started.map(|started| started.epoch.get()),
            first_lsn: lsns.map(|lsns| lsns.first.get()),
            last_lsn: lsns.map(|lsns| lsns.last.get()),
            begun_us: started.map(|started| started.begun_us),
            frames: outline.map(|outline| outline.frames),
            records: outline.map(|outline| outline.records),
            record_bytes: outline.map(|outline| outline.record_bytes),
            padding_bytes: outline.map(|outline| outline.padding),
            used_bytes: outline.map(|outline| outline.end),
            problem,
        }
    }

    fn row(&self) -> [String; 7] {
        let number = |it: Option<u64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let size = |it: Option<u64>| it.map_or_else(|| "-".to_owned(), words::bytes);
        let lsns = match (self.first_lsn, self.last_lsn) {
            (Some(first), Some(last)) => format!("{first}-{last}"),
            _ => "-".to_owned(),
        };
        let begun = self.begun_us.map_or_else(|| "-".to_owned(), words::age);
        [
            self.sequence.to_string(),
            self.state.to_owned(),
            number(self.epoch),
            lsns,
            words::bytes(self.file_bytes),
            size(self.used_bytes),
            begun,
        ]
    }

    fn frames_row(&self) -> [String; 5] {
        let number = |it: Option<u64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let size = |it: Option<u64>| it.map_or_else(|| "-".to_owned(), words::bytes);
        [
            self.sequence.to_string(),
            number(self.frames),
            number(self.records),
            size(self.record_bytes),
            size(self.padding_bytes),
        ]
    }
}

impl Other {
    fn of(other: &OtherFile) -> Self {
        let (file, state) = match other {
            OtherFile::Unfinished { name, .. } => (name, "unfinished"),
            OtherFile::SetAside { name, .. } => (name, "set-aside"),
            OtherFile::Alike { name } => (name, "alike"),
            OtherFile::Foreign { name } => (name, "foreign"),
            _ => return Other { file: String::new(), state: "foreign" },
        };
        Other { file: file.clone(), state }
    }
}

fn print(stat: &Stat, frames: bool, output: &mut Output) -> Result<(), Failure> {
    let (epoch, last, next) = (stat.epoch, stat.last_lsn, stat.next_lsn);
    let id = stat.log_id.as_deref().unwrap_or("unknown");
    output.say(format_args!("log {id} in {} ({})", stat.directory, stat.file_system))?;
    match &stat.owner {
        Some(owner) => output.say(format_args!(
            "open in {owner}: what it wrote last may be missing here, and may not be durable yet"
        ))?,
        None => output.say(if stat.closed_cleanly {
            "not open; its last owner closed it"
        } else {
            "not open; its last owner did not close it, so the next open repairs its end"
        })?,
    }
    output.say(format_args!("epoch {epoch}, last LSN {last}, next LSN {next} or later"))?;
    let (live, all) = (words::bytes(stat.live_bytes), words::bytes(stat.file_bytes));
    let free = stat.free_bytes.map_or_else(|| "unknown".to_owned(), words::bytes);
    output.say(format_args!("{live} live of {all} in segments; free on the disk: {free}"))?;
    for holder in &stat.held_by {
        output.say(holder.line())?;
    }
    output.say("")?;
    let rows: Vec<_> = stat.segments.iter().map(Segment::row).collect();
    let heads = ["segment", "state", "epoch", "LSNs", "file", "used", "begun"];
    words::table(heads, &rows).iter().try_for_each(|line| output.say(line))?;
    if frames {
        output.say("")?;
        let rows: Vec<_> = stat.segments.iter().map(Segment::frames_row).collect();
        let heads = ["segment", "frames", "records", "record bytes", "padding"];
        words::table(heads, &rows).iter().try_for_each(|line| output.say(line))?;
    }
    for other in stat.other_files.iter().filter(|other| other.state != "unfinished") {
        output.say(format_args!("{}: {}", other.file, describe(other.state)))?;
    }
    for segment in &stat.segments {
        if let Some(problem) = &segment.problem {
            output.say(format_args!("{}: {problem}; see walctl verify", segment.file))?;
        }
    }
    Ok(())
}

fn describe(state: &str) -> &'static str {
    match state {
        "set-aside" => "set aside by a salvage: evidence, which the log never reads",
        "alike" => "named like a segment, and is none",
        _ => "no file of a log",
    }
}
