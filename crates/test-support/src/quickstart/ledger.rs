//! What the clients of part two were told, and whether the log agrees with it.

use std::collections::HashMap;

use actix_wal::Lsn;

use super::payload;

/// How many contradictions are described in words.
const MAX_EXAMPLES: usize = 5;

/// What is known of one sequence number of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The client was told that it is durable: it must be there, at this LSN.
    Acknowledged(Lsn),
    /// Nobody was told, but an open has found it: from then on it must stay.
    Adopted(Lsn),
    /// It must not be there: the client was told so, or an open did not find it.
    Absent,
    /// It may be there or not, until the next open settles it.
    Open,
    /// It was acknowledged and has vanished.
    Lost,
}

/// The records of one client, by sequence number.
#[derive(Clone, Debug, Default)]
struct Client {
    fates: Vec<Fate>,
    /// Its process has ended and an open has settled what was in flight: nothing can come any more.
    settled: bool,
}

/// What all clients of all rounds were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    clients: Vec<Client>,
    /// Acknowledgements so far.
    pub acknowledged: u64,
    /// Commits whose client was told that the record is not in the log.
    pub not_durable: u64,
    /// Commits whose client was told that nobody knows.
    pub unknown: u64,
    /// Restarts of the Flusher that the present child has spoken of.
    pub restarts: u64,
}

impl Ledger {
    /// Lets so many clients more begin. Returns the number of the first of them.
    pub fn admit(&mut self, count: u64) -> u64 {
        let first = self.clients.len() as u64;
        self.clients.extend((0..count).map(|_| Client::default()));
        self.restarts = 0;
        first
    }

    /// Takes down one line of the child.
    pub fn note(&mut self, line: &str) -> Result<(), &'static str> {
        let line = line.strip_suffix('\n').ok_or("it is cut off")?;
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
        match (kind, numbers.as_deref()) {
            ("A", Ok(&[client, sequence, lsn])) => {
                self.acknowledged += 1;
                self.push(client, sequence, Fate::Acknowledged(Lsn::new(lsn)))
            }
            ("N", Ok(&[client, sequence])) => {
                self.not_durable += 1;
                self.push(client, sequence, Fate::Absent)
            }
            ("U", Ok(&[client, sequence])) => {
                self.unknown += 1;
                self.push(client, sequence, Fate::Open)
            }
            ("R", Ok(&[restarts])) => {
                self.restarts = restarts;
                Ok(())
            }
            _ => Err("it is not a report"),
        }
    }

    fn push(&mut self, client: u64, sequence: u64, fate: Fate) -> Result<(), &'static str> {
        let client = self.clients.get_mut(client as usize).ok_or("there is no such client")?;
        if client.settled {
            return Err("the client is of an earlier round");
        }
        if sequence != client.fates.len() as u64 {
            return Err("the sequence number is not the next one");
        }
        client.fates.push(fate);
        Ok(())
    }

    /// Whether `client` may have submitted this sequence number, and what is known of it. A client has
    /// one commit in flight at most.
    fn fate(&self, client: u64, sequence: u64) -> Option<Fate> {
        let client = self.clients.get(client as usize)?;
        match client.fates.get(sequence as usize) {
            Some(fate) => Some(*fate),
            None if sequence == client.fates.len() as u64 && !client.settled => Some(Fate::Open),
            None => None,
        }
    }
}

/// What one look at the whole log came to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Acknowledged records that are there, every byte of them, at the LSN that the client was told.
    pub recovered: u64,
    /// Records that nobody was told of, but which may be there: they were in flight.
    pub in_flight: u64,
    /// Records that must be there and are not.
    pub lost: u64,
    /// Records that are there a second time, or out of order.
    pub duplicated: u64,
    /// Records that nobody ever submitted, or that are certainly not in the log as somebody was told.
    pub invented: u64,
    /// The first few contradictions.
    pub examples: Vec<String>,
}

impl Findings {
    /// Whether the log keeps its promises.
    pub fn are_sound(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.invented == 0
    }

    fn describe(&mut self, what: impl FnOnce() -> String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(what());
        }
    }
}

/// Compares a log, which is shown record by record, with a ledger.
#[derive(Debug)]
pub struct Check {
    ledger: Ledger,
    size: usize,
    seen: HashMap<(u64, u64), Lsn>,
    last: Lsn,
    findings: Findings,
}

impl Check {
    /// A check of a log with payloads of `size` bytes.
    pub fn new(ledger: Ledger, size: usize) -> Self {
        let findings = Findings::default();
        Check { ledger, size, seen: HashMap::new(), last: Lsn::NONE, findings }
    }

    /// Shows it the next record of the log.
    pub fn see(&mut self, lsn: Lsn, payload: &[u8]) {
        let findings = &mut self.findings;
        if lsn <= self.last {
            findings.duplicated += 1;
            findings.describe(|| format!("LSN {lsn} comes after LSN {}", self.last));
            return;
        }
        self.last = lsn;
        let Some((client, sequence)) = payload::decode(payload, self.size) else {
            findings.invented += 1;
            findings.describe(|| format!("LSN {lsn} holds {} bytes of nobody", payload.len()));
            return;
        };
        let what = || format!("LSN {lsn}: record {sequence} of client {client}");
        // The first one stays: a second one does not make it lost.
        let first = *self.seen.entry((client, sequence)).or_insert(lsn);
        if first != lsn {
            findings.duplicated += 1;
            findings.describe(|| format!("{} is at LSN {first} too", what()));
            return;
        }
        match self.ledger.fate(client, sequence) {
            Some(Fate::Acknowledged(told)) if told == lsn => findings.recovered += 1,
            Some(Fate::Adopted(told)) if told == lsn => findings.in_flight += 1,
            Some(Fate::Open) => findings.in_flight += 1,
            Some(fate) => {
                findings.invented += 1;
                findings.describe(|| format!("{} should be {fate:?}", what()));
            }
            None => {
                findings.invented += 1;
                findings.describe(|| format!("{} was never submitted", what()));
            }
        }
    }

    /// The log has been shown as a whole. What was open is settled by it, for all later checks.
    pub fn finish(mut self) -> (Ledger, Findings) {
        let Check { ledger, seen, findings, .. } = &mut self;
        for (number, client) in (0..).zip(&mut ledger.clients) {
            if !client.settled {
                client.settled = true;
                client.fates.push(Fate::Open);
            }
            for (sequence, fate) in (0..).zip(&mut client.fates) {
                let found = seen.get(&(number, sequence)).copied();
                match (*fate, found) {
                    (Fate::Acknowledged(told) | Fate::Adopted(told), found)
                        if found != Some(told) =>
                    {
                        let what = *fate;
                        findings.describe(|| format!("record {sequence} of client {number} should be {what:?} and is not there"));
                        *fate = Fate::Lost;
                    }
                    (Fate::Open, Some(lsn)) => *fate = Fate::Adopted(lsn),
                    (Fate::Open, None) => *fate = Fate::Absent,
                    _ => {}
                }
                findings.lost += u64::from(*fate == Fate::Lost);
            }
        }
        (self.ledger, self.findings)
    }
}
