//! Deletes keys whose time has come, and empties what has been flushed.
//!
//! - **Role**: keeps keys from staying that nobody asks for any more.
//! - **Owns**: nothing but its clock; it counts in `Host` what it deletes.
//! - **Receives**: nothing.
//! - **Sends**: `Execute` to the coordinator, a piece at a time, each a transaction of its own.
//! - **Never**: decides what a client sees: a transaction that meets an expired key deletes it itself.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, ContextFutureSpawner, WrapFuture};
use actix_wal::Durability;
use actix_wal_txn::coordinator::TransactionCoordinator;
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::Execute;

use crate::keyspace::{Host, empty_flushed, expire_due};
use crate::session::now;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// How many keys a piece deletes: others are served between two.
const PIECE: usize = 200;

/// Deletes what has expired or was flushed.
#[derive(Debug)]
pub(super) struct Expiry {
    coordinator: Addr<TransactionCoordinator>,
    host: Arc<Host>,
}

impl Expiry {
    pub(super) fn new(coordinator: Addr<TransactionCoordinator>, host: Arc<Host>) -> Self {
        Expiry { coordinator, host }
    }
}

impl Actor for Expiry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        look(self.coordinator.clone(), Arc::clone(&self.host)).into_actor(self).spawn(context);
    }
}

async fn look(coordinator: Addr<TransactionCoordinator>, host: Arc<Host>) {
    loop {
        tokio::time::sleep(LOOK).await;
        loop {
            let host = Arc::clone(&host);
            let piece = Execute {
                // Nobody waits for it: what it deletes shows to nobody, deleted or not.
                durability: Durability::Async,
                ..Execute::new(move |latest| {
                    let due = expire_due(latest, &host, now(), PIECE)?;
                    Ok(due | empty_flushed(latest, PIECE)?)
                })
            };
            match coordinator.send(piece).await {
                // Behind what waits in the mailbox, and behind the other tasks of this thread.
                Ok(Ok(done)) if done.value => tokio::task::yield_now().await,
                Ok(Ok(_)) => break,
                // The log has no room, or is in trouble: it will be asked again.
                Ok(Err(TxnError::Refused(_))) => break,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "keys that have expired could not be deleted");
                    break;
                }
                Err(_) => return,
            }
        }
    }
}
