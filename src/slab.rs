//! Places that keep their numbers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How few places are not worth giving back.
const FEW: usize = 64;

/// Values by number. Low numbers are used first, so that the memory of a crowd that has left can go
/// back to the system.
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    used: usize,
    /// The numbers of empty places, and of some that were given back.
    free: BinaryHeap<Reverse<usize>>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), used: 0, free: BinaryHeap::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        self.used += 1;
        // The lowest comes first: once it is one that was given back, so are all others.
        if let Some(Reverse(key)) = self.free.pop()
            && let Some(place) = self.places.get_mut(key)
        {
            *place = Some(value);
            return key;
        }
        self.free.clear();
        self.places.push(Some(value));
        self.places.len() - 1
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.places.get_mut(key)?.as_mut()
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let value = self.places.get_mut(key)?.take()?;
        self.used -= 1;
        self.free.push(Reverse(key));
        if self.places.len() > FEW.max(self.used * 4) {
            self.give_back();
        }
        Some(value)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> + use<T> {
        0..self.places.len()
    }

    /// Frees the empty places at the end.
    fn give_back(&mut self) {
        let len = self.places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.places.truncate(len);
        if self.places.capacity() > FEW.max(len * 4) {
            self.places.shrink_to(len * 2);
            self.free.retain(|Reverse(key)| *key < len);
            self.free.shrink_to(len * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_places_are_used_first_and_high_ones_given_back() {
        let mut slab = Slab::new();
        for n in 0..1000 {
            assert_eq!(slab.insert(n), n);
        }
        for n in (3..1000).rev() {
            assert_eq!(slab.remove(n), Some(n));
            assert_eq!(slab.remove(n), None);
        }
        assert!(slab.places.capacity() <= FEW * 4, "{}", slab.places.capacity());
        assert_eq!(slab.remove(1), Some(1));
        assert_eq!((slab.insert(7), slab.insert(8)), (1, 3));
        assert_eq!(slab.get_mut(3), Some(&mut 8));
    }
}
