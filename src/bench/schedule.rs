//! When messages are due. It is fixed before the first is sent, so that a slow answer delays none.

use crate::cli::bench::Arrival;

/// The times at which messages are due, in nanoseconds.
pub(super) struct Schedule {
    start: u64,
    /// The mean gap between messages of all, in nanoseconds.
    gap: f64,
    share: Share,
    /// The time of the next message after the start.
    next: f64,
    count: u64,
    random: Option<fastrand::Rng>,
}

/// Who sends which messages of a schedule: of `all` senders that take turns, those from `first` on,
/// one in so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) all: usize,
    pub(super) first: usize,
    pub(super) step: usize,
    /// By how much all of them are late, in parts of a gap: others send in between.
    pub(super) offset: f64,
}

impl Share {
    /// How many senders these are.
    pub(super) fn own(self) -> usize {
        self.all.saturating_sub(self.first).div_ceil(self.step)
    }

    /// Their part of something that all have.
    pub(super) fn of(self, count: u64) -> u64 {
        let before: usize = (0..self.first).map(|first| Self { first, ..self }.own()).sum();
        let all = self.all.max(1) as u64;
        let up_to = |senders: usize| (u128::from(count) * senders as u128 / u128::from(all)) as u64;
        up_to(before + self.own()) - up_to(before)
    }
}

impl Schedule {
    /// `rate` messages a second from `start` on, of which these senders have their share.
    pub(super) fn new(start: u64, rate: f64, share: Share, arrival: Arrival, seed: u64) -> Self {
        let gap = 1e9 / rate;
        let random = (arrival == Arrival::Poisson).then(|| fastrand::Rng::with_seed(seed));
        let mut schedule = Self { start, gap, share, next: 0.0, count: 0, random };
        schedule.next = schedule.after(0.0);
        schedule
    }

    /// When the next message is due.
    pub(super) fn peek(&self) -> u64 {
        self.start + self.next as u64
    }

    /// Goes on to the message after that.
    pub(super) fn advance(&mut self) {
        self.count += 1;
        self.next = self.after(self.next);
    }

    fn after(&mut self, now: f64) -> f64 {
        let Share { all, first, step, offset } = self.share;
        let own = self.share.own().max(1) as u64;
        match &mut self.random {
            None => {
                let (round, turn) = (self.count / own, self.count % own);
                let number = round * all as u64 + first as u64 + turn * step as u64;
                // The product, and not a sum, so that nothing adds up over a long run.
                (number as f64 + offset) * self.gap
            }
            // The gaps of a Poisson process are exponential, and so are those of a part of it;
            // 1 - f64() is never 0.
            Some(random) => now - (1.0 - random.f64()).ln() * self.gap * all as f64 / own as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Share = Share { all: 1, first: 0, step: 1, offset: 0.0 };

    fn times(schedule: &mut Schedule, count: usize) -> Vec<u64> {
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(schedule.peek());
            schedule.advance();
        }
        times
    }

    #[test]
    fn constant_gaps_do_not_drift() {
        let mut third = Schedule::new(1000, 3e6, ALONE, Arrival::Constant, 0);
        let times = times(&mut third, 3_000_001);
        assert_eq!(times[0], 1000);
        assert_eq!(times[3_000_000], 1_000_001_000);
    }

    #[test]
    fn interleaved_schedules_take_turns() {
        let mut all = Vec::new();
        let mut messages = 0;
        for first in 0..3 {
            // Seven senders are 3, 2 and 2.
            let share = Share { all: 7, first, step: 3, offset: 0.0 };
            messages += share.of(1000);
            let mut schedule = Schedule::new(0, 1000.0, share, Arrival::Constant, 0);
            all.extend(times(&mut schedule, share.own() * 10));
        }
        all.sort_unstable();
        let want: Vec<u64> = (0..70).map(|i| i * 1_000_000).collect();
        assert_eq!((all, messages), (want, 1000));
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let mut schedule = Schedule::new(0, 1000.0, ALONE, Arrival::Poisson, 7);
        let times = times(&mut schedule, 100_001);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        // The standard deviation of an exponential distribution is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance}");
    }
}
