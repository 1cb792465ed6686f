//! Walks the live frames of all segments, and checks that nothing is missing and that all of it belongs
//! together.

use super::replay::Progress;
use super::report::RecoveryReport;
use super::survey::{First, Survey, open};
use super::tail::follow;
use crate::engine::read::segment_reader::{Next, SegmentReader, what_is_wrong};
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::write::log_writer::Position;
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss, OpenError};
use crate::format::frame::Frame;
use crate::format::scan::{Until, Verdict};
use crate::format::segment::SegmentHeader;
use crate::lsn::{Lsn, LsnRange};

/// Takes each live frame, in order.
pub(super) type FrameSink<'a> = dyn FnMut(&Frame<'_>, Progress) -> Result<(), OpenError> + 'a;

/// Walks the live frames of all segments and checks that nothing is missing.
pub(super) struct LiveWalk<'a> {
    survey: &'a Survey<'a>,
    low_water: Lsn,
    /// Whether a live frame was seen: what comes next must follow on it.
    begun: bool,
    /// Where the walk stands: behind the last good frame.
    pub(super) position: Position,
    /// The segment it stands in.
    pub(super) sequence: u64,
    pub(super) progress: Progress,
}

impl<'a> LiveWalk<'a> {
    pub(super) fn new(survey: &'a Survey<'a>, live: &[SegmentInfo], low_water: Lsn) -> Self {
        let mut walk = LiveWalk {
            survey,
            low_water,
            begun: false,
            position: Position::default(),
            sequence: 0,
            progress: Progress::default(),
        };
        let live = live.iter().filter(|info| walk.is_live(info));
        walk.progress.total = live.map(|info| walk.len_of(info)).sum();
        walk
    }

    /// Whether a segment holds anything that no checkpoint has released.
    fn is_live(&self, info: &SegmentInfo) -> bool {
        info.live_end.is_some_and(|end| end > info.cut && end > self.low_water)
    }

    /// Walks everything above the low-water mark in these segments, each up to its live end.
    pub(super) fn run(
        &mut self,
        live: &[SegmentInfo],
        report: &mut RecoveryReport,
        sink: &mut FrameSink<'_>,
    ) -> Result<(), OpenError> {
        let mut done = self.progress.done;
        for info in live {
            let Some(end) = info.live_end.filter(|_| self.is_live(info)) else {
                continue;
            };
            if !self.begun && info.cut > self.low_water {
                return Err(self.missing_before(info.sequence));
            }
            self.segment(info, end, done, report, sink)?;
            done = (done + self.len_of(info)).min(self.progress.total);
            self.progress.done = done;
            report.segments += 1;
            report.bytes += self.len_of(info);
        }
        Ok(())
    }

    /// Checks that the last segment follows on what was walked. It may hold nothing that is walked, or
    /// nothing but what is carried over, and says all the same what must lie before it.
    pub(super) fn check_last_start(&self) -> Result<(), OpenError> {
        let Some((last, start)) = self.survey.started().next_back() else {
            return Ok(());
        };
        let cut = start.start.map_or(Lsn::NONE, |start| start.cut);
        if !self.begun && cut > self.low_water {
            return Err(self.missing_before(last.sequence));
        }
        if self.begun && self.sequence != last.sequence && start.chain != self.position.chain {
            let offset = u64::from(last.header.place.block_size);
            return Err(self.broken_chain(last.sequence, offset, start.first_lsn));
        }
        Ok(())
    }

    fn len_of(&self, info: &SegmentInfo) -> u64 {
        self.survey.surveyed(info.sequence).map_or(0, |one| one.len)
    }

    /// The segment's file: surveyed, or the one that was begun just now.
    fn open(&self, info: &SegmentInfo, end: Lsn) -> Result<SegmentReader, OpenError> {
        let known = self.survey.surveyed(info.sequence);
        if let Some(segment) = known {
            return Ok(self.survey.reader(segment, Until::LiveEnd(end))?);
        }
        let file = open(&*self.survey.storage, &info.name)?;
        let mut block = [0; crate::format::segment::SEGMENT_HEADER_LEN];
        crate::storage::read_exact_at(&*file, &mut block, 0)
            .map_err(|error| IoFault::new(IoOp::Read, &info.name, Some(0), error))?;
        let header = SegmentHeader::decode(&block).map_err(|fault| {
            self.damage(
                info.sequence,
                0,
                Lsn::NONE,
                DamageKind::SegmentHeader { reason: fault.to_string() },
            )
        })?;
        Ok(SegmentReader::new(file, &info.name, header, Until::LiveEnd(end))?)
    }

    fn segment(
        &mut self,
        info: &SegmentInfo,
        end: Lsn,
        done: u64,
        report: &mut RecoveryReport,
        sink: &mut FrameSink<'_>,
    ) -> Result<(), OpenError> {
        self.sequence = info.sequence;
        let mut reader = self.open(info, end)?;
        loop {
            match reader.next()? {
                Next::Frame(frame) => {
                    let is_first = !std::mem::replace(&mut self.begun, true);
                    let broken = frame.header.chain != self.position.chain;
                    if frame.header.start.is_some() && !is_first && broken {
                        let lsn = frame.header.first_lsn;
                        return Err(self.broken_chain(info.sequence, frame.offset, lsn));
                    }
                    if is_first {
                        self.position.chain = frame.header.chain;
                        self.position.last_live = info.cut;
                        self.position.next_lsn = info.cut.next();
                    }
                    note_gap(&self.position, &frame, report);
                    follow(&mut self.position, &frame);
                    report.frames += 1;
                    report.records += u64::from(frame.header.count);
                    self.progress.done = (done + frame.offset).min(self.progress.total);
                    sink(&frame, self.progress)?;
                }
                Next::End(ending) => match ending.verdict {
                    Verdict::Damage { fault, proof } => {
                        return Err(self.shortfall(info, ending.offset, fault.to_string(), proof));
                    }
                    Verdict::Clean | Verdict::TornTail(_) => return Ok(()),
                },
            }
        }
    }

    /// The first live records are not there: is their segment missing, or its start frame damaged?
    fn missing_before(&self, sequence: u64) -> OpenError {
        let before = sequence.saturating_sub(1);
        let lsn = self.low_water.next();
        let known = self.survey.surveyed(before);
        match known.map(|one| &one.first) {
            Some(First::Unused(verdict)) => {
                self.survey.start_damage(before, &what_is_wrong(verdict), lsn).into()
            }
            _ => self.survey.missing(before, lsn, Loss::Certain),
        }
    }

    /// A segment ends before its live end: is it damaged, shortened, or is the next one missing?
    fn shortfall(
        &self,
        info: &SegmentInfo,
        offset: u64,
        reason: String,
        proof: Option<u64>,
    ) -> OpenError {
        let lsn = self.position.last_live.next();
        let surveyed = |sequence| self.survey.surveyed(sequence);
        let segment = surveyed(info.sequence);
        if let Some(segment) = segment.filter(|segment| offset >= segment.len) {
            let (expected, found) = (segment.header.size, segment.len);
            // A file that was trimmed to its end is complete: then the records are in the next one.
            let next_is_there = surveyed(info.sequence.saturating_add(1)).is_some();
            if found < expected && next_is_there {
                return self.damage(
                    info.sequence,
                    offset,
                    lsn,
                    DamageKind::ShortenedSegment { expected, found },
                );
            }
        }
        let next = info.sequence.saturating_add(1);
        match surveyed(next).map(|next| &next.first) {
            None => self.survey.missing(next, lsn, Loss::Certain),
            Some(First::Unused(verdict @ (Verdict::TornTail(_) | Verdict::Damage { .. }))) => {
                self.survey.start_damage(next, &what_is_wrong(verdict), lsn).into()
            }
            Some(_) => self.damage(info.sequence, offset, lsn, DamageKind::Frame { reason, proof }),
        }
    }

    fn broken_chain(&self, segment: u64, offset: u64, lsn: Lsn) -> OpenError {
        let what = "the chain of checksums is broken".to_owned();
        self.damage(segment, offset, lsn, DamageKind::Contradiction { what })
    }

    fn damage(&self, segment: u64, offset: u64, lsn: Lsn, kind: DamageKind) -> OpenError {
        // All of it was live: later segments say so.
        Damage { segment, offset, lsn, loss: Loss::Certain, kind }.into()
    }
}

/// LSNs between the last record and this frame name no record.
fn note_gap(position: &Position, frame: &Frame<'_>, report: &mut RecoveryReport) {
    if frame.header.count > 0
        && let Some(gap) =
            LsnRange::new(position.last_live.next(), frame.header.first_lsn.previous())
    {
        report.gaps.push(gap);
    }
}
