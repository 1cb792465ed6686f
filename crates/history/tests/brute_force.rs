//! The checker against one that tries every order: on all small histories of registers, and on many of lists.

use history::{History, Level, Operation, Outcome, Session, Transaction, check};

const COUNT: usize = 4;
const KEYS: [&str; 2] = ["x", "y"];

/// One transaction: first it reads, then it writes. Writers are numbered from 0 on, in the order of their versions.
#[derive(Clone, Debug, Default)]
struct Small {
    /// For each key, the writers whose values it saw: the last one only, for a register.
    reads: [Option<Vec<usize>>; 2],
    writes: [bool; 2],
    began: u64,
    ended: u64,
}

type Smalls = [Small; COUNT];

fn history(of: &Smalls, is_list: bool) -> History {
    let value = |writer: &usize| *writer as u64 + 1;
    let transaction = |(id, small): (usize, &Small)| {
        let mut operations = Vec::new();
        for (key, read) in KEYS.iter().zip(&small.reads) {
            operations.extend(read.as_ref().map(|read| {
                let key = (*key).to_owned();
                let values: Vec<_> = read.iter().map(value).collect();
                if is_list {
                    Operation::List { key, values }
                } else {
                    Operation::Read { key, value: values.last().copied() }
                }
            }));
        }
        for (key, _) in KEYS.iter().zip(small.writes).filter(|(_, writes)| *writes) {
            let (key, value) = ((*key).to_owned(), value(&id));
            operations.push(if is_list {
                Operation::Append { key, value }
            } else {
                Operation::Write { key, value }
            });
        }
        let transactions = vec![Transaction {
            began: small.began,
            ended: Some(small.ended),
            outcome: Outcome::Committed,
            version: small.writes.contains(&true).then_some(id as u64),
            operations,
        }];
        Session { name: id.to_string(), transactions }
    };
    History { sessions: of.iter().enumerate().map(transaction).collect() }
}

/// What a database holds: for each key its writers, oldest first.
type State = [Vec<usize>; 2];

fn sees(small: &Small, state: &State, is_list: bool) -> bool {
    small.reads.iter().zip(state).all(|(read, writers)| match read {
        None => true,
        Some(read) if is_list => read == writers,
        Some(read) => read.last() == writers.last(),
    })
}

/// Adds the writes of a transaction, unless a later version is there already.
fn write(id: usize, small: &Small, state: &mut State) -> bool {
    for (writers, _) in state.iter_mut().zip(small.writes).filter(|(_, writes)| *writes) {
        if writers.last().is_some_and(|last| *last > id) {
            return false;
        }
        writers.push(id);
    }
    true
}

/// Whether some order of the rest, one after the other, explains everything.
fn is_serial(of: &Smalls, is_list: bool, real_time: bool, done: u8, state: &State) -> bool {
    let is_open = |id: &usize| done & (1 << id) == 0;
    if (0..COUNT).all(|id| !is_open(&id)) {
        return true;
    }
    (0..COUNT).filter(is_open).any(|id| {
        let comes_first =
            |other: usize| other != id && is_open(&other) && of[other].ended < of[id].began;
        if real_time && (0..COUNT).any(comes_first) {
            return false;
        }
        let mut after = state.clone();
        sees(&of[id], state, is_list)
            && write(id, &of[id], &mut after)
            && is_serial(of, is_list, real_time, done | 1 << id, &after)
    })
}

/// Whether some order of beginnings and commits explains everything by snapshot isolation.
fn is_snapshot(
    of: &Smalls,
    is_list: bool,
    real_time: bool,
    begun: [Option<[usize; 2]>; COUNT],
    done: u8,
    state: &State,
) -> bool {
    let is_done = |id: usize| done & (1 << id) != 0;
    (0..COUNT).all(is_done)
        || (0..COUNT).filter(|id| !is_done(*id)).any(|id| {
            let Some(at_begin) = begun[id] else {
                let late = |other: usize| !is_done(other) && of[other].ended < of[id].began;
                if real_time && (0..COUNT).any(|other| other != id && late(other)) {
                    return false;
                }
                let mut begun = begun;
                begun[id] = Some([state[0].len(), state[1].len()]);
                return sees(&of[id], state, is_list)
                    && is_snapshot(of, is_list, real_time, begun, done, state);
            };
            // The first committer wins: nobody wrote its keys since it began.
            let lost = (0..2).any(|key| of[id].writes[key] && state[key].len() > at_begin[key]);
            let mut after = state.clone();
            !lost
                && write(id, &of[id], &mut after)
                && is_snapshot(of, is_list, real_time, begun, done | 1 << id, &after)
        })
}

fn compare(of: &Smalls, is_list: bool) -> [bool; 4] {
    let history = history(of, is_list);
    let verdict = |level, brute: bool| {
        let found = check(&history, level);
        assert_eq!(found.is_empty(), brute, "{level:?}: {found:?} in {of:#?}");
        brute
    };
    let serial = |real_time| is_serial(of, is_list, real_time, 0, &State::default());
    let snapshot =
        |real_time| is_snapshot(of, is_list, real_time, Default::default(), 0, &State::default());
    [
        verdict(Level::Snapshot, snapshot(false)),
        verdict(Level::StrongSnapshot, snapshot(true)),
        verdict(Level::Serializable, serial(false)),
        verdict(Level::StrictSerializable, serial(true)),
    ]
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % limit as u64) as usize
    }
}

fn any_times(of: &mut Smalls, random: &mut Random) {
    for small in of {
        small.began = random.below(8) as u64;
        small.ended = small.began + random.below(5) as u64;
    }
}

/// How often each level held: a comparison in which everything or nothing holds proves little.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_level: [usize; 4],
}

impl Held {
    fn note(&mut self, verdicts: [bool; 4]) {
        self.all += 1;
        self.by_level.iter_mut().zip(verdicts).for_each(|(held, one)| *held += usize::from(one));
    }

    fn is_telling(&self) {
        println!("{self:?}");
        let [snapshot, strong, serial, strict] = self.by_level;
        assert!(snapshot < self.all && strong < snapshot && strict < serial, "{self:?}");
        assert!(strict > self.all / 100 && serial != snapshot, "{self:?}");
    }
}

#[test]
fn all_histories_of_four_transactions_over_two_registers_are_judged_as_by_trying_every_order() {
    let mut held = Held::default();
    let mut random = Random(1);
    // What each of them reads (nothing, x or y) and writes.
    for shape in 0..9_usize.pow(COUNT as u32) {
        let mut of = Smalls::default();
        let mut reads = Vec::new();
        for (id, small) in of.iter_mut().enumerate() {
            let own = shape / 9_usize.pow(id as u32) % 9;
            if let Some(key) = (own % 3).checked_sub(1) {
                reads.push((id, key));
            }
            if let Some(key) = (own / 3).checked_sub(1) {
                small.writes[key] = true;
            }
        }
        every_read(&mut of, &reads, &mut |of| {
            any_times(of, &mut random);
            held.note(compare(of, false));
        });
    }
    held.is_telling();
}

/// Calls this for each combination of what those reads can have seen.
fn every_read(of: &mut Smalls, reads: &[(usize, usize)], then: &mut impl FnMut(&mut Smalls)) {
    let Some(((id, key), rest)) = reads.split_first() else {
        return then(of);
    };
    let writers: Vec<_> = (0..COUNT).filter(|at| at != id && of[*at].writes[*key]).collect();
    for seen in std::iter::once(vec![]).chain(writers.into_iter().map(|writer| vec![writer])) {
        of[*id].reads[*key] = Some(seen);
        every_read(of, rest, then);
    }
}

#[test]
fn histories_with_two_reads_and_two_writes_in_each_are_judged_as_by_trying_every_order() {
    for is_list in [false, true] {
        let mut held = Held::default();
        let mut random = Random(2);
        for _ in 0..60_000 {
            let mut of = Smalls::default();
            for small in &mut of {
                small.writes = [0, 1].map(|_| random.below(2) == 0);
            }
            for (id, key) in (0..COUNT).flat_map(|id| [(id, 0), (id, 1)]) {
                let mut seen: Vec<_> =
                    (0..COUNT).filter(|at| *at != id && of[*at].writes[key]).collect();
                // Mostly a prefix of the versions, sometimes one with a gap, and rarely two in the wrong order.
                seen.truncate(random.below(seen.len() + 1));
                if random.below(20) == 0 && !seen.is_empty() {
                    seen.remove(random.below(seen.len()));
                }
                if random.below(20) == 0 {
                    seen.reverse();
                }
                if random.below(2) == 0 {
                    of[id].reads[key] = Some(seen);
                }
            }
            any_times(&mut of, &mut random);
            held.note(compare(&of, is_list));
        }
        held.is_telling();
    }
}
