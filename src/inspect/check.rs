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
use crate::format::segment::segment_name;
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
    /// How many released segments were read; `None` where only what is live was asked for.
    pub released_segments: Option<u64>,
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

    /// It is in a segment that a checkpoint has released.
    pub(super) fn released(damage: &Damage) -> Self {
        Problem {
            severity: Severity::Attention,
            lsn: Lsn::NONE,
            what: format!("{}; a checkpoint has released it", Damage { loss: Loss::None, ..damage.clone() }),
            remedy: "look at the device and the kernel's log: it gives back other bytes than were written".to_owned(),
            ..Problem::damaged(damage, None)
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

    pub(super) fn sort(&mut self) {
        self.problems.sort_by_key(|it| (it.segment.unwrap_or(u64::MAX), it.offset));
    }

    /// Adds a problem unless one at that place is there. The one that tells what is lost stays.
    pub(super) fn add(&mut self, problem: Problem) {
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
    let mut attempt = 1;
    loop {
        let is_last = attempt == ATTEMPTS;
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
        attempt += 1;
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
    findings.sort();
    Ok(findings)
}

/// Goes through all segments, whatever is wrong with the ones before.
fn every_problem(
    files: &LogFiles,
    overview: &Overview,
    findings: &mut Findings,
    progress: &mut dyn FnMut(Progress),
) {
    let total = overview.live_bytes();
    let mut sweep = Sweep { files, overview, before: None };
    if let Some((first, started)) = overview.started().find(|it| !overview.is_released(it.1)) {
        sweep.check_beginning(first, started, findings);
    }
    for segment in &overview.segments {
        match &segment.state {
            SegmentState::Unreadable(damage) => findings.add(Problem::damaged(damage, None)),
            SegmentState::Newer { reason } => {
                let (file, reason) = (segment.name.clone(), reason.clone());
                findings.add(OpenError::NewerVersion { file, reason }.into());
            }
            SegmentState::Started(started) if !overview.is_released(started) => {
                if let Err(fault) = sweep.segment(segment, started, findings) {
                    let problem = Problem::new(fault.into());
                    findings.add(Problem { segment: Some(segment.sequence), ..problem });
                }
                findings.bytes += segment.file_bytes;
                progress(Progress { done: findings.bytes.min(total), total });
            }
            _ => {}
        }
    }
}

/// Walks the segments of a log, one after the other.
struct Sweep<'a> {
    files: &'a LogFiles,
    overview: &'a Overview,
    /// A segment that is sound to its end, and the chain of checksums there.
    before: Option<(u64, u32)>,
}

impl Sweep<'_> {
    /// Whether the first segment with live records lacks one before it.
    fn check_beginning(&self, first: &SegmentOverview, started: &Started, findings: &mut Findings) {
        let Some(needed) = LsnRange::new(self.overview.low_water.next(), started.cut) else {
            return;
        };
        self.blame(first.sequence.saturating_sub(1), needed, findings);
    }

    /// One segment with a start frame.
    fn segment(
        &mut self,
        segment: &SegmentOverview,
        started: &Started,
        findings: &mut Findings,
    ) -> Result<(), IoFault> {
        let Some(header) = segment.header else { return Ok(()) };
        let follows = self.before.take().filter(|(before, _)| before + 1 == segment.sequence);
        if follows.is_some_and(|(_, chain)| chain != started.start.chain) {
            let kind =
                DamageKind::Contradiction { what: "the chain of checksums is broken".to_owned() };
            let offset = u64::from(header.place.block_size);
            let lsn = started.start.first_lsn;
            let sequence = segment.sequence;
            let damage = Damage { segment: sequence, offset, lsn, loss: Loss::Certain, kind };
            findings.add(Problem::damaged(&damage, None));
        }
        let last = self.overview.started().next_back().map(|(last, _)| last.sequence);
        let live_end = (last != Some(segment.sequence)).then_some(started.live_end);
        let until = live_end.map_or(Until::Tail, Until::LiveEnd);
        let storage = &**self.files.storage();
        let salt = Some(started.start.salt);
        let mut walk = SegmentWalk::new(storage, &segment.name, header, until, salt)?;
        let (mut chain, mut is_sound) = (started.start.chain, true);
        loop {
            match walk.next(storage)? {
                Step::Frame => {
                    let frame = walk.frame()?.filter(|frame| frame.header.count > 0);
                    chain = frame.map_or(chain, |frame| frame.checksum);
                }
                Step::Damage(part) => {
                    is_sound = false;
                    let behind = part.resumes.map(|(_, header)| header.first_lsn.previous());
                    let lost = behind.or(live_end).and_then(|end| LsnRange::new(part.lsn, end));
                    match (behind, lost) {
                        // It ends too early. What comes next says whether that is its fault.
                        (None, Some(lost)) if self.blame(segment.sequence + 1, lost, findings) => {}
                        _ => findings.add(Problem::damaged(&damage(segment.sequence, &part), lost)),
                    }
                }
                Step::End(WalkEnd { offset, next_lsn, torn }) => {
                    if let Some(torn) = &torn {
                        let had_owner = findings.had_owner;
                        let sequence = segment.sequence;
                        findings.add(Problem::torn(sequence, offset, next_lsn, torn, had_owner));
                    }
                    self.before = is_sound.then_some((segment.sequence, chain));
                    return Ok(());
                }
            }
        }
    }

    /// These records are not in the segments around: whether this one should have them, and is missing or damaged. It goes by
    /// the rules of recovery.
    fn blame(&self, sequence: u64, lost: LsnRange, findings: &mut Findings) -> bool {
        let found = self.overview.segments.iter().find(|one| one.sequence == sequence);
        let of = |offset, kind| Damage {
            segment: sequence,
            offset,
            lsn: lost.first,
            loss: Loss::Certain,
            kind,
        };
        match found.map(|segment| (segment, &segment.state)) {
            None => findings.add(Problem::damaged(&of(0, DamageKind::MissingSegment), Some(lost))),
            Some((_, SegmentState::Unreadable(damage))) => {
                findings.add(Problem::damaged(damage, Some(lost)));
            }
            Some((segment, SegmentState::NotStarted)) => {
                let offset = segment.place().map_or(0, |place| u64::from(place.block_size));
                let reason = "its start frame is damaged".to_owned();
                let kind = DamageKind::Frame { reason, proof: None };
                findings.add(Problem::damaged(&of(offset, kind), Some(lost)));
            }
            _ => return false,
        }
        true
    }
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
