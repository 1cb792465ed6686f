//! The states of a log, what each part does in them, and which may follow on which: one table, which the flush loop,
//! the Flusher and the Appender ask. Each has a copy of the state, up to the last event it got.

use crate::status::LogState;

/// A [`LogState`] without its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Running,
    Unavailable,
    NoSpace,
    Closing,
    Poisoned,
    Closed,
}

/// What the Appender does with an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appends {
    /// It gives the append an LSN.
    Take,
    /// It keeps the append until the next epoch begins, or refuses it, as the cause and the settings say.
    Wait,
    /// It answers that the append is refused.
    Refuse,
}

/// What the flush loop does when it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushes {
    /// It writes what it takes from the queue.
    Write,
    /// It begins an epoch, in a new segment.
    BeginEpoch,
    /// It has ended.
    Nothing,
}

/// A state, the work of the Appender and of the flush loop in it, and the states that may follow.
type Row = (Stage, Appends, Flushes, &'static [Stage]);

/// The diagram in `docs/architecture.md` shows the same, and a test compares them.
const TABLE: [Row; 7] = {
    use Stage::{Closed, Closing, NoSpace, Opening, Poisoned, Running, Unavailable};
    [
        // Nothing is accepted before recovery has finished (promise P15).
        (
            Opening,
            Appends::Wait,
            Flushes::BeginEpoch,
            &[Running, Unavailable, Closing, Poisoned, Closed],
        ),
        (
            Running,
            Appends::Take,
            Flushes::Write,
            &[Unavailable, NoSpace, Closing, Poisoned, Closed],
        ),
        // Each further fault is another cause.
        (
            Unavailable,
            Appends::Wait,
            Flushes::BeginEpoch,
            &[Running, Unavailable, Closing, Poisoned, Closed],
        ),
        // What was accepted and never written is refused, too (promise P21). To the Appender this state comes as
        // `Unavailable` with this cause, and it refuses appends for it.
        (
            NoSpace,
            Appends::Refuse,
            Flushes::BeginEpoch,
            &[Running, Unavailable, Closing, Poisoned, Closed],
        ),
        // Epochs may end and begin until what was accepted is flushed. Nothing new is accepted for them. The flush
        // loop itself goes from running to closed: it never gets here.
        (Closing, Appends::Refuse, Flushes::Write, &[Poisoned, Closed]),
        (Poisoned, Appends::Refuse, Flushes::Nothing, &[Closed]),
        (Closed, Appends::Refuse, Flushes::Nothing, &[]),
    ]
};

/// The state of a log, up to the last event that its owner got.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(LogState);

impl Lifecycle {
    /// The lifecycle of a log in this state.
    pub fn at(state: LogState) -> Self {
        Lifecycle(state)
    }

    /// The state.
    pub fn state(&self) -> &LogState {
        &self.0
    }

    /// Goes on to `next`, if that may follow.
    pub fn go(&mut self, next: LogState) {
        if self.row().3.contains(&Stage::of(&next)) {
            self.0 = next;
        }
    }

    /// What the Appender does with an append.
    pub fn appends(&self) -> Appends {
        self.row().1
    }

    /// What the flush loop does.
    pub fn flushes(&self) -> Flushes {
        self.row().2
    }

    fn row(&self) -> &'static Row {
        &TABLE[Stage::of(&self.0) as usize]
    }
}

impl Stage {
    fn of(state: &LogState) -> Stage {
        match state {
            LogState::Opening => Stage::Opening,
            LogState::Running => Stage::Running,
            LogState::Unavailable(_) => Stage::Unavailable,
            LogState::NoSpace(_) => Stage::NoSpace,
            LogState::Closing => Stage::Closing,
            LogState::Poisoned(_) => Stage::Poisoned,
            LogState::Closed(_) => Stage::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::{Cause, IoFault, IoOp};

    fn states() -> [LogState; 7] {
        let fault = IoFault::new(IoOp::Write, "wal", None, std::io::Error::other("injected"));
        [
            LogState::Opening,
            LogState::Running,
            LogState::Unavailable(Cause::Closed),
            LogState::NoSpace(fault),
            LogState::Closing,
            LogState::Poisoned(Cause::Closed),
            LogState::Closed(Cause::Closed),
        ]
    }

    #[test]
    fn p15_p6_p21_each_state_follows_only_where_the_table_says_so() {
        let table: BTreeSet<_> = TABLE
            .iter()
            .flat_map(|(from, .., to)| to.iter().map(move |to| format!("{from:?} --> {to:?}")))
            .collect();
        let mut found = BTreeSet::new();
        for (index, from) in states().iter().enumerate() {
            assert_eq!(
                TABLE[index].0,
                Stage::of(from),
                "a row stands where its state is looked up"
            );
            for to in states() {
                let mut life = Lifecycle::at(from.clone());
                life.go(to.clone());
                let (before, wanted) = (Stage::of(from), Stage::of(&to));
                let arrow = format!("{before:?} --> {wanted:?}");
                let expected = if table.contains(&arrow) { wanted } else { before };
                assert_eq!(Stage::of(life.state()), expected, "{arrow}");
                if table.contains(&arrow) {
                    found.insert(arrow);
                }
            }
        }
        assert_eq!(found, table);
        assert_eq!(found, arrows_of_the_diagram());
    }

    /// `Running --> NoSpace: why`, without the reason.
    fn arrows_of_the_diagram() -> BTreeSet<String> {
        let page = include_str!("../../../docs/architecture.md");
        let (_, section) = page.split_once("## Faults and restarts").expect("the section");
        let (_, diagram) = section.split_once("stateDiagram-v2").expect("its diagram");
        let (diagram, _) = diagram.split_once("```").expect("its end");
        let arrows = diagram.lines().map(str::trim).filter(|line| line.contains(" --> "));
        let between_states = arrows.filter(|line| !line.contains("[*]"));
        between_states.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    }

    #[test]
    fn p15_only_a_running_log_gives_out_lsns_and_only_a_final_one_writes_nothing() {
        for state in states() {
            let life = Lifecycle::at(state.clone());
            let takes = life.appends() == Appends::Take;
            assert_eq!(takes, matches!(state, LogState::Running), "{state:?}");
            let writes_nothing = life.flushes() == Flushes::Nothing;
            assert_eq!(writes_nothing, state.is_final(), "{state:?}");
        }
    }
}
