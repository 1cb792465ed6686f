//! A log in memory whose end a power cut may lose.

use std::collections::{BTreeSet, VecDeque};

use actix_wal::messages::Permit;
use actix_wal::testkit::Random;
use actix_wal::{AppendError, Cause, CommitError, Durability, Lsn};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::two_phase::Log;
use bytes::Bytes;

pub(crate) struct SimLog<N> {
    /// What is in it and not released, durable or not.
    pub(crate) records: Vec<(Lsn, Bytes)>,
    /// How many of those are durable.
    pub(crate) durable: usize,
    /// Of those that are not.
    notes: VecDeque<N>,
    next: u64,
    /// The epoch of this life.
    pub(crate) epoch: u64,
    /// It is full for the moment.
    pub(crate) refuses: bool,
    /// Its disk hangs, and the log has given up waiting: what became of the records that are not durable nobody knows.
    pub(crate) hangs: bool,
    /// What has turned out not to be durable since the log gave up.
    lost: BTreeSet<Lsn>,
}

impl<N> SimLog<N> {
    pub(crate) fn new() -> Self {
        SimLog {
            records: Vec::new(),
            durable: 0,
            notes: VecDeque::new(),
            next: 1,
            epoch: 1,
            refuses: false,
            hangs: false,
            lost: BTreeSet::new(),
        }
    }

    /// Makes some of what was appended durable.
    pub(crate) fn sync(&mut self, random: &mut Random) -> Vec<(N, Lsn)> {
        let count = random.of(0..=self.notes.len());
        let durable = self.records[self.durable..].iter().take(count).map(|(lsn, _)| *lsn);
        let settled = self.notes.drain(..count).zip(durable).collect();
        self.durable += count;
        settled
    }

    /// A fault that the process survives: what is not durable is gone, in an order that does not matter.
    pub(crate) fn fail(&mut self, random: &mut Random) -> Vec<(N, Lsn)> {
        if self.hangs {
            return Vec::new();
        }
        let lost = self.records.drain(self.durable..).map(|(lsn, _)| lsn);
        let mut failed: Vec<_> = self.notes.drain(..).zip(lost).collect();
        if random.one_in(2) {
            failed.reverse();
        }
        self.epoch += 1;
        failed
    }

    /// The disk hangs, and the log gives up waiting: takes out what it now says nobody knows. It takes nothing until the
    /// disk [comes back](Self::come_back), or the machine is [cut](Self::cut) off.
    pub(crate) fn give_up(&mut self) -> Vec<(N, Lsn)> {
        self.hangs = true;
        let open = self.records[self.durable..].iter().map(|(lsn, _)| *lsn);
        self.notes.drain(..).zip(open).collect()
    }

    /// The disk comes back: some of what nobody knew is durable, and if not all of it is, a new epoch begins.
    pub(crate) fn come_back(&mut self, random: &mut Random) {
        let open = self.records.len() - self.durable;
        self.durable += if random.one_in(2) { open } else { random.of(0..=open) };
        let lost = self.records.drain(self.durable..);
        self.lost.extend(lost.map(|(lsn, _)| lsn));
        self.epoch += 1;
        self.hangs = false;
    }

    /// What became of an LSN that was given up.
    pub(crate) fn outcome(&self, lsn: Lsn) -> Option<Result<(), CommitError>> {
        let is_open = self.records[self.durable..].iter().any(|(open, _)| *open == lsn);
        let lost = CommitError::NotDurable { lsn, cause: Cause::Closed };
        (!is_open).then(|| if self.lost.contains(&lsn) { Err(lost) } else { Ok(()) })
    }

    /// A power cut keeps what is durable, and any prefix of the rest, which recovery makes durable.
    pub(crate) fn cut(&mut self, random: &mut Random) {
        let kept = random.of(self.durable..=self.records.len());
        self.records.truncate(kept);
        self.durable = kept;
        self.notes.clear();
        self.epoch += 1 + random.below(2);
        (self.refuses, self.hangs) = (false, false);
    }

    /// Releases the durable records up to this LSN.
    pub(crate) fn release(&mut self, through: Lsn) {
        let count = self.records[..self.durable].partition_point(|(lsn, _)| *lsn <= through);
        self.records.drain(..count);
        self.durable -= count;
    }

    pub(crate) fn durable_records(&self) -> impl Iterator<Item = (Lsn, TxnRecord)> {
        let durable = self.records[..self.durable].iter();
        durable.map(|(lsn, record)| (*lsn, TxnRecord::decode(*lsn, record).unwrap()))
    }
}

impl<N> Log<N> for SimLog<N> {
    fn keep_room(&mut self, _: usize) -> Result<Option<Permit>, AppendError> {
        if self.refuses || self.hangs {
            return Err(AppendError::Overloaded { entries: 1, bytes: 1 });
        }
        Ok(None)
    }

    fn append(
        &mut self,
        record: Bytes,
        _: Option<Permit>,
        _: Durability,
        note: N,
    ) -> Result<(), AppendError> {
        if self.refuses || self.hangs {
            return Err(AppendError::Overloaded { entries: 1, bytes: 1 });
        }
        self.records.push((Lsn::new(self.next), record));
        self.next += 1;
        self.notes.push_back(note);
        Ok(())
    }
}
