//! Which transactions a participant has ended, so that a late message does not begin them again.

use std::collections::{BTreeMap, HashMap};

use actix_wal::LogId;

use super::ids::GlobalId;

/// How a transaction ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    Aborted,
    /// It had nothing to commit, and left.
    Left,
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has never been here.
    New,
    Ended(End),
    /// It is older than all that is remembered, and counts as ended.
    Forgotten,
}

/// The transactions that have ended, by the log of their coordinator. Bounded: of each coordinator the newest ids are
/// remembered, and what is older than those counts as ended. That refuses a transaction that was slow for nothing, and lets
/// none happen twice.
#[derive(Debug)]
pub(super) struct Endings {
    of: HashMap<LogId, OfCoordinator>,
    limit: usize,
    coordinators: usize,
}

type Number = (u64, u64);

#[derive(Debug, Default)]
struct OfCoordinator {
    /// This and all before it count as ended.
    floor: Option<Number>,
    newest: BTreeMap<Number, End>,
}

fn number(id: GlobalId) -> Number {
    (id.epoch, id.number)
}

impl Endings {
    /// Remembers so many ids of each of so many coordinators.
    pub(super) fn new(limit: usize, coordinators: usize) -> Self {
        Endings { of: HashMap::new(), limit, coordinators }
    }

    /// Whether a transaction of this coordinator can be taken: its end could be remembered.
    pub(super) fn takes(&self, log: LogId) -> bool {
        self.of.contains_key(&log) || self.of.len() < self.coordinators
    }

    pub(super) fn known(&self, id: GlobalId) -> Known {
        let Some(of) = self.of.get(&id.log) else {
            return Known::New;
        };
        match of.newest.get(&number(id)) {
            Some(end) => Known::Ended(*end),
            None if of.floor >= Some(number(id)) => Known::Forgotten,
            None => Known::New,
        }
    }

    /// It has ended. Of a coordinator too many nothing is remembered, and nothing is taken.
    pub(super) fn end(&mut self, id: GlobalId, end: End) {
        if !self.takes(id.log) {
            return;
        }
        let of = self.of.entry(id.log).or_default();
        of.newest.insert(number(id), end);
        while of.newest.len() > self.limit
            && let Some((oldest, _)) = of.newest.pop_first()
        {
            of.floor = of.floor.max(Some(oldest));
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.of.values().map(|of| of.newest.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(log: u8, epoch: u64, number: u64) -> GlobalId {
        GlobalId { log: LogId([log; 16]), epoch, number }
    }

    #[test]
    fn p16_p24_ids_are_forgotten_oldest_first_and_count_as_ended_then() {
        let mut endings = Endings::new(2, 1);
        endings.end(id(1, 1, 7), End::Committed);
        endings.end(id(1, 2, 1), End::Aborted);
        assert_eq!(endings.known(id(1, 1, 6)), Known::New);
        endings.end(id(1, 2, 3), End::Left);
        assert_eq!(endings.len(), 2);
        for (number, known) in [
            (id(1, 1, 6), Known::Forgotten),
            (id(1, 1, 7), Known::Forgotten),
            (id(1, 1, 8), Known::New),
            (id(1, 2, 1), Known::Ended(End::Aborted)),
            (id(1, 2, 2), Known::New),
            (id(1, 2, 3), Known::Ended(End::Left)),
            (id(2, 1, 1), Known::New),
        ] {
            assert_eq!(endings.known(number), known, "{number}");
        }
        // One that ended late, below what is remembered, does not lower the floor.
        endings.end(id(1, 1, 8), End::Aborted);
        assert_eq!(endings.known(id(1, 1, 8)), Known::Forgotten);
        assert_eq!(endings.known(id(1, 1, 7)), Known::Forgotten);
        assert!(endings.takes(LogId([1; 16])) && !endings.takes(LogId([2; 16])));
    }
}
