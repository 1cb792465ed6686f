//! The cycles of a graph.

/// The parts of a graph within which each node can be reached from each other one, by Tarjan's algorithm (SIAM Journal
/// on Computing 1, 1972), without recursion: histories are longer than stacks. Parts of a single node are left out.
pub(crate) fn cyclic(edges: &[Vec<u32>]) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let mut index = vec![NEW; edges.len()];
    let mut low = vec![0; edges.len()];
    let mut on_stack = vec![false; edges.len()];
    let (mut stack, mut parts, mut next) = (Vec::new(), Vec::new(), 0);
    // The way down to where it is, each node with the number of its edges that have been looked at.
    let mut way: Vec<(u32, usize)> = Vec::new();
    for root in 0..edges.len() as u32 {
        if index[root as usize] == NEW {
            way.push((root, 0));
        }
        while let Some((node, seen)) = way.last_mut() {
            let at = *node as usize;
            if *seen == 0 {
                (index[at], low[at], on_stack[at]) = (next, next, true);
                next += 1;
                stack.push(*node);
            }
            if let Some(&to) = edges[at].get(*seen) {
                *seen += 1;
                let to_at = to as usize;
                if index[to_at] == NEW {
                    way.push((to, 0));
                } else if on_stack[to_at] {
                    low[at] = low[at].min(index[to_at]);
                }
                continue;
            }
            way.pop();
            if let Some((parent, _)) = way.last() {
                low[*parent as usize] = low[*parent as usize].min(low[at]);
            }
            if low[at] == index[at] {
                let begins = stack.iter().rposition(|node| *node as usize == at).unwrap_or(0);
                let part = stack.split_off(begins);
                part.iter().for_each(|node| on_stack[*node as usize] = false);
                if part.len() > 1 {
                    parts.push(part);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by trying: two nodes belong together if each can be reached from the other one.
    fn by_reach(edges: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let count = edges.len();
        let mut reach = vec![vec![false; count]; count];
        for (from, to) in edges.iter().enumerate() {
            to.iter().for_each(|to| reach[from][*to as usize] = true);
        }
        for (by, from, to) in (0..count).flat_map(|by| {
            (0..count).flat_map(move |from| (0..count).map(move |to| (by, from, to)))
        }) {
            reach[from][to] |= reach[from][by] && reach[by][to];
        }
        let together =
            |at: usize, other: usize| at == other || reach[at][other] && reach[other][at];

        let part = |at: usize| -> Vec<u32> {
            (0..count).filter(|other| together(at, *other)).map(|at| at as u32).collect()
        };
        let parts = (0..count).map(part);
        let is_first = |(at, part): &(usize, Vec<u32>)| part[0] == *at as u32 && part.len() > 1;
        parts.enumerate().filter(is_first).map(|(_, part)| part).collect()
    }

    #[test]
    fn the_parts_of_every_graph_of_four_nodes_are_those_that_reach_each_other() {
        for graph in 0..1_u32 << 16 {
            let edge = |from: u32, to: u32| graph >> (4 * from + to) & 1 == 1;
            let edges: Vec<Vec<u32>> =
                (0..4).map(|from| (0..4).filter(|to| edge(from, *to)).collect()).collect();
            let mut parts = cyclic(&edges);
            parts.iter_mut().for_each(|part| part.sort_unstable());
            parts.sort_unstable();
            assert_eq!(parts, by_reach(&edges), "{edges:?}");
        }
    }
}
