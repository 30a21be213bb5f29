//! How many clients may be logging in at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::value::Startups as Limits;

/// Those who are logging in.
pub(super) struct Startups {
    limits: Limits,
    count: Arc<AtomicUsize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Startup(Arc<AtomicUsize>);

impl Startups {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, count: Arc::default() }
    }

    /// One more, unless there are too many. Between few and many the dice decide, so that nobody
    /// keeps all others out by holding all places.
    pub(super) fn enter(&self) -> Option<Startup> {
        let others = self.count.fetch_add(1, Ordering::Relaxed);
        let startup = Startup(self.count.clone());
        (fastrand::usize(..100) >= self.limits.refused(others)).then_some(startup)
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limits {
    /// How likely the next is refused where there are so many, in percent (sshd_config(5),
    /// MaxStartups).
    fn refused(self, others: usize) -> usize {
        match others {
            _ if others >= self.full => 100,
            _ if others < self.start => 0,
            _ => self.rate + (100 - self.rate) * (others - self.start) / (self.full - self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_let_in_many_are_not_and_in_between_it_rises() {
        let limits: Limits = "10:30:100".parse().unwrap();
        let refused = [0, 9, 10, 55, 99, 100, 1000].map(|others| limits.refused(others));
        assert_eq!(refused, [0, 0, 30, 65, 99, 100, 100]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let startups = Startups::new("2".parse().unwrap());
        let (one, _two) = (startups.enter().unwrap(), startups.enter().unwrap());
        assert!(startups.enter().is_none());
        drop(one);
        assert!(startups.enter().is_some());
    }
}
