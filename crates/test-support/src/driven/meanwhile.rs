//! The preparer at work while the flush thread is between a write and its sync: in production they are two
//! threads; here the preparer gets its turn in the middle of a flush, always in the same places.

use std::sync::{Arc, Mutex, PoisonError};

use actix_wal::storage::Storage;
use actix_wal::testkit::{ByHand, FaultOp, FaultPlan, FaultyStorage, Random};

/// Who gets a turn before a sync. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Mutex<(Random, Option<ByHand>)>>);

impl Turns {
    pub(super) fn new(seed: u64) -> Turns {
        Turns(Arc::new(Mutex::new((Random::new(seed), None))))
    }

    pub(super) fn give_to(&self, hand: Option<ByHand>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = hand;
    }

    /// One sync in three. Not the syncs of the preparer itself.
    fn take(&self) {
        let hand = self.0.try_lock().ok().and_then(|mut turns| {
            let (random, hand) = &mut *turns;
            hand.clone().filter(|_| random.below(3) == 0)
        });
        if let Some(hand) = hand {
            hand.step();
        }
    }
}

/// A storage that gives turns.
pub(super) fn meanwhile(inner: Arc<dyn Storage>, turns: Turns) -> Arc<dyn Storage> {
    let plan = FaultPlan::new();
    plan.decide(move |operation| {
        if operation.op == FaultOp::Sync {
            turns.take();
        }
        None
    });
    Arc::new(FaultyStorage::new(inner, plan))
}
