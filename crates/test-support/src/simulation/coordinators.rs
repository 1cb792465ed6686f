//! Those who use the log by messages: coordinators, which believe what events say of the watermark, and nothing
//! else. Some send their appends one by one, and others have an outbox, and tokens in an [`InFlight`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};
use actix_wal::messages::{Accepted, Subscribe, Ticket};
use actix_wal::testkit::internals;
use actix_wal::testkit::internals::engine::intake::entry::Payload;
use actix_wal::testkit::internals::wire::{Reply, Submit};
use actix_wal::{
    AppendError, CommitError, Durability, InFlight, LogEvent, Lsn, LsnRange, Outcome,
    RestartBudget, Wal, WalConfig,
};
use tokio::sync::oneshot;

use super::world::{World, now};
use crate::facts::{Fact, Key, payload};

/// An actor that appends by message, and learns of durability by message alone.
pub(crate) struct Coordinator {
    number: u32,
    next: u32,
    wal: Wal,
    world: Arc<World>,
    /// Whether it takes its time over each event.
    slow: bool,
    /// Whether it was notified that the epoch takes appends that recovery began.
    opened: bool,
    /// Half of them have an outbox. What went into it and has no answer yet is kept here too, to judge by.
    log: Option<InFlight<Key>>,
    put_in: BTreeMap<Ticket, (Key, u32, Duration)>,
    /// What messages have said of those, and what came out with their tokens.
    said: BTreeMap<Key, Said>,
    /// Since an event of this kind, whose outcome is open may be `Unknown`.
    in_doubt: bool,
    /// Those that came out as `Unknown`, or because the log was poisoned.
    forgotten: BTreeSet<Key>,
    pending: BTreeMap<Lsn, (Key, Duration)>,
    /// How long an answer may take while nothing goes wrong (promise P17).
    in_time: Option<Duration>,
    budget: RestartBudget,
    /// The first LSN of each of its appends.
    order: BTreeMap<u32, Lsn>,
    through: Lsn,
    failed: Vec<LsnRange>,
    broken: Option<oneshot::Sender<String>>,
}

impl Coordinator {
    /// Starts one. Whatever it finds broken comes out of the receiver.
    pub(crate) fn start(
        number: u32,
        next: u32,
        wal: &Wal,
        world: &Arc<World>,
        config: &WalConfig,
        in_time: Option<Duration>,
    ) -> oneshot::Receiver<String> {
        let (broken, receiver) = oneshot::channel();
        let slow = number % 2 == 1;
        let coordinator = Coordinator {
            number,
            next,
            wal: wal.clone(),
            world: Arc::clone(world),
            slow,
            opened: false,
            log: None,
            put_in: BTreeMap::new(),
            said: BTreeMap::new(),
            in_doubt: false,
            forgotten: BTreeSet::new(),
            pending: BTreeMap::new(),
            in_time: in_time.filter(|_| !slow),
            budget: config.restart_budget,
            order: BTreeMap::new(),
            through: Lsn::NONE,
            failed: Vec::new(),
            broken: Some(broken),
        };
        Coordinator::create(|context| {
            context.set_mailbox_capacity(if slow { 1 } else { 16 });
            coordinator
        });
        receiver
    }

    fn append(&mut self, context: &mut Context<Self>) {
        match self.log.take() {
            Some(mut log) => {
                // These share one wake-up.
                (0..1 + self.world.below(4)).for_each(|_| self.put_in(&mut log));
                self.log = Some(log);
            }
            None => self.send(context),
        }
    }

    fn key(&mut self, count: u32) -> Key {
        self.next += 1;
        let key = Key { client: self.number, sequence: self.next };
        self.world.fact(Fact::Submitted { key, count });
        key
    }

    fn put_in(&mut self, log: &mut InFlight<Key>) {
        let count = if self.world.once_in(4) { 2 } else { 1 };
        let key = self.key(count);
        let record = |index| payload(key, index, count, self.world.below(200) as u32);
        let put_in = match count {
            1 => log.append(record(0), key),
            _ => log.append_all((0..count).map(record), key),
        };
        match put_in {
            Ok(ticket) => {
                self.world.count("rides along");
                if let Some(twice) = self.put_in.insert(ticket, (key, count, now())) {
                    self.say(format!("P6: {ticket:?} is given out twice: {twice:?}"));
                }
            }
            Err((_, error)) => self.refused(key, error),
        }
    }

    fn send(&mut self, context: &mut Context<Self>) {
        let key = self.key(1);
        let record = Payload::One(payload(key, 0, 1, self.world.below(200) as u32).into());
        let permit = self.wal.admission().try_acquire(1, record.encoded_len());
        let Ok(permit) = permit else {
            return self.world.fact(Fact::NotDurable { key });
        };
        let (reply, answer) = oneshot::channel();
        let durability = Durability::GroupCommit;
        let submit = Submit {
            payload: record,
            durability,
            builds_on: None,
            permit,
            reply: Reply::Accepted(reply),
        };
        internals::submit(self.wal.recipients(), submit);
        let began = now();
        let answer = async move { answer.await.ok() }.into_actor(self);
        context.spawn(actix::ActorFutureExt::map(answer, move |answer, this: &mut Self, _| {
            this.appended(key, began, answer);
        }));
    }

    fn appended(
        &mut self,
        key: Key,
        began: Duration,
        answer: Option<Result<LsnRange, AppendError>>,
    ) {
        match answer {
            Some(Ok(range)) => {
                self.world.fact(Fact::Assigned { key, first: range.first });
                self.in_order(key, range.first);
                self.pending.insert(range.last, (key, began));
                self.settle();
            }
            Some(Err(error)) => self.refused(key, error),
            None => {}
        }
    }

    /// P6: each append has one answer. And that comes before any event that covers its LSNs.
    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { first, count, result } = accepted;
        let mut lsn = result.as_ref().map_or(Lsn::NONE, |range| range.first);
        for ticket in (0..count).map(|n| first.plus(n)) {
            let Some((key, records, began)) = self.put_in.remove(&ticket) else {
                return self.say(format!("P6: {ticket:?} is answered, and nobody waits for it"));
            };
            let range = LsnRange { first: lsn, last: lsn.plus(u64::from(records) - 1) };
            match &result {
                Ok(all) if range.last > all.last => {
                    return self.say(format!("P6: {count} appends have {all} for their LSNs"));
                }
                Ok(_) if self.has_heard_of(range.first) => {
                    return self.say(format!("P5: {range} is accepted after an event covered it"));
                }
                Ok(_) => self.appended(key, began, Some(Ok(range))),
                Err(error) => {
                    self.said.insert(key, Said::Refused);
                    self.refused(key, error.clone());
                }
            }
            lsn = range.last.next();
        }
    }

    fn refused(&mut self, key: Key, error: AppendError) {
        // It goes on to append while the log is being closed.
        if !self.world.is_all_well() && !matches!(error, AppendError::Overloaded { .. }) {
            let for_nothing = self.world.not_for_nothing("P6: an append", &error);
            for_nothing.unwrap_or_else(|broken| self.say(broken));
        }
        if CommitError::from(error).is_not_durable() {
            self.world.fact(Fact::NotDurable { key });
        }
    }

    fn has_heard_of(&self, lsn: Lsn) -> bool {
        lsn <= self.through || self.failed.iter().any(|range| range.contains(lsn))
    }

    /// What the events so far say of what is pending.
    fn settle(&mut self) {
        let (failed, through) = (&self.failed, self.through);
        let has_failed = |lsn: Lsn| failed.iter().any(|range| range.contains(lsn));
        let mut took = Duration::ZERO;
        self.pending.retain(|lsn, (key, began)| {
            if has_failed(*lsn) {
                self.world.fact(Fact::NotDurable { key: *key });
                self.said.insert(*key, Said::NotDurable(*lsn));
                return false;
            }
            if *lsn <= through {
                self.world.fact(Fact::Acknowledged { key: *key });
                self.said.insert(*key, Said::Durable(*lsn));
                took = took.max(now() - *began);
                return false;
            }
            true
        });
        if self.in_time.is_some_and(|in_time| took > in_time) {
            self.say(format!("P17: an append was answered after {took:?}"));
        }
    }

    /// P6: each token comes out once, and with the outcome that the messages say. One that comes out as
    /// `Unknown` is not waited for any more, whatever they say later.
    fn came_out(&mut self, came_out: Vec<(Key, Outcome)>) {
        for (key, outcome) in came_out {
            let said = self.said.remove(&key);
            let agrees = match (&outcome, said) {
                (Ok(lsns), Some(Said::Durable(lsn))) => lsns.last == lsn,
                (Err(CommitError::NotDurable { lsn, .. }), Some(Said::NotDurable(other))) => {
                    *lsn == other
                }
                (Err(CommitError::Refused(_)), Some(Said::Refused)) => true,
                // Poisoned: the flush thread has never had it.
                (Err(CommitError::NotDurable { .. } | CommitError::Unknown { .. }), None) => {
                    self.world.count("token in doubt");
                    self.forgotten.insert(key) && self.in_doubt
                }
                _ => false,
            };
            self.world.count("token out");
            if !agrees {
                self.say(format!("P6: {key:?} comes out as {outcome:?}, but {said:?} was said"));
            }
        }
        // What was said of one that was not waited for any more.
        let forgotten = &self.forgotten;
        self.said.retain(|key, _| !forgotten.contains(key));
        if let Some((key, said)) = self.said.first_key_value() {
            self.say(format!("P6: {said:?} was said of {key:?}, and its token does not come out"));
        }
    }

    /// P7, P17, P21: what the log gives way to must have happened.
    fn judge(&mut self, event: &LogEvent) {
        let begun = self.wal.recovery_report().epoch;
        let mut is_recovered = |epoch| epoch == begun && !std::mem::replace(&mut self.opened, true);
        if let LogEvent::Ready { epoch, .. } = event
            && !self.slow
            && !is_recovered(*epoch)
            && let Err(twice) = self.world.epoch_begins(*epoch)
        {
            self.say(twice);
        }
        let (LogEvent::Unavailable { cause } | LogEvent::Poisoned { cause, .. }) = event else {
            return;
        };
        if let Err(defect) = self.world.no_defect(cause) {
            self.say(defect);
        }
        let (faults, was_full) = (self.world.faults_since(Duration::ZERO), self.world.was_full());
        if faults == 0 && !was_full {
            self.say(format!("P7: nothing has failed, but: {cause}"));
        }
        if matches!(event, LogEvent::Poisoned { .. }) && !self.slow {
            let recent = self.world.faults_within(self.budget.within);
            let allowed = self.budget.restarts as usize;
            if faults == 0 {
                self.say(format!("P21: what passes has poisoned the log: {cause}"));
            } else if recent <= allowed {
                self.say(format!("P21: {recent} faults of {allowed}, and poisoned: {cause}"));
            }
        }
    }

    /// P2: what one actor appends has its LSNs in the same order.
    fn in_order(&mut self, key: Key, first: Lsn) {
        let before = self.order.range(..key.sequence).next_back();
        let after = self.order.range(key.sequence..).next();
        if before.is_some_and(|(_, lsn)| *lsn > first) || after.is_some_and(|(_, lsn)| *lsn < first)
        {
            self.say(format!("P2: {key:?} with LSN {first} was overtaken: {:?}", self.order));
        }
        self.order.insert(key.sequence, first);
    }

    fn say(&mut self, what: String) {
        if let Some(broken) = self.broken.take() {
            let _ = broken.send(what);
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let subscribing = self.wal.recipients().subscribe.clone();
        let me = context.address().recipient();
        let subscribed = async move { subscribing.send(Subscribe(me)).await };
        let subscribed = subscribed.into_actor(self);
        context.spawn(actix::ActorFutureExt::map(subscribed, |from, this: &mut Self, context| {
            if let Ok(from) = from {
                // What an event says later is said from here on.
                this.through = this.through.max(from);
                if this.world.once_in(2) {
                    this.log = Some(InFlight::new(this.wal.outbox(context.address().recipient())));
                }
                let pace = this.world.weather().pace();
                context.run_interval(pace * Duration::from_millis(700), Self::append);
            }
        }));
    }
}

impl Handler<Accepted> for Coordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let settled = self.log.as_mut().map(|log| log.accepted(accepted.clone()).collect());
        self.accepted(accepted);
        self.came_out(settled.unwrap_or_default());
    }
}

/// What the messages said of an append.
#[derive(Clone, Copy, Debug)]
enum Said {
    Durable(Lsn),
    NotDurable(Lsn),
    Refused,
}

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, context: &mut Self::Context) {
        self.world.count(match &event {
            LogEvent::Durable { failed, .. } if !failed.is_empty() => "got: not durable",
            LogEvent::Durable { .. } => "got: durable",
            LogEvent::Ready { .. } => "got: ready",
            LogEvent::Unavailable { .. } => "got: unavailable",
            LogEvent::Stalled { .. } => "got: stalled",
            LogEvent::GivenUp { .. } => "got: given up",
            LogEvent::Poisoned { .. } => "got: poisoned",
            LogEvent::SegmentComplete { .. } => "got: segment complete",
            _ => "got: closing or closed",
        });
        self.judge(&event);
        self.in_doubt |= matches!(
            event,
            LogEvent::GivenUp { .. } | LogEvent::Poisoned { .. } | LogEvent::Closed { .. }
        );
        let settled = self.log.as_mut().map(|log| log.event(&event).collect());
        if let LogEvent::Durable { through, failed, .. } = &event {
            self.world.event(format_args!("{} gets {through}, not {failed:?}", self.number));
            if *through < self.through {
                self.say(format!("P5: the watermark fell from {} to {through}", self.through));
            }
            self.through = self.through.max(*through);
            self.failed.extend(failed);
            self.settle();
        }
        if let LogEvent::Poisoned { failed, .. } = &event {
            self.failed.extend(failed);
            self.settle();
        }
        match settled {
            Some(settled) => {
                self.came_out(settled);
                let open = self.log.as_ref().map_or(0, InFlight::len);
                if matches!(event, LogEvent::Closed { .. }) && open > self.put_in.len() {
                    self.say(format!("P6: {open} tokens are open in a closed log"));
                }
            }
            // It appends one by one, and has no tokens.
            None => self.said.clear(),
        }
        if self.slow {
            self.world.count("slow subscriber");
            let pause = Duration::from_millis(self.world.below(400));
            context.wait(actix::clock::sleep(pause).into_actor(self));
        }
    }
}
