//! What must be in a log after the power was cut, worked out from what the clients knew, and from nothing
//! of the log itself.

use std::collections::{BTreeMap, BTreeSet};

use actix_wal::Lsn;

use crate::facts::{Fact, Head, Key, digest, payload};
use crate::recovered::Recovered;

/// The LSNs of the records that were found, by their append and their index in it.
pub type Found = BTreeMap<Key, BTreeMap<u32, u64>>;

/// What one append is known to be, at the cut or in the end.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    submitted: bool,
    count: u32,
    first: Option<u64>,
    acknowledged: bool,
    not_durable: bool,
}

/// Everything that was known at a cut.
#[derive(Debug, Default)]
pub struct Oracle {
    known: BTreeMap<Key, Known>,
    watermark: u64,
    checkpoint: u64,
    last_assigned: u64,
    /// LSNs that nobody was ever told to be durable: the watermark of a later life says nothing of them.
    without_promise: BTreeSet<u64>,
    /// What readers were given.
    read: BTreeMap<u64, u64>,
    /// What each LSN named, in any image so far.
    named: BTreeMap<u64, (Key, u32)>,
    /// Whether the log was closed cleanly, and not opened since.
    pub closed: bool,
}

impl Oracle {
    /// Knows nothing yet, but of the outcomes that are still to come.
    pub fn new(facts: &[Fact]) -> Self {
        let mut end = Oracle::default();
        facts.iter().for_each(|fact| end.learn(*fact));
        let refused = end.known.values().filter(|known| !known.acknowledged);
        let without_promise = refused.flat_map(|known| {
            known.first.into_iter().flat_map(|first| first..first + u64::from(known.count))
        });
        Oracle { without_promise: without_promise.collect(), ..Oracle::default() }
    }

    /// Knows all of this, and what `earlier` has seen in images.
    pub fn after(facts: &[Fact], earlier: Oracle) -> Self {
        let mut oracle = Oracle { named: earlier.named, ..Oracle::new(facts) };
        facts.iter().for_each(|fact| oracle.learn(*fact));
        oracle
    }

    pub fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Submitted { key, count } => {
                let fresh = Known { submitted: true, count, ..Known::default() };
                assert!(self.known.insert(key, fresh).is_none(), "a key is used once");
            }
            Fact::Assigned { key, first } => {
                let known = self.known.entry(key).or_default();
                known.first = Some(first.get());
                let last = first.get() + u64::from(known.count) - 1;
                self.last_assigned = self.last_assigned.max(last);
            }
            Fact::Acknowledged { key } => {
                let known = self.known.entry(key).or_default();
                known.acknowledged = true;
                // P4: whoever is told, all records before are covered too.
                let last = known.first.map_or(0, |first| first + u64::from(known.count) - 1);
                self.watermark = self.watermark.max(last);
            }
            Fact::NotDurable { key } => self.known.entry(key).or_default().not_durable = true,
            Fact::Read { lsn, digest } => drop(self.read.insert(lsn.get(), digest)),
            Fact::Watermark(lsn) => self.watermark = self.watermark.max(lsn.get()),
            Fact::Checkpoint(lsn) => self.checkpoint = self.checkpoint.max(lsn.get()),
            Fact::Opening => self.closed = false,
            Fact::Closed => self.closed = true,
        }
    }

    /// Holds what was recovered against what was known.
    pub fn check(&mut self, recovered: &Recovered) -> Result<(), String> {
        let found = self.check_is_prefix(recovered)?;
        self.check_known(&found, recovered.report.low_water.get())?;
        self.check_read(recovered)?;
        self.check_ends(recovered)
    }

    /// Holds what was found in a copy that was made while the log went on against what was ever known: every
    /// record is the right one, and none is left out before another.
    pub fn check_is_prefix(&mut self, recovered: &Recovered) -> Result<Found, String> {
        let low_water = recovered.report.low_water.get();
        if low_water > self.checkpoint {
            return Err(format!("P19: low-water mark {low_water}, asked for {}", self.checkpoint));
        }
        check_order(recovered)?;
        let found = self.check_contents(recovered)?;
        self.check_groups(&found, low_water)?;
        Ok(found)
    }

    fn check_contents(&mut self, recovered: &Recovered) -> Result<Found, String> {
        let mut found = Found::new();
        for (lsn, bytes) in &recovered.records {
            let (key, index) = self.identify(*lsn, bytes)?;
            if let Some(twice) = found.entry(key).or_default().insert(index, *lsn) {
                return Err(format!("P9: {key:?} is there twice, as {twice} and {lsn}"));
            }
            let named = self.named.entry(*lsn).or_insert((key, index));
            if *named != (key, index) {
                return Err(format!("P9: LSN {lsn} named {named:?} and now {key:?} {index}"));
            }
        }
        Ok(found)
    }

    /// Whose record it is; it must have been submitted before the cut, byte for byte.
    fn identify(&self, lsn: u64, bytes: &[u8]) -> Result<(Key, u32), String> {
        let head = Head::read(bytes).ok_or_else(|| format!("LSN {lsn} is nobody's record"))?;
        let Head { key, index, count, len } = head;
        let known = self.known.get(&key).filter(|known| known.submitted && known.count == count);
        let known = known.ok_or_else(|| format!("LSN {lsn}: {key:?} was never submitted"))?;
        if bytes.len() != 20 + len as usize || payload(key, index, count, len) != bytes {
            return Err(format!("LSN {lsn}: {key:?} has the wrong bytes"));
        }
        match known.first {
            Some(first) if first + u64::from(index) != lsn => {
                Err(format!("P9: {key:?} {index} has LSN {lsn} instead of {first} + {index}"))
            }
            _ => Ok((key, index)),
        }
    }

    /// P3: a group is whole, but for what a checkpoint released.
    fn check_groups(&self, found: &Found, low_water: u64) -> Result<(), String> {
        for (key, records) in found {
            let count = self.known.get(key).map_or(0, |known| known.count);
            let Some((index, lsn)) = records.first_key_value() else { continue };
            let first = lsn - u64::from(*index);
            for index in 0..count {
                let lsn = first + u64::from(index);
                if lsn > low_water && records.get(&index) != Some(&lsn) {
                    return Err(format!("P3: {key:?} is there in part: {records:?} of {count}"));
                }
            }
        }
        Ok(())
    }

    /// P1, P2, P8: what was acknowledged is there, what was refused is not.
    fn check_known(&self, found: &Found, low_water: u64) -> Result<(), String> {
        for (key, known) in &self.known {
            let is_there = found.contains_key(key);
            if known.not_durable && is_there {
                return Err(format!("P8: {key:?} was refused and is there: {known:?}"));
            }
            let Some(first) = known.first else { continue };
            let last = first + u64::from(known.count) - 1;
            let covered = last <= self.watermark && !self.without_promise.contains(&first);
            if (known.acknowledged || covered) && last > low_water && !is_there {
                let watermark = self.watermark;
                return Err(format!("P1: {key:?} {known:?} is lost, watermark {watermark}"));
            }
        }
        Ok(())
    }

    /// P5: what a reader was given was durable.
    fn check_read(&self, recovered: &Recovered) -> Result<(), String> {
        let low_water = recovered.report.low_water.get();
        let records = recovered.records.iter().map(|(lsn, bytes)| (*lsn, digest(bytes)));
        let records: BTreeMap<_, _> = records.collect();
        let is_lost =
            |(lsn, digest): &(&u64, &u64)| **lsn > low_water && records.get(lsn) != Some(digest);
        match self.read.iter().find(is_lost) {
            Some((lsn, _)) => Err(format!("P5: a reader was given {lsn}, which is not there now")),
            None => Ok(()),
        }
    }

    fn check_ends(&self, recovered: &Recovered) -> Result<(), String> {
        let report = &recovered.report;
        let (last, next) = (report.last_lsn.get(), report.next_lsn.get());
        if last < self.watermark {
            return Err(format!(
                "P5: the watermark was {}, the log ends at {last}",
                self.watermark
            ));
        }
        if next <= self.last_assigned || next <= last {
            return Err(format!("P9: next LSN {next}, but {} is taken", self.last_assigned));
        }
        if self.closed && !(report.clean && report.torn_tail.is_none() && report.carried == 0) {
            return Err(format!("P22: it was closed cleanly, but: {report:?}"));
        }
        Ok(())
    }
}

/// P2: LSN order, and no holes but declared ones.
fn check_order(recovered: &Recovered) -> Result<(), String> {
    let report = &recovered.report;
    let is_gap = |lsn: u64| report.gaps.iter().any(|gap| gap.contains(Lsn::new(lsn)));
    let mut expected = report.low_water.get() + 1;
    for (lsn, _) in &recovered.records {
        if *lsn < expected {
            return Err(format!("P2: LSN {lsn} comes after {}", expected - 1));
        }
        if let Some(hole) = (expected..*lsn).find(|lsn| !is_gap(*lsn)) {
            return Err(format!("P2: LSN {hole} is missing and not declared: {:?}", report.gaps));
        }
        if is_gap(*lsn) {
            return Err(format!("P2: LSN {lsn} is there and declared a gap: {:?}", report.gaps));
        }
        expected = lsn + 1;
    }
    if expected <= report.last_lsn.get() && report.last_lsn > report.low_water {
        return Err(format!("P2: it ends at {}, not at {}", expected - 1, report.last_lsn));
    }
    Ok(())
}
