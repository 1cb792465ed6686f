//! Whether work may be prepared, and what it does.

use bytes::Bytes;

use super::{Checked, Denied};
use crate::commits::{Commits, Ran};
use crate::error::TxnError;
use crate::store::{Reads, Store};
use crate::two_phase::messages::Operation;
use crate::workspace::{WorkLimits, Workspace};

/// Work of an open transaction, which ends with it.
///
/// # Errors
/// It may not be done: the same reasons as for a commit.
pub fn check_open(work: Workspace, store: &Store) -> Result<Checked, Denied> {
    work.check_branch(store)?;
    let (writes, reads) = work.into_branch();
    Ok(Checked { writes, reads })
}

/// Work that is sent whole, on the newest versions. What it expects has to stay until it is decided: else the check would
/// say nothing about the moment of the commit.
///
/// # Errors
/// It may not be done. The reason may be known from what is not durable yet.
pub fn check_whole<A>(
    commits: &mut Commits<A>,
    limits: WorkLimits,
    operations: Vec<Operation>,
) -> Result<Checked, Denied> {
    let Ran { result, writes, seen, .. } = commits.run(limits, |latest| {
        let mut keys = Vec::new();
        for operation in operations {
            match operation {
                Operation::Write(write) => latest.write(write)?,
                Operation::Expect { key, value } if latest.get(&key)? == value => keys.push(key),
                Operation::Expect { key, .. } => return Err(unexpected(&key)),
            }
        }
        Ok(keys)
    });
    match result {
        Ok(keys) => Ok(Checked { writes, reads: Reads { keys, ranges: Vec::new() } }),
        Err(error) => Err(Denied { error, seen }),
    }
}

fn unexpected(key: &Bytes) -> TxnError {
    TxnError::aborted(format!("key {} does not have the expected value", key.escape_ascii()))
}
