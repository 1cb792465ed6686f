//! What becomes of records when a write or a sync has failed, or the disk is full: written again in the next
//! epoch, or answered.

use std::mem;

use super::{FlushLoop, LoopEvent};
use crate::config::FaultPolicy;
use crate::engine::intake::entry::{Tally, range_of};
use crate::engine::state::meter::{Fated, Modes};
use crate::engine::state::outcomes::Fate;
use crate::error::{Cause, IoFault};
use crate::lsn::LsnRange;
use crate::status::LogState;

/// Entries of a failed batch that are `NotDurable` as soon as a cut is durable that excludes them.
#[derive(Debug)]
pub(super) struct AwaitingCut {
    range: LsnRange,
    entries: usize,
    bytes: usize,
    modes: Modes,
    cause: Cause,
}

impl FlushLoop {
    /// A write or a sync failed, or something panicked: the epoch is over. The driver has offered
    /// everything that was in the queue before. What follows is a new epoch, or [`abandon`](Self::abandon).
    pub fn fault(&mut self, cause: &Cause) {
        self.shared.stop_accepting();
        self.shared.io.ended();
        self.failed.extend(self.writer.take().map(|writer| writer.name().to_owned()));
        self.hand_back();
        if self.life.state().is_final() {
            return;
        }
        self.life.go(LogState::Unavailable(cause.clone()));
        self.waits_for = None;
        if self.fault_policy == FaultPolicy::FailFast {
            self.gives_up = Some(cause.clone());
            self.doom_touched(cause);
            self.refuse_pending(cause);
        }
    }

    /// Puts the batch in hand back in front of what is pending, but for what is durable already.
    fn hand_back(&mut self) {
        // A panic between the sync and the watermark: what the position covers is durable.
        if self.position.last_live > self.shared.watermark.durable() {
            self.shared.watermark.raise_durable(self.position.last_live);
        }
        let durable = self.shared.watermark.durable();
        let (done, open): (Vec<_>, Vec<_>) =
            self.in_hand.drain(..).partition(|entry| entry.last_lsn() <= durable);
        let (modes, done) = (Modes::of(&done), Tally::of(&done));
        self.shared.admission.release(done.entries, done.bytes);
        self.shared.meter.settled(modes, done.bytes, Fated::Durable);
        open.into_iter().rev().for_each(|entry| self.pending.push_front(entry));
        self.recount();
    }

    /// What was passed to a write may be on disk: it is `NotDurable` only once a cut excludes it.
    fn doom_touched(&mut self, cause: &Cause) {
        let touched =
            self.pending.iter().take_while(|entry| entry.last_lsn() <= self.touched).count();
        let failed: Vec<_> = self.pending.drain(..touched).collect();
        if let Some(range) = range_of(&failed) {
            let Tally { entries, bytes, .. } = Tally::of(&failed);
            self.shared.watermark.end_epoch(self.position.epoch);
            let modes = Modes::of(&failed);
            self.doomed.push(AwaitingCut { range, entries, bytes, modes, cause: cause.clone() });
        }
        self.recount();
    }

    /// What was never passed to a write is certainly not in the log.
    pub(super) fn refuse_pending(&mut self, cause: &Cause) {
        let failed: Vec<_> = self.pending.drain(..).collect();
        self.recount();
        if let Some(range) = range_of(&failed) {
            let Tally { entries, bytes, .. } = Tally::of(&failed);
            self.shared.watermark.end_epoch(self.position.epoch);
            let modes = Modes::of(&failed);
            self.not_durable(AwaitingCut { range, entries, bytes, modes, cause: cause.clone() });
        }
    }

    fn not_durable(&mut self, AwaitingCut { range, entries, bytes, modes, cause }: AwaitingCut) {
        self.shared.note_exception(range, Fate::NotDurable(cause.clone()));
        self.shared.admission.release(entries, bytes);
        self.shared.meter.settled(modes, bytes, Fated::NotDurable);
        self.events.push(LoopEvent::NotDurable(range, cause));
    }

    /// Restarts did not help. Everything that is open is answered: `NotDurable` if it was never passed
    /// to a write, `Unknown` if it was, since no cut could be made durable.
    pub fn abandon(&mut self, cause: &Cause) {
        self.fault(cause);
        self.life.go(LogState::Poisoned(cause.clone()));
        self.doom_touched(cause);
        for doomed in mem::take(&mut self.doomed) {
            self.shared.note_exception(doomed.range, Fate::Unknown(doomed.cause.clone()));
            self.shared.admission.release(doomed.entries, doomed.bytes);
            self.shared.meter.settled(doomed.modes, doomed.bytes, Fated::Unknown);
            self.events.push(LoopEvent::Unknown(doomed.range, doomed.cause));
        }
        self.refuse_pending(cause);
        self.watch.left(&self.shared.meter, None);
    }

    /// A full disk is no fault: what was accepted and never written is refused, everything else
    /// stands, and the log goes on in a new epoch when there is space (promise P21).
    pub(super) fn enter_no_space(&mut self, fault: IoFault) {
        self.shared.stop_accepting();
        self.shared.io.ended();
        self.gives_up = Some(Cause::NoSpace(fault.clone()));
        self.refuse_pending(&Cause::NoSpace(fault.clone()));
        self.refuse_rotation(Cause::NoSpace(fault.clone()));
        self.events.push(LoopEvent::NoSpace(fault.clone()));
        self.life.go(LogState::NoSpace(fault));
    }

    /// The cut that excludes them is durable: from now on they are certainly not in the log.
    pub(super) fn settle_doomed(&mut self) {
        for doomed in mem::take(&mut self.doomed) {
            self.not_durable(doomed);
        }
    }
}
