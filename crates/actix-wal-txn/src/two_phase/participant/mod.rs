//! The part of a participant in two-phase commit: what one log has prepared, and what became of it.
//!
//! A plain type, without actor, clock or I/O. Its owner gives it messages, the outcomes of records and the time, and takes
//! out the messages that it has to send. It puts its records through the [`Commits`] of its log: they have their place in the
//! order of all commits, and what fails takes back what came after it, prepared or not.
//!
//! What keeps it right:
//!
//! * `Prepared` is said when the Prepare record is durable; `Acknowledged` when the Completed record is.
//! * What is prepared keeps its locks until the record that completes it is put in; what that writes is installed then.
//! * Work is bound to the [`Life`] of the participant in which it began, and in one life each id that has ended is
//!   remembered, or is older than all that are. So no prepare that is late is taken: whether it was overtaken by its abort,
//!   doubled, or delayed by a restart.
//! * Only the coordinator of a transaction decides it, or an operator by hand.
//! * The log keeps room for the record that completes what is prepared: others that fill the log do not delay it.

mod admission;
mod branches;
mod by_hand;
mod orders;
mod outcomes;
mod records;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use actix_wal::Durability;
use actix_wal::messages::Permit;

pub use self::branches::{Branches, HeuristicBranch, PreparedBranch};
pub use self::by_hand::OperatorError;
pub use self::records::Note;
use self::records::{Of, keep_room, put};
pub use self::work::{check_open, check_whole};
use super::Log;
use super::back_off::{Again, BackOff};
use super::ended::{End, Endings};
use super::ids::{Branch, GlobalId, Life, Outcome};
use super::messages::{Order, Outgoing, Refusal, ToCoordinator, ToParticipant, Word, WorkKind};
use crate::commits::Commits;
use crate::error::TxnError;
use crate::record::TxnRecord;
use crate::store::{CommitNo, Reads, Write};

/// The bounds of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParticipantLimits {
    /// How many transactions may be prepared and not decided. Each of them keeps room in the log for one more record, of what
    /// may be in flight there: so this has to be well below that bound.
    pub prepared: usize,
    /// How many bytes those may take: what they write and the keys that they have read.
    pub bytes: usize,
    /// How many transactions that have ended are remembered, of each coordinator.
    pub remembered: usize,
    /// Of how many coordinators.
    pub coordinators: usize,
    /// How many decisions of operators may wait for their coordinators, or for somebody to look at the difference.
    pub heuristics: usize,
    /// How often a coordinator is asked.
    pub back_off: BackOff,
}

impl Default for ParticipantLimits {
    /// 1,000 prepared ones of 64 MiB; 10,000 remembered of each of 1,000 coordinators; 1,000 decisions of operators.
    fn default() -> Self {
        ParticipantLimits {
            prepared: 1_000,
            bytes: 64 << 20,
            remembered: 10_000,
            coordinators: 1_000,
            heuristics: 1_000,
            back_off: BackOff::default(),
        }
    }
}

/// Where a participant works: the commits of its log, the log, and the time since 1970.
#[derive(Debug)]
pub struct Site<'a, A, L> {
    /// The commits on their way.
    pub commits: &'a mut Commits<A>,
    /// The log.
    pub log: &'a mut L,
    /// The time.
    pub now: Duration,
}

/// What a branch does, after it was checked that it may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What it writes.
    pub writes: Vec<Write>,
    /// What may not change until it is decided.
    pub reads: Reads,
}

impl Checked {
    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.reads.is_empty()
    }

    fn bytes(&self) -> usize {
        let value = |write: &Write| write.value.as_ref().map_or(0, bytes::Bytes::len);
        let written = self.writes.iter().map(|write| write.key.len() + value(write));
        let read = self.reads.keys.iter().map(bytes::Bytes::len);
        written.chain(read).sum::<usize>() + 64 * self.reads.ranges.len()
    }
}

/// Why work can not be done.
#[derive(Debug)]
pub struct Denied {
    /// The reason.
    pub error: TxnError,
    /// The newest commit that the reason tells anything about, if that is not durable: the reason is kept back until it is.
    pub seen: Option<CommitNo>,
}

impl<E: Into<TxnError>> From<E> for Denied {
    fn from(error: E) -> Self {
        Denied { error: error.into(), seen: None }
    }
}

/// Work that the owner has to check, and to give to [`Participant::begin`] then, before anything else happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "its coordinator waits for it"]
pub struct ToCheck {
    /// What to do.
    pub kind: WorkKind,
    branch: Branch,
    is_alone: bool,
}

/// A transaction that is prepared and not decided, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// The transaction, and where its coordinator is.
    pub branch: Branch,
    /// When it was prepared, since 1970.
    pub since: Duration,
    /// How many keys it writes.
    pub writes: usize,
    /// How many keys and ranges may not change because of it.
    pub reads: usize,
    /// What it takes.
    pub bytes: usize,
    /// Whether its commit is decided, and only not in the log yet.
    pub is_decided: bool,
}

#[derive(Debug)]
struct Prepared {
    branch: Branch,
    checked: Checked,
    at: Duration,
    bytes: usize,
    state: State,
    /// For the record that completes it, while it is locked.
    room: Option<Permit>,
    again: Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The Prepare record is on its way. Nothing has been said.
    Appended,
    /// It is durable.
    InDoubt,
    /// It is to commit. The log has not taken that yet.
    Decided,
    /// The Completed record is on its way.
    Completing,
    /// The record of an operator's decision is on its way.
    ByHand,
}

impl State {
    fn is_locked(self) -> bool {
        matches!(self, State::Appended | State::InDoubt | State::Decided)
    }
}

#[derive(Debug)]
struct Heuristic {
    is: HeuristicBranch,
    /// What the coordinator has said. The record of it is on its way.
    compares: Option<Outcome>,
    again: Again,
}

/// An answer that is kept back.
#[derive(Debug)]
struct ToSay {
    branch: Branch,
    word: Word,
}

/// The part of a participant in two-phase commit. See the [module](self).
#[derive(Debug)]
pub struct Participant {
    life: Life,
    limits: ParticipantLimits,
    prepared: BTreeMap<GlobalId, Prepared>,
    /// Commits without other participants, on their way.
    alone: BTreeMap<GlobalId, Branch>,
    alone_durable: Branches,
    /// Reasons that are kept back.
    denied: BTreeMap<GlobalId, ToSay>,
    ended: Endings,
    heuristics: BTreeMap<GlobalId, Heuristic>,
    bytes: usize,
    outgoing: Vec<Outgoing<ToCoordinator>>,
    answers: Vec<(GlobalId, Result<(), TxnError>)>,
}

impl Participant {
    /// A new life of a participant, with what its log has left. It locks what is in doubt.
    pub fn new<A>(
        life: Life,
        limits: ParticipantLimits,
        left: Branches,
        commits: &mut Commits<A>,
        now: Duration,
    ) -> Self {
        let mut participant = Participant {
            life,
            limits,
            prepared: BTreeMap::new(),
            alone: BTreeMap::new(),
            alone_durable: Branches { alone: left.alone.clone(), ..Branches::default() },
            denied: BTreeMap::new(),
            ended: Endings::new(limits.remembered, limits.coordinators),
            heuristics: BTreeMap::new(),
            bytes: 0,
            outgoing: Vec::new(),
            answers: Vec::new(),
        };
        left.alone.iter().for_each(|id| participant.ended.end(*id, End::Committed));
        // What was left in doubt is asked for at once.
        for PreparedBranch { branch, at, writes, reads } in left.prepared.into_values() {
            commits.store_mut().lock_prepared(branch.id, &writes, &reads);
            let (checked, at) = (Checked { writes, reads }, Duration::from_millis(at));
            participant.add(branch, checked, at, (State::InDoubt, None), Again::due_at(now));
        }
        for (id, is) in left.heuristics {
            let again = Again::due_at(now);
            participant.heuristics.insert(id, Heuristic { is, compares: None, again });
        }
        participant
    }

    fn add(
        &mut self,
        branch: Branch,
        checked: Checked,
        at: Duration,
        (state, room): (State, Option<Permit>),
        again: Again,
    ) {
        let (id, bytes) = (branch.id, checked.bytes());
        self.bytes += bytes;
        self.prepared.insert(id, Prepared { branch, checked, at, bytes, state, room, again });
    }

    fn remove(&mut self, id: GlobalId) -> Option<Prepared> {
        let prepared = self.prepared.remove(&id)?;
        self.bytes -= prepared.bytes;
        Some(prepared)
    }

    /// This life, to which work is bound.
    pub fn life(&self) -> Life {
        self.life
    }

    fn say(&mut self, branch: Branch, word: Word) {
        let to = branch.coordinator.clone();
        let message = ToCoordinator { from: self.life.log, branch, word };
        self.outgoing.push(Outgoing { to, message });
    }

    /// Messages to send. They may get lost.
    pub fn outgoing(&mut self) -> Vec<Outgoing<ToCoordinator>> {
        std::mem::take(&mut self.outgoing)
    }

    /// A message has come. What it returns has to be checked, and to [`begin`](Self::begin).
    pub fn receive<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        message: ToParticipant,
    ) -> Option<ToCheck> {
        let ToParticipant { from, branch, order } = message;
        // Another coordinator knows nothing of it, and must not be believed.
        if from != branch.id.log {
            return None;
        }
        match order {
            Order::Prepare(work) => return self.asked_to_prepare(branch, work),
            Order::CommitAlone(work) => return self.asked_to_commit(branch, work),
            Order::Commit => self.commit(site, branch),
            Order::Abort => self.abort(site, branch.id),
            Order::EndAlone => self.end_alone(branch),
        }
        None
    }

    /// The owner has checked work: it may be done, and what it does is this; or it may not.
    pub fn begin<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        begun: ToCheck,
        checked: Result<Checked, Denied>,
    ) {
        let ToCheck { branch, is_alone, .. } = begun;
        let done = match checked {
            Ok(checked) if checked.is_empty() => return self.leaves(branch, is_alone),
            Ok(checked) if is_alone => {
                self.begin_alone(site, &branch, &checked).map_err(Denied::from)
            }
            Ok(checked) => self.prepare(site, &branch, checked).map_err(Denied::from),
            Err(denied) => Err(denied),
        };
        if let Err(Denied { error, seen }) = done {
            self.ended.end(branch.id, End::Aborted);
            let word = if is_alone {
                Word::Alone(Some(Outcome::Aborted))
            } else {
                Word::Refused(Refusal::Work(error.to_string()))
            };
            self.deny(site, seen, ToSay { branch, word });
        }
    }

    /// Says no, as soon as that tells nothing that a crash could still lose.
    fn deny<A: From<Note>, L>(
        &mut self,
        site: &mut Site<'_, A, L>,
        seen: Option<CommitNo>,
        denied: ToSay,
    ) {
        let id = denied.branch.id;
        match site.commits.keep_back(seen, A::from(Of::Denied.about(id))) {
            Ok(()) => drop(self.denied.insert(id, denied)),
            Err(_) => self.say(denied.branch, denied.word),
        }
    }

    /// Nothing to write or to keep: what is decided does not matter here.
    fn leaves(&mut self, branch: Branch, is_alone: bool) {
        self.ended.end(branch.id, End::Left);
        let alone = Word::Alone(Some(Outcome::Committed));
        self.say(branch, if is_alone { alone } else { Word::ReadOnly });
    }

    fn begin_alone<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        branch: &Branch,
        checked: &Checked,
    ) -> Result<(), TxnError> {
        let id = branch.id;
        let writes = &checked.writes;
        let store = site.commits.store_mut();
        // It holds its locks for no time: what it does is decided.
        store.lock(id, writes, &checked.reads)?;
        store.unlock(id, writes, &checked.reads);
        let record = TxnRecord::CommitAlone { id, writes: writes.clone() };
        put(site, Of::Alone.about(id), (&record, None), writes, Durability::default())?;
        self.alone.insert(id, branch.clone());
        Ok(())
    }

    fn prepare<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        branch: &Branch,
        checked: Checked,
    ) -> Result<(), TxnError> {
        let (id, now) = (branch.id, site.now);
        let Checked { writes, reads } = &checked;
        let room = keep_room(site, id).map_err(TxnError::Refused)?;
        site.commits.store_mut().lock(id, writes, reads)?;
        let (writes, reads) = (writes.clone(), reads.clone());
        let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let record = TxnRecord::Prepare { branch: branch.clone(), at, writes, reads };
        let note = Of::Prepare.about(id);
        if let Err(error) = put(site, note, (&record, None), &[], Durability::default()) {
            site.commits.store_mut().unlock(id, &checked.writes, &checked.reads);
            return Err(error);
        }
        self.add(branch.clone(), checked, now, (State::Appended, room), Again::default());
        Ok(())
    }

    /// Time has passed: asks for decisions, and tries again what the log has not taken.
    pub fn tick<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        random: &mut dyn FnMut() -> u64,
    ) {
        let (now, back_off) = (site.now, self.limits.back_off);
        let mut ask = Vec::new();
        let mut decided = Vec::new();
        for (id, prepared) in &mut self.prepared {
            if prepared.room.is_none() && prepared.state.is_locked() {
                // After a restart or a fault. Without it the log may take the record as well.
                prepared.room = keep_room(site, *id).ok().flatten();
            }
            let waits = matches!(prepared.state, State::InDoubt | State::Decided);
            if waits && prepared.again.is_due(now, back_off, random) {
                match prepared.state {
                    State::Decided => decided.push(*id),
                    _ => ask.push(prepared.branch.clone()),
                }
            }
        }
        for heuristic in self.heuristics.values_mut() {
            let waits = heuristic.is.decided.is_none() && heuristic.compares.is_none();
            if waits && heuristic.again.is_due(now, back_off, random) {
                ask.push(heuristic.is.branch.clone());
            }
        }
        ask.into_iter().for_each(|branch| self.say(branch, Word::InDoubt));
        decided.into_iter().for_each(|id| self.complete(site, id));
    }

    /// What is prepared and not done, oldest ids first.
    pub fn in_doubt(&self) -> Vec<InDoubt> {
        let shown = |prepared: &Prepared| InDoubt {
            branch: prepared.branch.clone(),
            since: prepared.at,
            writes: prepared.checked.writes.len(),
            reads: prepared.checked.reads.keys.len() + prepared.checked.reads.ranges.len(),
            bytes: prepared.bytes,
            is_decided: matches!(prepared.state, State::Decided | State::Completing),
        };
        self.prepared.values().map(shown).collect()
    }

    /// How many transactions that have ended are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// The durable state, at the LSN of the newest durable record. A snapshot of the store at that LSN has to hold it.
    pub fn image(&self) -> Branches {
        let is_durable = |prepared: &&Prepared| prepared.state != State::Appended;
        let prepared = self.prepared.values().filter(is_durable).map(|prepared| {
            let Prepared { branch, checked: Checked { writes, reads }, at, .. } = prepared;
            let (branch, writes, reads) = (branch.clone(), writes.clone(), reads.clone());
            let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            (branch.id, PreparedBranch { branch, at, writes, reads })
        });
        let heuristics = self.heuristics.iter().map(|(id, heuristic)| (*id, heuristic.is.clone()));
        Branches {
            prepared: prepared.collect(),
            heuristics: heuristics.collect(),
            alone: self.alone_durable.alone.clone(),
        }
    }
}
