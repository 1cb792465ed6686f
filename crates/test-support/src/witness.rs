//! Who keeps what clients were told, and when.

use std::cell::RefCell;
use std::rc::Rc;

use actix_wal::testkit::OpLog;

use crate::facts::Fact;

/// The facts in the order in which they became known, each marked in the log of operations.
#[derive(Clone, Debug)]
pub struct Witness {
    pub log: OpLog,
    facts: Rc<RefCell<Vec<Fact>>>,
}

impl Witness {
    pub fn new(log: OpLog) -> Self {
        Witness::with(log, Vec::new())
    }

    /// One who knows something from before the log of operations begins.
    pub fn with(log: OpLog, known: Vec<Fact>) -> Self {
        Witness { log, facts: Rc::new(RefCell::new(known)) }
    }

    pub fn note(&self, fact: Fact) {
        let mut facts = self.facts.borrow_mut();
        facts.push(fact);
        self.log.mark("fact", facts.len() as u64 - 1);
    }

    pub fn facts(&self) -> Vec<Fact> {
        self.facts.borrow().clone()
    }
}
