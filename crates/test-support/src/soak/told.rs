//! What a life of the log tells about itself: to the ledger, or through a pipe, one line each.

use std::fmt;

use actix_wal::Lsn;

/// One thing that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A client was told that its record is durable, under this LSN.
    Durable { client: u64, sequence: u64, lsn: Lsn },
    /// A client was told that its record is not in the log, now or ever.
    NotDurable { client: u64, sequence: u64 },
    /// A client was told that nobody knows.
    Unknown { client: u64, sequence: u64 },
    /// Everything up to this LSN is about to be released.
    Checkpoint(Lsn),
    /// More faults were injected, and the Flusher was restarted so many times more.
    Faults { injected: u64, restarts: u64 },
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
