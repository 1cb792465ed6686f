//! Guards P6: each token comes out exactly once, as soon as there is an outcome, and with the right one. The book
//! is compared with a table that looks through all messages for each token: over every order of messages of
//! a small log, and over long random ones.

use super::*;
use crate::lsn::Epoch;

/// What became of a token, in a form that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Durable(u64, u64),
    NotDurable(u64),
    Unknown(u64),
    Refused,
}

/// What a coordinator receives.
#[derive(Clone, Debug)]
enum Received {
    Accepted(Accepted),
    Event(LogEvent),
}

fn range(first: u64, last: u64) -> LsnRange {
    LsnRange::new(Lsn::new(first), Lsn::new(last)).expect("not empty")
}

fn accepted(first: u64, count: u64, result: Result<LsnRange, AppendError>) -> Received {
    Received::Accepted(Accepted { first: Ticket(first), count, result })
}

fn durable(through: u64, failed: Vec<LsnRange>) -> Received {
    let (epoch, through) = (Epoch::new(1), Lsn::new(through));
    Received::Event(LogEvent::Durable { epoch, through, failed })
}

/// A log and a coordinator, as small as they can be: what may happen next, and what has been received so far.
#[derive(Clone, Debug, Default)]
struct World {
    /// How many records each append has; its place is its ticket.
    put_in: Vec<u64>,
    /// Which of them have been answered.
    answered: Vec<bool>,
    received: Vec<Received>,
    /// The last LSN that was given out, and how many of those went to others.
    given: u64,
    foreign: u64,
    through: u64,
    failed: Vec<LsnRange>,
    poisoned: bool,
    closed: bool,
    /// Everything that happened, for the message of a test that fails.
    script: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    PutIn(u64),
    /// Somebody else's record.
    Foreign,
    Accept(u64),
    Refuse,
    /// The Appender panicked, and had not handled the last append.
    Unhandled,
    Durable(u64, Option<LsnRange>),
    /// It subscribes again.
    Subscribe,
    GivenUp,
    /// Of the open LSNs so many are unknown, then so many failed, and the others are in neither list.
    Poisoned(u64, u64),
    Closed,
    /// Everything else that a subscriber may receive.
    Others,
}

impl World {
    /// All that can happen next in a log that keeps its promises, and one thing that can not: an event that comes
    /// before the `Accepted` of an LSN that it covers.
    fn steps(&self, tickets: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let over = self.poisoned || self.closed;
        if !over && self.put_in.len() < tickets {
            steps.extend([Step::PutIn(1), Step::PutIn(2)]);
        }
        if let Some(first) = self.answered.iter().position(|answered| !answered) {
            let open = |ticket: usize| self.answered.get(ticket) == Some(&false);
            steps.extend([Step::Accept(1), Step::Refuse]);
            let singles = (first..).take_while(|&at| open(at) && self.put_in[at] == 1).count();
            steps.extend((2..=singles as u64).map(Step::Accept));
            if open(self.put_in.len() - 1) && first + 1 < self.put_in.len() {
                steps.push(Step::Unhandled);
            }
        }
        if !self.closed {
            steps.extend([Step::Closed, Step::Subscribe, Step::Others]);
        }
        if over {
            return steps;
        }
        steps.push(Step::GivenUp);
        if self.foreign == 0 {
            steps.push(Step::Foreign);
        }
        steps.extend(self.watermarks().map(|(through, failed)| Step::Durable(through, failed)));
        let open = self.given.saturating_sub(self.through);
        steps.extend((0..=open).flat_map(|unknown| {
            (0..=open - unknown).map(move |failed| Step::Poisoned(unknown, failed))
        }));
        steps
    }

    fn watermarks(&self) -> impl Iterator<Item = (u64, Option<LsnRange>)> {
        let (durable, given) = (self.through, self.given);
        let ranges = (durable + 1..=given).flat_map(move |a| (a..=given).map(move |b| range(a, b)));
        let failed: Vec<_> = std::iter::once(None).chain(ranges.map(Some)).collect();
        (durable..=given + 1).flat_map(move |through| {
            failed.clone().into_iter().map(move |failed| (through, failed))
        })
    }

    /// Does it, and gives what the coordinator receives.
    fn step(&mut self, step: &Step) -> Vec<Received> {
        self.script.push(step.clone());
        let received = match *step {
            Step::PutIn(records) => {
                self.put_in.push(records);
                self.answered.push(false);
                vec![]
            }
            Step::Foreign => {
                (self.given, self.foreign) = (self.given + 1, self.foreign + 1);
                vec![]
            }
            Step::Accept(count) => vec![self.accept(count)],
            Step::Refuse | Step::Unhandled => {
                let ticket = match step {
                    Step::Refuse => self.answered.iter().position(|answered| !answered),
                    _ => self.answered.iter().rposition(|answered| !answered),
                };
                let ticket = ticket.expect("one is open");
                self.answered[ticket] = true;
                vec![accepted(ticket as u64, 1, Err(AppendError::EmptyGroup))]
            }
            Step::Durable(through, failed) => {
                self.through = through;
                self.failed.extend(failed);
                vec![durable(through, failed.into_iter().collect())]
            }
            Step::Subscribe => vec![durable(self.through, self.failed.clone())],
            Step::GivenUp => vec![Received::Event(LogEvent::GivenUp { cause: Cause::Closed })],
            Step::Poisoned(unknown, failed) => {
                self.poisoned = true;
                let from = self.through + 1;
                let list = |first, count: u64| {
                    (count > 0).then(|| range(first, first + count - 1)).into_iter().collect()
                };
                let (unknown, failed) = (list(from, unknown), list(from + unknown, failed));
                let cause = Cause::Closed;
                vec![Received::Event(LogEvent::Poisoned { cause, failed, unknown })]
            }
            Step::Closed => {
                self.closed = true;
                vec![Received::Event(LogEvent::Closed { cause: Cause::Closed })]
            }
            Step::Others => {
                let (epoch, next_lsn) = (Epoch::new(2), Lsn::new(self.given + 1));
                let unavailable = LogEvent::Unavailable { cause: Cause::Closed };
                let stalled = LogEvent::Stalled { seconds: 1 };
                let ready = LogEvent::Ready { epoch, next_lsn };
                [unavailable, stalled, ready, LogEvent::Closing].map(Received::Event).to_vec()
            }
        };
        self.received.extend(received.iter().cloned());
        received
    }

    fn accept(&mut self, count: u64) -> Received {
        let first = self.answered.iter().position(|answered| !answered).expect("one is open");
        let tickets = first..first + count as usize;
        let records: u64 = self.put_in[tickets.clone()].iter().sum();
        self.answered[tickets].fill(true);
        let lsns = range(self.given + 1, self.given + records);
        self.given += records;
        accepted(first as u64, count, Ok(lsns))
    }

    /// The table: for each ticket, what all the messages so far say of it.
    fn known(&self) -> Vec<Option<Known>> {
        (0..self.put_in.len() as u64).map(|ticket| self.known_of(ticket)).collect()
    }

    fn known_of(&self, ticket: u64) -> Option<Known> {
        let mut received = self.received.iter();
        let mut before = Vec::new();
        let lsns = loop {
            match received.next()? {
                Received::Event(event) => before.push(event),
                Received::Accepted(Accepted { first, count, result }) => {
                    if !(first.0..first.0 + count).contains(&ticket) {
                        continue;
                    }
                    let Ok(all) = result else { return Some(Known::Refused) };
                    let lsn = all.first.get() + ticket - first.0;
                    break if *count == 1 { *all } else { range(lsn, lsn) };
                }
            }
        };
        let lsn = lsns.last.get();
        if before.iter().any(|event| speaks_of(event, lsns.first)) {
            return Some(Known::Unknown(lsn));
        }
        for event in before {
            match event {
                LogEvent::Poisoned { .. } => return Some(Known::NotDurable(lsn)),
                LogEvent::Closed { .. } => return Some(Known::Unknown(lsn)),
                _ => {}
            }
        }
        received.find_map(|received| match received {
            Received::Event(event) => decides(event, lsns),
            Received::Accepted(_) => None,
        })
    }
}

fn speaks_of(event: &LogEvent, lsn: Lsn) -> bool {
    let reach = |ranges: &[LsnRange]| ranges.iter().any(|range| range.last >= lsn);
    match event {
        LogEvent::Durable { through, failed, .. } => *through >= lsn || reach(failed),
        LogEvent::Poisoned { failed, unknown, .. } => reach(failed) || reach(unknown),
        _ => false,
    }
}

fn decides(event: &LogEvent, lsns: LsnRange) -> Option<Known> {
    let lsn = lsns.last.get();
    let within = |ranges: &[LsnRange]| {
        ranges.iter().any(|range| range.contains(lsns.first) || range.contains(lsns.last))
    };
    match event {
        LogEvent::Durable { failed, .. } if within(failed) => Some(Known::NotDurable(lsn)),
        LogEvent::Durable { through, .. } if lsns.last <= *through => {
            Some(Known::Durable(lsns.first.get(), lsn))
        }
        LogEvent::Poisoned { failed, .. } if within(failed) => Some(Known::NotDurable(lsn)),
        LogEvent::Poisoned { unknown, .. } if within(unknown) => Some(Known::Unknown(lsn)),
        LogEvent::Poisoned { .. } => Some(Known::NotDurable(lsn)),
        LogEvent::GivenUp { .. } | LogEvent::Closed { .. } => Some(Known::Unknown(lsn)),
        _ => None,
    }
}

fn known(outcome: Outcome) -> Known {
    match outcome {
        Ok(lsns) => Known::Durable(lsns.first.get(), lsns.last.get()),
        Err(CommitError::NotDurable { lsn, .. }) => Known::NotDurable(lsn.get()),
        Err(CommitError::Unknown { lsn, .. }) => Known::Unknown(lsn.get()),
        Err(CommitError::Refused(_)) => Known::Refused,
        Err(other) => panic!("no token has such an outcome: {other}"),
    }
}

/// A book beside its world, and the outcomes that have come out of it.
#[derive(Clone)]
struct Pair {
    world: World,
    book: Book<usize>,
    out: Vec<Option<Known>>,
}

impl Pair {
    fn new() -> Self {
        Pair { world: World::default(), book: Book::new(Ticket(0)), out: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        if let Step::PutIn(_) = step {
            let ticket = self.out.len();
            self.book.put(Ok(Ticket(ticket as u64)), ticket).expect("it is not refused");
            self.out.push(None);
        }
        for received in self.world.step(step) {
            match received {
                Received::Accepted(accepted) => self.book.accepted(accepted),
                Received::Event(event) => self.book.event(&event, |_| Cause::Closed),
            }
        }
    }

    fn drain(&mut self) {
        while let Some((token, outcome)) = self.book.next_settled() {
            let twice = self.out[token].replace(known(outcome));
            assert_eq!(twice, None, "token {token} comes out twice: {:?}", self.world.script);
        }
    }

    fn check(&self) {
        let (known, script) = (self.world.known(), &self.world.script);
        assert_eq!(self.out, known, "{script:?}");
        let open = known.iter().filter(|known| known.is_none()).count();
        assert_eq!(self.book.len(), open, "{script:?}");
    }

    /// Takes out what is settled after each message, or only in the end: that makes no difference.
    fn check_both(mut self, late: &Pair) -> Pair {
        self.drain();
        self.check();
        let mut late = late.clone();
        late.drain();
        late.check();
        self
    }
}

/// Follows every order of so many further steps. How many states were seen.
fn explore(eager: &Pair, late: &Pair, tickets: usize, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let mut seen = 1;
    for step in eager.world.steps(tickets) {
        let (mut eager, mut late) = (eager.clone(), late.clone());
        eager.step(&step);
        late.step(&step);
        let eager = eager.check_both(&late);
        seen += explore(&eager, &late, tickets, depth - 1);
    }
    seen
}

#[test]
fn p6_each_token_comes_out_once_and_as_the_table_says_over_every_order_of_messages() {
    let seen = explore(&Pair::new(), &Pair::new(), 3, 6);
    assert!(seen > 100_000, "only {seen} states were seen");
}

#[test]
fn p6_each_token_comes_out_once_and_as_the_table_says_over_long_random_orders() {
    for seed in 1..=200 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed);
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let (mut eager, mut late) = (Pair::new(), Pair::new());
        for at in 0..120 {
            let mut steps = eager.world.steps(40);
            steps.retain(|step| match step {
                // An end would come soon, and an order that can not be spoils what follows.
                Step::Poisoned(..) | Step::Closed => at > 100,
                Step::Durable(through, _) => *through <= eager.world.given || at > 80,
                _ => true,
            });
            let Some(step) = steps.get(below(steps.len().max(1))) else { break };
            eager.step(step);
            late.step(step);
            eager = eager.check_both(&late);
        }
    }
}

#[test]
fn p6_answers_that_fit_no_append_are_survived_and_change_nothing() {
    let mut book = Book::new(Ticket(5));
    book.put(Ok(Ticket(5)), "five").expect("put in");
    for (first, count) in [(0, 5), (6, u64::MAX), (u64::MAX, 3), (4, 1)] {
        let result = Ok(range(1, Lsn::MAX.get()));
        book.accepted(Accepted { first: Ticket(first), count, result });
        assert!(book.next_settled().is_none() && book.len() == 1);
    }
    book.accepted(Accepted { first: Ticket(5), count: 1, result: Ok(range(7, 7)) });
    let Received::Event(event) = durable(7, vec![]) else { unreachable!("it is an event") };
    book.event(&event, |_| Cause::Closed);
    assert!(matches!(book.next_settled(), Some(("five", Ok(lsns))) if lsns == range(7, 7)));
    assert!(book.next_settled().is_none() && book.len() == 0);
}
