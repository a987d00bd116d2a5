//! The dependencies of contested items: each item needs the value of at most one other item.

/// The order in which contested items can be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Cycles of items that need each other's values: in each, the first item needs the value of
    /// the last one, and every other item that of the one before it.
    pub cycles: Vec<Vec<usize>>,
    /// All other items, each after the one whose value it needs.
    pub order: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    No,
    /// On the path that is currently followed.
    Now,
    Yes,
}

/// Orders items by the item whose value each of them needs.
pub fn graph(needs: &[Option<usize>]) -> Graph {
    let mut graph = Graph::default();
    let mut seen = vec![Visit::No; needs.len()];
    for start in 0..needs.len() {
        let mut path = Vec::new();
        let mut next = Some(start);
        let mut cycle = None;
        while let Some(at) = next.filter(|at| *at < needs.len()) {
            match seen[at] {
                Visit::No => {
                    seen[at] = Visit::Now;
                    path.push(at);
                    next = needs[at];
                }
                Visit::Now => {
                    cycle = path.iter().position(|other| *other == at);
                    break;
                }
                Visit::Yes => break,
            }
        }
        path.iter().for_each(|at| seen[*at] = Visit::Yes);
        if let Some(first) = cycle {
            let cycle = path.split_off(first);
            // An item cannot need its own value; if it seems so, it is no cycle.
            match cycle.as_slice() {
                [alone] => graph.order.push(*alone),
                _ => graph.cycles.push(cycle.into_iter().rev().collect()),
            }
        }
        graph.order.extend(path.iter().rev());
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_item_is_after_the_one_whose_value_it_needs() {
        let graph = graph(&[Some(1), Some(2), None, Some(1)]);
        assert_eq!(graph, Graph { cycles: vec![], order: vec![2, 1, 0, 3] });
    }

    #[test]
    fn a_cycle_begins_with_the_item_that_needs_the_value_of_its_last() {
        // 1 needs 2, 2 needs 3, 3 needs 1; 0 needs 1, but is in no cycle.
        let graph = graph(&[Some(1), Some(2), Some(3), Some(1)]);
        assert_eq!(graph, Graph { cycles: vec![vec![3, 2, 1]], order: vec![0] });
    }

    proptest! {
        #[test]
        fn every_item_is_in_the_graph_once_and_in_order(
            needs in prop::collection::vec(prop::option::of(0usize..30), 0..30),
        ) {
            let Graph { cycles, order } = graph(&needs);
            let mut all: Vec<usize> = cycles.concat();
            let mut before = all.clone();
            all.extend(&order);
            all.sort_unstable();
            prop_assert_eq!(all, (0..needs.len()).collect::<Vec<_>>());
            for cycle in &cycles {
                prop_assert_eq!(needs[cycle[0]], cycle.last().copied());
                for pair in cycle.windows(2) {
                    prop_assert_eq!(needs[pair[1]], Some(pair[0]));
                }
            }
            for at in order {
                if let Some(holder) = needs[at].filter(|holder| *holder < needs.len() && *holder != at) {
                    prop_assert!(before.contains(&holder));
                }
                before.push(at);
            }
        }
    }
}
