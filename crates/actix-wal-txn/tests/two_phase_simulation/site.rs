//! A participant with its log, its versions and its open transactions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use actix_wal::codec::{Bincode, Codec};
use actix_wal::testkit::Random;
use actix_wal::{Cause, CommitError, Durability, LogId, Lsn};
use actix_wal_txn::commits::{Answers, Commits, Verdict};
use actix_wal_txn::messages::TxnId;
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::recovery::Recovered;
use actix_wal_txn::store::{Budget, CommitNo, KeyRange, Limits, View, Write};
use actix_wal_txn::two_phase::messages::{Order, ToParticipant, WorkKind};
use actix_wal_txn::two_phase::participant::{
    Branches, Note, Participant, ParticipantLimits, Site, check_open, check_whole,
};
use actix_wal_txn::two_phase::{BackOff, GlobalId, Life, Log, Outcome};
use actix_wal_txn::workspace::{Isolation, WorkLimits, Workspace};
use bytes::Bytes;

use super::log::SimLog;

pub(crate) const ACCOUNTS: usize = 5;

pub(crate) enum Answer {
    Local,
    Note(Note),
}

impl From<Note> for Answer {
    fn from(note: Note) -> Self {
        Answer::Note(note)
    }
}

/// The state at an LSN, as a snapshot file has it.
type Snapshot = (Lsn, Vec<Write>, Vec<u8>);

pub(crate) struct Node {
    pub(crate) id: LogId,
    pub(crate) log: SimLog<CommitNo>,
    pub(crate) commits: Commits<Answer>,
    pub(crate) participant: Participant,
    pub(crate) open: HashMap<TxnId, Workspace>,
    next: u64,
    snapshot: Option<Snapshot>,
    /// Whose abort has come in this life.
    pub(crate) aborted: HashSet<GlobalId>,
    pub(crate) is_up: bool,
}

fn limits() -> ParticipantLimits {
    let back_off = BackOff { first: Duration::from_millis(20), most: Duration::from_millis(100) };
    ParticipantLimits { prepared: 4, remembered: 4, back_off, ..ParticipantLimits::default() }
}

fn life(id: LogId, epoch: u64) -> Life {
    Life { log: id, epoch }
}

impl Node {
    pub(crate) fn new(name: u8) -> Self {
        let (id, log) = (LogId([name; 16]), SimLog::new());
        let mut commits = Commits::new(Recovered::empty(Limits::default()).store);
        let left = Branches::default();
        let participant =
            Participant::new(life(id, 1), limits(), left, &mut commits, Duration::ZERO);
        let (open, aborted) = (HashMap::new(), HashSet::new());
        let mut node = Node {
            id,
            log,
            commits,
            participant,
            open,
            next: 1,
            snapshot: None,
            aborted,
            is_up: true,
        };
        node.put((0..ACCOUNTS).map(|at| set(account(at), 100)).collect());
        let (commit, lsn) = (CommitNo(0), Lsn::FIRST);
        node.log.sync(&mut Random::new(1));
        while node.log.durable == 0 {
            node.log.sync(&mut Random::new(2));
        }
        node.commits.settled(commit, Ok(lsn));
        node
    }

    pub(crate) fn put(&mut self, writes: Vec<Write>) {
        let record = TxnRecord::Commit { token: None, writes: writes.clone() }.encode().unwrap();
        if let Ok(commit) = self.commits.put(writes, Answer::Local)
            && self.log.append(record, None, Durability::default(), commit).is_err()
        {
            self.commits.undo(commit);
        }
    }

    pub(crate) fn begin(&mut self, isolation: Isolation) -> Workspace {
        let snapshot = self.commits.store_mut().snapshot(Duration::ZERO);
        Workspace::new(snapshot, isolation, WorkLimits::default())
    }

    pub(crate) fn keep_open(&mut self, work: Workspace) -> TxnId {
        let txn = TxnId(self.next);
        self.next += 1;
        self.open.insert(txn, work);
        txn
    }

    pub(crate) fn receive(&mut self, now: Duration, message: ToParticipant) {
        if message.order == Order::Abort && message.from == message.branch.id.log {
            self.aborted.insert(message.branch.id);
        }
        let Node { log, commits, participant, open, .. } = self;
        let mut site = Site { commits, log, now };
        let Some(begun) = participant.receive(&mut site, message) else { return };
        let checked = match &begun.kind {
            WorkKind::Open(txn) => match open.remove(txn) {
                Some(work) => check_open(work, site.commits.store()),
                None => Err(actix_wal_txn::error::TxnError::NotOpen { txn: *txn }.into()),
            },
            WorkKind::Whole(operations) => {
                check_whole(site.commits, WorkLimits::default(), operations.clone())
            }
        };
        participant.begin(&mut site, begun, checked);
    }

    /// Gives back the note of a commit of which nobody knows.
    fn answer(&mut self, now: Duration, answers: Answers<Answer>) -> Option<Answer> {
        let Node { log, commits, participant, .. } = self;
        let mut site = Site { commits, log, now };
        let mut unsettled = None;
        for (answer, verdict) in answers {
            if let Answer::Note(note) = answer {
                participant.settled(&mut site, note, &verdict);
                if matches!(verdict, Verdict::Failed(failed) if !failed.is_not_durable()) {
                    unsettled = Some(Answer::Note(note));
                }
            }
        }
        unsettled
    }

    /// The disk hangs, and the log gives up: nobody knows what is on its way. How much that is.
    pub(crate) fn give_up(&mut self, now: Duration) -> usize {
        let cause = Cause::Stalled { seconds: 1 };
        let given_up = self.log.give_up();
        let count = given_up.len();
        for (commit, lsn) in given_up {
            let unknown = CommitError::Unknown { lsn, cause: cause.clone() };
            let answers = self.commits.settled(commit, Err(unknown));
            if let Some(note) = self.answer(now, answers) {
                self.commits.put_back(commit, note);
            }
        }
        let answers = self.commits.give_up(&cause);
        self.answer(now, answers);
        count
    }

    /// The disk is back, and the log knows.
    pub(crate) fn come_back(&mut self, now: Duration, random: &mut Random) {
        self.log.come_back(random);
        let answers = self.commits.resolve(|lsn| self.log.outcome(lsn));
        self.answer(now, answers);
        assert!(self.commits.is_empty(), "all of it has its outcome");
    }

    pub(crate) fn sync(&mut self, now: Duration, random: &mut Random) {
        for (commit, lsn) in self.log.sync(random) {
            let answers = self.commits.settled(commit, Ok(lsn));
            self.answer(now, answers);
        }
    }

    /// The log begins a new epoch, and the process lives.
    pub(crate) fn fail(&mut self, now: Duration, random: &mut Random) {
        let mut failed = self.log.fail(random);
        failed.sort_by_key(|(commit, _)| *commit);
        for (commit, lsn) in failed {
            let cause = Cause::Closed;
            let answers = self.commits.settled(commit, Err(CommitError::NotDurable { lsn, cause }));
            self.answer(now, answers);
        }
    }

    pub(crate) fn tick(&mut self, now: Duration, random: &mut Random) {
        let Node { log, commits, participant, .. } = self;
        participant.tick(&mut Site { commits, log, now }, &mut || random.number());
    }

    pub(crate) fn decide_by_hand(&mut self, now: Duration, id: GlobalId, outcome: Outcome) -> bool {
        let Node { log, commits, participant, .. } = self;
        let mut site = Site { commits, log, now };
        participant.decide_by_hand(&mut site, id, outcome).is_ok()
    }

    /// The state that is durable, without what is on its way.
    pub(crate) fn rows(&mut self) -> BTreeMap<Bytes, Bytes> {
        let snapshot = self.commits.store_mut().snapshot(Duration::ZERO);
        let budget = Budget { keys: usize::MAX, bytes: usize::MAX };
        let store = self.commits.store();
        let piece = store.scan(&KeyRange::all(), View::At(&snapshot), budget).unwrap();
        piece.rows.into_iter().map(|row| (row.key, row.value)).collect()
    }

    /// Writes a snapshot, and releases what it holds.
    pub(crate) fn take_snapshot(&mut self) {
        let lsn = self.commits.store().durable_lsn();
        let rows = self.rows().into_iter().map(|(key, value)| Write { key, value: Some(value) });
        let image = Bincode.encode(&self.participant.image()).unwrap();
        self.snapshot = Some((lsn, rows.collect(), image));
        self.log.release(lsn);
    }

    pub(crate) fn cut(&mut self, random: &mut Random) {
        self.log.cut(random);
        self.is_up = false;
    }

    /// From the snapshot and the log to a new life.
    pub(crate) fn recover(&mut self, now: Duration) {
        let mut recovered = Recovered::empty(Limits::default());
        let mut after = Lsn::NONE;
        if let Some((lsn, rows, image)) = &self.snapshot {
            recovered.store.install(rows.to_vec()).unwrap();
            recovered.store.durable(*lsn);
            recovered.branches = Bincode.decode(image).unwrap();
            after = *lsn;
        }
        assert_eq!(self.log.durable, self.log.records.len());
        for (lsn, record) in &self.log.records {
            if *lsn > after {
                recovered.take(*lsn, record).unwrap();
            }
        }
        self.commits = Commits::new(recovered.store);
        let life = life(self.id, self.log.epoch);
        self.participant =
            Participant::new(life, limits(), recovered.branches, &mut self.commits, now);
        (self.open, self.aborted) = (HashMap::new(), HashSet::new());
        // As the coordinator does, numbers begin again.
        (self.next, self.is_up) = (1, true);
    }
}

pub(crate) fn account(at: usize) -> Bytes {
    format!("account {at}").into()
}

pub(crate) fn set(key: Bytes, value: i64) -> Write {
    Write { key, value: Some(value.to_string().into()) }
}

pub(crate) fn number(value: Option<&Bytes>) -> i64 {
    value.map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap())
}
