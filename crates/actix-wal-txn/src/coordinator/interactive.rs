//! Interactive transactions: those that are begun, read and written message by message. They end in a commit, as
//! those do that are sent whole.

use std::time::Duration;

use actix::Handler;
use bytes::Bytes;

use super::TransactionCoordinator;
use crate::error::TxnError;
use crate::messages::{Abort, Begin, Delete, Get, Put, Scan, TxnId};
use crate::store::{Store, Write};
use crate::watches::Watches;
use crate::workspace::{Rows, Workspace};

#[derive(Debug)]
pub(super) struct Open {
    pub(super) work: Workspace,
    pub(super) since: Duration,
}

impl TransactionCoordinator {
    /// An open transaction, and what it reads. One that is too old ends here, if nobody has looked before.
    fn open(&mut self, txn: TxnId) -> Result<(&mut Workspace, &Store, &mut Watches), TxnError> {
        let (now, limit) = (self.now(), self.limits.age);
        if self.open.get(&txn).is_some_and(|open| now - open.since > limit) {
            self.open.remove(&txn);
            return Err(TxnError::Expired { limit });
        }
        let (store, watches) = self.commits.to_scan();
        let open = self.open.get_mut(&txn).ok_or(TxnError::NotOpen { txn })?;
        Ok((&mut open.work, store, watches))
    }

    /// Ends a transaction.
    pub(crate) fn end(&mut self, txn: TxnId) -> Result<Workspace, TxnError> {
        self.open(txn)?;
        self.open.remove(&txn).map(|open| open.work).ok_or(TxnError::NotOpen { txn })
    }
}

impl Handler<Begin> for TransactionCoordinator {
    type Result = Result<TxnId, TxnError>;

    fn handle(&mut self, Begin { isolation }: Begin, _: &mut Self::Context) -> Self::Result {
        self.commits.check()?;
        if self.open.len() >= self.limits.open {
            return Err(TxnError::TooMany { limit: self.limits.open });
        }
        let (txn, since) = (self.next, self.now());
        self.next = TxnId(txn.0 + 1);
        let snapshot = self.commits.store_mut().snapshot(since);
        let work = Workspace::new(snapshot, isolation, self.limits.work);
        self.open.insert(txn, Open { work, since });
        Ok(txn)
    }
}

impl Handler<Get> for TransactionCoordinator {
    type Result = Result<Option<Bytes>, TxnError>;

    fn handle(&mut self, get: Get, _: &mut Self::Context) -> Self::Result {
        let Get { txn, key, tracked } = get;
        let (work, store, _) = self.open(txn)?;
        let value = if tracked { work.get(store, &key) } else { work.get_untracked(store, &key) };
        Ok(value?)
    }
}

impl Handler<Scan> for TransactionCoordinator {
    type Result = Result<Rows, TxnError>;

    fn handle(&mut self, scan: Scan, _: &mut Self::Context) -> Self::Result {
        let Scan { txn, range, budget, tracked } = scan;
        let (work, store, watches) = self.open(txn)?;
        Ok(if tracked {
            work.scan(store, watches, &range, budget)?
        } else {
            work.scan_untracked(store, &range, budget)?
        })
    }
}

impl Handler<Put> for TransactionCoordinator {
    type Result = Result<(), TxnError>;

    fn handle(&mut self, Put { txn, key, value }: Put, _: &mut Self::Context) -> Self::Result {
        Ok(self.open(txn)?.0.write(Write { key, value: Some(value) })?)
    }
}

impl Handler<Delete> for TransactionCoordinator {
    type Result = Result<(), TxnError>;

    fn handle(&mut self, Delete { txn, key }: Delete, _: &mut Self::Context) -> Self::Result {
        Ok(self.open(txn)?.0.write(Write { key, value: None })?)
    }
}

impl Handler<Abort> for TransactionCoordinator {
    type Result = Result<(), TxnError>;

    fn handle(&mut self, Abort { txn }: Abort, _: &mut Self::Context) -> Self::Result {
        self.end(txn).map(drop)
    }
}
