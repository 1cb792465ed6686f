//! A flush loop without a disk: it does with each append what a script says. The Flusher around it is the real one.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::mock_script::{MockScript, MockStep};
use crate::actors::flusher::script::ScriptEvent;
use crate::engine::intake::entry::Entry;
use crate::engine::state::lifecycle::{Flushes, Lifecycle};
use crate::engine::state::outcomes::Fate;
use crate::engine::state::shared::Shared;
use crate::engine::write::flush_loop::{FlushSteps, LoopEvent, Next, Worked};
use crate::error::Cause;
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::runtime::clock::Tick;
use crate::status::LogState;

/// Something to be done in the loop, with all that it holds.
type Action = Box<dyn FnOnce(&mut ScriptedLoop) -> Result<(), Cause> + Send>;

/// What the handle of the mock and the loop share.
#[derive(Default)]
pub(super) struct Levers {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Each is done once this LSN has arrived. `None` when the loop is gone, and nobody would do them.
    actions: Option<Vec<(Lsn, Action)>>,
    received: Vec<Entry>,
}

impl fmt::Debug for Levers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levers").finish_non_exhaustive()
    }
}

impl Levers {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the loop do this once `after` has arrived. It is dropped if the loop is gone.
    pub(super) fn pull(&self, after: Lsn, action: Action) {
        if let Some(actions) = &mut self.lock().actions {
            actions.push((after, action));
        }
    }

    fn has_ready(&self, expected: Lsn) -> bool {
        let inner = self.lock();
        inner.actions.as_ref().is_some_and(|all| all.iter().any(|(after, _)| *after < expected))
    }

    /// The first action whose appends have all arrived. The others keep their order.
    fn take_ready(&self, expected: Lsn) -> Option<Action> {
        let mut inner = self.lock();
        let actions = inner.actions.as_mut()?;
        let at = actions.iter().position(|(after, _)| *after < expected)?;
        Some(actions.remove(at).1)
    }

    /// All appends so far.
    pub(super) fn received(&self) -> Vec<Entry> {
        self.lock().received.clone()
    }
}

/// What the script does at the moment.
#[derive(Debug)]
enum Mood {
    /// The first pending append gets the next step.
    Answering,
    /// The first pending append waits: until this time, or for the test.
    Holding(Option<Tick>),
    /// As if a sync did not return.
    Silent,
    /// The next epoch begins at this time.
    BackingOff(Tick),
    /// As if the thread had been taken away: not even a close is answered.
    Dead,
}

/// The loop. See the [module](self).
#[derive(Debug)]
pub(super) struct ScriptedLoop {
    shared: Arc<Shared>,
    levers: Arc<Levers>,
    script: MockScript,
    life: Lifecycle,
    mood: Mood,
    /// The LSN that the next append from the queue must have.
    expected: Lsn,
    /// Appends without an outcome.
    pending: VecDeque<Entry>,
    checkpointed: Lsn,
    events: Vec<LoopEvent>,
    kept: Vec<Box<dyn Any + Send>>,
}

impl ScriptedLoop {
    /// The loop of an empty log, whose first epoch begins with it.
    pub(super) fn new(shared: Arc<Shared>, script: MockScript) -> (Self, Arc<Levers>) {
        let levers = Arc::new(Levers::default());
        levers.lock().actions = Some(Vec::new());
        let epoch = Epoch::NONE.next();
        shared.begin_epoch(epoch);
        shared.go(LogState::Running);
        let scripted = ScriptedLoop {
            shared,
            levers: Arc::clone(&levers),
            script,
            life: Lifecycle::at(LogState::Running),
            mood: Mood::Answering,
            expected: Lsn::FIRST,
            pending: VecDeque::new(),
            checkpointed: Lsn::NONE,
            events: vec![LoopEvent::EpochStarted(epoch, Lsn::FIRST)],
            kept: Vec::new(),
        };
        (scripted, levers)
    }

    /// What comes next in the script, before everything else.
    pub(super) fn script_first(&mut self, step: MockStep) {
        self.script.push_front(step);
    }

    /// Everything that has arrived up to `lsn` becomes durable, whatever the script says about it.
    pub(super) fn acknowledge_through(&mut self, lsn: Lsn) {
        if !matches!(self.mood, Mood::Answering | Mood::Holding(_) | Mood::Silent) {
            return;
        }
        let covered = |entry: &&Entry| entry.last_lsn() <= lsn;
        for nth in 0..self.pending.iter().take_while(covered).count() {
            // The first one has had its step.
            if nth > 0 {
                let _ = self.script.next();
            }
            self.acknowledge_first();
            self.mood = Mood::Answering;
        }
    }

    /// Does this now with the first append that is pending; with the log if none is.
    pub(super) fn act(&mut self, step: MockStep) -> Result<(), Cause> {
        match (&self.mood, step) {
            (_, MockStep::Tell(event)) => self.say(ScriptEvent::Tell(event)),
            (Mood::Answering | Mood::Holding(_) | Mood::Silent, step) => {
                self.mood = Mood::Answering;
                return self.apply(step);
            }
            _ => {}
        }
        Ok(())
    }

    /// Calls this once everything so far has been told.
    pub(super) fn when_told(&mut self, call: impl FnOnce() + Send + 'static) {
        self.say(ScriptEvent::Passed(Mutex::new(Some(Box::new(call)))));
    }

    /// Keeps this as long as the loop: until what a fault leads to has been told.
    pub(super) fn keep(&mut self, what: impl Any + Send) {
        self.kept.push(Box::new(what));
    }

    /// The Flusher panics, and nothing gets an outcome any more.
    pub(super) fn die(&mut self) {
        if !matches!(self.mood, Mood::Dead) {
            self.mood = Mood::Dead;
            self.say(ScriptEvent::Die);
        }
    }

    fn say(&mut self, event: ScriptEvent) {
        self.events.push(LoopEvent::Script(Arc::new(event)));
    }

    fn apply(&mut self, step: MockStep) -> Result<(), Cause> {
        let now = self.shared.clock.now();
        match step {
            MockStep::Acknowledge => self.acknowledge_first(),
            MockStep::Delay(wait) => self.mood = Mood::Holding(Some(now.saturating_add(wait))),
            MockStep::Hold => self.mood = Mood::Holding(None),
            MockStep::Fail(cause) => {
                if let Some(entry) = self.pending.pop_front() {
                    self.shared.watermark.end_epoch(self.shared.watermark.epoch());
                    self.fail(&entry, Fate::NotDurable(cause));
                    self.next_epoch();
                }
            }
            MockStep::GoSilent => self.mood = Mood::Silent,
            MockStep::Restart(cause, wait) => {
                self.shared.stop_accepting();
                self.shared.counters.restarts.add(1);
                self.life.go(LogState::Unavailable(cause.clone()));
                self.events.push(LoopEvent::Waiting(cause));
                self.mood = Mood::BackingOff(now.saturating_add(wait));
            }
            MockStep::Poison(cause) => return Err(unmendable(cause)),
            MockStep::Tell(event) => self.say(ScriptEvent::Tell(event)),
        }
        Ok(())
    }

    fn acknowledge_first(&mut self) {
        let Some(entry) = self.pending.pop_front() else { return };
        self.shared.watermark.raise_written(entry.last_lsn());
        self.shared.watermark.raise_durable(entry.last_lsn());
        let (records, bytes) = (entry.payload.count(), entry.payload.encoded_len());
        self.shared.counters.durable.add(records as u64);
        self.shared.counters.durable_bytes.add(bytes as u64);
        self.shared.admission.release(records, bytes);
    }

    fn fail(&mut self, entry: &Entry, fate: Fate) {
        if let Some(range) = LsnRange::new(entry.first_lsn, entry.last_lsn()) {
            self.shared.note_exception(range, fate.clone());
            self.events.extend(match fate {
                Fate::NotDurable(cause) => Some(LoopEvent::NotDurable(range, cause)),
                Fate::Unknown(cause) => Some(LoopEvent::Unknown(range, cause)),
                Fate::Durable => None,
            });
        }
        self.shared.admission.release(entry.payload.count(), entry.payload.encoded_len());
    }

    fn next_epoch(&mut self) {
        let epoch = self.shared.watermark.epoch().next();
        self.life.go(LogState::Running);
        self.shared.begin_epoch(epoch);
        self.events.push(LoopEvent::EpochStarted(epoch, self.expected));
    }

    fn begin_epoch(&mut self) {
        self.next_epoch();
        self.mood = Mood::Answering;
        // It is written again, in the start frame.
        self.acknowledge_first();
    }

    /// Not before everything has arrived that was accepted.
    fn wants_close(&self) -> bool {
        self.shared.requests.wants_close() && self.shared.watermark.accepted() < self.expected
    }

    fn do_actions(&mut self) -> Result<(), Cause> {
        while let Some(action) = self.levers.take_ready(self.expected) {
            action(self)?;
        }
        Ok(())
    }

    fn do_steps(&mut self, closing: bool) -> Result<(), Cause> {
        let now = self.shared.clock.now();
        loop {
            match self.mood {
                Mood::BackingOff(due) if due <= now || closing => self.begin_epoch(),
                // A clean close makes everything durable that was accepted.
                Mood::Holding(due) if closing || due.is_some_and(|due| due <= now) => {
                    self.acknowledge_first();
                    self.mood = Mood::Answering;
                }
                Mood::Answering if !self.pending.is_empty() => {
                    let step = self.script.next();
                    self.apply(step)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn checkpoint(&mut self) {
        let wish = self.shared.requests.checkpoint_through();
        if wish > self.checkpointed {
            self.checkpointed = wish;
            self.shared.catalog.raise_low_water(wish);
            self.shared.outcomes.forget_through(self.shared.catalog.low_water());
            self.events.push(LoopEvent::Checkpointed(wish));
        }
    }
}

impl FlushSteps for ScriptedLoop {
    fn next(&self, now: Tick) -> Next {
        let requests = self.shared.requests.look();
        let asked = requests.checkpoint_through() > self.checkpointed
            || self.levers.has_ready(self.expected);
        if self.life.flushes() == Flushes::Nothing {
            return Next::Ended;
        }
        if asked || self.wants_close() {
            return Next::Work;
        }
        match self.mood {
            Mood::Answering if !self.pending.is_empty() => Next::Work,
            Mood::Holding(Some(due)) | Mood::BackingOff(due) if due <= now => Next::Work,
            Mood::Holding(Some(due)) | Mood::BackingOff(due) => Next::WaitUntil(due),
            _ => Next::Wait,
        }
    }

    fn offer(&mut self, entry: Entry) -> Result<(), Cause> {
        if entry.first_lsn != self.expected {
            let (expected, found) = (self.expected, entry.first_lsn);
            let what = format!("the queue gave LSN {found} where {expected} comes next");
            return Err(Cause::Broken { what });
        }
        self.expected = entry.next_lsn();
        self.levers.lock().received.push(entry.clone());
        self.pending.push_back(entry);
        Ok(())
    }

    fn work(&mut self) -> Result<Worked, Cause> {
        let (before, closing) = (self.shared.watermark.durable(), self.wants_close());
        self.do_actions()?;
        self.checkpoint();
        self.do_steps(closing)?;
        self.shared.counters.batches.add((self.shared.watermark.durable() > before).into());
        if closing {
            self.shared.stop_accepting();
            if matches!(self.mood, Mood::Silent) {
                // The sync that never returned: nobody will ever know.
                return Err(Cause::Stalled { seconds: 0 });
            }
            self.life.go(LogState::Closed(Cause::Closed));
        }
        Ok(Worked::Done)
    }

    fn tidy(&mut self) {}

    fn wait_for_segment(&mut self, _: Duration) {}

    fn take_events(&mut self) -> Vec<LoopEvent> {
        std::mem::take(&mut self.events)
    }

    fn fault(&mut self, _: &Cause) {
        self.shared.stop_accepting();
        // Nothing hangs any more: the watchdog has nothing to look at.
        self.shared.io.ended();
    }

    /// The first append was passed to a write, and those behind it were not.
    fn abandon(&mut self, cause: &Cause) {
        self.life.go(LogState::Poisoned(cause.clone()));
        let touched = if matches!(self.mood, Mood::Silent) { self.pending.len() } else { 1 };
        for (at, entry) in std::mem::take(&mut self.pending).iter().enumerate() {
            let unknown = at < touched;
            let fate = if unknown { Fate::Unknown } else { Fate::NotDurable };
            self.fail(entry, fate(cause.clone()));
        }
    }

    fn stop_source(&mut self) {}
}

/// What asks for something now is told that nobody is there.
impl Drop for ScriptedLoop {
    fn drop(&mut self) {
        let unanswered = self.levers.lock().actions.take();
        // Their answers wake others, which is not for under the lock.
        drop(unanswered);
    }
}

/// The same cause, but none that passes by itself: the Flusher must not try again.
fn unmendable(cause: Cause) -> Cause {
    if cause.class().passes() {
        let what = "the script of the mock has poisoned the log".to_owned();
        return cause.followed_by(Cause::Broken { what });
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogParts;
    use crate::config::WalConfig;

    #[test]
    fn p6_a_script_that_has_poisoned_its_log_leaves_nothing_that_looks_like_a_sync_that_hangs() {
        let LogParts { shared, .. } = LogParts::new(&WalConfig::new("unused"));
        let (mut scripted, _levers) = ScriptedLoop::new(Arc::clone(&shared), [].into());
        // What the flush thread does before each step.
        assert!(shared.io.is_coming(shared.clock.now()), "the Flusher is to look");
        let cause = scripted.act(MockStep::poison()).expect_err("it poisons");
        scripted.fault(&cause);
        assert_eq!(shared.io.since(), None);
    }
}
