//! Tail: how the last segment ends, and what stands behind it.

use super::salvage::Cut;
use super::survey::{First, Survey, Surveyed};
use crate::engine::read::segment_reader::Next;
use crate::engine::write::log_writer::Position;
use crate::error::{Damage, DamageKind, Loss, OpenError};
use crate::format::frame::{Frame, FrameHeader};
use crate::format::scan::{Ending, TornTail, Until, Verdict};
use crate::format::segment::scratch_name;
use crate::lsn::Lsn;

/// The last frame of the log.
#[derive(Debug)]
pub(super) struct LastFrame {
    pub(super) header: FrameHeader,
    /// Its records, if it holds any: nothing vouches for them.
    pub(super) payload: Vec<u8>,
}

/// How the log ends: what the next epoch begins with.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) position: Position,
    /// The first LSN that the next life may give out.
    pub(super) next_life: Lsn,
    pub(super) carry: Option<LastFrame>,
    pub(super) clean: bool,
    pub(super) torn: Option<(u64, TornTail)>,
    /// The file of the last segment, and where its live part ends.
    pub(super) trim: Option<(u64, String, u64)>,
}

impl Survey<'_> {
    /// Walks the last segment and says how the log ends.
    pub(super) fn tail(&self) -> Result<Tail, OpenError> {
        if let Some(cut) = self.salvage.cut {
            let Cut { position, next_life } = cut;
            return Ok(Tail { position, next_life, ..Tail::default() });
        }
        let Some((segment, start)) = self.started().next_back() else {
            let torn = self.judge_unused(0, Lsn::FIRST)?;
            self.check_successor(0, Lsn::FIRST)?;
            return Ok(Tail {
                next_life: Lsn::FIRST.plus(self.salvage.skip),
                clean: torn.is_none(),
                torn,
                ..Tail::default()
            });
        };
        let mut walk = TailWalk::new(start);
        let mut reader = self.reader(segment, Until::Tail)?;
        let ending = loop {
            match reader.next()? {
                Next::Frame(frame) => walk.frame(&frame),
                Next::End(ending) => break ending,
            }
        };
        let damage = |loss, kind| Damage {
            segment: segment.sequence,
            offset: ending.offset,
            lsn: ending.next_lsn,
            loss,
            kind,
        };
        let torn = match ending.verdict {
            Verdict::Clean => None,
            Verdict::TornTail(torn) => Some((segment.sequence, torn)),
            Verdict::Damage { fault, proof } => {
                // Without a later frame nobody knows whether this one was ever synced.
                let loss = if proof.is_some() { Loss::Certain } else { Loss::Possible };
                let reason = fault.to_string();
                return Err(damage(loss, DamageKind::Frame { reason, proof }).into());
            }
        };
        let later_torn = self.judge_unused(segment.sequence, ending.next_lsn)?;
        self.check_successor(segment.sequence, ending.next_lsn)?;
        self.check_length(segment, &ending, (walk.closed, torn.is_some()), later_torn)?;
        let clean = walk.closed && torn.is_none() && later_torn.is_none();
        let evidence = torn.map_or(0, |(_, torn)| torn.bytes);
        Ok(Tail {
            trim: Some((segment.sequence, segment.name.clone(), ending.offset + evidence)),
            torn: later_torn.or(torn),
            clean,
            ..walk.finish(self.salvage.skip)
        })
    }

    /// Whether the last segment may be as short as it is.
    fn check_length(
        &self,
        segment: &Surveyed,
        ending: &Ending,
        (closed, is_torn): (bool, bool),
        later_torn: Option<(u64, TornTail)>,
    ) -> Result<(), Damage> {
        let (expected, found) = (segment.header.size, segment.len);
        if found >= expected || segment.header.growing || closed {
            return Ok(());
        }
        // A block behind the last good frame in which none begins: nothing was ever synced there.
        let block = u64::from(segment.header.place.block_size);
        if !is_torn && found >= ending.offset.saturating_add(block) {
            let name = &segment.name;
            tracing::warn!(name, expected, found, "the segment lacks zeros at its end");
            return Ok(());
        }
        // A file is trimmed only after the next start frame is durable: where that is torn, it is
        // damaged now.
        Err(match later_torn {
            Some((sequence, torn)) => self.start_damage(sequence, &torn.reason, ending.next_lsn),
            None => Damage {
                segment: segment.sequence,
                offset: ending.offset,
                lsn: ending.next_lsn,
                loss: Loss::Possible,
                kind: DamageKind::ShortenedSegment { expected, found },
            },
        })
    }

    /// What stands in segments after the last one that has a start frame: nothing if they were only
    /// prepared, a torn start frame, or a damaged one that had successors.
    fn judge_unused(&self, after: u64, lsn: Lsn) -> Result<Option<(u64, TornTail)>, OpenError> {
        let mut torn = None;
        for segment in self.segments.iter().filter(|segment| segment.sequence > after) {
            match segment.first {
                First::Unused(Verdict::TornTail(tail)) => torn = Some((segment.sequence, tail)),
                First::Unused(Verdict::Damage { fault, proof }) => {
                    let kind = DamageKind::Frame { reason: fault.to_string(), proof };
                    let offset = u64::from(segment.header.place.block_size);
                    let loss = Loss::Certain;
                    return Err(
                        Damage { segment: segment.sequence, offset, lsn, loss, kind }.into()
                    );
                }
                _ => {}
            }
        }
        Ok(torn)
    }

    /// Segments are prepared, named and started in order, so a number that is left out behind the end of the
    /// log, but for what nobody could begin in, was once its end.
    fn check_successor(&self, last: u64, lsn: Lsn) -> Result<(), OpenError> {
        let is_known = |sequence: &u64| {
            self.salvage.lost.iter().any(|(damage, _)| damage.segment == *sequence)
                || self.scratch.contains(&scratch_name(*sequence))
        };
        let mut expected = last + 1;
        for segment in self.segments.iter().filter(|segment| segment.sequence > last) {
            if let Some(missing) = (expected..segment.sequence).find(|number| !is_known(number)) {
                return Err(self.missing(missing, lsn, Loss::Possible));
            }
            // A log that could have begun in it would not have gone past it.
            if segment.could_begin() {
                break;
            }
            expected = segment.sequence + 1;
        }
        Ok(())
    }

    pub(super) fn start_damage(
        &self,
        segment: u64,
        reason: &dyn std::fmt::Display,
        lsn: Lsn,
    ) -> Damage {
        let offset = self.surveyed(segment).map_or(0, |one| u64::from(one.header.place.block_size));
        let reason = format!("its start frame is damaged: {reason}");
        let kind = DamageKind::Frame { reason, proof: None };
        Damage { segment, offset, lsn, loss: Loss::Certain, kind }
    }
}

/// Follows the frames of the last segment.
#[derive(Debug)]
struct TailWalk {
    /// Where the log stood before the last frame.
    before: Position,
    after: Position,
    in_flight_limit: u64,
    last: Option<LastFrame>,
    closed: bool,
}

impl TailWalk {
    fn new(start: &FrameHeader) -> Self {
        let (cut, in_flight_limit) =
            start.start.map_or((Lsn::NONE, 0), |start| (start.cut, start.in_flight_limit));
        let position = Position {
            epoch: start.epoch,
            last_live: cut,
            next_lsn: start.first_lsn,
            chain: start.chain,
            low_water: start.low_water,
        };
        TailWalk { before: position, after: position, in_flight_limit, last: None, closed: false }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let header = frame.header;
        self.before = self.after;
        follow(&mut self.after, frame);
        self.closed = header.close;
        // Most frames are not the last one: they are copied, but into the same room.
        let mut payload = self.last.take().map_or_else(Vec::new, |before| before.payload);
        payload.clear();
        payload.extend_from_slice(frame.payload());
        self.last = Some(LastFrame { header, payload });
    }

    fn finish(self, skip: u64) -> Tail {
        let unclean = if self.closed { 0 } else { self.in_flight_limit };
        let next_life = self.after.next_lsn.plus(unclean).plus(skip);
        let carry = self.last.filter(|last| last.header.count > 0);
        let position = if carry.is_some() {
            Position { low_water: self.after.low_water, ..self.before }
        } else {
            self.after
        };
        Tail { position, next_life, carry, ..Tail::default() }
    }
}

/// Moves `position` over a frame.
pub(super) fn follow(position: &mut Position, frame: &Frame<'_>) {
    let header = &frame.header;
    position.epoch = header.epoch;
    position.next_lsn = header.next_lsn;
    position.low_water = position.low_water.max(header.low_water);
    if header.count > 0 {
        position.last_live = header.last_lsn();
        position.chain = frame.checksum;
    }
}
