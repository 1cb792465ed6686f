//! One decider, three participants, a network, and clients that note down what they are told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use actix_wal::testkit::Random;
use actix_wal::{Cause, CommitError, LogId, Lsn};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::two_phase::decider::{Decider, DeciderLimits, DeciderNote, Member, Told};
use actix_wal_txn::two_phase::messages::{
    Operation, Order, Outgoing, ToCoordinator, ToParticipant, Word, Work, WorkKind,
};
use actix_wal_txn::two_phase::{Address, BackOff, GlobalId, Outcome};
use actix_wal_txn::workspace::Isolation;
use bytes::Bytes;

use super::log::SimLog;
use super::site::{ACCOUNTS, Node, account, number, set};

const NODES: usize = 3;
const DECIDER: LogId = LogId([100; 16]);
const FOREIGN: LogId = LogId([101; 16]);

/// What has happened, so that a run in which nothing does is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) committed: usize,
    pub(crate) aborted: usize,
    pub(crate) alone: usize,
    pub(crate) in_doubt: usize,
    pub(crate) misled: usize,
    /// Records of which a participant was told that nobody knows.
    pub(crate) unknown: usize,
    /// The same at the decider.
    pub(crate) unsure: usize,
    pub(crate) snapshots: usize,
    pub(crate) left: usize,
    pub(crate) by_hand: usize,
    pub(crate) differ: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, more: &Counts) {
        self.committed += more.committed;
        self.aborted += more.aborted;
        self.alone += more.alone;
        self.in_doubt += more.in_doubt;
        self.misled += more.misled;
        self.unknown += more.unknown;
        self.unsure += more.unsure;
        self.snapshots += more.snapshots;
        self.left += more.left;
        self.by_hand += more.by_hand;
        self.differ += more.differ;
    }
}

#[derive(Clone)]
enum Packet {
    Down(Outgoing<ToParticipant>),
    Up(Outgoing<ToCoordinator>),
}

/// What a client has asked for. Each participant that it writes gets a key that nobody else writes.
struct Asked {
    mark: Bytes,
    writes: Vec<usize>,
    told: Option<Told>,
}

pub(crate) struct World {
    random: Random,
    by_hand: bool,
    now: Duration,
    nodes: Vec<Node>,
    log: SimLog<DeciderNote>,
    /// None: it is down. It may still recover, with so many records to go.
    decider: Option<Decider>,
    replayed: Option<usize>,
    foreign: Decider,
    network: Vec<Packet>,
    asked: HashMap<GlobalId, Asked>,
    /// Of all lives.
    decisions: HashSet<GlobalId>,
    left: HashSet<(GlobalId, Address)>,
    checked: Vec<Lsn>,
    marks: usize,
    counts: Counts,
}

fn limits() -> DeciderLimits {
    let back_off = BackOff { first: Duration::from_millis(20), most: Duration::from_millis(100) };
    let prepare_within = Duration::from_millis(200);
    DeciderLimits { rounds: 12, prepare_within, back_off, ..DeciderLimits::default() }
}

fn address(node: usize) -> Address {
    Address(Bytes::from(vec![b'p', b'0' + node as u8]))
}

fn new_decider(epoch: u64) -> Decider {
    Decider::new(DECIDER, epoch, "decider".into(), limits())
}

impl World {
    pub(crate) fn new(seed: u64, by_hand: bool) -> Self {
        let mut foreign = Decider::new(FOREIGN, 1, "foreign".into(), limits());
        foreign.recovered();
        let mut decider = new_decider(1);
        decider.recovered();
        World {
            random: Random::new(seed),
            by_hand,
            now: Duration::from_secs(1),
            nodes: (1..).take(NODES).map(Node::new).collect(),
            log: SimLog::new(),
            decider: Some(decider),
            replayed: None,
            foreign,
            network: Vec::new(),
            asked: HashMap::new(),
            decisions: HashSet::new(),
            left: HashSet::new(),
            checked: vec![Lsn::NONE; NODES],
            marks: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn run(mut self) -> Counts {
        for _ in 0..400 {
            self.step();
            self.check();
        }
        self.heal();
        self.judge();
        // And once more, from what is durable.
        for node in &mut self.nodes {
            node.cut(&mut self.random);
            node.recover(self.now);
        }
        self.judge();
        self.counts
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.below(4));
        let node = self.random.of(0..=NODES - 1);
        match self.random.below(32) {
            0 => self.transact(),
            1 => self.transfer_within(node),
            2..16 => (0..3).for_each(|_| self.deliver()),
            16..20 => (0..2).for_each(|more| self.sync((node + more) % NODES)),
            20..22 => self.sync_decider(),
            22..24 => self.tick(),
            24 if self.random.one_in(4) => self.cut(node),
            25 if self.random.one_in(4) => self.cut_decider(),
            26 if self.random.one_in(2) => self.come_back(),
            26 => (0..NODES).for_each(|node| self.recover(node)),
            27 => (0..self.random.of(1..=4)).for_each(|_| self.recover_decider()),
            28 if self.random.one_in(3) => self.fail(node),
            28 if self.random.one_in(2) => self.give_up(node),
            29 if self.random.one_in(2) => self.release(node),
            29 => self.come_back(),
            30 if self.random.one_in(2) => {
                self.nodes[node].log.refuses = self.random.one_in(3);
                self.log.refuses = self.random.one_in(6);
            }
            31 if self.by_hand && self.random.one_in(2) => self.decide_by_hand(node),
            _ => {}
        }
        self.collect();
    }

    /// A transfer between participants, one of which may only read.
    fn transact(&mut self) {
        let count = self.random.pick(&[1, 2, 2, 2, 3]);
        let first = self.random.of(0..=NODES - 1);
        let mut chosen: Vec<_> = (0..count).map(|at| (first + at) % NODES).collect();
        chosen.retain(|node| self.nodes[*node].is_up);
        if chosen.is_empty() {
            return;
        }
        let reader = (chosen.len() > 1 && self.random.one_in(4)).then(|| chosen.len() - 1);
        let writers = chosen.len() - usize::from(reader.is_some());
        self.marks += 1;
        let mark = Bytes::from(format!("mark {}", self.marks));
        let mut members = Vec::new();
        for (at, node) in chosen.iter().enumerate() {
            let amount = match (writers, at) {
                (1, _) => 0,
                (writers, 0) => -((writers - 1) as i64),
                _ => 1,
            };
            let amount = (reader != Some(at)).then_some(amount);
            let kind = self.work(*node, amount, mark.clone());
            let life = self.nodes[*node].participant.life();
            members.push(Member { address: address(*node), work: Work { life, kind } });
        }
        let Some(decider) = &mut self.decider else { return };
        if let Ok(id) = decider.begin(self.now, &mut self.log, members) {
            let writes = chosen[..writers].to_vec();
            let is_new = self.asked.insert(id, Asked { mark, writes, told: None }).is_none();
            assert!(is_new, "{id} is used twice");
        }
    }

    /// What one participant does: adds to an account and leaves its mark, or only reads.
    fn work(&mut self, node: usize, amount: Option<i64>, mark: Bytes) -> WorkKind {
        let key = account(self.random.of(0..=ACCOUNTS - 1));
        let isolation = self.random.pick(&[Isolation::Snapshot, Isolation::Serializable]);
        let is_whole = self.random.one_in(3);
        let node = &mut self.nodes[node];
        let mut work = node.begin(isolation);
        let value = work.get(node.commits.store(), &key).unwrap();
        if is_whole && amount.is_some() {
            let sum = number(value.as_ref()) + amount.unwrap_or(0);
            let expect = Operation::Expect { key: key.clone(), value };
            let writes = [set(key, sum), set(mark, 1)].map(Operation::Write);
            return WorkKind::Whole(std::iter::once(expect).chain(writes).collect());
        }
        if let Some(amount) = amount {
            work.write(set(key, number(value.as_ref()) + amount)).unwrap();
            work.write(set(mark, 1)).unwrap();
        }
        WorkKind::Open(node.keep_open(work))
    }

    /// A transaction of one participant, on the newest versions.
    fn transfer_within(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if !node.is_up {
            return;
        }
        let (from, to) = (self.random.of(0..=ACCOUNTS - 1), self.random.of(0..=ACCOUNTS - 1));
        let ran = node.commits.run(Default::default(), |latest| {
            for (at, amount) in [(from, -1), (to, 1)] {
                let sum = number(latest.get(&account(at))?.as_ref()) + amount;
                latest.write(set(account(at), sum))?;
            }
            Ok::<_, actix_wal_txn::workspace::WorkError>(())
        });
        if ran.result.is_ok() {
            node.put(ran.writes);
        }
    }

    /// Takes out what is to be sent, and what clients are told.
    fn collect(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.is_up) {
            self.network.extend(node.participant.outgoing().into_iter().map(Packet::Up));
        }
        self.network.extend(self.foreign.outgoing().into_iter().map(Packet::Down));
        let Some(decider) = &mut self.decider else { return };
        for sent in decider.outgoing() {
            let is_decision = matches!(sent.message.order, Order::Commit | Order::Abort);
            let about = (sent.message.branch.id, sent.to.clone());
            assert!(!(is_decision && self.left.contains(&about)), "{about:?} has left");
            self.network.push(Packet::Down(sent));
        }
        for (id, told) in decider.told() {
            let asked = self.asked.get_mut(&id).unwrap();
            if matches!(told, Told::Committed) && asked.writes.len() > 1 {
                assert!(self.decisions.contains(&id), "{id} is told before it is durable");
            }
            let before = asked.told.replace(told);
            assert!(before.is_none(), "{id} is told twice");
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.random.of(0..=self.network.len() - 1);
        let packet = self.network[at].clone();
        // Doubled packets stay, and may come much later.
        if !self.random.one_in(5) || self.network.len() > 100 {
            self.network.swap_remove(at);
        }
        if !self.random.one_in(10) {
            self.carry(packet, true);
            self.collect();
        }
    }

    fn carry(&mut self, packet: Packet, misleads: bool) {
        match packet {
            Packet::Down(Outgoing { to, message }) => {
                let node = (0..NODES).find(|node| address(*node) == to).unwrap();
                if self.nodes[node].is_up {
                    self.nodes[node].receive(self.now, message);
                }
            }
            Packet::Up(Outgoing { message, .. }) if misleads && self.random.one_in(12) => {
                self.counts.misled += 1;
                self.foreign.receive(self.now, &mut SimLog::new(), message);
            }
            Packet::Up(Outgoing { message, .. }) => {
                let Some(decider) = &mut self.decider else { return };
                if message.word == Word::ReadOnly {
                    self.counts.left += 1;
                    self.left.insert((message.branch.id, message.branch.participant.clone()));
                }
                decider.receive(self.now, &mut self.log, message);
            }
        }
    }

    fn sync(&mut self, node: usize) {
        if self.nodes[node].is_up {
            self.nodes[node].sync(self.now, &mut self.random);
        }
    }

    fn sync_decider(&mut self) {
        let Some(decider) = &mut self.decider else { return };
        let settled = self.log.sync(&mut self.random);
        note_decisions(&self.log, &mut self.decisions);
        for (note, lsn) in settled {
            decider.settled(self.now, note, Ok(lsn));
        }
    }

    fn tick(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.is_up) {
            node.tick(self.now, &mut self.random);
        }
        if let Some(decider) = &mut self.decider {
            decider.tick(self.now, &mut self.log, &mut || self.random.number());
        }
    }

    fn cut(&mut self, node: usize) {
        self.nodes[node].cut(&mut self.random);
    }

    fn cut_decider(&mut self) {
        self.log.cut(&mut self.random);
        note_decisions(&self.log, &mut self.decisions);
        (self.decider, self.replayed) = (None, None);
        // Those whose decision is lost are aborted, and their clients know nothing.
        for asked in self.asked.values_mut().filter(|asked| asked.told.is_none()) {
            asked.told = Some(Told::Unknown { reason: "the decider has died".to_owned() });
        }
    }

    fn recover(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if !node.is_up {
            node.recover(self.now);
            self.counts.in_doubt += node.participant.in_doubt().len();
        }
    }

    /// A step of its recovery; messages come in between.
    fn recover_decider(&mut self) {
        let epoch = self.log.epoch;
        let decider = self.decider.get_or_insert_with(|| {
            self.replayed = Some(0);
            new_decider(epoch)
        });
        let Some(replayed) = &mut self.replayed else { return };
        let records: Vec<_> = self.log.durable_records().skip(*replayed).take(1).collect();
        *replayed += records.len();
        if records.is_empty() {
            decider.recovered();
            self.replayed = None;
        }
        records.into_iter().for_each(|(lsn, record)| decider.replay(lsn, record));
    }

    fn fail(&mut self, node: usize) {
        if self.nodes[node].is_up && self.random.one_in(2) {
            self.nodes[node].fail(self.now, &mut self.random);
        }
        if let (Some(decider), None) = (&mut self.decider, self.replayed) {
            for (note, lsn) in self.log.fail(&mut self.random) {
                let cause = Cause::Closed;
                let failed = CommitError::NotDurable { lsn, cause };
                decider.settled(self.now, note, Err(failed));
            }
        }
    }

    /// The disks of a participant and of the decider hang for longer than their logs wait.
    fn give_up(&mut self, node: usize) {
        if self.nodes[node].is_up && self.random.one_in(2) {
            self.counts.unknown += self.nodes[node].give_up(self.now);
        }
        if let (Some(decider), None) = (&mut self.decider, self.replayed) {
            for (note, lsn) in self.log.give_up() {
                let cause = Cause::Stalled { seconds: 1 };
                decider.settled(self.now, note, Err(CommitError::Unknown { lsn, cause }));
                self.counts.unsure += 1;
            }
        }
    }

    /// They come back, with some of what nobody knew.
    fn come_back(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.is_up && node.log.hangs) {
            node.come_back(self.now, &mut self.random);
        }
        if self.log.hangs {
            self.log.come_back(&mut self.random);
            note_decisions(&self.log, &mut self.decisions);
        }
    }

    /// Writes a snapshot of a participant; the decider releases what it does not need.
    fn release(&mut self, node: usize) {
        if self.nodes[node].is_up {
            self.check();
            self.nodes[node].take_snapshot();
            self.counts.snapshots += 1;
        }
        if let (Some(decider), None) = (&self.decider, self.replayed) {
            let needed = decider.needs_from().map(|lsn| Lsn::new(lsn.get() - 1));
            let last = self.log.records[..self.log.durable].last().map(|(lsn, _)| *lsn);
            self.log.release(needed.or(last).unwrap_or(Lsn::NONE));
        }
    }

    fn decide_by_hand(&mut self, node: usize) {
        let outcome = self.random.pick(&[Outcome::Committed, Outcome::Aborted]);
        let node = &mut self.nodes[node];
        let in_doubt = node.participant.in_doubt();
        if node.is_up && !in_doubt.is_empty() {
            let at = self.random.of(0..=in_doubt.len() - 1);
            let is_taken = node.decide_by_hand(self.now, in_doubt[at].branch.id, outcome);
            self.counts.by_hand += usize::from(is_taken);
        }
    }

    /// What must hold after each step.
    fn check(&mut self) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_up) {
            let new = node.log.records.iter().filter(|(lsn, _)| *lsn > self.checked[at]);
            for (lsn, record) in new {
                if let Ok(TxnRecord::Completed { id, outcome: Outcome::Committed }) =
                    TxnRecord::decode(*lsn, record)
                {
                    assert!(self.decisions.contains(&id), "{id} commits without a decision");
                }
            }
            self.checked[at] = node.log.records.last().map_or(self.checked[at], |last| last.0);
            for held in node.participant.in_doubt() {
                let id = held.branch.id;
                // An operator may have been faster.
                let is_late = !self.by_hand && node.aborted.contains(&id);
                assert!(!is_late, "{id} is held after its abort");
            }
        }
    }

    /// Nothing is lost any more, and all are back: everything ends.
    fn heal(&mut self) {
        for node in 0..NODES {
            self.recover(node);
            self.nodes[node].log.refuses = false;
        }
        self.log.refuses = false;
        self.come_back();
        for _ in 0..300 {
            self.recover_decider();
            self.now += Duration::from_millis(50);
            self.tick();
            self.collect();
            for packet in std::mem::take(&mut self.network) {
                self.carry(packet, false);
                self.collect();
            }
            (0..NODES).for_each(|node| self.sync(node));
            self.sync_decider();
            self.collect();
            self.check();
        }
        let decider = self.decider.as_ref().unwrap();
        assert_eq!(
            decider.rounds(),
            0,
            "decisions are not forgotten: {:?}",
            decider.unacknowledged()
        );
        assert_eq!(decider.needs_from(), None);
        for node in &mut self.nodes {
            assert_eq!(node.participant.in_doubt(), [], "something stays in doubt");
            assert_eq!(node.commits.store_mut().usage().locks, 0, "something stays locked");
            assert!(node.participant.remembered() <= 8, "{}", node.participant.remembered());
        }
    }

    /// All participants agree with each other and with what clients were told.
    fn judge(&mut self) {
        let rows: Vec<BTreeMap<_, _>> = self.nodes.iter_mut().map(Node::rows).collect();
        let mut by_hand = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for heuristic in node.participant.heuristics() {
                by_hand.insert((heuristic.branch.id, at), heuristic);
            }
        }
        let mut counts = Counts::default();
        for (id, asked) in &self.asked {
            let done: Vec<_> =
                asked.writes.iter().map(|at| rows[*at].contains_key(&asked.mark)).collect();
            let decided = self.decisions.contains(id);
            if asked.writes.len() > 1 {
                for (at, done) in asked.writes.iter().zip(&done) {
                    let listed = by_hand.get(&(*id, *at));
                    let differs = *done != decided;
                    assert!(
                        self.by_hand || !differs,
                        "{id} is {done} at {at}, and decided {decided}"
                    );
                    assert_eq!(listed.is_some(), differs, "{id} at {at}: {listed:?}");
                    counts.differ += usize::from(differs);
                }
            }
            match asked.told {
                _ if self.by_hand => {}
                Some(Told::Committed) => assert!(done.iter().all(|done| *done), "{id} is lost"),
                Some(Told::Aborted { .. }) => {
                    assert!(done.iter().all(|done| !done), "{id} is done")
                }
                Some(Told::Unknown { .. }) => {}
                None => panic!("{id} has no answer"),
            }
            match (done.first(), asked.writes.len()) {
                (Some(true), 1) => counts.alone += 1,
                (Some(true), _) => counts.committed += 1,
                (_, _) => counts.aborted += 1,
            }
        }
        if !self.by_hand {
            let accounts =
                rows.iter().flat_map(|rows| (0..ACCOUNTS).map(|at| rows.get(&account(at))));
            let sum: i64 = accounts.map(number).sum();
            assert_eq!(sum, 100 * (NODES * ACCOUNTS) as i64, "the sum of all accounts");
        }
        let Counts { committed, aborted, alone, differ, .. } = counts;
        self.counts = Counts { committed, aborted, alone, differ, ..self.counts };
    }
}

fn note_decisions(log: &SimLog<DeciderNote>, decisions: &mut HashSet<GlobalId>) {
    for (_, record) in log.durable_records() {
        if let TxnRecord::Decision { id, .. } = record {
            decisions.insert(id);
        }
    }
}
