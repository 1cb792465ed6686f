//! What is recorded. As JSON, the names are those of the fields, in small letters:
//!
//! ```
//! # let text = r#"
//! { "sessions": [
//!     { "name": "client 1", "transactions": [
//!         { "began": 10, "ended": 35, "outcome": "committed", "version": 7, "operations": [
//!             { "read":   { "key": "x", "value": 4 } },
//!             { "write":  { "key": "x", "value": 5 } },
//!             { "list":   { "key": "l", "values": [1, 2] } },
//!             { "append": { "key": "l", "value": 3 } }
//!         ] }
//!     ] }
//! ] }
//! # "#;
//! # let history: history::History = serde_json::from_str(text).unwrap();
//! # assert_eq!(history.sessions[0].transactions[0].operations.len(), 4);
//! ```

use serde::{Deserialize, Serialize};

/// What all clients did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// One for each client.
    pub sessions: Vec<Session>,
}

/// One client, which does one transaction after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who it is, for the eyes of people.
    pub name: String,
    /// What it did, in order.
    pub transactions: Vec<Transaction>,
}

/// One transaction, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// When the client sent it, on a clock that all clients share; the unit does not matter.
    pub began: u64,
    /// When the client had the answer; nothing if it never had one.
    #[serde(default)]
    pub ended: Option<u64>,
    /// What the answer was.
    pub outcome: Outcome,
    /// The place of the commit among all others, such as its LSN; nothing if it wrote nothing, or nobody knows.
    #[serde(default)]
    pub version: Option<u64>,
    /// What it did, in order. Of reads, those whose answers reached the client.
    pub operations: Vec<Operation>,
}

/// What a transaction did to one key. A key is either a register or a list. No two writes or appends to a key have the
/// same value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Set a register.
    Write {
        /// The register.
        key: String,
        /// Its new value.
        value: u64,
    },
    /// Read a register.
    Read {
        /// The register.
        key: String,
        /// What it was; nothing if it had never been set.
        value: Option<u64>,
    },
    /// Put a value at the end of a list.
    Append {
        /// The list.
        key: String,
        /// Its new last value.
        value: u64,
    },
    /// Read a whole list.
    List {
        /// The list.
        key: String,
        /// What was in it.
        values: Vec<u64>,
    },
}

impl Operation {
    /// What it was done to.
    pub fn key(&self) -> &str {
        match self {
            Operation::Write { key, .. }
            | Operation::Read { key, .. }
            | Operation::Append { key, .. }
            | Operation::List { key, .. } => key,
        }
    }
}

/// What became of a transaction, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it was done.
    Committed,
    /// Nothing of it was done, and nothing of it will be.
    Aborted,
    /// Nobody knows: it counts as committed if anybody has seen anything of it.
    Unknown,
}
