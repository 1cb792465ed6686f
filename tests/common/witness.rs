//! Who keeps what clients were told, and when.

#![allow(dead_code)] // Every test that includes this file uses a part of it.

use std::cell::RefCell;
use std::rc::Rc;

use actix_wal::testkit::OpLog;

use super::facts::Fact;

/// The facts in the order in which they became known, each marked in the log of operations.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) log: OpLog,
    facts: Rc<RefCell<Vec<Fact>>>,
}

impl Witness {
    pub(crate) fn new(log: OpLog) -> Self {
        Witness::with(log, Vec::new())
    }

    /// One who knows something from before the log of operations begins.
    pub(crate) fn with(log: OpLog, known: Vec<Fact>) -> Self {
        Witness { log, facts: Rc::new(RefCell::new(known)) }
    }

    pub(crate) fn note(&self, fact: Fact) {
        let mut facts = self.facts.borrow_mut();
        facts.push(fact);
        self.log.mark("fact", facts.len() as u64 - 1);
    }

    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.facts.borrow().clone()
    }
}
