//! The salvage policy: ends the log before a damage, and keeps what it takes out of it.

use super::live_walk::LiveWalk;
use super::report::RecoveryReport;
use super::survey::{First, Survey, Surveyed, open};
use crate::config::DamagePolicy;
use crate::engine::read::segment_reader::Next;
use crate::engine::write::log_writer::Position;
use crate::error::{Damage, IoFault, IoOp, Loss, OpenError};
use crate::format::frame::FrameHeader;
use crate::format::scan::{Until, Verdict};
use crate::format::segment::set_aside_name;
use crate::lsn::{Epoch, Lsn};

/// What the salvage policy has decided about a survey.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    /// Segments that it could make nothing of.
    pub(super) lost: Vec<(Damage, String)>,
    /// Files to set aside as soon as the log no longer needs them.
    pub(super) aside: Vec<(String, u64)>,
    /// The log is taken to end here.
    pub(super) cut: Option<Cut>,
    /// LSNs to leave out, since nobody knows which were given out.
    pub(super) skip: u64,
    /// What sound frame headers say, also those behind the damage.
    pub(super) claims: Claims,
}

/// Where the salvage policy ends the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) position: Position,
    pub(super) next_life: Lsn,
}

impl Survey<'_> {
    /// This survey, or under the salvage policy a smaller one that ends before the first damage, and that damage.
    pub(super) fn salvaged(mut self) -> Result<(Self, Option<Damage>), OpenError> {
        let damage = match self.config.damage_policy {
            DamagePolicy::Refuse => None,
            DamagePolicy::Salvage => self.salvage()?,
        };
        Ok((self, damage))
    }

    /// Whether it ends before a damage.
    pub(super) fn is_cut(&self) -> bool {
        self.salvage.cut.is_some()
    }

    /// Looks for damage before anything is written, and if there is some, ends the log before it.
    fn salvage(&mut self) -> Result<Option<Damage>, OpenError> {
        let claims = self.claims()?;
        self.salvage.claims = claims;
        // A tail that is whole says what was released, and recovery goes by it.
        let (low_water, tail_damage) = match self.tail() {
            Ok(tail) => (tail.position.low_water, None),
            Err(OpenError::Damaged(damage)) => (claims.low_water, Some(damage)),
            Err(error) => return Err(error),
        };
        let end = self.started().next_back().and_then(|(segment, _)| self.sound_end(segment));
        let live = self.live_until(end.unwrap_or(Lsn::MAX));
        let mut walk = LiveWalk::new(self, &live, low_water);
        let walked = walk
            .run(&live, &mut RecoveryReport::default(), &mut |_, _| Ok(()))
            .and_then(|()| walk.check_last_start());
        let (good, walked_to) = (walk.position, walk.sequence);
        // What a checkpoint has released is not missed.
        let missed_from = good.last_live.max(low_water).next();
        let last = self.started().next_back().map_or(0, |(segment, _)| segment.sequence);
        let (damage, sequence) = match (walked, tail_damage) {
            (Err(OpenError::Damaged(damage)), _) => (damage, walked_to),
            (Err(error), _) => return Err(error),
            (Ok(()), Some(damage)) => (damage, last),
            (Ok(()), None) => return Ok(self.salvage_around_lost(missed_from)),
        };
        // A segment that could not be read is the reason why its records are missing.
        let is_reason = |lost: &Damage| (walked_to..=damage.segment).contains(&lost.segment);
        let known = self.salvage.lost.iter().find(|(lost, _)| is_reason(lost));
        let loss = damage.loss;
        let damage =
            known.map_or(damage, |(lost, _)| Damage { lsn: missed_from, loss, ..lost.clone() });
        self.cut_after(good, sequence, claims);
        tracing::warn!(%damage, last_lsn = %good.last_live, "the log was cut");
        Ok(Some(damage))
    }

    /// What could be read is whole. Segments that could not be read may have been its end.
    fn salvage_around_lost(&mut self, missed_from: Lsn) -> Option<Damage> {
        let (lost, _) = self.salvage.lost.first()?;
        let damage = Damage { lsn: missed_from, loss: Loss::Possible, ..lost.clone() };
        self.set_lost_aside();
        self.salvage.skip = self.unknown_lsns();
        tracing::warn!(%damage, "the log was opened without a segment");
        Some(damage)
    }

    fn set_lost_aside(&mut self) {
        let lost = self.salvage.lost.iter().map(|(damage, name)| (name.clone(), damage.segment));
        self.salvage.aside.extend(lost);
    }

    /// More LSNs than segments that nobody can read may have used up: none is given out twice. Each
    /// salvage skips another number, since what an earlier one has skipped may be unreadable now: each file
    /// counts once, or an earlier salvage could have skipped as much as a later one.
    fn unknown_lsns(&self) -> u64 {
        let salvages = 1 + self.aside_before + self.salvage.aside.len() as u64;
        UNKNOWN_LSNS.saturating_mul(salvages)
    }

    /// What all sound frame headers say, also those behind a damage and beyond a cut. Only a start frame
    /// tells the salt of a segment: where it is damaged, any will do.
    fn claims(&self) -> Result<Claims, OpenError> {
        let mut claims = Claims::default();
        for segment in &self.segments {
            let salt = match &segment.first {
                First::Started(start) => Some(start.salt),
                First::Unused(_) => None,
            };
            let block = segment.header.place.block_size as usize;
            let file = open(&*self.storage, &segment.name)?;
            let mut bytes = vec![0; block];
            let mut offset = block as u64;
            let len = segment.header.len_in(segment.len);
            while offset + block as u64 <= len {
                crate::storage::read_exact_at(&*file, &mut bytes, offset).map_err(|error| {
                    IoFault::new(IoOp::Read, &segment.name, Some(offset), error)
                })?;
                let header = FrameHeader::decode(&bytes, &segment.header.place, offset, u64::MAX);
                let is_ours = |header: &FrameHeader| salt.is_none_or(|salt| header.salt == salt);
                if let Some(header) = header.ok().filter(is_ours) {
                    claims.note(&header);
                }
                offset += block as u64;
            }
        }
        Ok(claims)
    }

    /// The LSN of the last record that is live up to the end of the sound frames of a segment.
    fn sound_end(&self, segment: &Surveyed) -> Option<Lsn> {
        let mut reader = self.reader(segment, Until::Tail).ok()?;
        let First::Started(FrameHeader { start: Some(start), .. }) = segment.first else {
            return None;
        };
        let mut end = Some(start.cut);
        while let Ok(Next::Frame(frame)) = reader.next() {
            end = (frame.header.count > 0).then(|| frame.header.last_lsn()).or(end);
        }
        end
    }

    /// Ends the log at `good`, in segment `sequence`; segments that hold more are to be set aside.
    fn cut_after(&mut self, good: Position, sequence: u64, claims: Claims) {
        // What a checkpoint has released is not missed.
        let last_live = good.last_live.max(claims.low_water);
        // A segment in which nothing is live is removed, with all that stands behind the damage.
        let ends_in = self.started().find(|(segment, _)| segment.sequence == sequence);
        let before =
            ends_in.and_then(|(_, start)| start.start).map_or(Lsn::NONE, |start| start.cut);
        let is_live = last_live > before.max(claims.low_water);
        let last_kept = if is_live { sequence } else { sequence.saturating_sub(1) };
        let (kept, aside): (Vec<_>, Vec<_>) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|segment| segment.sequence <= last_kept || is_prepared(segment));
        self.segments = kept;
        self.set_lost_aside();
        self.salvage
            .aside
            .extend(aside.into_iter().map(|segment| (segment.name, segment.sequence)));
        let highest = claims.next_lsn.max(good.last_live.next());
        let next_life = highest.plus(self.unknown_lsns());
        let position =
            Position { epoch: claims.epoch, low_water: claims.low_water, last_live, ..good };
        self.salvage.cut = Some(Cut { position, next_life });
    }

    pub(super) fn set_aside(&self, name: &str, sequence: u64) -> Result<(), OpenError> {
        let fault = |op| move |error| IoFault::new(op, name, None, error);
        let first = set_aside_name(sequence);
        let mut renamed = self.storage.rename(name, &first);
        for copy in 2..100 {
            match &renamed {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    renamed = self.storage.rename(name, &format!("{first}.{copy}"));
                }
                _ => break,
            }
        }
        renamed.map_err(fault(IoOp::Rename))?;
        Ok(self.storage.sync_dir().map_err(fault(IoOp::SyncDirectory))?)
    }
}

/// More LSNs than one life of the log uses up between two salvages: a segment holds less than 2^30
/// records.
const UNKNOWN_LSNS: u64 = 1 << 40;

/// The highest that sound frame headers claim.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    pub(super) next_lsn: Lsn,
    low_water: Lsn,
    epoch: Epoch,
    /// The highest LSN that was promised durable.
    pub(super) promised: Lsn,
}

impl Claims {
    fn note(&mut self, header: &FrameHeader) {
        self.next_lsn = self.next_lsn.max(header.next_lsn);
        // Nothing is released before it was written, whatever a header says.
        let low_water = header.low_water.min(header.next_lsn.previous());
        self.low_water = self.low_water.max(low_water);
        self.epoch = self.epoch.max(header.epoch);
        self.promised = self.promised.max(header.watermark.min(header.next_lsn.previous()));
    }
}

fn is_prepared(segment: &Surveyed) -> bool {
    matches!(segment.first, First::Unused(Verdict::Clean))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DamagePolicy, WalConfig};
    use crate::lsn::LogId;
    use std::sync::Arc;

    use crate::engine::state::shared::Shared;
    use crate::format::Place;
    use crate::format::segment::{SegmentHeader, segment_name};
    use crate::runtime::clock::SystemClock;
    use crate::testkit::SimDisk;

    /// An earlier salvage could have skipped as much as a later one, and the LSNs of its life be forgotten.
    #[test]
    fn p9_each_file_that_was_ever_set_aside_makes_a_salvage_skip_more_lsns() {
        let mut config = WalConfig::new("unused");
        config.damage_policy = DamagePolicy::Salvage;
        let (shared, _queue) = Shared::new(&config, Arc::new(SystemClock::default()));
        for (aside_before, lost) in [(0, 0), (0, 2), (2, 0), (2, 1), (3, 3)] {
            let disk = SimDisk::new();
            (0..aside_before).for_each(|at| disk.write_file(&set_aside_name(10 + at), *b"aside"));
            (0..lost).for_each(|at| disk.write_file(&segment_name(20 + at), *b"no header"));
            // Without a segment behind what was set aside the directory would be refused.
            let place = Place { log_id: LogId([7; 16]), sequence: 30, block_size: 512 };
            let header = SegmentHeader { place, size: 4096, recycled: false, growing: false };
            disk.write_file(&segment_name(30), header.encode());
            let storage = disk.mount().expect("free");
            let mut survey = Survey::take(storage, &config, &shared).expect("surveyed");
            survey.set_lost_aside();
            assert_eq!(survey.unknown_lsns(), (1 + aside_before + lost) * UNKNOWN_LSNS);
        }
    }
}
