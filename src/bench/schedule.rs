//! When messages are due. It is fixed before the first is sent, so that a slow answer delays none.

use crate::cli::bench::Arrival;

/// The times at which messages are due, in nanoseconds.
pub(super) struct Schedule {
    start: u64,
    /// The mean gap, in nanoseconds.
    gap: f64,
    /// The time of the next message after the start.
    next: f64,
    count: u64,
    /// The part of a gap by which this schedule lags behind `start`, where gaps are constant.
    offset: f64,
    random: Option<fastrand::Rng>,
}

impl Schedule {
    /// `rate` messages a second from `start` on. Of several schedules that are interleaved each has
    /// an offset of its own, in parts of its gap.
    pub(super) fn new(start: u64, rate: f64, offset: f64, arrival: Arrival, seed: u64) -> Self {
        let gap = 1e9 / rate;
        let random = (arrival == Arrival::Poisson).then(|| fastrand::Rng::with_seed(seed));
        let mut schedule = Self { start, gap, next: 0.0, count: 0, offset, random };
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
        match &mut self.random {
            // The product, and not a sum, so that nothing adds up over a long run.
            None => (self.count as f64 + self.offset) * self.gap,
            // The gaps of a Poisson process are exponential; 1 - f64() is never 0.
            Some(random) => now - (1.0 - random.f64()).ln() * self.gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut third = Schedule::new(1000, 3e6, 0.0, Arrival::Constant, 0);
        let times = times(&mut third, 3_000_001);
        assert_eq!(times[0], 1000);
        assert_eq!(times[3_000_000], 1_000_001_000);
    }

    #[test]
    fn interleaved_schedules_take_turns() {
        let mut all: Vec<u64> = (0..4)
            .flat_map(|i| {
                times(&mut Schedule::new(0, 250.0, f64::from(i) / 4.0, Arrival::Constant, 0), 10)
            })
            .collect();
        all.sort_unstable();
        let want: Vec<u64> = (0..40).map(|i| i * 1_000_000).collect();
        assert_eq!(all, want);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let mut schedule = Schedule::new(0, 1000.0, 0.0, Arrival::Poisson, 7);
        let times = times(&mut schedule, 100_001);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        // The standard deviation of an exponential distribution is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance}");
    }
}
