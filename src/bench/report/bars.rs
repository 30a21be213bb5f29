//! A distribution as a few bars.

use super::Measured;
use super::measured::histogram;
use crate::bench::tally::{LONGEST, Metric};

/// So many are shorter than `to`, and not shorter than that of the bar before.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    /// In microseconds.
    pub(super) to: u64,
    pub(super) count: u64,
}

/// How many bars there are at most.
const MOST: usize = 14;

/// Where bars may end, in tenths of a power of ten: the finest that makes few enough bars is taken.
const STEPS: [&[u64]; 5] = [
    &[
        10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44,
        46, 48, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95,
    ],
    &[10, 12, 15, 20, 25, 30, 40, 50, 60, 80],
    &[10, 15, 20, 30, 50, 70],
    &[10, 20, 50],
    &[10],
];

impl Measured {
    /// From the shortest to the longest; none where there is nothing to see.
    pub(super) fn bars(&self, metric: Metric) -> Option<Vec<Bar>> {
        let histogram = histogram(self.histograms.get(metric.name())?).ok()?;
        if histogram.len() < 20 || histogram.max() > 2 * LONGEST {
            return None;
        }
        let at = |value| histogram.lowest_equivalent(value);
        let (low, high) = (at(histogram.min()), at(histogram.max()));
        let mut bars = STEPS.iter().map(|steps| bars(steps, low, high));
        let mut bars = bars.find(|bars| bars.len() <= MOST)?;
        for value in histogram.iter_recorded() {
            let from = histogram.lowest_equivalent(value.value_iterated_to());
            let at = bars.partition_point(|bar| bar.to <= from);
            bars[at].count += value.count_at_value();
        }
        (bars.len() > 1).then_some(bars)
    }
}

/// Empty ones, from that of `low` to that of `high`.
fn bars(steps: &[u64], low: u64, high: u64) -> Vec<Bar> {
    let tenths = (0..=9).flat_map(|power| steps.iter().map(move |step| step * 10u64.pow(power)));
    let ends: Vec<u64> = tenths.filter(|it| it.is_multiple_of(10)).map(|it| it / 10).collect();
    let at = |value: u64| ends.partition_point(|end| *end <= value);
    ends[at(low)..=at(high)].iter().map(|to| Bar { to: *to, count: 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::Tally;

    fn of(samples: &[u64]) -> Option<Vec<Bar>> {
        let mut tally = Tally::default();
        samples.iter().for_each(|micros| tally.time(Metric::Service, micros * 1_000));
        Measured::of(&tally).bars(Metric::Service)
    }

    #[test]
    fn every_sample_is_in_one_bar() {
        for (low, high) in [(1, 40), (1, LONGEST), (5_000, 5_900), (49_900, 50_100), (1, 2)] {
            let samples: Vec<_> = (0..1_000).map(|i| low + (high - low) * i / 999).collect();
            let bars = of(&samples).unwrap();
            assert!((2..=MOST).contains(&bars.len()), "{low} {high}: {bars:?}");
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 1_000, "{low} {high}");
            assert!(bars[0].count > 0 && bars.last().unwrap().count > 0, "{low} {high}: {bars:?}");
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1; 19]), None);
        assert_eq!(of(&[7; 100]), None);
    }
}
