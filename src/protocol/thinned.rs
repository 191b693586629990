//! A sequence of what was measured at steps, thinned so that a run of any length stays small.

use serde::{Deserialize, Serialize};

/// Something of a step.
pub trait AtStep {
    /// Its step.
    fn step(&self) -> u64;
}

/// At most `CAPACITY` items, oldest first: every so many of those that were pushed, evenly, and the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thinned<T, const CAPACITY: usize> {
    items: Vec<T>,
    /// One of this many stays.
    stride: u64,
    /// Items pushed since the last one that stays.
    since: u64,
}

impl<T, const CAPACITY: usize> Default for Thinned<T, CAPACITY> {
    fn default() -> Self {
        Self { items: Vec::new(), stride: 1, since: 0 }
    }
}

impl<T: AtStep, const CAPACITY: usize> Thinned<T, CAPACITY> {
    /// Adds an item in place of all that are not of an earlier step: a run that went back takes another course.
    pub fn push(&mut self, item: T) {
        if let Some(before) = item.step().checked_sub(1) {
            self.rewind(before);
        } else {
            *self = Self::default();
        }
        if self.since > 0 {
            // The newest is always there; it makes room unless it is one that stays.
            self.items.pop();
        }
        self.items.push(item);
        if self.items.len() == 1 {
            return;
        }
        // Where they come from a frame, they may be anything.
        self.since = self.since.saturating_add(1) % self.stride.max(1);
        if self.items.len() > CAPACITY {
            self.halve();
        }
    }

    /// Forgets the items behind this step.
    pub fn rewind(&mut self, step: u64) {
        if self.items.last().is_some_and(|last| last.step() > step) {
            self.items.retain(|item| item.step() <= step);
            // What is left stood at a place that stays.
            self.since = 0;
        }
    }

    /// The items, oldest first.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// Keeps the first of every two, and the newest.
    fn halve(&mut self) {
        let last = self.items.len() - 1;
        let mut place = 0;
        self.items.retain(|_| {
            let kept = place % 2 == 0 || place == last;
            place += 1;
            kept
        });
        // The last one that had stayed may have gone.
        let stayed = if self.since == 0 { last } else { last - 1 };
        if stayed % 2 == 1 {
            self.since = self.since.saturating_add(self.stride);
        }
        self.stride = self.stride.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Item(u64);

    impl AtStep for Item {
        fn step(&self) -> u64 {
            self.0
        }
    }

    type Few = Thinned<Item, 8>;

    fn steps(of: &Few) -> Vec<u64> {
        of.items().iter().map(|item| item.0).collect()
    }

    #[test]
    fn what_stays_is_even_and_bounded_and_the_newest_is_there() {
        let mut all = Few::default();
        for step in 0..1000 {
            all.push(Item(step));
            let kept = steps(&all);
            assert!(kept.len() <= 8 && kept[0] == 0 && *kept.last().unwrap() == step, "{kept:?}");
            let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (last, even) = gaps.split_last().map_or((&0, &[][..]), |(last, even)| (last, even));
            assert!(even.windows(2).all(|pair| pair[0] == pair[1]), "{kept:?}");
            assert!(even.first().is_none_or(|gap| last <= gap), "{kept:?}");
            assert!(step < 8 || kept.len() >= 4, "{kept:?}");
        }
    }

    #[test]
    fn an_item_takes_the_place_of_its_step_and_of_all_behind_it() {
        let mut all = Few::default();
        (1..=6).for_each(|step| all.push(Item(step)));
        all.push(Item(4));
        assert_eq!(steps(&all), [1, 2, 3, 4]);
        all.rewind(2);
        assert_eq!(steps(&all), [1, 2]);
        all.push(Item(0));
        assert_eq!(steps(&all), [0]);
    }

    #[test]
    fn a_course_taken_again_stays_bounded() {
        let mut all = Few::default();
        for step in (0..500).chain(100..700) {
            all.push(Item(step));
            assert!(all.items().len() <= 8);
            assert!(steps(&all).is_sorted());
        }
        assert_eq!(steps(&all).last(), Some(&699));
    }
}
