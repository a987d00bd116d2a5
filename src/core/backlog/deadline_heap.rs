//! A priority queue of numbers by time, the earliest first: each number has at most one time, which
//! can be changed and removed.

/// Children of a place: fewer levels than in a binary heap, and all children in one cache line.
const CHILDREN: usize = 4;
/// The place of a number without a time.
const NOWHERE: u32 = u32::MAX;
/// [`Heap::shrink`] keeps the memory for this many numbers.
const KEEP: usize = 1_024;

/// A heap of times with an index of the place of each number.
#[derive(Debug, Default)]
pub struct Heap {
    /// In heap order: no time is earlier than that of its parent.
    times: Vec<(u64, u32)>,
    /// The place of each number.
    places: Vec<u32>,
}

impl Heap {
    /// Sets the time of `number`.
    pub fn set(&mut self, number: u32, time: u64) {
        let index = number as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, NOWHERE);
        }
        let place = match self.place(number) {
            Some(place) => {
                let earlier = time < self.times[place].0;
                self.times[place].0 = time;
                if !earlier {
                    return self.sink(place);
                }
                place
            }
            None => {
                self.times.push((time, number));
                self.times.len() - 1
            }
        };
        self.rise(place);
    }

    /// Removes and returns the time of `number`.
    pub fn remove(&mut self, number: u32) -> Option<u64> {
        let place = self.place(number)?;
        self.places[number as usize] = NOWHERE;
        let (time, _) = self.times.swap_remove(place);
        if place < self.times.len() {
            self.rise(place);
            self.sink(place);
        }
        Some(time)
    }

    /// Frees memory if the heap is empty.
    pub fn shrink(&mut self) {
        if self.times.is_empty() && self.places.len() > KEEP {
            *self = Heap::default();
        }
    }

    /// The earliest time and its number.
    pub fn first(&self) -> Option<(u64, u32)> {
        self.times.first().copied()
    }

    /// The time of `number`.
    #[cfg(test)]
    pub fn of(&self, number: u32) -> Option<u64> {
        self.place(number).map(|place| self.times[place].0)
    }

    /// The numbers that have a time, in no order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.times.iter().map(|(_, number)| *number)
    }

    /// How many numbers have a time.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// True when no number has one.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.times.capacity() * size_of::<(u64, u32)>() + self.places.capacity() * size_of::<u32>()
    }

    #[inline]
    fn place(&self, number: u32) -> Option<usize> {
        let place = *self.places.get(number as usize)?;
        (place != NOWHERE).then_some(place as usize)
    }

    /// Moves the time at `place` up until its parent is not later.
    fn rise(&mut self, mut place: usize) {
        let moved = self.times[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.times[parent].0 <= moved.0 {
                break;
            }
            self.put(place, self.times[parent]);
            place = parent;
        }
        self.put(place, moved);
    }

    /// Moves the time at `place` down until no child is earlier.
    fn sink(&mut self, mut place: usize) {
        let moved = self.times[place];
        loop {
            let first = place * CHILDREN + 1;
            let last = (first + CHILDREN).min(self.times.len());
            let earliest = (first..last).min_by_key(|child| self.times[*child].0);
            let Some(child) = earliest.filter(|child| self.times[*child].0 < moved.0) else {
                break;
            };
            self.put(place, self.times[child]);
            place = child;
        }
        self.put(place, moved);
    }

    fn put(&mut self, place: usize, time: (u64, u32)) {
        self.times[place] = time;
        self.places[time.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_one_time() {
        let mut heap = Heap::default();
        for time in [5, 3, 9, 9, 1] {
            heap.set(7, time);
        }
        assert_eq!((heap.first(), heap.len()), (Some((1, 7)), 1));
        assert_eq!((heap.remove(7), heap.remove(7), heap.first()), (Some(1), None, None));
    }

    #[test]
    fn memory_is_bounded_by_the_numbers_and_freed() {
        let mut heap = Heap::default();
        for turn in 0..100 {
            for number in 0..10_000 {
                heap.set(number, turn * 1_000 + u64::from(number) % 7);
            }
        }
        assert_eq!(heap.len(), 10_000);
        assert!(heap.memory_bytes() < 10_000 * 2 * 20, "{}", heap.memory_bytes());
        for number in 0..10_000 {
            heap.remove(number);
        }
        heap.shrink();
        assert_eq!(heap.memory_bytes(), 0);
    }

    proptest! {
        #[test]
        fn the_first_is_the_earliest(
            changes in prop::collection::vec((0..40u32, prop::option::of(0..20u64)), 0..200),
        ) {
            let (mut heap, mut model) = (Heap::default(), BTreeMap::new());
            for (number, time) in changes {
                match time {
                    Some(time) => {
                        heap.set(number, time);
                        model.insert(number, time);
                    }
                    None => prop_assert_eq!(heap.remove(number), model.remove(&number)),
                }
                prop_assert_eq!(heap.first().map(|first| first.0), model.values().min().copied());
                prop_assert_eq!(heap.of(number), model.get(&number).copied());
                prop_assert_eq!(heap.len(), model.len());
            }
            while let Some((time, number)) = heap.first() {
                prop_assert_eq!(model.remove(&number), Some(time));
                heap.remove(number);
            }
            prop_assert!(model.is_empty() && heap.is_empty());
        }
    }
}
