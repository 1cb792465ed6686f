//! The judgement of a history.

use std::fmt;

use crate::graph::{Graph, Rests};
use crate::model::History;
use crate::order::Facts;

/// What the database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Each transaction reads a snapshot, and no two that overlap write the same key. The snapshot may be old.
    Snapshot,
    /// The same, and the snapshot shows everything that was answered before the transaction began.
    StrongSnapshot,
    /// As if one transaction had run after the other.
    Serializable,
    /// The same, in an order that agrees with the clock on the wall.
    StrictSerializable,
}

impl Level {
    fn has_real_time(self) -> bool {
        matches!(self, Level::StrongSnapshot | Level::StrictSerializable)
    }

    fn is_serializable(self) -> bool {
        matches!(self, Level::Serializable | Level::StrictSerializable)
    }
}

/// What is wrong, by the names of Adya and of Elle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A transaction does not read its own write.
    Internal,
    /// A value was read that nobody wrote.
    Unwritten,
    /// A value was read that was written by a transaction that aborted.
    G1a,
    /// A value was read that its own writer wrote over.
    G1b,
    /// Reads of a key contradict each other, or the versions.
    Order,
    /// A circle of overwrites.
    G0,
    /// A circle of overwrites and reads.
    G1c,
    /// A circle that snapshot isolation forbids: one in which no two missed writes follow each other.
    GSingle,
    /// Any other circle, such as write skew.
    G2,
}

/// Something in a history that the level forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What is wrong.
    pub kind: Kind,
    /// Where: the numbers of transactions, counted through all sessions. For a circle, in its order.
    pub transactions: Vec<u32>,
    /// The same for people.
    pub text: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of transactions {:?}: {}", self.kind, self.transactions, self.text)
    }
}

/// What in this history the level forbids; nothing if it holds. Of each group of transactions that can not be put into
/// an order, one circle is shown.
pub fn check(history: &History, level: Level) -> Vec<Anomaly> {
    let mut facts = Facts::of(history);
    let mut anomalies = std::mem::take(&mut facts.anomalies);
    if anomalies.is_empty() {
        anomalies = circles(&Graph::of(&facts), level);
    }
    anomalies
}

/// The circles of the simplest kind that there is.
fn circles(graph: &Graph, level: Level) -> Vec<Anomaly> {
    use Rests::{RealTime, WriteRead, WriteWrite};
    let counts = |rests| rests != RealTime || level.has_real_time();
    let by_writes = |rests| counts(rests) && matches!(rests, RealTime | WriteWrite);
    let by_reads = |rests| by_writes(rests) || rests == WriteRead;
    for kind in [Kind::G0, Kind::G1c, Kind::GSingle, Kind::G2] {
        let found = match kind {
            Kind::G0 => graph.cycles(by_writes),
            Kind::G1c => graph.cycles(by_reads),
            Kind::GSingle => graph.cycles_of_snapshots(counts),
            _ if level.is_serializable() => graph.cycles(counts),
            _ => Vec::new(),
        };
        if !found.is_empty() {
            let text = "each of them must come before the next one, and the last before the first";
            let anomaly = |transactions| Anomaly { kind, transactions, text: text.to_owned() };
            return found.into_iter().map(anomaly).collect();
        }
    }
    Vec::new()
}
