//! Gates: what has to hold of a report, as `p99<50ms`.

use std::fmt;
use std::str::FromStr;

use super::measured::{LEVELS, Level};
use super::{GateOutcome, Report, Unit, Validity, unit};
use crate::bench::tally::{Counts, Metric};

/// Something that has to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    quantity: Quantity,
    relation: Relation,
    bound: f64,
    suffix: Suffix,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantity {
    /// Of the headline, where no metric is named.
    Time(Option<Metric>, Statistic),
    Count(Counter),
    Rate,
    Reach,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Percentile(&'static Level),
    Min,
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    name: &'static str,
    of: fn(&Counts) -> u64,
    /// What 100 % is.
    whole: Whole,
}

impl PartialEq for Counter {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[derive(Clone, Copy, Debug)]
enum Whole {
    /// Messages that were sent; connections, where none are sent.
    Sent,
    /// Messages that were due.
    Due,
    /// Connections that were tried.
    Connections,
}

const COUNTERS: [Counter; 12] = [
    Counter { name: "errors", of: |it| it.errors, whole: Whole::Sent },
    Counter { name: "sent", of: |it| it.sent, whole: Whole::Due },
    Counter { name: "received", of: |it| it.received, whole: Whole::Sent },
    Counter { name: "dropped", of: |it| it.dropped, whole: Whole::Due },
    Counter { name: "lost", of: |it| it.lost, whole: Whole::Sent },
    Counter { name: "late", of: |it| it.late, whole: Whole::Sent },
    Counter { name: "duplicate", of: |it| it.duplicate, whole: Whole::Sent },
    Counter { name: "reordered", of: |it| it.reordered, whole: Whole::Sent },
    Counter { name: "corrupt", of: |it| it.corrupt, whole: Whole::Sent },
    Counter { name: "opened", of: |it| it.opened, whole: Whole::Connections },
    Counter { name: "failed", of: |it| it.failed, whole: Whole::Connections },
    Counter { name: "closed", of: |it| it.closed, whole: Whole::Connections },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

/// As they are written; the first that fits is taken.
const RELATIONS: [(&str, Relation); 6] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Less),
    (">", Relation::More),
    ("=", Relation::Equal),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Suffix {
    None,
    Percent,
    Us,
    Ms,
    S,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>', '=']);
        let at = at.ok_or("a gate compares, as p99<50ms, errors<0.1% or rate>=99%")?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let quantity = Quantity::named(name)?;
        let fits = RELATIONS.iter().find_map(|(sign, it)| Some((rest.strip_prefix(sign)?, *it)));
        let (value, relation) = fits.expect("it begins with one of their signs");
        let (bound, suffix) = quantity.bound(value.trim())?;
        Ok(Self { quantity, relation, bound, suffix })
    }
}

impl Quantity {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "rate" => return Ok(Self::Rate),
            "reach" => return Ok(Self::Reach),
            _ => {}
        }
        if let Some(counter) = COUNTERS.iter().find(|it| it.name == name) {
            return Ok(Self::Count(*counter));
        }
        // Not at a point within p99.9.
        let (metric, statistic) = match name.split_once('.') {
            Some((metric, statistic)) if Metric::named(metric).is_some() => {
                (Metric::named(metric), statistic)
            }
            _ => (None, name),
        };
        if let Some(statistic) = Statistic::named(statistic) {
            return Ok(Self::Time(metric, statistic));
        }
        let times = Metric::ALL.map(Metric::name).join(", ");
        let counts: Vec<_> = COUNTERS.iter().map(|it| it.name).collect();
        Err(format!(
            "`{name}` is not known: it is p50, p75, p90, p95, p99, p99.9, p99.99, min, mean or max, \
             or one of them after a time and a point ({times}), or {}, rate or reach",
            counts.join(", ")
        ))
    }

    fn bound(&self, text: &str) -> Result<(f64, Suffix), String> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number = text[..end].parse::<f64>().ok();
        let number = number.ok_or_else(|| format!("`{text}` is no number with a unit"))?;
        let suffix = text[end..].trim_start();
        let (number, suffix) = match (self, suffix) {
            (Self::Time(..), "us" | "µs" | "μs") => (number, Suffix::Us),
            (Self::Time(..), "ms") => (number, Suffix::Ms),
            (Self::Time(..), "s") => (number, Suffix::S),
            (Self::Time(..), "") => return Err(format!("`{text}` needs a unit: us, ms or s")),
            (Self::Rate | Self::Count(_) | Self::Reach, "%") => (number, Suffix::Percent),
            (Self::Reach, "") => return Err(format!("reach is in percent, as {text}%")),
            (Self::Rate, "/s") | (Self::Rate | Self::Count(_), "") => (number, Suffix::None),
            (Self::Rate | Self::Count(_), "k" | "K") => (number * 1e3, Suffix::None),
            (Self::Rate | Self::Count(_), "M") => (number * 1e6, Suffix::None),
            (Self::Time(..), _) => {
                return Err(format!("`{suffix}` is no unit of time: us, ms or s"));
            }
            _ => return Err(format!("`{suffix}` is no unit here: a number, or a percentage")),
        };
        match number <= MOST {
            true => Ok((number, suffix)),
            false => Err(format!("`{text}` is too large")),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Time(None, statistic) => statistic.name().to_owned(),
            Self::Time(Some(metric), statistic) => {
                format!("{}.{}", metric.name(), statistic.name())
            }
            Self::Count(counter) => counter.name.to_owned(),
            Self::Rate => "rate".to_owned(),
            Self::Reach => "reach".to_owned(),
        }
    }
}

/// More than anything that is counted, and still exact.
const MOST: f64 = 1e15;

impl Statistic {
    fn named(name: &str) -> Option<Self> {
        match name {
            "min" => Some(Self::Min),
            "mean" => Some(Self::Mean),
            "max" => Some(Self::Max),
            _ => {
                let level = LEVELS.iter().find(|level| level.name == name || level.title == name);
                level.map(Self::Percentile)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Percentile(level) => level.title,
            Self::Min => "min",
            Self::Mean => "mean",
            Self::Max => "max",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = RELATIONS.iter().rfind(|(_, relation)| *relation == self.relation);
        let (sign, _) = sign.expect("all of them have a sign");
        let suffix = match self.suffix {
            Suffix::None => "",
            Suffix::Percent => "%",
            Suffix::Us => "us",
            Suffix::Ms => "ms",
            Suffix::S => "s",
        };
        write!(f, "{}{sign}{}{suffix}", self.quantity.name(), self.bound)
    }
}

impl Gate {
    /// What it says of a report.
    pub fn judge(&self, report: &Report) -> GateOutcome {
        let (measured, unit) = self.measure(report);
        let outcome =
            GateOutcome { gate: self.to_string(), measured: None, unit, passed: false, note: None };
        match measured {
            Measure::Known(measured) => {
                GateOutcome { measured: Some(measured), passed: self.holds(measured), ..outcome }
            }
            Measure::Above(measured, note) => {
                // Whatever it is, it is not below anything that was measured.
                let passed = matches!(self.relation, Relation::More | Relation::AtLeast)
                    && self.holds(measured);
                GateOutcome { measured: Some(measured), passed, note: Some(note), ..outcome }
            }
            Measure::Unknown(note) => GateOutcome { note: Some(note), ..outcome },
        }
    }

    fn holds(&self, measured: f64) -> bool {
        let bound = match self.suffix {
            Suffix::None | Suffix::Percent | Suffix::Us => self.bound,
            Suffix::Ms => self.bound * 1e3,
            Suffix::S => self.bound * 1e6,
        };
        match self.relation {
            Relation::Less => measured < bound,
            Relation::AtMost => measured <= bound,
            Relation::More => measured > bound,
            Relation::AtLeast => measured >= bound,
            Relation::Equal => measured == bound,
        }
    }

    fn measure(&self, report: &Report) -> (Measure, Unit) {
        let share = |part: f64, whole: f64, nothing: &str| match whole > 0.0 {
            true => Measure::Known(part * 100.0 / whole),
            false => Measure::Unknown(nothing.to_owned()),
        };
        let counts = &report.measured.counts;
        match (self.quantity, self.suffix) {
            (Quantity::Time(metric, statistic), _) => {
                let metric = metric.unwrap_or_else(|| report.headline());
                (time(report, metric, statistic), Unit::Us)
            }
            (Quantity::Rate, Suffix::Percent) => {
                let target = report.rate.target.unwrap_or_default();
                let measured = share(report.rate.achieved, target, "no rate was asked for");
                (measured, Unit::Percent)
            }
            (Quantity::Rate, _) => (Measure::Known(report.rate.achieved), Unit::PerS),
            (Quantity::Reach, _) => match &report.fan_out {
                Some(fan_out) if fan_out.expected > 0 => {
                    (Measure::Known(fan_out.reach * 100.0), Unit::Percent)
                }
                _ => (Measure::Unknown("nothing was published".to_owned()), Unit::Percent),
            },
            (Quantity::Count(counter), Suffix::Percent) => {
                let connections = counts.opened + counts.failed;
                let whole = match counter.whole {
                    Whole::Sent if counts.sent > 0 => counts.sent,
                    Whole::Due => counts.sent + counts.dropped,
                    Whole::Sent | Whole::Connections => connections,
                };
                let part = (counter.of)(counts) as f64;
                (share(part, whole as f64, "nothing was tried"), Unit::Percent)
            }
            (Quantity::Count(counter), _) => {
                (Measure::Known((counter.of)(counts) as f64), Unit::Count)
            }
        }
    }
}

enum Measure {
    Known(f64),
    /// At least this, and why no more is known.
    Above(f64, String),
    /// Why not.
    Unknown(String),
}

fn time(report: &Report, metric: Metric, statistic: Statistic) -> Measure {
    let name = metric.name();
    let Some(summary) = report.measured.summary(metric) else {
        return Measure::Unknown(match (metric, report.mode) {
            (Metric::Response, super::Mode::Closed) => {
                "a closed loop has no response times; see service".to_owned()
            }
            _ => format!("there are no times of {name}"),
        });
    };
    let level = match statistic {
        Statistic::Min => return Measure::Known(summary.min as f64),
        Statistic::Mean => return Measure::Known(summary.mean),
        Statistic::Max => return Measure::Known(summary.max as f64),
        Statistic::Percentile(level) => level,
    };
    let Some(measured) = summary.percentile(level) else {
        let (there, needs) = (unit::count(summary.count), unit::count(level.needs));
        return Measure::Unknown(format!("too few samples: {there}, and {needs} are needed"));
    };
    // An answer that never came took longer than all that did: with more than 1 % of them missing,
    // nobody knows the 99th percentile of all.
    let missing = report.missing(metric);
    let share = missing as f64 / (missing + summary.count) as f64;
    if share > 1.0 - level.quantile {
        let share = unit::percent(share * 100.0);
        return Measure::Above(summary.max as f64, format!("{share} of the answers are missing"));
    }
    Measure::Known(measured as f64)
}

impl Report {
    /// What is meant where nothing is named: response times, where they are measured.
    pub fn headline(&self) -> Metric {
        [Metric::Response, Metric::Service, Metric::Ping, Metric::Handshake]
            .into_iter()
            .find(|metric| self.measured.summary(*metric).is_some())
            .unwrap_or(Metric::Response)
    }

    /// Messages whose time is not known, since it did not end.
    pub(super) fn missing(&self, metric: Metric) -> u64 {
        let counts = &self.measured.counts;
        match (metric, &self.fan_out) {
            (Metric::Response | Metric::Service, Some(fan_out)) => {
                fan_out.expected.saturating_sub(fan_out.received)
            }
            (Metric::Response, None) => counts.lost + counts.late + counts.dropped,
            (Metric::Service, None) => counts.lost + counts.late,
            _ => 0,
        }
    }
}

/// Judges a report by gates, and writes down in it what they say.
pub fn judge(report: &mut Report, gates: &[Gate]) {
    report.gates = gates.iter().map(|gate| gate.judge(report)).collect();
    let few = report.gates.iter().filter(|gate| {
        gate.measured.is_none() && gate.note.as_deref().is_some_and(|it| it.starts_with("too few"))
    });
    let few: Vec<_> = few.map(|it| format!("too few samples for {}", it.gate)).collect();
    if !few.is_empty() {
        report.validity = report.validity.max(Validity::TooFewSamples);
        report.validity_reasons.extend(few);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::report::{FanOut, Mode, testing};

    fn gate(text: &str) -> Gate {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn judged(text: &str, report: &Report) -> (Option<f64>, bool) {
        let outcome = gate(text).judge(report);
        (outcome.measured, outcome.passed)
    }

    #[test]
    fn gates_are_read_and_written_back() {
        for (text, written) in [
            ("p99<50ms", "p99<50ms"),
            (" response.p999 <= 1s ", "response.p99.9<=1s"),
            ("p99.99<0.5 s", "p99.99<0.5s"),
            ("tls.max>=7µs", "tls.max>=7us"),
            ("errors<0.1%", "errors<0.1%"),
            ("lost==0", "lost=0"),
            ("rate >= 99 %", "rate>=99%"),
            ("rate>=5k", "rate>=5000"),
            ("rate>=5000/s", "rate>=5000"),
            ("received>=1.5M", "received>=1500000"),
            ("reach>=100%", "reach>=100%"),
        ] {
            assert_eq!(gate(text).to_string(), written);
            assert_eq!(gate(written), gate(text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_accepted_is_written_back(
            name in "(response\\.|tls\\.)?(p50|p99\\.99|max)|lost|rate|reach",
            sign in "[<>]=?|==?",
            number in "[0-9]{0,17}(\\.[0-9]{0,9})?",
            unit in "us|ms|s|%|k|M|/s|",
        ) {
            let text = format!("{name}{sign}{number}{unit}");
            if let Ok(gate) = text.parse::<Gate>() {
                let written = gate.to_string();
                prop_assert_eq!(written.parse(), Ok(gate), "{} became {}", text, written);
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_gate_is_said() {
        for (text, said) in [
            ("", "a gate compares"),
            ("p99", "a gate compares"),
            ("p98<1ms", "`p98` is not known"),
            ("respond.p99<1ms", "`respond.p99` is not known"),
            ("response<1ms", "`response` is not known"),
            ("p99<50", "needs a unit: us, ms or s"),
            ("p99<50%", "`%` is no unit of time"),
            ("p99<fast", "`fast` is no number"),
            ("p99<-1ms", "`-1ms` is no number"),
            ("p99<1e3ms", "`e3ms` is no unit of time"),
            ("p99<>1ms", "`>1ms` is no number"),
            ("lost<1ms", "`ms` is no unit here"),
            ("reach>=1", "as 1%"),
            ("lost<9999999999999999", "is too large"),
        ] {
            let error = text.parse::<Gate>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn times_are_judged() {
        let report = testing::report(10_000);
        for (text, measured, passed) in [
            ("p99<10ms", 9_903.0, true),
            ("p99<9ms", 9_903.0, false),
            ("response.p99<=9903us", 9_903.0, true),
            ("p50>1ms", 5_003.0, true),
            ("max<1s", 10_007.0, true),
            ("service.min>=1us", 1.0, true),
        ] {
            assert_eq!(judged(text, &report), (Some(measured), passed), "{text}");
        }
        let few = gate("p99.99<1s").judge(&report);
        assert_eq!((few.measured, few.passed), (None, false));
        assert_eq!(few.note.unwrap(), "too few samples: 10,000, and 100,000 are needed");
        let none = gate("tls.p50<1s").judge(&report);
        assert_eq!(none.note.unwrap(), "there are no times of tls");
    }

    #[test]
    fn counts_and_rates_are_judged() {
        let mut report = testing::report(10_000);
        report.measured.counts.errors = 5;
        report.measured.counts.failed = 1;
        report.measured.counts.opened = 3;
        report.measured.counts.dropped = 10_000;
        report.rate.target = Some(2_000.0);
        report.rate.achieved = 1_990.0;
        for (text, measured, passed) in [
            ("errors<0.1%", 0.05, true),
            ("errors=0", 5.0, false),
            ("failed<=25%", 25.0, true),
            ("dropped<50%", 50.0, false),
            ("received>=1000", 10_000.0, true),
            ("rate>=99%", 99.5, true),
            ("rate>=2000", 1_990.0, false),
        ] {
            assert_eq!(judged(text, &report), (Some(measured), passed), "{text}");
        }
        assert_eq!(judged("reach>=1%", &report), (None, false));
        report.rate.target = None;
        assert_eq!(judged("rate>=99%", &report), (None, false));
        let (expected, received) = (200, 150);
        report.fan_out =
            Some(FanOut { publishers: 1, subscribers: 2, expected, received, reach: 0.75 });
        assert_eq!(judged("reach>=75%", &report), (Some(75.0), true));
    }

    #[test]
    fn a_closed_loop_has_no_response_but_a_headline() {
        let mut report = testing::report(10_000);
        report.mode = Mode::Closed;
        report.measured.response_us = None;
        assert_eq!(judged("p99<9ms", &report), judged("service.p99<9ms", &report));
        let note = gate("response.p99<1s").judge(&report).note.unwrap();
        assert!(note.contains("closed loop"), "{note}");
    }

    #[test]
    fn answers_that_never_came_were_not_fast() {
        let mut report = testing::report(10_000);
        report.measured.counts.lost = 50;
        report.measured.counts.dropped = 60;
        let p99 = gate("p99<1s").judge(&report);
        assert_eq!((p99.measured, p99.passed), (Some(10_007.0), false));
        assert_eq!(p99.note.unwrap(), "1.09% of the answers are missing");
        assert_eq!(judged("p95<1s", &report), (Some(9_503.0), true));
        assert_eq!(judged("p99>1ms", &report), (Some(10_007.0), true));
        assert!(judged("service.p99<1s", &report).1, "what was never sent is in no service time");
    }

    #[test]
    fn too_few_samples_make_the_report_invalid() {
        let mut report = testing::report(100);
        judge(&mut report, &[gate("p99<1s"), gate("p50<1s")]);
        assert_eq!(report.validity, Validity::TooFewSamples);
        assert_eq!(report.validity_reasons, ["too few samples for p99<1s"]);
        assert!(!report.gates[0].passed && report.gates[1].passed);
    }
}
