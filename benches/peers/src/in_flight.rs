//! How an actor with an outbox knows what became durable: `Accepted` numbers its appends in the order in which
//! they were put in, and `Durable` takes from the front. One message each per batch, and nothing per commit.

use std::collections::VecDeque;

use actix_wal::LsnRange;
use actix_wal::messages::{Accepted, LogEvent};

use crate::error::EngineError;

/// The appends of one outbox that have LSNs and are not durable yet, oldest first.
///
/// Ranges, since others append too: the LSNs of one outbox have gaps.
#[derive(Debug, Default)]
pub struct InFlight {
    ranges: VecDeque<LsnRange>,
}

impl InFlight {
    /// The next appends have their LSNs.
    ///
    /// # Errors
    /// They were refused: for a comparison that is the end.
    pub fn accepted(&mut self, accepted: Accepted) -> Result<(), EngineError> {
        self.ranges.push_back(accepted.result.map_err(EngineError::commit)?);
        Ok(())
    }

    /// How many of the oldest appends an event makes durable. Takes them out.
    ///
    /// # Errors
    /// Something will never be durable.
    pub fn durable(&mut self, event: &LogEvent) -> Result<u64, EngineError> {
        let through = match event {
            LogEvent::Durable { through, failed, .. } if failed.is_empty() => *through,
            LogEvent::Ready { .. }
            | LogEvent::Stalled { .. }
            | LogEvent::SegmentComplete { .. }
            | LogEvent::Closing => return Ok(0),
            event => return Err(EngineError::Commit(format!("{event:?}"))),
        };
        let mut count = 0;
        while let Some(range) = self.ranges.front_mut().filter(|range| range.first <= through) {
            if range.last > through {
                count += through.get() - range.first.get() + 1;
                range.first = through.next();
                break;
            }
            count += range.count();
            self.ranges.pop_front();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use actix_wal::messages::Ticket;
    use actix_wal::{Epoch, Lsn};

    use super::*;

    fn accepted(first: u64, last: u64) -> Accepted {
        let result = Ok(LsnRange { first: Lsn::new(first), last: Lsn::new(last) });
        Accepted { first: Ticket(0), count: last - first + 1, result }
    }

    fn durable(through: u64) -> LogEvent {
        LogEvent::Durable { epoch: Epoch::new(1), through: Lsn::new(through), failed: Vec::new() }
    }

    #[test]
    fn the_watermark_takes_from_the_front_also_in_the_middle_of_a_range() {
        let mut in_flight = InFlight::default();
        in_flight.accepted(accepted(1, 3)).expect("accepted");
        in_flight.accepted(accepted(6, 9)).expect("accepted");
        let mut count = |through| in_flight.durable(&durable(through)).expect("nothing failed");
        assert_eq!([2, 5, 7, 8, 20].map(&mut count), [2, 1, 2, 1, 1]);
        assert_eq!(count(30), 0);
    }
}
