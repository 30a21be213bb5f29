//! Pauses between attempts: they double, with full jitter, up to a cap.
//!
//! Full jitter (a pause anywhere between nothing and the bound) spreads the attempts of many
//! clients that lost the same server at the same moment.

use std::time::Duration;

/// How long to wait before the next attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempts: u32,
}

impl Backoff {
    /// Bounds begin at `first` and end at `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, attempts: 0 }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// The attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// An attempt has succeeded.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    fn bound(&self) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(self.attempts)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        let bounds: Vec<_> = (0..9)
            .map(|_| {
                let bound = backoff.bound();
                assert!(backoff.pause() <= bound);
                bound.as_millis()
            })
            .collect();
        assert_eq!(bounds, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.bound().as_millis(), 250);
    }
}
