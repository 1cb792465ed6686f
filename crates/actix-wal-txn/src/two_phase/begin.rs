//! What may begin: the bounds of a coordinator, and who takes part in a transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_wal::AppendError;

use super::back_off::BackOff;
use super::ids::Address;
use super::messages::Work;

/// The bounds of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeciderLimits {
    /// How many transactions may be at work: open, or decided and not acknowledged by all.
    pub rounds: usize,
    /// How many participants one may have.
    pub participants: usize,
    /// How long the participants may take to prepare.
    pub prepare_within: Duration,
    /// How often messages are sent again.
    pub back_off: BackOff,
}

impl Default for DeciderLimits {
    /// 10,000 transactions of up to 100 participants, which prepare within 5 seconds.
    fn default() -> Self {
        let prepare_within = Duration::from_secs(5);
        let back_off = BackOff::default();
        DeciderLimits { rounds: 10_000, participants: 100, prepare_within, back_off }
    }
}

/// A participant of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: Address,
    /// What it is to commit.
    pub work: Work,
}

/// Why a transaction is not begun.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BeginError {
    /// The coordinator has not recovered its decisions yet.
    #[error("the coordinator is still recovering its decisions; try again")]
    Recovering,
    /// As many are at work as are allowed.
    #[error(
        "{limit} transactions are open, or decided and not acknowledged by all participants, and no more are allowed; try \
         again when some have ended"
    )]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// It has no participant, or too many.
    #[error("a transaction has 1 to {limit} participants, and this one has {count}")]
    Participants {
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// Two of its participants are the same.
    #[error(
        "the participant at {address} is named twice, by its address or by its log; put its work together"
    )]
    Twice {
        /// The second one.
        address: Address,
    },
    /// An address is too long.
    #[error("an address has at most {} bytes, and this one has {length}", Address::MAX)]
    AddressTooLong {
        /// How many it has.
        length: usize,
    },
    /// The log keeps no room for its decision.
    #[error("the log of the coordinator has no room for the decision: {0}")]
    NoRoom(#[source] AppendError),
}

impl DeciderLimits {
    /// Whether a transaction of these participants may begin, when so many are at work.
    pub(super) fn check(&self, at_work: usize, members: &[Member]) -> Result<(), BeginError> {
        let DeciderLimits { rounds, participants, .. } = *self;
        if at_work >= rounds {
            return Err(BeginError::TooMany { limit: rounds });
        }
        let count = members.len();
        if count == 0 || count > participants {
            return Err(BeginError::Participants { count, limit: participants });
        }
        let (mut logs, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for Member { address, work } in members {
            let length = address.0.len();
            if length > Address::MAX {
                return Err(BeginError::AddressTooLong { length });
            }
            if !logs.insert(work.life.log) || !addresses.insert(address) {
                return Err(BeginError::Twice { address: address.clone() });
            }
        }
        Ok(())
    }
}
