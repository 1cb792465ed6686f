//! What a life of the log tells about itself: to the ledger, or through a [`Pipe`], one line each.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use actix_wal::testkit::FaultPlan;
use actix_wal::{Lsn, Wal};

use crate::DemoError;
use crate::pipe::Pipe;

/// One thing that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A client was told that its record is durable, under this LSN.
    Durable {
        /// The client.
        client: u64,
        /// The number of the record among those of the client.
        sequence: u64,
        /// The LSN.
        lsn: Lsn,
    },
    /// A client was told that its record is not in the log, now or ever.
    NotDurable {
        /// The client.
        client: u64,
        /// The number of the record among those of the client.
        sequence: u64,
    },
    /// A client was told that nobody knows.
    Unknown {
        /// The client.
        client: u64,
        /// The number of the record among those of the client.
        sequence: u64,
    },
    /// Everything up to this LSN is about to be released.
    Checkpoint(Lsn),
    /// More faults were injected, and the Flusher was restarted so many times more.
    Faults {
        /// Faults.
        injected: u64,
        /// Restarts.
        restarts: u64,
    },
    /// A promise was broken before anybody compared anything.
    Broken(String),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Durable { client, sequence, lsn } => write!(f, "!A {client} {sequence} {lsn}"),
            Told::NotDurable { client, sequence } => write!(f, "!N {client} {sequence}"),
            Told::Unknown { client, sequence } => write!(f, "!U {client} {sequence}"),
            Told::Checkpoint(lsn) => write!(f, "!C {lsn}"),
            Told::Faults { injected, restarts } => write!(f, "!F {injected} {restarts}"),
            Told::Broken(what) => write!(f, "!B {}", what.replace('\n', " ")),
        }
    }
}

impl Told {
    /// Reads a line; `None` if it is none of these.
    pub fn parse(line: &str) -> Option<Told> {
        let (kind, rest) = line.strip_prefix('!')?.split_once(' ')?;
        if kind == "B" {
            return Some(Told::Broken(rest.to_owned()));
        }
        let numbers: Result<Vec<u64>, _> = rest.split(' ').map(str::parse).collect();
        match (kind, &numbers.ok()?[..]) {
            ("A", &[client, sequence, lsn]) => {
                Some(Told::Durable { client, sequence, lsn: Lsn::new(lsn) })
            }
            ("N", &[client, sequence]) => Some(Told::NotDurable { client, sequence }),
            ("U", &[client, sequence]) => Some(Told::Unknown { client, sequence }),
            ("C", &[lsn]) => Some(Told::Checkpoint(Lsn::new(lsn))),
            ("F", &[injected, restarts]) => Some(Told::Faults { injected, restarts }),
            _ => None,
        }
    }
}

/// Where things are told.
pub(crate) type Tell = Rc<dyn Fn(Told)>;

/// Tells the parent.
pub(crate) fn to_the_parent() -> Result<Tell, DemoError> {
    let pipe = Pipe::to_the_parent().map_err(DemoError::Child)?;
    Ok(Rc::new(move |told| pipe.tell(told)))
}

/// Counts the faults and the restarts of a log, and reports them.
pub(crate) struct Counter {
    wal: Wal,
    plan: FaultPlan,
    tell: Tell,
    told: Cell<(u64, u64)>,
}

impl Counter {
    pub(crate) fn new(wal: &Wal, plan: &FaultPlan, tell: &Tell) -> Rc<Self> {
        let (wal, plan, tell) = (wal.clone(), plan.clone(), Rc::clone(tell));
        Rc::new(Counter { wal, plan, tell, told: Cell::default() })
    }

    /// Reports what has happened since the last report.
    pub(crate) fn tell(&self) {
        let now = (self.plan.hits(), self.wal.stats().restarts);
        let before = self.told.replace(now);
        if now != before {
            let (injected, restarts) = (now.0 - before.0, now.1 - before.1);
            (self.tell)(Told::Faults { injected, restarts });
        }
    }

    /// Reports them as they happen, forever: a process that is killed can not report at its end.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            actix::clock::sleep(Duration::from_millis(5)).await;
            self.tell();
        }
    }
}
