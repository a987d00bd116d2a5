//! Who wants whose value: each contested item wants that of one other at most.

/// The order in which contested items can be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Items that want each other's values: of each circle, the first wants the value of the last,
    /// and every other one that of the one before it.
    pub circles: Vec<Vec<usize>>,
    /// All others, each behind the one whose value it wants.
    pub order: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    No,
    /// On the path that is being followed.
    Now,
    Yes,
}

/// Sorts items by whose value each of them wants.
pub fn graph(wanted: &[Option<usize>]) -> Graph {
    let mut graph = Graph::default();
    let mut seen = vec![Visit::No; wanted.len()];
    for start in 0..wanted.len() {
        let mut path = Vec::new();
        let mut next = Some(start);
        let mut circle = None;
        while let Some(at) = next.filter(|at| *at < wanted.len()) {
            match seen[at] {
                Visit::No => {
                    seen[at] = Visit::Now;
                    path.push(at);
                    next = wanted[at];
                }
                Visit::Now => {
                    circle = path.iter().position(|other| *other == at);
                    break;
                }
                Visit::Yes => break,
            }
        }
        path.iter().for_each(|at| seen[*at] = Visit::Yes);
        if let Some(first) = circle {
            let circle = path.split_off(first);
            // An item does not want its own value; should it look so, it is no circle.
            match circle.as_slice() {
                [alone] => graph.order.push(*alone),
                _ => graph.circles.push(circle.into_iter().rev().collect()),
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
    fn each_stands_behind_the_one_whose_value_it_wants() {
        let graph = graph(&[Some(1), Some(2), None, Some(1)]);
        assert_eq!(graph, Graph { circles: vec![], order: vec![2, 1, 0, 3] });
    }

    #[test]
    fn a_circle_begins_with_who_wants_the_value_of_its_last() {
        // 1 wants 2, 2 wants 3, 3 wants 1; 0 wants 1, but is in no circle.
        let graph = graph(&[Some(1), Some(2), Some(3), Some(1)]);
        assert_eq!(graph, Graph { circles: vec![vec![3, 2, 1]], order: vec![0] });
    }

    proptest! {
        #[test]
        fn everything_is_in_it_once_and_in_order(
            wanted in prop::collection::vec(prop::option::of(0usize..30), 0..30),
        ) {
            let Graph { circles, order } = graph(&wanted);
            let mut all: Vec<usize> = circles.concat();
            let mut before = all.clone();
            all.extend(&order);
            all.sort_unstable();
            prop_assert_eq!(all, (0..wanted.len()).collect::<Vec<_>>());
            for circle in &circles {
                prop_assert_eq!(wanted[circle[0]], circle.last().copied());
                for pair in circle.windows(2) {
                    prop_assert_eq!(wanted[pair[1]], Some(pair[0]));
                }
            }
            for at in order {
                if let Some(holder) = wanted[at].filter(|holder| *holder < wanted.len() && *holder != at) {
                    prop_assert!(before.contains(&holder));
                }
                before.push(at);
            }
        }
    }
}
