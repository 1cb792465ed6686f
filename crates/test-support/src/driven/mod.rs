//! A log driven by hand on one thread: the flush loop, the assigner, the preparer and recovery that
//! production runs, one step at a time, with a client that notes what it is told.

pub mod histories;
mod meanwhile;

use std::sync::Arc;

use actix_wal::storage::Storage;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::intake::assigner::Assigner;
use actix_wal::testkit::internals::engine::intake::entry::Payload;
use actix_wal::testkit::internals::engine::recovery::Begun;
use actix_wal::testkit::internals::engine::segments::supply::{Pool, SegmentSource};
use actix_wal::testkit::internals::engine::state::outcomes::Fate;
use actix_wal::testkit::internals::engine::state::requests::QueueReceiver;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::engine::write::flush_loop::{
    FlushLoop, LoopEvent, Next, Worked,
};
use actix_wal::testkit::internals::runtime::clock::Clock;
use actix_wal::testkit::{ByHand, ManualClock};
use actix_wal::{Cause, Durability, Lsn, OpenError, WalConfig};

use crate::counts::Counts;
use crate::facts::{Fact, Key, payload};
use crate::recovered::for_the_next_life;
use crate::witness::Witness;
use actix_wal::testkit::Random;

/// An append whose outcome the client does not know yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    key: Key,
    last: Lsn,
    /// Nobody waits for it, until the end of the life.
    is_async: bool,
}

/// One life of a log, from its recovery to its end.
pub struct Log {
    clock: ManualClock,
    pub shared: Arc<Shared>,
    queue: QueueReceiver,
    run: FlushLoop,
    /// The preparer.
    pub hand: ByHand,
    assigner: Assigner,
    witness: Witness,
    next_key: Key,
    open: Vec<Open>,
    watermark: Lsn,
    /// Faults in a row, and how many of them poison the log.
    faults: u32,
    budget: u32,
    pub poisoned: bool,
}

impl Log {
    pub fn open(
        storage: Arc<dyn Storage>,
        config: &WalConfig,
        witness: Witness,
        life: u32,
        random: &mut Random,
    ) -> Result<Log, OpenError> {
        witness.note(Fact::Opening);
        let clock = ManualClock::seeded(random.number());
        let Parts { shared, queue } = Parts::with_clock(config, Arc::new(clock.clone()));
        let mut assigner = Assigner::new(Arc::clone(&shared));
        assert!(!shared.is_accepting() && assigner.next_lsn().is_none(), "P15");
        let recovered = for_the_next_life(storage, config, &shared)?;
        let watermark = recovered.report().last_lsn;
        let Begun { storage, style, writer, position, prepared, next_sequence, .. } = recovered;
        let hand = ByHand::default();
        let pool = Pool::start(&hand, storage, style, next_sequence, writer.size(), prepared);
        let mut pool = pool.expect("a hand is no thread");
        pool.recycle(recovered.removable);
        let source = Box::new(pool);
        let run = FlushLoop::new(config, Arc::clone(&shared), style, source, position, writer);
        assigner.resume(position.next_lsn);
        let next_key = Key { client: life, sequence: 0 };
        let open = Vec::new();
        let (faults, budget, poisoned) = (0, config.restart_budget.restarts, false);
        Ok(Log {
            clock,
            shared,
            queue,
            run,
            hand,
            assigner,
            witness,
            next_key,
            open,
            watermark,
            faults,
            budget,
            poisoned,
        })
    }

    /// Appends records of these lengths, as one group. Refused without a word when the log takes none.
    pub fn append(&mut self, lens: &[u32], durability: Durability) {
        let count = lens.len() as u32;
        self.next_key.sequence += 1;
        let key = self.next_key;
        let record = |index, len: &u32| payload(key, index, count, *len).into();
        let payload = match lens {
            [len] => Payload::One(record(0, len)),
            _ => Payload::Group((0..).zip(lens).map(|(index, len)| record(index, len)).collect()),
        };
        let room = self.shared.admission.try_acquire(payload.count(), payload.encoded_len());
        let (Ok(permit), true) = (room, self.shared.is_accepting()) else { return };
        self.witness.note(Fact::Submitted { key, count });
        let range = self.assigner.assign(payload, durability, permit).expect("it accepts");
        self.assigner.hand_over().expect("the queue has room");
        self.witness.note(Fact::Assigned { key, first: range.first });
        let is_async = durability == Durability::Async;
        self.open.push(Open { key, last: range.last, is_async });
    }

    /// Lets the flush thread do one thing, if there is one to do now. Whether there was.
    pub fn step(&mut self) -> bool {
        let taken = self.take_queued();
        if let Err(cause) = taken {
            panic!("the queue is in order: {cause}");
        }
        if self.run.next(self.clock.now()) != Next::Work {
            return false;
        }
        match self.run.work() {
            Ok(Worked::Done) => self.faults = 0,
            // Instead of a wait.
            Ok(Worked::NeedsSegment) => drop(self.hand.step()),
            Err(cause) => self.fault(&cause),
        }
        self.listen();
        true
    }

    fn take_queued(&mut self) -> Result<(), Cause> {
        for item in self.queue.try_iter() {
            item.into_entries().into_iter().try_for_each(|entry| self.run.offer(entry))?;
        }
        Ok(())
    }

    fn fault(&mut self, cause: &Cause) {
        self.run.fault(cause);
        self.faults += 1;
        if self.faults > self.budget {
            self.run.abandon(cause);
            self.poisoned = true;
        }
    }

    /// Does all there is to do now. A full disk is waited for in vain.
    pub fn settle(&mut self) {
        for _ in 0..60 {
            if !self.step() {
                return;
            }
        }
    }

    /// Lets time pass, and does what is due then: a window ends, or a quiet moment is sealed.
    pub fn wait(&mut self) {
        self.settle();
        if let Next::WaitUntil(due) = self.run.next(self.clock.now()) {
            self.clock.advance(due.saturating_sub(self.clock.now()));
            self.settle();
        }
    }

    /// Releases all but the last records.
    pub fn checkpoint(&mut self, keep: u64) {
        let lsn = Lsn::new(self.shared.watermark.durable().get().saturating_sub(keep));
        if !lsn.is_none() {
            self.witness.note(Fact::Checkpoint(lsn));
            self.shared.requests.checkpoint(lsn);
            self.settle();
        }
    }

    /// What the client is notified of: failures before the watermark that passes them.
    fn listen(&mut self) {
        for event in self.run.take_events() {
            if let LoopEvent::EpochStarted(_, next_lsn) = event {
                self.assigner.resume(next_lsn);
            }
        }
        let witness = self.witness.clone();
        let shared = Arc::clone(&self.shared);
        self.open.retain(|open| match shared.fate(open.last) {
            Some(Fate::NotDurable(_)) => {
                witness.note(Fact::NotDurable { key: open.key });
                false
            }
            Some(Fate::Durable) if !open.is_async => {
                witness.note(Fact::Acknowledged { key: open.key });
                false
            }
            Some(Fate::Unknown(_)) => false,
            _ => true,
        });
        let watermark = self.shared.watermark.durable();
        assert!(watermark >= self.watermark, "P5: the watermark fell");
        if watermark > self.watermark {
            self.watermark = watermark;
            self.witness.note(Fact::Watermark(watermark));
        }
    }

    /// At the end of a life the client asks for what it did not wait for.
    fn ask_for_the_rest(&mut self) {
        self.open.iter_mut().for_each(|open| open.is_async = false);
        self.listen();
    }

    /// Closes it. Whether that was a clean close.
    pub fn close(mut self) -> Counts {
        self.shared.stop_accepting();
        self.shared.requests.close();
        while self.run.next(self.clock.now()) != Next::Ended {
            self.step();
        }
        self.run.stop_source();
        self.hand.step();
        self.ask_for_the_rest();
        if !self.poisoned {
            assert!(self.open.is_empty(), "P6: {:?} never has an outcome", self.open);
            self.witness.note(Fact::Closed);
        }
        let mut done = self.done();
        done.count("closes", u64::from(!self.poisoned));
        done
    }

    /// The process is killed: nothing more is done.
    pub fn kill(mut self) -> Counts {
        self.ask_for_the_rest();
        self.done()
    }

    fn done(&self) -> Counts {
        let (stats, mut done) = (self.shared.stats(), Counts::default());
        let all = [
            ("acknowledged records", stats.durable),
            ("refused records", stats.not_durable),
            ("rotations", stats.rotations),
            ("seals", stats.seals),
            ("faults", stats.io_errors),
            ("checkpoints", u64::from(!self.shared.catalog.low_water().is_none())),
            ("poisoned logs", u64::from(self.poisoned)),
        ];
        all.into_iter().for_each(|(what, times)| done.count(what, times));
        done
    }
}
