//! From tallies to figures. Runs and merged runs go through here alike.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::{ErrorGroup, Summary};
use crate::bench::tally::{Compression, Counts, LONGEST, Metric, Tally};

/// What was counted and timed in the measured part; connections are those of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Measured {
    /// How often things have happened.
    pub counts: Counts,
    /// From when a message was to be sent until its answer; none in a closed loop.
    pub response_us: Option<Summary>,
    /// From when a message was sent until its answer.
    pub service_us: Option<Summary>,
    /// From when a message was to be sent until it was.
    pub send_lag_us: Option<Summary>,
    /// The part of `send_lag_us` in which this program was late.
    pub pacer_lag_us: Option<Summary>,
    /// The part of `send_lag_us` in which the connection took nothing.
    pub write_block_us: Option<Summary>,
    /// From the start of a connection until it was ready, in the whole run.
    pub handshake_us: Option<Summary>,
    /// The parts of it by name: `dns`, `tcp`, `tls`, `upgrade`, ...
    pub phases_us: BTreeMap<String, Summary>,
    /// From a Ping until its Pong.
    pub ping_us: Option<Summary>,
    /// From our Close until the connection was over.
    pub close_us: Option<Summary>,
    /// Failures by kind, the most frequent first.
    pub errors: Vec<ErrorGroup>,
    /// What compression has come to, where it was offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// All histograms by name, as HdrHistogram V2 with DEFLATE in base64, in microseconds.
    pub histograms: BTreeMap<String, String>,
}

impl Measured {
    /// The figures of a tally.
    pub fn of(tally: &Tally) -> Self {
        let mut measured =
            Self { counts: tally.counts.clone(), histograms: histograms(tally), ..Self::default() };
        for metric in Metric::ALL {
            let Some(summary) = tally.histogram(metric).and_then(Summary::of) else { continue };
            match measured.place(metric) {
                Some(place) => *place = Some(summary),
                None => drop(measured.phases_us.insert(metric.name().to_owned(), summary)),
            }
        }
        let errors = tally.errors.iter().map(|(cause, failures)| ErrorGroup {
            cause: cause.clone(),
            failures: failures.clone(),
        });
        measured.errors = errors.collect();
        // Those that are as frequent stay in the order of their causes.
        measured.errors.sort_by_key(|group| std::cmp::Reverse(group.failures.count));
        let compression = Some(&tally.compression).filter(|it| **it != Compression::default());
        measured.compression = compression.cloned();
        measured
    }

    /// The tally that these are the figures of.
    ///
    /// # Errors
    /// What is wrong with a histogram.
    pub fn tally(&self) -> Result<Tally, String> {
        let mut tally = tally(&self.histograms)?;
        tally.counts = self.counts.clone();
        let errors = self.errors.iter().map(|it| (it.cause.clone(), it.failures.clone()));
        tally.errors = errors.collect();
        tally.compression = self.compression.clone().unwrap_or_default();
        Ok(tally)
    }

    /// The distribution of a metric.
    pub fn summary(&self, metric: Metric) -> Option<&Summary> {
        match metric {
            Metric::Response => self.response_us.as_ref(),
            Metric::Service => self.service_us.as_ref(),
            Metric::SendLag => self.send_lag_us.as_ref(),
            Metric::PacerLag => self.pacer_lag_us.as_ref(),
            Metric::WriteBlock => self.write_block_us.as_ref(),
            Metric::Handshake => self.handshake_us.as_ref(),
            Metric::Ping => self.ping_us.as_ref(),
            Metric::Close => self.close_us.as_ref(),
            phase => self.phases_us.get(phase.name()),
        }
    }

    fn place(&mut self, metric: Metric) -> Option<&mut Option<Summary>> {
        match metric {
            Metric::Response => Some(&mut self.response_us),
            Metric::Service => Some(&mut self.service_us),
            Metric::SendLag => Some(&mut self.send_lag_us),
            Metric::PacerLag => Some(&mut self.pacer_lag_us),
            Metric::WriteBlock => Some(&mut self.write_block_us),
            Metric::Handshake => Some(&mut self.handshake_us),
            Metric::Ping => Some(&mut self.ping_us),
            Metric::Close => Some(&mut self.close_us),
            Metric::Dns
            | Metric::Tcp
            | Metric::Proxy
            | Metric::Tls
            | Metric::Upgrade
            | Metric::Ssh
            | Metric::Login
            | Metric::Forward => None,
        }
    }
}

impl Summary {
    /// The figures of a histogram of microseconds, unless it is empty. A percentile is left out
    /// where fewer than ten samples are above it.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let percentile = |level: &Level| {
            (histogram.len() >= level.needs)
                .then(|| histogram.value_at_quantile(level.quantile).min(LONGEST))
        };
        let [p50, p75, p90, p95, p99, p999, p9999] = LEVELS.each_ref().map(percentile);
        Some(Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            stdev: histogram.stdev(),
            p50,
            p75,
            p90,
            p95,
            p99,
            p999,
            p9999,
            max: histogram.max().min(LONGEST),
        })
    }

    /// The percentile of a level, if there are samples enough.
    pub(super) fn percentile(&self, level: &Level) -> Option<u64> {
        match level.name {
            "p50" => self.p50,
            "p75" => self.p75,
            "p90" => self.p90,
            "p95" => self.p95,
            "p99" => self.p99,
            "p999" => self.p999,
            _ => self.p9999,
        }
    }
}

/// A percentile that is told.
#[derive(Debug, PartialEq)]
pub(super) struct Level {
    /// In JSON and in gates.
    pub(super) name: &'static str,
    /// In tables.
    pub(super) title: &'static str,
    pub(super) quantile: f64,
    /// So many samples have ten above it.
    pub(super) needs: u64,
}

impl Level {
    const fn new(name: &'static str, title: &'static str, quantile: f64, needs: u64) -> Self {
        Self { name, title, quantile, needs }
    }
}

/// All of them.
pub(super) const LEVELS: [Level; 7] = [
    Level::new("p50", "p50", 0.5, 20),
    Level::new("p75", "p75", 0.75, 40),
    Level::new("p90", "p90", 0.9, 100),
    Level::new("p95", "p95", 0.95, 200),
    Level::new("p99", "p99", 0.99, 1_000),
    Level::new("p999", "p99.9", 0.999, 10_000),
    Level::new("p9999", "p99.99", 0.9999, 100_000),
];

/// The histograms of a tally as they stand in JSON, those that are not empty.
pub(crate) fn histograms(tally: &Tally) -> BTreeMap<String, String> {
    let known = Metric::ALL.into_iter().filter_map(|metric| {
        let histogram = tally.histogram(metric).filter(|it| !it.is_empty())?;
        Some((metric.name().to_owned(), encoded(histogram)))
    });
    known.collect()
}

/// Histograms that stand in JSON; those of metrics that this version does not know are left out.
pub(super) fn tally(histograms: &BTreeMap<String, String>) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for (name, text) in histograms {
        let Some(metric) = Metric::named(name) else { continue };
        let wrong = |what: String| format!("the histogram `{name}` {what}");
        let histogram = histogram(text).map_err(wrong)?;
        let added = tally.merge(metric, &histogram);
        added.map_err(|_| wrong("has times above 60 s".to_owned()))?;
    }
    Ok(tally)
}

fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes all that is written");
    STANDARD.encode(bytes)
}

/// Reads what [`histograms`] writes.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn histogram(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("is no base64: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("is no HdrHistogram: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::Cause;

    fn cause(name: &str) -> Cause {
        Cause { phase: "tcp".into(), cause: name.into(), status: None, code: None }
    }

    fn samples(count: u64) -> Tally {
        let mut tally = Tally::default();
        (1..=count).for_each(|i| tally.time(Metric::Response, i * 1_000));
        tally
    }

    fn response(tally: &Tally) -> Option<Summary> {
        Measured::of(tally).response_us
    }

    #[test]
    fn percentiles_need_ten_samples_above_them() {
        assert_eq!(response(&Tally::default()), None);
        for level in &LEVELS {
            let needs = (10.0 / (1.0 - level.quantile)).round() as u64;
            assert_eq!(level.needs, needs, "{}", level.name);
            let few = response(&samples(needs - 1)).unwrap();
            assert_eq!(few.percentile(level), None, "{}", level.name);
            let enough = response(&samples(needs)).unwrap();
            let expected = level.quantile * needs as f64;
            let told = enough.percentile(level).unwrap() as f64;
            assert!((told / expected - 1.0).abs() < 0.002, "{}: {told} {expected}", level.name);
        }
    }

    #[test]
    fn what_is_told_of_few_samples_is_a_number() {
        let one = response(&samples(1)).unwrap();
        assert_eq!((one.count, one.min, one.max, one.p50), (1, 1, 1, None));
        assert_eq!((one.mean, one.stdev), (1.0, 0.0));
        assert!(!serde_json::to_string(&one).unwrap().contains("NaN"));
    }

    #[test]
    fn nothing_is_longer_than_the_longest() {
        let mut tally = Tally::default();
        tally.times(Metric::Ping, u64::MAX / 2, 100_000);
        let ping = Measured::of(&tally).ping_us.unwrap();
        assert_eq!((ping.p9999, ping.max), (Some(LONGEST), LONGEST));
    }

    #[test]
    fn every_metric_has_a_place_and_comes_back() {
        let mut tally = Tally::default();
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            tally.times(metric, (i as u64 + 1) * 1_000_000, 30);
        }
        tally.counts.sent = 7;
        tally.fail(cause("reset"), || "first".into());
        for _ in 0..2 {
            tally.fail(cause("timeout"), || "second".into());
        }
        let measured = Measured::of(&tally);
        for metric in Metric::ALL {
            assert_eq!(measured.summary(metric).map(|it| it.count), Some(30), "{metric:?}");
        }
        assert_eq!(measured.errors[0].cause, cause("timeout"));
        let json = serde_json::to_string(&measured).unwrap();
        let read: Measured = serde_json::from_str(&json).unwrap();
        assert_eq!(read, measured);
        assert_eq!(Measured::of(&read.tally().unwrap()), measured);
    }

    #[test]
    fn a_bad_histogram_is_named() {
        let mut measured = Measured::of(&samples(3));
        for (bad, said) in [("?", "base64"), ("AAAA", "HdrHistogram")] {
            measured.histograms.insert("response".into(), bad.into());
            let error = measured.tally().unwrap_err();
            assert!(error.contains("`response`") && error.contains(said), "{error}");
        }
        let mut long = Histogram::<u64>::new(3).unwrap();
        long.record(LONGEST * 3).unwrap();
        measured.histograms.insert("response".into(), encoded(&long));
        assert!(measured.tally().unwrap_err().contains("above 60 s"));
    }
}
