//! Which transaction must come before which.

use std::collections::{HashMap, VecDeque};

use crate::components::cyclic;
use crate::model::Outcome;
use crate::order::{Facts, Id};

/// What one transaction before another rests on, by Adya.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rests {
    /// The second one wrote over a version of the first one.
    WriteWrite,
    /// The second one read a version of the first one.
    WriteRead,
    /// The second one wrote over a version that the first one read.
    ReadWrite,
    /// The second one began when the first one had been answered.
    RealTime,
}

/// The transactions, and behind them one node for each answer: who was answered comes before it, who began later comes
/// after it. So real time needs two edges for each transaction, not one for each pair.
#[derive(Debug)]
pub(crate) struct Graph {
    transactions: usize,
    nodes: usize,
    edges: Vec<(Id, Id, Rests)>,
}

impl Graph {
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let transactions = facts.transactions.len();
        let mut graph = Graph { transactions, nodes: transactions, edges: Vec::new() };
        for key in facts.keys.values() {
            let ordered = key.order.windows(2);
            graph.edges.extend(ordered.map(|pair| (pair[0], pair[1], Rests::WriteWrite)));
            let places = key.order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
            for (reader, writer) in &key.reads {
                graph.reads(*reader, *writer, &key.order, &places);
            }
        }
        graph.real_time(facts);
        graph
    }

    fn reads(&mut self, reader: Id, writer: Option<Id>, order: &[Id], places: &HashMap<Id, usize>) {
        self.edges.extend(writer.map(|writer| (writer, reader, Rests::WriteRead)));
        let next = match writer {
            None => Some(0),
            // A writer without a place: which one wrote over it is not known.
            Some(writer) => places.get(&writer).map(|at| at + 1),
        };
        let next = next.and_then(|next| order.get(next));
        self.edges.extend(next.map(|next| (reader, *next, Rests::ReadWrite)));
    }

    fn real_time(&mut self, facts: &Facts<'_>) {
        // Beginnings before ends of the same instant: those two were at work at once.
        let mut moments = Vec::new();
        for (it, id) in
            facts.transactions.iter().zip(0..).filter(|(_, id)| facts.committed[*id as usize])
        {
            moments.push((it.began, false, id));
            // One that was answered with "unknown" may have come into force later.
            let ended = it.ended.filter(|_| it.outcome == Outcome::Committed);
            moments.extend(ended.map(|ended| (ended.max(it.began), true, id)));
        }
        moments.sort_unstable();
        let mut last: Option<Id> = None;
        for (_, is_end, id) in moments {
            if !is_end {
                self.edges.extend(last.map(|last| (last, id, Rests::RealTime)));
                continue;
            }
            let answer = self.nodes as Id;
            self.nodes += 1;
            self.edges.push((id, answer, Rests::RealTime));
            self.edges.extend(last.map(|last| (last, answer, Rests::RealTime)));
            last = Some(answer);
        }
    }

    /// One short cycle for each group of transactions that can not be put into an order, by these edges alone.
    pub(crate) fn cycles(&self, takes: impl Fn(Rests) -> bool) -> Vec<Vec<Id>> {
        let mut edges = vec![Vec::new(); self.nodes];
        for (from, to, _) in self.edges.iter().filter(|(_, _, rests)| takes(*rests)) {
            edges[*from as usize].push(*to);
        }
        self.short_cycles(&edges)
    }

    /// The same for cycles in which no two edges in a row are `ReadWrite`: those that snapshot isolation forbids (Cerone
    /// and Gotsman). Each node stands twice; in its second copy the last edge was `ReadWrite`.
    pub(crate) fn cycles_of_snapshots(&self, takes: impl Fn(Rests) -> bool) -> Vec<Vec<Id>> {
        let copy = self.nodes as Id;
        let mut edges = vec![Vec::new(); 2 * self.nodes];
        for (from, to, rests) in self.edges.iter().filter(|(_, _, rests)| takes(*rests)) {
            if *rests == Rests::ReadWrite {
                edges[*from as usize].push(to + copy);
            } else {
                edges[*from as usize].push(*to);
                edges[(from + copy) as usize].push(*to);
            }
        }
        self.short_cycles(&edges)
    }

    fn short_cycles(&self, edges: &[Vec<Id>]) -> Vec<Vec<Id>> {
        let parts = cyclic(edges);
        let mut part_of = vec![u32::MAX; edges.len()];
        for (part, number) in parts.iter().zip(0..) {
            part.iter().for_each(|node| part_of[*node as usize] = number);
        }
        let cycle = |part: &Vec<Id>| {
            let mut cycle = shortest(edges, &part_of, part[0]);
            cycle.iter_mut().for_each(|node| *node %= self.nodes as Id);
            cycle.retain(|node| (*node as usize) < self.transactions);
            cycle
        };
        parts.iter().map(cycle).collect()
    }
}

/// A shortest way from a node back to it, within its part.
fn shortest(edges: &[Vec<Id>], part_of: &[u32], from: Id) -> Vec<Id> {
    let mut came_from = HashMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for to in &edges[node as usize] {
            if *to == from {
                let mut way = vec![node];
                while let Some(before) = way.last().and_then(|node| came_from.get(node)) {
                    way.push(*before);
                }
                way.reverse();
                return way;
            }
            if part_of[*to as usize] == part_of[from as usize] && !came_from.contains_key(to) {
                came_from.insert(*to, node);
                queue.push_back(*to);
            }
        }
    }
    vec![from]
}
