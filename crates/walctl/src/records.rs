//! Records of actix-wal-txn in words.

use actix_wal::Lsn;
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::store::Write;
use serde::Serialize;

/// What a record of a transaction says. Values are not shown: they may be large, and are nobody's business.
#[derive(Debug, Serialize)]
pub(crate) struct Transaction {
    /// "commit", "prepare", "completed", "commit-alone", "heuristic", "compared", "cleared", "decision", "forgotten", or
    /// "foreign" for a record that is none.
    kind: &'static str,
    /// Of a transaction over several logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// "committed" or "aborted".
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The keys that it writes, with what is no text as `\x00`; a deleted one has "-" before it.
    keys: Vec<String>,
    /// Why it is none, or who takes part.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
}

impl Transaction {
    pub(crate) fn of(lsn: Lsn, payload: &[u8]) -> Self {
        let mut it =
            Transaction { kind: "foreign", id: None, outcome: None, keys: Vec::new(), more: None };
        match TxnRecord::decode(lsn, payload) {
            Err(fault) => it.more = Some(fault.to_string()),
            Ok(TxnRecord::Commit { writes, .. }) => (it.kind, it.keys) = ("commit", keys(&writes)),
            Ok(TxnRecord::Prepare { branch, writes, .. }) => {
                it = Transaction {
                    kind: "prepare",
                    id: Some(branch.id.to_string()),
                    keys: keys(&writes),
                    ..it
                };
                it.more = Some(format!("coordinator {}", branch.coordinator));
            }
            Ok(TxnRecord::Completed { id, outcome }) => {
                it = it.of_branch("completed", id.to_string(), Some(outcome.to_string()));
            }
            Ok(TxnRecord::CommitAlone { id, writes }) => {
                it = it.of_branch("commit-alone", id.to_string(), None);
                it.keys = keys(&writes);
            }
            Ok(TxnRecord::Heuristic { id, outcome }) => {
                it = it.of_branch("heuristic", id.to_string(), Some(outcome.to_string()));
            }
            Ok(TxnRecord::Compared { id, decided }) => {
                it = it.of_branch("compared", id.to_string(), Some(decided.to_string()));
            }
            Ok(TxnRecord::Cleared { id }) => it = it.of_branch("cleared", id.to_string(), None),
            Ok(TxnRecord::Decision { id, participants }) => {
                it = it.of_branch("decision", id.to_string(), None);
                let names: Vec<_> = participants.iter().map(|(name, _)| name.to_string()).collect();
                it.more = Some(format!("participants {}", names.join(", ")));
            }
            Ok(TxnRecord::Forgotten { id }) => it = it.of_branch("forgotten", id.to_string(), None),
            Ok(_) => it.more = Some("a newer version of actix-wal-txn wrote it".to_owned()),
        }
        it
    }

    fn of_branch(self, kind: &'static str, id: String, outcome: Option<String>) -> Self {
        Transaction { kind, id: Some(id), outcome, ..self }
    }

    /// As the end of a line of a dump.
    pub(crate) fn line(&self) -> String {
        let words = [&self.id, &self.outcome, &self.more].into_iter().flatten();
        let mut line =
            words.chain(&self.keys).fold(self.kind.to_owned(), |line, word| line + " " + word);
        line.push('\n');
        line
    }
}

/// The keys of writes, with what is no text as `\x00`; a deleted one has "-" before it.
pub(crate) fn keys(writes: &[Write]) -> Vec<String> {
    let key = |write: &Write| {
        let deleted = if write.value.is_none() { "-" } else { "" };
        format!("{deleted}{}", write.key.escape_ascii())
    };
    writes.iter().map(key).collect()
}
