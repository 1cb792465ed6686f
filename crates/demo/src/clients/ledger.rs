//! What clients were told, held against what an open replays. What a checkpoint has released is forgotten, so
//! that the ledger does not grow for hours.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use actix_wal::Lsn;
use actix_wal::messages::{Replay, ReplayRefused};
use serde::Serialize;

use super::payload;
use super::told::Told;

/// How many contradictions are described in words.
const MAX_EXAMPLES: usize = 10;

/// One record: its client, and its number among the records of that client.
type Key = (u64, u64);

/// What was counted so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Commits of which a client was told that they are durable.
    pub acknowledged: u64,
    /// That they are not in the log, now or ever.
    pub not_durable: u64,
    /// That nobody knows.
    pub unknown: u64,
    /// Checkpoints that were asked for.
    pub checkpoints: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Restarts of the Flusher.
    pub restarts: u64,
    /// Looks at the whole log.
    pub opens: u64,
    /// The records that were compared in them.
    pub compared: u64,
    /// Acknowledged, not released, and not there.
    pub lost: u64,
    /// There a second time, or out of order.
    pub duplicated: u64,
    /// There, although a client was told that it is not, or an earlier open did not find it, or nobody
    /// ever submitted it.
    pub resurrected: u64,
    /// Other promises that were broken.
    pub broken: u64,
}

impl Counts {
    /// Whether the log has kept its promises.
    pub fn are_sound(&self) -> bool {
        (self.lost, self.duplicated, self.resurrected, self.broken) == (0, 0, 0, 0)
    }
}

/// What must be in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settled {
    key: Key,
    /// A client was told so. Else nobody was told, but an open has found it: from then on it must stay.
    acknowledged: bool,
}

/// What must be in the log, and what may be.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What must be there, under which LSN.
    settled: BTreeMap<Lsn, Settled>,
    /// What may be there: nobody was told.
    open: BTreeSet<Key>,
    /// For each client of the present life the number of the record that it may have in flight.
    next: BTreeMap<u64, u64>,
    /// The highest LSN that a checkpoint was asked to release.
    checkpoint: Lsn,
    /// What was counted so far.
    pub counts: Counts,
    /// Of the records that the last look has found: those that were acknowledged.
    pub recovered: u64,
    /// And those that were in flight.
    pub in_flight: u64,
    /// The first contradictions, in words.
    pub examples: Vec<String>,
}

impl Ledger {
    /// Lets clients with these numbers begin.
    pub fn admit(&mut self, clients: impl IntoIterator<Item = u64>) {
        self.next.extend(clients.into_iter().map(|client| (client, 0)));
    }

    /// Notes what was told.
    pub fn note(&mut self, told: Told) {
        match told {
            Told::Durable { client, sequence, lsn } => {
                self.counts.acknowledged += 1;
                self.answered(client, sequence);
                let settled = Settled { key: (client, sequence), acknowledged: true };
                if let Some(other) = self.settled.insert(lsn, settled) {
                    self.counts.duplicated += 1;
                    self.describe(format!("LSN {lsn} is that of {other:?} and of {client}"));
                }
            }
            Told::NotDurable { client, sequence } => {
                self.counts.not_durable += 1;
                self.answered(client, sequence);
            }
            Told::Unknown { client, sequence } => {
                self.counts.unknown += 1;
                self.answered(client, sequence);
                self.open.insert((client, sequence));
            }
            Told::Checkpoint(lsn) => {
                self.counts.checkpoints += 1;
                self.checkpoint = self.checkpoint.max(lsn);
            }
            Told::Faults { injected, restarts } => {
                self.counts.faults += injected;
                self.counts.restarts += restarts;
            }
            Told::Broken(what) => {
                self.counts.broken += 1;
                self.describe(what);
            }
        }
    }

    /// A client has one record in flight, and this is the answer to it.
    fn answered(&mut self, client: u64, sequence: u64) {
        let in_flight = self.next.insert(client, sequence + 1);
        if in_flight != Some(sequence) {
            let what =
                format!("client {client} has an answer to {sequence}, in flight is {in_flight:?}");
            self.note(Told::Broken(what));
        }
    }

    fn describe(&mut self, what: String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(what);
        }
    }

    /// Compares with all that an open has replayed. What was open is settled by it forever.
    pub fn compare(&mut self, replayed: Replayed, low_water: Lsn) {
        self.counts.opens += 1;
        if low_water > self.checkpoint {
            self.note(Told::Broken(format!("released {low_water}, asked for {}", self.checkpoint)));
        }
        self.open.extend(mem::take(&mut self.next));
        let (mut found, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for (lsn, key) in replayed.records {
            self.counts.compared += 1;
            let is_last = found.last_key_value().is_none_or(|(last, _)| *last < lsn);
            let Some(key) = key.filter(|_| is_last).filter(|key| seen.insert(*key)) else {
                self.counts.duplicated += u64::from(key.is_some());
                self.counts.broken += u64::from(key.is_none());
                self.describe(format!("LSN {lsn} is out of order, nobody's, or again {key:?}"));
                continue;
            };
            let settled = self.settled.get(&lsn).filter(|settled| settled.key == key).copied();
            if settled.is_none() && !self.open.contains(&key) {
                self.counts.resurrected += 1;
                self.describe(format!("LSN {lsn}: {key:?} should not be there"));
            }
            found.insert(lsn, settled.unwrap_or(Settled { key, acknowledged: false }));
        }
        let kept = mem::take(&mut self.settled).split_off(&low_water.next());
        for (lsn, settled) in kept.into_iter().filter(|(lsn, it)| found.get(lsn) != Some(it)) {
            self.counts.lost += 1;
            self.describe(format!("LSN {lsn}: {:?} is lost", settled.key));
        }
        self.recovered = found.values().filter(|settled| settled.acknowledged).count() as u64;
        self.in_flight = found.len() as u64 - self.recovered;
        self.settled = found;
        self.open.clear();
    }
}

/// What one open has replayed, reduced to LSN and key; `None` for bytes that nobody makes.
#[derive(Debug, Default)]
pub struct Replayed {
    records: Vec<(Lsn, Option<Key>)>,
}

impl Replayed {
    /// One more record.
    pub fn push(&mut self, lsn: Lsn, bytes: &[u8]) {
        self.records.push((lsn, payload::decode(bytes)));
    }
}

/// Sees what the log replays.
#[derive(Clone, Debug, Default)]
pub struct Verifier(Arc<Mutex<Replayed>>);

impl Verifier {
    /// To be given to [`replay_with`](actix_wal::Open::replay_with).
    pub fn eye(&self) -> impl FnMut(Replay) -> Result<(), ReplayRefused> + Send + 'static {
        let seen = Arc::clone(&self.0);
        move |replay| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            replay.records.iter().for_each(|(lsn, bytes)| seen.push(lsn, bytes));
            Ok(())
        }
    }

    /// What it has seen so far.
    pub fn take(&self) -> Replayed {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
