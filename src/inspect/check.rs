//! Everything that is wrong with a log.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::LogFiles;
use super::frames::damage;
use super::overview::{self, OtherFile, Overview, SegmentOverview, SegmentState, Started};
use super::walk::{SegmentWalk, Step, WalkEnd};
use crate::config::{Existence, WalConfig};
use crate::engine::recovery::{Progress, RecoveryReport, rehearse};
use crate::engine::state::shared::Shared;
use crate::error::{Damage, DamageKind, IoFault, Loss, OpenError};
use crate::format::scan::{TornTail, Until};
use crate::format::segment::{scratch_name, segment_name};
use crate::lsn::{Lsn, LsnRange};
use crate::record::RecordBatch;
use crate::runtime::clock::SystemClock;

/// Beside an owner a check is done again so often at most: what is written meanwhile can look damaged.
const ATTEMPTS: usize = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// What a check has found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// All that is wrong, in the order of the segments.
    pub problems: Vec<Problem>,
    /// What an open would report now, but for the epoch that it would begin; `None` if it would fail.
    pub report: Option<RecoveryReport>,
    /// Why an open would fail now; `None` if it would not.
    pub refusal: Option<String>,
    /// Live records that no checkpoint has released, where an open would not fail.
    pub records: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Whether somebody had the log open: then its last frame may have been under way.
    pub had_owner: bool,
}

/// Something that is wrong with a log, or that is worth to be known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// One word for programs: "missing-segment", "frame", "torn-tail" and so on.
    pub kind: &'static str,
    /// The sequence number of the segment, if it is about one.
    pub segment: Option<u64>,
    /// The name of the file; empty if it is about the directory.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The first LSN that can not be read; [`Lsn::NONE`] if none is missing, or that can not be told.
    pub lsn: Lsn,
    /// Exactly the LSNs that are missing, where what comes behind tells.
    pub lost: Option<LsnRange>,
    what: String,
    remedy: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong: it is good to know.
    Note,
    /// No record that was acknowledged is known to be missing, and somebody should look.
    Attention,
    /// Records are missing, or the log does not open.
    Damage,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.lost {
            Some(lost) if lost.first == lost.last => write!(f, "; LSN {} is lost", lost.first),
            Some(lost) => write!(f, "; LSNs {} to {} are lost", lost.first, lost.last),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    pub(super) fn new(error: OpenError) -> Self {
        let (kind, segment, file) = match &error {
            OpenError::Damaged(damage) => return Problem::damaged(damage, None),
            OpenError::SignsOfLog { name, segment, .. } => ("sign", Some(*segment), name.clone()),
            OpenError::NoLog { .. } => ("no-log", None, String::new()),
            OpenError::NewerVersion { file, .. } => ("newer-version", None, file.clone()),
            OpenError::Io(fault) => ("unreadable", None, fault.file.clone()),
            _ => ("refused", None, String::new()),
        };
        let remedy = match kind {
            "unreadable" => {
                "look at the device and the kernel's log; copy what can be read to another disk before anything else"
            }
            "newer-version" => "use a walctl and an actix-wal of that version",
            _ => "",
        };
        Problem {
            severity: Severity::Damage,
            kind,
            segment,
            file,
            offset: 0,
            lsn: Lsn::NONE,
            lost: None,
            what: error.to_string(),
            remedy: remedy.to_owned(),
        }
    }

    fn damaged(damage: &Damage, lost: Option<LsnRange>) -> Self {
        Problem {
            severity: Severity::Damage,
            kind: damage.kind.name(),
            segment: Some(damage.segment),
            file: damage.file(),
            offset: damage.offset,
            lsn: damage.lsn,
            lost,
            what: damage.to_string(),
            remedy: damage.remedy(),
        }
    }

    fn torn(segment: u64, offset: u64, lsn: Lsn, torn: &TornTail, had_owner: bool) -> Self {
        let (severity, remedy) = match (had_owner, torn.possibly_acknowledged) {
            (true, _) => (Severity::Note, "nothing: the owner may be writing it"),
            (false, false) => (Severity::Note, "nothing: the next open cuts it"),
            (false, true) => (
                Severity::Attention,
                "nothing after a crash: the next open cuts it, and keeps it as evidence until the one after; \
                 without a crash, look at the device",
            ),
        };
        let (bytes, reason) = (torn.bytes, torn.reason);
        Problem {
            severity,
            kind: "torn-tail",
            segment: Some(segment),
            file: segment_name(segment),
            offset,
            lsn,
            lost: None,
            what: format!(
                "{}, offset {offset}: an unfinished write of {bytes} bytes ends the log ({reason})",
                segment_name(segment)
            ),
            remedy: remedy.to_owned(),
        }
    }

    fn note(kind: &'static str, file: &str, what: String, remedy: &str) -> Self {
        Problem {
            severity: Severity::Note,
            kind,
            segment: None,
            file: file.to_owned(),
            offset: 0,
            lsn: Lsn::NONE,
            lost: None,
            what,
            remedy: remedy.to_owned(),
        }
    }

    /// Whether it is about the same place.
    fn is_at(&self, other: &Problem) -> bool {
        (self.segment, self.offset, &self.file) == (other.segment, other.offset, &other.file)
    }
}

impl Findings {
    /// How bad the worst of it is; `None` if there is nothing to say.
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).max()
    }

    /// The first damage.
    fn first_damage(&self) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.severity == Severity::Damage)
    }

    /// Adds a problem unless one at that place is there. The one that tells what is lost stays.
    fn add(&mut self, problem: Problem) {
        match self.problems.iter_mut().find(|known| known.is_at(&problem)) {
            Some(known) if known.lost.is_none() && problem.lost.is_some() => *known = problem,
            Some(_) => {}
            None => self.problems.push(problem),
        }
    }
}

pub(super) fn check(
    files: &LogFiles,
    progress: &mut dyn FnMut(Progress),
) -> Result<Findings, IoFault> {
    let mut before: Option<Problem> = None;
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let is_last = attempts.next().is_none_or(|attempt| attempt == ATTEMPTS);
        let had_owner = files.owner().is_some();
        match once(files, had_owner, progress) {
            // A checkpoint of the owner has removed it since it was listed.
            Err(fault) if fault.source.kind() == ErrorKind::NotFound && !is_last => {}
            Err(fault) => return Err(fault),
            Ok(findings) => {
                let damage = findings.first_damage();
                let is_same = damage
                    .is_some_and(|now| before.as_ref().is_some_and(|before| before.is_at(now)));
                if damage.is_none() || is_same || is_last || !had_owner {
                    return Ok(findings);
                }
                before = damage.cloned();
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn once(
    files: &LogFiles,
    had_owner: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Findings, IoFault> {
    let mut findings = Findings { had_owner, ..Findings::default() };
    let storage = Arc::clone(files.storage());
    let mut config = WalConfig::new(storage.location());
    config.existence = Existence::MustExist;
    let (shared, _queue) = Shared::new(&config, Arc::new(SystemClock::default()));
    let mut records = 0;
    let mut sink = |batch: RecordBatch, at: Progress| {
        records += batch.len() as u64;
        progress(at);
        Ok(())
    };
    match rehearse(storage, &config, &shared, &mut sink) {
        Ok(rehearsed) => {
            let report = rehearsed.report;
            findings.bytes = report.bytes;
            findings.records = records + rehearsed.carried_live;
            if let Some((segment, torn)) = &report.torn_tail {
                let lsn = report.last_lsn.next();
                let at = rehearsed.torn_at.unwrap_or(0);
                findings.add(Problem::torn(*segment, at, lsn, torn, had_owner));
            }
            findings.report = Some(report);
            note_others(&mut findings, &overview::take(&**files.storage())?);
        }
        Err(error) => {
            findings.refusal = Some(error.to_string());
            let fault = match error {
                // The walk finds the file that can not be read, and goes on with the others.
                OpenError::Io(fault) => Some(fault),
                error => {
                    findings.add(error.into());
                    None
                }
            };
            let overview = overview::take(&**files.storage())?;
            every_problem(files, &overview, &mut findings, progress);
            if let Some(fault) = fault.filter(|_| findings.first_damage().is_none()) {
                return Err(fault);
            }
            note_others(&mut findings, &overview);
        }
    }
    findings.problems.sort_by_key(|it| (it.segment.unwrap_or(u64::MAX), it.offset));
    Ok(findings)
}

/// Goes through all segments, whatever is wrong with the ones before.
fn every_problem(
    files: &LogFiles,
    overview: &Overview,
    findings: &mut Findings,
    progress: &mut dyn FnMut(Progress),
) {
    let live = |one: &&SegmentOverview| one.started().is_some_and(|it| !overview.is_released(it));
    let total = overview.segments.iter().filter(live).map(|one| one.file_bytes).sum();
    let last = overview.started().next_back().map_or(0, |(segment, _)| segment.sequence);
    // What the frames before say: the chain of checksums, and the LSN that comes next.
    let mut before: Option<Reached> = None;
    for (at, segment) in overview.segments.iter().enumerate() {
        let earlier = at.checked_sub(1).and_then(|at| overview.segments.get(at));
        note_missing(overview, earlier, segment, last, findings);
        match &segment.state {
            SegmentState::Unreadable(damage) => findings.add(Problem::damaged(damage, None)),
            SegmentState::Newer { reason } => findings.add(
                OpenError::NewerVersion { file: segment.name.clone(), reason: reason.clone() }
                    .into(),
            ),
            SegmentState::Started(started) if !overview.is_released(started) => {
                let walked =
                    walk(files, segment, started, segment.sequence == last, before, findings);
                before = walked.unwrap_or_else(|fault| {
                    let problem = Problem::new(fault.into());
                    findings.add(Problem { segment: Some(segment.sequence), ..problem });
                    None
                });
                findings.bytes += segment.file_bytes;
                progress(Progress { done: findings.bytes.min(total), total });
            }
            _ => {}
        }
    }
}

/// How far the walk of a segment without damage came.
#[derive(Clone, Copy, Debug)]
struct Reached {
    sequence: u64,
    chain: u32,
}

/// Walks one segment. Gives how far it came, if all of it is sound.
fn walk(
    files: &LogFiles,
    segment: &SegmentOverview,
    started: &Started,
    is_last: bool,
    before: Option<Reached>,
    findings: &mut Findings,
) -> Result<Option<Reached>, IoFault> {
    let Some(header) = segment.header else { return Ok(None) };
    let storage = &**files.storage();
    let until = if is_last { Until::Tail } else { Until::LiveEnd(started.live_end) };
    let salt = Some(started.start.salt);
    let mut walk = SegmentWalk::new(storage, &segment.name, header, until, salt)?;
    let follows = before.is_some_and(|before| before.sequence + 1 == segment.sequence);
    if follows && before.is_some_and(|before| before.chain != started.start.chain) {
        let what = "the chain of checksums is broken".to_owned();
        findings.add(Problem::damaged(
            &Damage {
                segment: segment.sequence,
                offset: u64::from(header.place.block_size),
                lsn: started.start.first_lsn,
                loss: Loss::Certain,
                kind: DamageKind::Contradiction { what },
            },
            None,
        ));
    }
    let (mut chain, mut is_sound) = (started.start.chain, true);
    loop {
        match walk.next(storage)? {
            Step::Frame => {
                let frame = walk.frame()?;
                chain = frame.filter(|it| it.header.count > 0).map_or(chain, |it| it.checksum);
            }
            Step::Damage(part) => {
                is_sound = false;
                let behind = part.resumes.map(|(_, header)| header.first_lsn.previous());
                let end = behind.or((!is_last).then_some(started.live_end));
                let lost = end.and_then(|end| LsnRange::new(part.lsn, end));
                findings.add(Problem::damaged(&damage(segment.sequence, &part), lost));
            }
            Step::End(WalkEnd { offset, next_lsn, torn }) => {
                if let Some(torn) = &torn {
                    let had_owner = findings.had_owner;
                    findings.add(Problem::torn(
                        segment.sequence,
                        offset,
                        next_lsn,
                        torn,
                        had_owner,
                    ));
                }
                return Ok(is_sound.then_some(Reached { sequence: segment.sequence, chain }));
            }
        }
    }
}

/// Numbers that are left out between two segments, or before the first one that holds live records.
fn note_missing(
    overview: &Overview,
    earlier: Option<&SegmentOverview>,
    segment: &SegmentOverview,
    last: u64,
    findings: &mut Findings,
) {
    let Some(started) = segment.started().filter(|_| segment.sequence <= last) else { return };
    if overview.is_released(started) && segment.sequence != last {
        return;
    }
    let first_live = overview.low_water.next();
    let Some(needed) = LsnRange::new(first_live, started.cut) else { return };
    let before = earlier.map_or(0, |earlier| earlier.sequence);
    let missing = (before + 1..segment.sequence).last();
    let is_prepared = |number: &u64| {
        let name = scratch_name(*number);
        overview.others.iter().any(
            |other| matches!(other, OtherFile::Unfinished { name: found, .. } if *found == name),
        )
    };
    let Some(missing) = missing.filter(|number| !is_prepared(number)) else { return };
    let damage = Damage {
        segment: missing,
        offset: 0,
        lsn: needed.first,
        loss: Loss::Certain,
        kind: DamageKind::MissingSegment,
    };
    findings.add(Problem::damaged(&damage, None));
}

/// What else lies there, and is no damage.
fn note_others(findings: &mut Findings, overview: &Overview) {
    for other in &overview.others {
        let problem = match other {
            OtherFile::SetAside { name, bytes } => Problem::note(
                "set-aside",
                name,
                format!("{name}: {bytes} bytes that a salvage has set aside"),
                "keep it until nobody asks for what it holds any more; the log never reads it",
            ),
            OtherFile::Alike { name } => Problem::note(
                "alike",
                name,
                format!("{name}: it is named like a segment and is none"),
                "move it out of the directory",
            ),
            _ => continue,
        };
        if findings.problems.iter().all(|known| known.file != problem.file) {
            findings.add(problem);
        }
    }
}
