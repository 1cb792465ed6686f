//! Plan: what is replayed, first from the old segments, and the last frame from the one that is begun.

use super::begin::Begun;
use super::live_walk::LiveWalk;
use super::replay::Replaying;
use super::report::RecoveryReport;
use super::survey::Survey;
use super::tail::Tail;
use crate::engine::segments::catalog::SegmentInfo;
use crate::error::{Damage, OpenError};
use crate::lsn::Lsn;

/// Where the replay begins, where the log ends, and the segments in between.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) from: Lsn,
    tail: Tail,
    live: Vec<SegmentInfo>,
}

/// A plan that has been carried out, but for the last frame. Nothing was written so far.
pub(super) struct Replayed<'a> {
    tail: Tail,
    counts: RecoveryReport,
    walk: LiveWalk<'a>,
    replay: Replaying<'a>,
}

impl Plan {
    /// # Errors
    /// The log has never had `from`, or has released it.
    pub(super) fn new(
        survey: &Survey<'_>,
        tail: Tail,
        from: Option<Lsn>,
    ) -> Result<Self, OpenError> {
        let from = first_to_replay(from, tail.position.low_water, tail.next_life)?;
        let live = survey.live_until(tail.position.last_live);
        Ok(Plan { from, tail, live })
    }

    /// Replays all but the very last frame. What the host refuses it refuses before anything is written, but for
    /// that frame.
    pub(super) fn replay<'a>(
        self,
        survey: &'a Survey<'a>,
        mut replay: Replaying<'a>,
        salvaged: Option<Damage>,
    ) -> Result<Replayed<'a>, OpenError> {
        let Plan { tail, live, .. } = self;
        let mut counts = RecoveryReport { salvaged, ..RecoveryReport::default() };
        let mut walk = LiveWalk::new(survey, &live, tail.position.low_water);
        walk.run(&live, &mut counts, &mut |frame, progress| replay.frame(frame, progress))?;
        if !survey.is_cut() {
            walk.check_last_start()?;
        }
        replay.settle(walk.progress)?;
        Ok(Replayed { tail, counts, walk, replay })
    }
}

/// What an open would find, and do.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    pub(crate) report: RecoveryReport,
    /// Records of the very last frame that no checkpoint has released.
    pub(crate) carried_live: u64,
    /// Where in its segment the torn tail begins, if there is one.
    pub(crate) torn_at: Option<u64>,
    /// Files that a salvage would set aside.
    pub(crate) aside: Vec<String>,
    /// Of a salvage that ends the log: the LSN behind all that sound frame headers name, and the highest that was promised
    /// durable. One that only leaves unreadable segments out goes by no such header.
    pub(crate) claimed: Option<(Lsn, Lsn)>,
}

impl Replayed<'_> {
    /// The report of an open that would go on from here. The records of the very last frame, which an open carries over
    /// and then replays, count as read.
    pub(super) fn rehearsed(self, survey: &Survey<'_>) -> Rehearsed {
        let Replayed { tail, counts, .. } = self;
        let position = tail.position;
        let (carried, last_lsn) = tail.carry.as_ref().map_or((0, position.last_live), |last| {
            (u64::from(last.header.count), last.header.last_lsn())
        });
        let report = RecoveryReport {
            log_id: survey.log_id,
            epoch: position.epoch,
            records: counts.records + carried,
            last_lsn,
            next_lsn: tail.next_life,
            low_water: position.low_water,
            clean: tail.clean,
            carried,
            torn_tail: tail.torn,
            ..counts
        };
        let carried_from = last_lsn.get() - carried;
        let carried_live =
            last_lsn.get() - carried_from.max(position.low_water.get()).min(last_lsn.get());
        let torn_at = report.torn_tail.map(|(sequence, torn)| match &tail.trim {
            Some((trimmed, _, end)) if *trimmed == sequence => end - torn.bytes,
            // A torn start frame: it stands in the second block.
            _ => survey.surveyed(sequence).map_or(0, |it| u64::from(it.header.place.block_size)),
        });
        let aside = survey.salvage.aside.iter().map(|(name, _)| name.clone()).collect();
        let claims = survey.salvage.claims;
        let claimed = survey.is_cut().then_some((claims.next_lsn, claims.promised));
        Rehearsed { report, carried_live, torn_at, aside, claimed }
    }

    /// Begins the next epoch, then replays what was carried into its first frame.
    pub(super) fn begin(self, survey: &Survey<'_>) -> Result<Begun, OpenError> {
        let Replayed { tail, counts, mut walk, mut replay } = self;
        let mut begun = survey.begin(tail, counts)?;
        let carried = survey.live_in_new(&begun);
        let report = &mut begun.report;
        walk.run(&carried, report, &mut |frame, progress| replay.frame(frame, progress))?;
        report.replayed = replay.end(walk.progress.total)?;
        Ok(begun)
    }
}

/// Where the replay begins, if the log has had that LSN and has it still.
fn first_to_replay(from: Option<Lsn>, low_water: Lsn, next: Lsn) -> Result<Lsn, OpenError> {
    match from.map(|from| from.max(Lsn::FIRST)) {
        None => Ok(low_water.next()),
        Some(from) if from <= low_water => Err(OpenError::Released { from, released: low_water }),
        Some(from) if from > next => Err(OpenError::BeyondEnd { from, next }),
        Some(from) => Ok(from),
    }
}
