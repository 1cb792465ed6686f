//! Who wrote what, in which order, and who read it: the part of the judgement that needs no graph.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::check::{Anomaly, Kind};
use crate::model::{History, Operation, Outcome, Transaction};

/// The number of a transaction in the order of the history.
pub(crate) type Id = u32;

/// What the transactions of a history did to each other.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) transactions: Vec<&'a Transaction>,
    /// Those that count as committed.
    pub(crate) committed: Vec<bool>,
    pub(crate) keys: BTreeMap<&'a str, Key>,
    pub(crate) anomalies: Vec<Anomaly>,
}

/// What is known of one key.
#[derive(Debug, Default)]
pub(crate) struct Key {
    /// The transactions that wrote it, in the order of its versions, as far as that is known.
    pub(crate) order: Vec<Id>,
    /// Who read it, and the writer of the version that was read; nobody wrote the first one.
    pub(crate) reads: Vec<(Id, Option<Id>)>,
}

/// Who wrote each value of a key, and what each transaction wrote there, in its order.
#[derive(Default)]
struct Written {
    by: HashMap<u64, Id>,
    values: HashMap<Id, Vec<u64>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let transactions: Vec<_> =
            history.sessions.iter().flat_map(|session| &session.transactions).collect();
        let written = written(&transactions);
        let committed = committed(&transactions, &written);
        let mut facts = Facts { transactions, committed, ..Facts::default() };
        let mut lists: HashMap<&str, &[u64]> = HashMap::new();
        for id in 0..facts.transactions.len() as Id {
            facts.read_all(id, &written, &mut lists);
        }
        for (key, of) in &written {
            let longest = lists.get(key).copied().unwrap_or_default();
            let order = facts.order(key, of, longest);
            facts.keys.entry(key).or_default().order = order;
        }
        facts
    }

    fn report(&mut self, kind: Kind, of: Vec<Id>, text: String) {
        self.anomalies.push(Anomaly { kind, transactions: of, text });
    }

    /// Looks at each read of a transaction. What it wrote itself must be there; the rest must be whole versions of
    /// transactions that committed.
    fn read_all(
        &mut self,
        id: Id,
        written: &HashMap<&'a str, Written>,
        lists: &mut HashMap<&'a str, &'a [u64]>,
    ) {
        let none = Written::default();
        let mut own: HashMap<&str, Vec<u64>> = HashMap::new();
        for operation in &self.transactions[id as usize].operations {
            let key = operation.key();
            let of = written.get(key).unwrap_or(&none);
            match operation {
                Operation::Write { value, .. } => drop(own.insert(key, vec![*value])),
                Operation::Append { value, .. } => own.entry(key).or_default().push(*value),
                Operation::Read { value, .. } => match own.get(key) {
                    Some(own) if own.last() == value.as_ref() => {}
                    Some(_) => self.misses_own(id, key),
                    None => self.read(id, key, value.as_ref(), of),
                },
                Operation::List { values, .. } => {
                    let own = own.get(key).map_or(&[][..], |own| own);
                    let Some(others) = values.strip_suffix(own) else {
                        self.misses_own(id, key);
                        continue;
                    };
                    self.list(id, key, others, of, lists);
                }
            }
        }
    }

    fn misses_own(&mut self, id: Id, key: &str) {
        let text = format!("does not read of {key} what it wrote itself");
        self.report(Kind::Internal, vec![id], text);
    }

    /// One version that a transaction read, which ends with this value.
    fn read(&mut self, id: Id, key: &'a str, last: Option<&u64>, of: &Written) {
        let writer = last.and_then(|last| of.by.get(last).copied());
        if let Some(last) = last {
            let Some(writer) = writer else {
                let text = format!("reads {last} of {key}, which nobody wrote");
                return self.report(Kind::Unwritten, vec![id], text);
            };
            if writer == id {
                let text = format!("reads {last} of {key} before it writes that itself");
                return self.report(Kind::Internal, vec![id], text);
            }
            if !self.committed[writer as usize] {
                let text = format!("reads {last} of {key}, which was written by one that aborted");
                return self.report(Kind::G1a, vec![id, writer], text);
            }
            if of.values[&writer].last() != Some(last) {
                let text = format!("reads {last} of {key}, which its writer wrote over");
                return self.report(Kind::G1b, vec![id, writer], text);
            }
        }
        if self.committed[id as usize] {
            self.keys.entry(key).or_default().reads.push((id, writer));
        }
    }

    fn list(
        &mut self,
        id: Id,
        key: &'a str,
        values: &'a [u64],
        of: &Written,
        lists: &mut HashMap<&'a str, &'a [u64]>,
    ) {
        let mut seen = HashSet::new();
        if let Some(twice) = values.iter().find(|value| !seen.insert(**value)) {
            let text = format!("reads {twice} twice in {key}");
            return self.report(Kind::Order, vec![id], text);
        }
        // The last value says which version it is; those before it are compared with the order of the key.
        self.read(id, key, values.last(), of);
        let longest = lists.entry(key).or_insert(values);
        let (short, long) =
            if longest.len() < values.len() { (*longest, values) } else { (values, *longest) };
        if !long.starts_with(short) {
            let text = format!("reads {key} in another order than somebody else, or with a gap");
            self.report(Kind::Order, vec![id], text);
        }
        *longest = long;
    }

    /// The order of the versions of a key: lists show it, and versions tell what nobody has read yet.
    fn order(&mut self, key: &str, of: &Written, longest: &[u64]) -> Vec<Id> {
        let mut order: Vec<Id> = Vec::new();
        let mut rest = longest;
        while let Some(writer) = rest.first().and_then(|value| of.by.get(value).copied()) {
            let whole = &of.values[&writer];
            order.push(writer);
            match rest.strip_prefix(&whole[..]) {
                Some(behind) => rest = behind,
                // A part of it at the end has been reported as G1b.
                None if whole.starts_with(rest) => break,
                None => {
                    let text = format!("its values in {key} do not stand together");
                    self.report(Kind::Order, vec![writer], text);
                    break;
                }
            }
        }
        let shown: HashSet<_> = order.iter().copied().collect();
        let is_placed = |id: &Id| self.committed[*id as usize] && !shown.contains(id);
        let version = |id: Id| self.transactions[id as usize].version;
        let unread = of.values.keys().copied().filter(is_placed);
        let mut unread: Vec<_> = unread.filter_map(|id| Some((version(id)?, id))).collect();
        unread.sort_unstable();
        order.extend(unread.into_iter().map(|(_, id)| id));
        let known: Vec<_> = order.iter().filter_map(|id| Some((version(*id)?, *id))).collect();
        for pair in known.windows(2).filter(|pair| pair[0].0 >= pair[1].0) {
            let text = format!("the order of {key} is not that of the versions");
            self.report(Kind::Order, vec![pair[0].1, pair[1].1], text);
        }
        order
    }
}

fn written<'a>(transactions: &[&'a Transaction]) -> HashMap<&'a str, Written> {
    let mut written: HashMap<&str, Written> = HashMap::new();
    for (transaction, id) in transactions.iter().zip(0..) {
        for operation in &transaction.operations {
            if let Operation::Write { key, value } | Operation::Append { key, value } = operation {
                let of = written.entry(key).or_default();
                of.by.insert(*value, id);
                of.values.entry(id).or_default().push(*value);
            }
        }
    }
    written
}

/// Those that committed by their answer, and those without an answer of which somebody has seen something.
fn committed(transactions: &[&Transaction], written: &HashMap<&str, Written>) -> Vec<bool> {
    let mut committed: Vec<_> =
        transactions.iter().map(|it| it.outcome == Outcome::Committed).collect();
    let mut see = |reader: usize, key: &str, value: &u64| {
        let writer = written.get(key).and_then(|of| of.by.get(value));
        if let Some(writer) = writer.map(|writer| *writer as usize)
            && writer != reader
            && transactions[writer].outcome == Outcome::Unknown
        {
            committed[writer] = true;
        }
    };
    for (reader, transaction) in transactions.iter().enumerate() {
        for operation in &transaction.operations {
            match operation {
                Operation::Read { key, value: Some(value) } => see(reader, key, value),
                Operation::List { key, values } => {
                    values.iter().for_each(|value| see(reader, key, value));
                }
                _ => {}
            }
        }
    }
    // A client that learned the version knows that it committed.
    let known = |(done, it): (&mut bool, &&Transaction)| *done |= it.version.is_some();
    committed.iter_mut().zip(transactions).for_each(known);
    committed
}
