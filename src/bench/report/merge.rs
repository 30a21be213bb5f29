//! One report of those of all segments.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::measured::tally;
use super::{
    Client, Config, FanOut, Interval, Measured, Rate, Report, SCHEMA_VERSION, Validity, unit,
};
use crate::bench::tally::{Metric, Tally};
use crate::cli::bench::Segment;
use crate::error::{Error, Kind, Result};

/// All segments as one.
#[derive(Debug)]
pub struct Merged {
    /// The report of the whole.
    pub report: Report,
    /// What was measured in each of its intervals: its start, its length, and all that is known.
    pub intervals: Vec<(Duration, Duration, Tally)>,
}

/// Makes one report of those of all segments, each with the name of its file.
///
/// # Errors
/// [`Kind::Usage`], naming the file: a segment is missing or there twice, asked for something else
/// than the others or began at another time.
pub fn merge(reports: Vec<(String, Report)>) -> Result<Merged> {
    let parts = in_order(reports)?;
    let (first, others) = parts.split_first().expect("there is a segment");
    for part in others {
        alike(first, part)?;
    }
    let start = parts.iter().map(|part| part.start).min().expect("there is a segment");
    for part in &parts {
        if part.start - start >= MOST_SKEW {
            let late = unit::time((part.start - start).as_seconds_f64() * 1e6);
            let what = format!("began {late} after the first segment, and not with it");
            return Err(part.error(what).hint("--start-at lets all segments begin together"));
        }
    }

    let mut whole = Tally::default();
    for part in &parts {
        let part = part.report.measured.tally().map_err(|what| part.error(what))?;
        whole.add(&part);
    }
    let intervals = intervals(&parts, start)?;
    let measured = Measured::of(&whole);
    let end = parts.iter().map(|part| part.from(start) + part.report.duration_s);
    let config = Config { segment: None, ..first.report.config.clone() };
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: concat!("towline ", env!("CARGO_PKG_VERSION")).to_owned(),
        mode: first.report.mode,
        validity: Validity::Ok,
        validity_reasons: Vec::new(),
        started_at: start.format(&Rfc3339).unwrap_or_default(),
        duration_s: end.fold(0.0, f64::max),
        interrupted: parts.iter().any(|part| part.report.interrupted),
        rate: rate(&parts, start),
        fan_out: fan_out(&parts),
        intervals: intervals.iter().map(|(interval, _)| interval.clone()).collect(),
        client: client(&parts, &measured),
        steps: Vec::new(),
        gates: Vec::new(),
        comparison: None,
        config,
        measured,
    };
    let limited = parts.iter().filter(|part| part.report.validity == Validity::ClientLimited);
    for part in limited {
        report.validity = Validity::ClientLimited;
        let reasons = part.report.validity_reasons.iter();
        let reasons = reasons.filter(|why| !why.starts_with("too few samples"));
        let reasons = reasons.map(|why| format!("segment {}: {why}", part.segment));
        report.validity_reasons.extend(reasons);
    }
    // What are too few samples in a segment may be enough in the whole.
    report.check_samples();
    let intervals = intervals.into_iter().map(|(interval, tally)| {
        let seconds = |it: f64| Duration::try_from_secs_f64(it).unwrap_or_default();
        (seconds(interval.start_s), seconds(interval.length_s), tally)
    });
    Ok(Merged { report, intervals: intervals.collect() })
}

/// Segments that begin further apart have not measured the same.
const MOST_SKEW: time::Duration = time::Duration::SECOND;

struct Part {
    name: String,
    segment: Segment,
    start: OffsetDateTime,
    report: Report,
}

impl Part {
    fn new(name: String, report: Report) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Usage, what).at(&name);
        let segment = report.config.segment.as_deref();
        let segment = segment.ok_or_else(|| wrong("is of a whole run, not of a segment".into()))?;
        let segment = segment.parse().map_err(|what| wrong(format!("`{segment}`: {what}")))?;
        let start = OffsetDateTime::parse(&report.started_at, &Rfc3339)
            .map_err(|_| wrong(format!("`{}` is no time", report.started_at)))?;
        if !report.steps.is_empty() {
            return Err(wrong("has several rates, which cannot be merged".into()));
        }
        Ok(Self { segment, start, report, name })
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Usage, what).at(&self.name)
    }

    /// How long after the first segment this one began, in seconds.
    fn from(&self, start: OffsetDateTime) -> f64 {
        (self.start - start).as_seconds_f64()
    }
}

/// All segments, each once.
fn in_order(reports: Vec<(String, Report)>) -> Result<Vec<Part>> {
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    let mut of = None;
    for (name, report) in reports {
        let part = Part::new(name, report)?;
        let Segment { index, of: own } = part.segment;
        let all = *of.get_or_insert(own);
        if own != all {
            return Err(part.error(format!("is one of {own} segments, and another file of {all}")));
        }
        if let Some(twin) = parts.get(&index) {
            let what = format!("is segment {}, and so is {}", part.segment, twin.name);
            return Err(part.error(what));
        }
        parts.insert(index, part);
    }
    let of = of.ok_or_else(|| Error::new(Kind::Usage, "there is nothing to merge"))?;
    let missing = (1..=of).filter(|index| !parts.contains_key(index));
    let missing: Vec<_> = missing.map(|index| Segment { index, of }.to_string()).collect();
    match missing.as_slice() {
        [] => Ok(parts.into_values().collect()),
        missing => {
            let what = format!("segments are missing: {}", missing.join(", "));
            Err(Error::new(Kind::Usage, what))
        }
    }
}

/// Checks that two segments are of the same run.
fn alike(first: &Part, other: &Part) -> Result<()> {
    if first.report.mode != other.report.mode {
        return Err(other.error(format!("is of another mode than {}", first.name)));
    }
    let fields = |part: &Part| serde_json::to_value(&part.report.config).unwrap_or_default();
    let (Value::Object(fields), Value::Object(others)) = (fields(first), fields(other)) else {
        unreachable!("a struct is an object")
    };
    let differs =
        fields.iter().find(|(name, value)| *name != "segment" && others.get(*name) != Some(value));
    let Some((name, value)) = differs else { return Ok(()) };
    let its = others.get(name).unwrap_or(&Value::Null);
    let what = format!("`{name}` is {its}, but {value} in {}", first.name);
    Err(other.error(what).hint("all segments are run with the same flags, --segment apart"))
}

/// What is known of each second, by the clock on the wall.
fn intervals(parts: &[Part], start: OffsetDateTime) -> Result<Vec<(Interval, Tally)>> {
    let mut all: BTreeMap<u64, (Interval, Tally)> = BTreeMap::new();
    for part in parts {
        for interval in &part.report.intervals {
            let second = (part.from(start) + interval.start_s).round();
            let tally = tally(&interval.histograms).map_err(|what| part.error(what))?;
            let (whole, times) = all.entry(second as u64).or_default();
            whole.start_s = second;
            whole.add(interval);
            times.add(&tally);
        }
    }
    let intervals = all.into_values().map(|(mut interval, mut tally)| {
        interval.response_us = tally.summary(Metric::Response);
        interval.service_us = tally.summary(Metric::Service);
        interval.send_lag_us = tally.summary(Metric::SendLag);
        let Interval { sent, received, dropped, errors, bytes_sent, bytes_received, .. } = interval;
        let counts = &mut tally.counts;
        (counts.sent, counts.received, counts.dropped) = (sent, received, dropped);
        (counts.errors, counts.bytes_sent, counts.bytes_received) =
            (errors, bytes_sent, bytes_received);
        (interval, tally)
    });
    Ok(intervals.collect())
}

impl Interval {
    /// Adds that of another segment, all but the times.
    fn add(&mut self, other: &Self) {
        self.length_s = self.length_s.max(other.length_s);
        self.sent += other.sent;
        self.received += other.received;
        self.dropped += other.dropped;
        self.errors += other.errors;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.open += other.open;
        self.in_flight += other.in_flight;
        // Of these, the worst is what matters.
        self.pacer_lag_p99_us = self.pacer_lag_p99_us.max(other.pacer_lag_p99_us);
        self.busiest_percent = self.busiest_percent.max(other.busiest_percent);
        self.run_queue_percent = self.run_queue_percent.max(other.run_queue_percent);
        self.limited |= other.limited;
    }
}

/// The sum of the rates in the time that is common to all: over the time of any of them, a segment
/// that has ended would count as a slow one.
fn rate(parts: &[Part], start: OffsetDateTime) -> Rate {
    let from = parts.iter().map(|part| part.from(start)).fold(0.0, f64::max);
    let ends = parts.iter().map(|part| part.from(start) + part.report.duration_s);
    let to = ends.fold(f64::INFINITY, f64::min);
    let sum = |rate: fn(&Rate) -> f64, count: fn(&Interval) -> u64| -> f64 {
        let own = |part: &Part| {
            let (mut within, mut common, mut all, mut length) = (0.0, 0.0, 0.0, 0.0);
            for interval in &part.report.intervals {
                let begin = part.from(start) + interval.start_s;
                let overlap = (to.min(begin + interval.length_s) - from.max(begin)).max(0.0);
                common += overlap;
                length += interval.length_s;
                all += count(interval) as f64;
                within += count(interval) as f64 * overlap / interval.length_s.max(1e-9);
            }
            let rate = rate(&part.report.rate);
            // How much faster it was in the common time than in its own.
            let faster = (within / common) / (all / length);
            if faster.is_finite() { rate * faster } else { rate }
        };
        parts.iter().map(own).sum()
    };
    let targets = parts.iter().map(|part| part.report.rate.target);
    Rate {
        target: targets.sum(),
        achieved: sum(|it| it.achieved, |it| it.received),
        sent: sum(|it| it.sent, |it| it.sent),
        bytes_sent: sum(|it| it.bytes_sent, |it| it.bytes_sent),
        bytes_received: sum(|it| it.bytes_received, |it| it.bytes_received),
    }
}

/// Every segment knows how many publishers and subscribers there are in all.
fn fan_out(parts: &[Part]) -> Option<FanOut> {
    let parts: Vec<_> = parts.iter().filter_map(|part| part.report.fan_out.as_ref()).collect();
    let expected: u64 = parts.iter().map(|it| it.expected).sum();
    let received: u64 = parts.iter().map(|it| it.received).sum();
    let reach = received as f64 / expected.max(1) as f64;
    let FanOut { publishers, subscribers, .. } = **parts.first()?;
    Some(FanOut { publishers, subscribers, expected, received, reach })
}

fn client(parts: &[Part], measured: &Measured) -> Client {
    let clients = || parts.iter().map(|part| &part.report.client);
    let cpu_s: f64 = clients().map(|it| it.cpu_s).sum();
    let messages = measured.counts.sent.max(measured.counts.received);
    Client {
        threads: clients().map(|it| it.threads).sum(),
        cpu_s,
        cpu_us_per_message: (messages > 0).then(|| cpu_s * 1e6 / messages as f64),
        max_rss: clients().filter_map(|it| it.max_rss).max(),
        throttled: clients().map(|it| it.throttled).sum(),
        // They may share a machine, and nothing tells.
        cores: clients().map(|it| it.cores).max().unwrap_or(1),
        shares_machine: clients().any(|it| it.shares_machine),
    }
}

impl Report {
    /// Says so if there are too few samples for a 99th percentile.
    pub fn check_samples(&mut self) {
        let metric = self.headline();
        let samples = self.measured.summary(metric).map_or(0, |it| it.count);
        if self.validity == Validity::Ok && samples < 1_000 {
            self.validity = Validity::TooFewSamples;
            let samples = unit::of(samples, "sample");
            self.validity_reasons.push(format!("{samples}: too few for a 99th percentile"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::bench::report::{measured, testing};

    /// A segment that has measured these times, in microseconds, of one second each.
    fn segment(index: usize, of: usize, seconds: &[Vec<u64>]) -> (String, Report) {
        let mut report = testing::report(0);
        report.config.segment = Some(Segment { index, of }.to_string());
        report.intervals.truncate(seconds.len());
        report.duration_s = seconds.len() as f64;
        let mut all = Tally::default();
        for (interval, times) in report.intervals.iter_mut().zip(seconds) {
            let mut tally = Tally::default();
            times.iter().for_each(|micros| tally.time(Metric::Response, micros * 1_000));
            tally.counts.sent = times.len() as u64;
            tally.counts.received = times.len() as u64;
            (interval.sent, interval.received) = (tally.counts.sent, tally.counts.received);
            interval.histograms = measured::histograms(&tally);
            all.add(&tally);
        }
        let rate = all.counts.received as f64 / report.duration_s.max(1.0);
        report.rate.achieved = rate;
        report.rate.target = Some(rate);
        report.measured = Measured::of(&all);
        (format!("{index}.json"), report)
    }

    fn ok(count: usize) -> Vec<(String, Report)> {
        (1..=count).map(|i| segment(i, count, &[vec![100; 600], vec![200; 600]])).collect()
    }

    #[track_caller]
    fn refused(parts: Vec<(String, Report)>, said: &str) {
        let error = merge(parts).expect_err("they do not fit");
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn counts_rates_and_seconds_are_summed() {
        let Merged { report, intervals } = merge(ok(3)).unwrap();
        assert_eq!(report.measured.counts.received, 3_600);
        assert_eq!((report.rate.achieved, report.rate.target), (1_800.0, Some(1_800.0)));
        assert_eq!(report.validity, Validity::Ok, "{:?}", report.validity_reasons);
        assert_eq!(report.config.segment, None);
        assert_eq!((report.intervals.len(), intervals.len()), (2, 2));
        let second = &report.intervals[1];
        assert_eq!((second.start_s, second.received, second.open), (1.0, 1_800, 6));
        assert_eq!(second.response_us.as_ref().unwrap().p99, Some(200));
        assert_eq!(intervals[1].0, Duration::from_secs(1));
        assert_eq!(intervals[1].2.histogram(Metric::Response).unwrap().len(), 1_800);
    }

    #[test]
    fn what_does_not_belong_together_is_not_merged() {
        refused(vec![], "there is nothing to merge");
        let mut whole = ok(1);
        whole[0].1.config.segment = None;
        refused(whole, "1.json: is of a whole run, not of a segment");
        let mut missing = ok(4);
        missing.drain(1..3);
        refused(missing, "segments are missing: 2/4, 3/4");
        let mut twice = ok(2);
        twice[1].1.config.segment = Some("1/2".into());
        refused(twice, "2.json: is segment 1/2, and so is 1.json");
        let mut of = ok(2);
        of[1].1.config.segment = Some("2/3".into());
        refused(of, "2.json: is one of 3 segments, and another file of 2");
        let mut config = ok(2);
        config[1].1.config.connections = 5;
        refused(config, "2.json: `connections` is 5, but 2 in 1.json");
        let mut mode = ok(2);
        mode[1].1.mode = crate::bench::report::Mode::Closed;
        refused(mode, "2.json: is of another mode than 1.json");
        let mut late = ok(2);
        late[1].1.started_at = "2026-11-25T12:00:01Z".into();
        refused(late, "2.json: began 1.00 s after the first segment, and not with it");
        let mut never = ok(2);
        never[0].1.started_at = "noon".into();
        refused(never, "1.json: `noon` is no time");
        let mut bad = ok(2);
        bad[1].1.measured.histograms.insert("response".into(), "?".into());
        let said = "2.json: the histogram `response` is no base64: Invalid symbol 63, offset 0.";
        refused(bad, said);
    }

    #[test]
    fn seconds_meet_by_the_clock_on_the_wall() {
        let mut parts = ok(2);
        parts[0].1.started_at = "2026-11-25T12:00:00.8Z".into();
        let report = merge(parts).unwrap().report;
        let received: Vec<_> = report.intervals.iter().map(|it| it.received).collect();
        assert_eq!(received, [600, 1_200, 600]);
        assert_eq!(report.started_at, "2026-11-25T12:00:00Z");
        assert!((report.duration_s - 2.8).abs() < 1e-9, "{}", report.duration_s);
    }

    #[test]
    fn rates_are_those_of_the_common_time() {
        let steady = vec![vec![100; 500]; 4];
        let mut parts = vec![segment(1, 2, &steady), segment(2, 2, &steady[..2])];
        // The first is slow when it is alone.
        parts[0].1.intervals[2].received = 100;
        parts[0].1.intervals[3].received = 100;
        parts[0].1.rate.achieved = 1_200.0 / 4.0;
        let rate = merge(parts).unwrap().report.rate;
        assert!((rate.achieved - 1_000.0).abs() < 1e-6, "{}", rate.achieved);
    }

    #[test]
    fn the_worst_validity_is_that_of_the_whole() {
        let mut parts = ok(2);
        parts[0].1.validity = Validity::TooFewSamples;
        parts[0].1.validity_reasons = vec!["too few samples".into()];
        assert_eq!(merge(parts.clone()).unwrap().report.validity, Validity::Ok);
        parts[1].1.validity = Validity::ClientLimited;
        parts[1].1.validity_reasons = vec!["threads waited for a core".into()];
        let report = merge(parts).unwrap().report;
        assert_eq!(report.validity, Validity::ClientLimited);
        assert_eq!(report.validity_reasons, ["segment 2/2: threads waited for a core"]);
        let few = merge(vec![segment(1, 1, &[vec![5; 999]])]).unwrap().report;
        assert_eq!(few.validity, Validity::TooFewSamples);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn merged_percentiles_are_those_of_all_samples(
            segments in vec(vec(vec(1_u64..60_000_000, 0..400), 1..4), 1..5),
        ) {
            let mut truth = Tally::default();
            for micros in segments.iter().flatten().flatten() {
                truth.time(Metric::Response, micros * 1_000);
            }
            let of = segments.len();
            let parts = segments.iter().enumerate();
            let parts = parts.map(|(i, seconds)| segment(i + 1, of, seconds)).collect();
            let merged = merge(parts).unwrap();
            prop_assert_eq!(&merged.report.measured.response_us, &truth.summary(Metric::Response));
            let mut seconds = Tally::default();
            merged.intervals.iter().for_each(|(_, _, tally)| seconds.add(tally));
            prop_assert_eq!(seconds.summary(Metric::Response), truth.summary(Metric::Response));
        }
    }
}
