//! Transfers between accounts that lie at different participants: what they do, and what must be true of them.
//!
//! Each transfer leaves a mark at each participant that it writes to. So the marks say which transfers are there, and those
//! say what is in each account.

use std::collections::{BTreeMap, BTreeSet};

use actix_wal_txn::messages::{Begin, Execute, Get, Put};
use actix_wal_txn::store::Write;
use actix_wal_txn::two_phase::coordinator_actor::{AcrossError, CommitAcross};
use actix_wal_txn::two_phase::decider::Member;
use actix_wal_txn::two_phase::messages::{Operation, Work, WorkKind};
use actix_wal_txn::two_phase::participant_actor::GetLife;
use actix_wal_txn::workspace::Isolation;
use bytes::Bytes;

use super::PARTICIPANTS;
use super::transport::{Transport, address};

/// Marks and accounts.
pub(crate) type State = BTreeMap<Bytes, i64>;

/// What a client knows of its transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Committed,
    Aborted,
    Unknown,
}

/// How it gets into the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the coordinator.
    Across,
    /// By its only participant.
    Local,
}

#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) n: u64,
    /// What it adds to which account at which participant.
    adds: Vec<(usize, &'static str, i64)>,
    /// A participant at which it only reads.
    reads: Option<usize>,
    /// A participant that refuses it.
    refuses: Option<usize>,
    way: Way,
}

const ACCOUNTS: [&str; 2] = ["x", "y"];

impl Transfer {
    /// From an account of one participant to that of another one.
    pub(crate) fn between(n: u64, from: usize, to: usize) -> Self {
        let (amount, account) = (1 + (n % 7) as i64, ACCOUNTS[n as usize % 2]);
        let adds = vec![(from, account, -amount), (to, account, amount)];
        Transfer { n, adds, reads: None, refuses: None, way: Way::Across }
    }

    /// From one account of a participant to the other one, by the coordinator of two-phase commit.
    pub(crate) fn alone(n: u64, at: usize) -> Self {
        let amount = 1 + (n % 7) as i64;
        Transfer { adds: vec![(at, "x", -amount), (at, "y", amount)], ..Self::between(n, at, at) }
    }

    /// The same without it.
    pub(crate) fn local(n: u64, at: usize) -> Self {
        Transfer { way: Way::Local, ..Self::alone(n, at) }
    }

    pub(crate) fn reading(self, side: usize) -> Self {
        Transfer { reads: Some(side), ..self }
    }

    pub(crate) fn refused_at(self, side: usize) -> Self {
        Transfer { refuses: Some(side), ..self }
    }

    fn mark(&self) -> Bytes {
        Bytes::from(format!("transfer {}", self.n))
    }

    /// What it writes to.
    fn sides(&self) -> BTreeSet<usize> {
        self.adds.iter().map(|(side, _, _)| *side).collect()
    }

    fn adds_at(&self, side: usize) -> Vec<(&'static str, i64)> {
        let here = self.adds.iter().filter(|(at, _, _)| *at == side);
        here.map(|(_, account, amount)| (*account, *amount)).collect()
    }

    /// Does it. A client whose participant is gone before it asks for the commit knows that nothing is done.
    pub(crate) async fn run(&self, over: &Transport) -> Told {
        match self.way {
            Way::Local => self.run_local(over).await,
            Way::Across => match self.members(over).await {
                Some(members) => commit(over, members).await,
                None => Told::Aborted,
            },
        }
    }

    async fn run_local(&self, over: &Transport) -> Told {
        let [side] = self.sides().into_iter().collect::<Vec<_>>()[..] else { panic!("{self:?}") };
        let Some(at) = over.participant(side) else { return Told::Aborted };
        let (adds, mark) = (self.adds_at(side), self.mark());
        let execute = Execute::new(move |latest| {
            for (account, amount) in adds {
                let sum = number(latest.get(account.as_bytes())?.as_ref()) + amount;
                latest.write(Write { key: account.into(), value: Some(sum.to_string().into()) })?;
            }
            Ok(latest.write(Write { key: mark, value: Some("1".into()) })?)
        });
        match at.send(execute).await {
            Ok(Ok(_)) => Told::Committed,
            Ok(Err(error)) if error.has_no_effect() => Told::Aborted,
            _ => Told::Unknown,
        }
    }

    async fn members(&self, over: &Transport) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        for side in self.sides().into_iter().chain(self.reads) {
            members.push(self.member(over, side).await?);
        }
        if let Some(side) = self.refuses {
            let life = over.participant(side)?.send(GetLife).await.ok()??;
            let write = Write { key: self.mark(), value: Some("1".into()) };
            let expect = Operation::Expect { key: "nothing".into(), value: Some("1".into()) };
            let kind = WorkKind::Whole(vec![expect, Operation::Write(write)]);
            members.push(Member { address: address(side), work: Work { life, kind } });
        }
        Some(members)
    }

    /// Its open transaction at a participant.
    async fn member(&self, over: &Transport, side: usize) -> Option<Member> {
        let at = over.participant(side)?;
        let life = at.send(GetLife).await.ok()??;
        // One of two keeps what it has read, and is not changed by others until it is decided.
        let is_odd = self.n % 2 == 1 && self.reads != Some(side);
        let isolation = if is_odd { Isolation::Serializable } else { Isolation::Snapshot };
        let txn = at.send(Begin { isolation }).await.ok()?.ok()?;
        for account in ACCOUNTS {
            let get = Get { txn, key: account.into(), tracked: true };
            let sum = number(at.send(get).await.ok()?.ok()?.as_ref());
            let adds = self.adds_at(side);
            let Some((_, amount)) = adds.iter().find(|(other, _)| *other == account) else {
                continue;
            };
            let value = (sum + amount).to_string().into();
            at.send(Put { txn, key: account.into(), value }).await.ok()?.ok()?;
        }
        if self.reads != Some(side) {
            let put = Put { txn, key: self.mark(), value: "1".into() };
            at.send(put).await.ok()?.ok()?;
        }
        let kind = WorkKind::Open(txn);
        Some(Member { address: address(side), work: Work { life, kind } })
    }
}

async fn commit(over: &Transport, members: Vec<Member>) -> Told {
    let Some(coordinator) = over.coordinator() else { return Told::Aborted };
    match coordinator.send(CommitAcross { members }).await {
        Ok(Ok(())) => Told::Committed,
        Ok(Err(AcrossError::Begin(_) | AcrossError::Aborted { .. })) => Told::Aborted,
        Ok(Err(AcrossError::Unknown { .. })) | Err(_) => Told::Unknown,
    }
}

pub(crate) fn number(value: Option<&Bytes>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

/// All keys that these write.
pub(crate) fn keys(transfers: &[Transfer]) -> Vec<Bytes> {
    let accounts = ACCOUNTS.into_iter().map(Bytes::from);
    accounts.chain(transfers.iter().map(Transfer::mark)).collect()
}

/// Compares what the participants show with what has to be so. Returns which transfers are there.
pub(crate) fn judge(
    transfers: &[Transfer],
    told: &BTreeMap<u64, Told>,
    states: &[State],
    what: &str,
) -> BTreeMap<u64, Told> {
    let mut due = vec![BTreeMap::<&str, i64>::new(); PARTICIPANTS];
    let mut is = BTreeMap::new();
    for transfer in transfers {
        let n = transfer.n;
        let with_mark =
            (0..PARTICIPANTS).filter(|side| states[*side].contains_key(&transfer.mark()));
        let found: BTreeSet<_> = with_mark.collect();
        let sides = transfer.sides();
        let is_whole = found.is_empty() || found == sides;
        assert!(is_whole, "{what}: transfer {n} is at {found:?} of {sides:?}");
        let is_there = !found.is_empty();
        match told.get(&n) {
            Some(Told::Committed) => assert!(is_there, "{what}: transfer {n} has committed"),
            Some(Told::Aborted) => assert!(!is_there, "{what}: transfer {n} has no effect"),
            Some(Told::Unknown) | None => {}
        }
        is.insert(n, if is_there { Told::Committed } else { Told::Aborted });
        if is_there {
            for (side, account, amount) in &transfer.adds {
                *due[*side].entry(account).or_default() += amount;
            }
        }
    }
    let mut sum = 0;
    for (side, due) in due.iter().enumerate() {
        for account in ACCOUNTS {
            let there = states[side].get(account.as_bytes()).copied().unwrap_or(0);
            let due = due.get(account).copied().unwrap_or(0);
            assert_eq!(there, due, "{what}: account {account} of participant {side}");
            sum += there;
        }
    }
    assert_eq!(sum, 0, "{what}: transfers keep their sum");
    is
}
