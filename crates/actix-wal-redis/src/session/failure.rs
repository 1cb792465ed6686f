//! How a transaction that has failed reads to its client.

use actix_wal::{AppendError, CommitError};
use actix_wal_txn::commits::PutError;
use actix_wal_txn::error::TxnError;
use actix_wal_txn::store::StoreError;
use actix_wal_txn::workspace::WorkError;

use crate::resp::Reply;

/// Redis's words for a write past the memory limit, without their code.
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// The reply for a transaction that has failed, or whose outcome is unknown.
pub(super) fn reply(error: &TxnError, is_exec: bool) -> Reply {
    let text = text(error);
    // As Redis says it of an `EXEC` that has no effect. One of which nobody knows that is another thing.
    if is_exec && !is_unknown(error) { exec_abort(&text) } else { Reply::Error(text.into()) }
}

fn is_unknown(error: &TxnError) -> bool {
    matches!(error, TxnError::Refused(AppendError::Unknown { .. })) || !error.has_no_effect()
}

/// An `EXEC` that is refused, and why.
pub(super) fn exec_abort(why: &str) -> Reply {
    // Redis names no code of its own kind here.
    let why = why.strip_prefix("ERR ").unwrap_or(why);
    Reply::Error(format!("EXECABORT Transaction discarded because of: {why}").into())
}

fn text(error: &TxnError) -> String {
    match error {
        TxnError::Put(PutError::Store(StoreError::Overloaded { .. }))
        | TxnError::Work(WorkError::Store(StoreError::Overloaded { .. })) => OOM.into(),
        TxnError::Aborted { reason } => format!("ERR {reason}"),
        TxnError::Unknown(cause) => {
            format!("ERR it is not known whether this is durable, a restart tells: {cause}")
        }
        TxnError::SawFailed(cause) => {
            format!(
                "ERR nothing was done: another command, which this one builds on, is not durable: {cause}"
            )
        }
        TxnError::Refused(refused) => of_log(refused),
        TxnError::NotDurable(CommitError::Refused(refused)) => of_log(refused),
        TxnError::NotDurable(cause) => misconf(cause),
        other => format!("ERR {other}"),
    }
}

fn of_log(refused: &AppendError) -> String {
    match refused {
        AppendError::NoSpace(_)
        | AppendError::Unavailable { .. }
        | AppendError::Poisoned { .. }
        | AppendError::Closed { .. } => misconf(refused),
        AppendError::Unknown { .. } => {
            format!("ERR it is not known whether this is durable, a restart tells: {refused}")
        }
        other => format!("ERR nothing was done: {other}"),
    }
}

/// The code that clients know for a disk that takes nothing.
fn misconf(why: impl std::fmt::Display) -> String {
    format!("MISCONF Errors writing to the log, nothing was done: {why}")
}

#[cfg(test)]
mod tests {
    use actix_wal::{Cause, Lsn};

    use super::*;

    #[test]
    fn each_failure_says_whether_it_has_an_effect() {
        let closed = || AppendError::Closed { cause: Cause::Closed };
        let lost = || AppendError::Unknown { cause: Cause::Closed };
        let full = StoreError::Overloaded { held: 1, needed: 1, limit: 1, pinned: 0 };
        let lsn = Lsn::FIRST;
        let cause = Cause::Closed;
        for (error, start) in [
            (TxnError::Put(full.into()), OOM),
            (TxnError::Refused(closed()), "MISCONF Errors writing to the log, nothing was done: "),
            (TxnError::NotDurable(closed().into()), "MISCONF Errors writing to the log, nothing"),
            (
                TxnError::NotDurable(CommitError::NotDurable { lsn, cause: cause.clone() }),
                "MISCONF Errors writing to the log, nothing was done: ",
            ),
            (TxnError::Unknown(lost().into()), "ERR it is not known whether this is durable"),
            (TxnError::Refused(lost()), "ERR it is not known whether this is durable"),
            (
                TxnError::SawFailed(CommitError::Unknown { lsn, cause }),
                "ERR nothing was done: another command",
            ),
            (TxnError::aborted("so"), "ERR so"),
            (
                TxnError::Refused(AppendError::Overloaded { entries: 1, bytes: 1 }),
                "ERR nothing was done: overloaded",
            ),
            (TxnError::TokenUsed, "ERR "),
        ] {
            let Reply::Error(text) = reply(&error, false) else { panic!("{error} is no error") };
            assert!(text.starts_with(start), "{text}");
            let Reply::Error(exec) = reply(&error, true) else { panic!("{error} is no error") };
            let is_unknown = text.contains("not known");
            assert_eq!(exec.starts_with("EXECABORT Transaction discarded"), !is_unknown, "{exec}");
        }
    }
}
