//! What has changed from one run to another, and what of it is more than noise.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::measured::{LEVELS, Level};
use super::{Config, Interval, Mode, Report, Unit, Validity, unit};
use crate::bench::tally::Metric;
use crate::error::{Error, Kind, Result};

/// What has changed from one report to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Comparison {
    /// When the earlier run began, RFC 3339.
    pub before: String,
    /// When the later one began.
    pub after: String,
    /// By how much something may get worse, in percent.
    pub margin_percent: Option<f64>,
    /// What was compared.
    pub changes: Vec<Change>,
}

/// How one figure has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Change {
    /// Which one: `response.p99`, `rate`, `missing`, ...
    pub name: String,
    /// What `before` and `after` are in.
    pub unit: Unit,
    /// What it was.
    pub before: Option<f64>,
    /// What it is.
    pub after: Option<f64>,
    /// By how much it has grown, in percent of what it was.
    pub percent: Option<f64>,
    /// It has grown by this much at least, in percent, with 99 % confidence.
    pub low_percent: Option<f64>,
    /// It has grown by this much at most, in percent, with 99 % confidence.
    pub high_percent: Option<f64>,
    /// What is to be thought of it.
    pub trend: Trend,
    /// Whether it is worse by more than the margin, and that is no noise.
    pub regression: bool,
}

/// What is to be thought of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// It is an improvement.
    Better,
    /// It is none.
    Worse,
    /// It is not larger than what changes from second to second anyway.
    Noise,
    /// There is too little to tell.
    Unknown,
}

/// Compares two reports, each with the name of its file.
///
/// Percentiles and rates of single seconds are taken as samples; how sure a change is follows from
/// drawing from these samples again and again (the bootstrap), always with the same seed.
///
/// # Errors
/// [`Kind::Usage`]: the runs did not ask for the same.
pub fn compare(
    (name, before): (&str, &Report),
    (other, after): (&str, &Report),
    margin: Option<f64>,
) -> Result<Comparison> {
    comparable((name, &before.asked()), (other, &after.asked()))?;
    let mut changes = Vec::new();
    let metric = before.headline();
    for level in LEVELS.iter().filter(|level| JUDGED.contains(&level.name)) {
        changes.push(time(before, after, metric, level));
    }
    changes.push(rate(before, after));
    changes.push(missing(before, after, margin.unwrap_or_default()));
    for change in &mut changes {
        change.judge(margin);
    }
    let (before, after) = (before.started_at.clone(), after.started_at.clone());
    Ok(Comparison { before, after, margin_percent: margin, changes })
}

/// What a run asks for: runs that are compared ask for the same.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How messages are timed.
    pub mode: Mode,
    /// Threads that send.
    pub threads: usize,
    /// Everything else.
    pub config: Config,
}

impl Report {
    /// What the run asked for.
    pub fn asked(&self) -> Asked {
        Asked { mode: self.mode, threads: self.client.threads, config: self.config.clone() }
    }
}

/// Whether two runs, each with the name of its file, ask for the same.
///
/// # Errors
/// [`Kind::Usage`]: they do not.
pub fn comparable((name, before): (&str, &Asked), (other, after): (&str, &Asked)) -> Result<()> {
    let Some((what, its, others)) = difference(before, after) else { return Ok(()) };
    let error = format!("`{what}` is {others}, but {its} in {name}");
    let error = Error::new(Kind::Usage, error).at(other);
    Err(error.hint("only runs that ask for the same can be compared"))
}

/// The percentiles that are compared.
const JUDGED: [&str; 4] = ["p50", "p90", "p99", "p999"];

/// The first thing that was asked for in another way: its name, and how.
fn difference(before: &Asked, after: &Asked) -> Option<(&'static str, String, String)> {
    fn number(of: Option<impl ToString>) -> String {
        of.map_or_else(|| "not set".to_owned(), |it| it.to_string())
    }
    let mode = |it: &Asked| match it.mode {
        Mode::Open => "open".to_owned(),
        Mode::Closed => "closed".to_owned(),
    };
    type Field = (&'static str, Box<dyn Fn(&Asked) -> String>);
    let fields: [Field; 14] = [
        ("mode", Box::new(mode)),
        ("workload", Box::new(|it| it.config.workload.clone())),
        ("targets", Box::new(|it| schemes(&it.config.targets))),
        ("rate", Box::new(|it| number(it.config.rate))),
        ("arrival", Box::new(|it| number(it.config.arrival.as_ref()))),
        ("in_flight", Box::new(|it| number(it.config.in_flight))),
        ("connections", Box::new(|it| it.config.connections.to_string())),
        ("publishers", Box::new(|it| number(it.config.publishers))),
        ("payload", Box::new(|it| it.config.payload.clone())),
        ("match", Box::new(|it| it.config.matching.clone())),
        ("verify", Box::new(|it| it.config.verify.to_string())),
        ("compress", Box::new(|it| it.config.compress.clone().unwrap_or_else(|| "off".into()))),
        ("segment", Box::new(|it| number(it.config.segment.as_ref()))),
        ("threads", Box::new(|it| it.threads.to_string())),
    ];
    let differs = fields.iter().find(|(_, field)| field(before) != field(after));
    differs.map(|(name, field)| (*name, field(before), field(after)))
}

/// Another server is a reason to compare, another protocol is not the same thing.
fn schemes(targets: &[String]) -> String {
    let scheme = |hop: &str| hop.split(':').next().unwrap_or_default().to_owned();
    let chain = |target: &String| target.split(',').map(scheme).collect::<Vec<_>>().join(",");
    targets.iter().map(chain).collect::<Vec<_>>().join(" ")
}

/// Fewer seconds tell nothing of how much things change from one to the next.
const FEWEST: usize = 8;
/// How often samples are drawn.
const ROUNDS: usize = 4_000;
/// On either side of the interval that a change is in with 99 % confidence.
const TAIL: f64 = 0.005;
/// The standard deviations of that interval.
const Z: f64 = 2.576;

fn time(before: &Report, after: &Report, metric: Metric, level: &Level) -> Change {
    let whole = |report: &Report| {
        report.measured.summary(metric)?.percentile(level).map(|micros| micros as f64)
    };
    let seconds = |report: &Report| {
        samples(report, |interval| {
            let summary = match metric {
                Metric::Response => interval.response_us.as_ref(),
                Metric::Service => interval.service_us.as_ref(),
                _ => None,
            };
            summary?.percentile(level).map(|micros| micros as f64)
        })
    };
    let interval = interval(&seconds(before), &seconds(after));
    let name = format!("{}.{}", metric.name(), level.title);
    Change::new(name, Unit::Us, whole(before), whole(after), interval)
}

fn rate(before: &Report, after: &Report) -> Change {
    let seconds = |report: &Report| samples(report, |it| Some(it.received as f64 / it.length_s));
    let interval = interval(&seconds(before), &seconds(after));
    let rate = |report: &Report| Some(report.rate.achieved);
    Change::new("rate".to_owned(), Unit::PerS, rate(before), rate(after), interval)
}

/// One sample of each second, but of what was left of the last one.
fn samples(report: &Report, sample: impl Fn(&Interval) -> Option<f64>) -> Vec<f64> {
    let whole = report.intervals.iter().filter(|it| it.length_s >= 0.9);
    let samples = whole.map(sample).collect::<Option<Vec<_>>>();
    // Seconds of too few answers are left out by chance or by slowness: those that are left would
    // not stand for all.
    samples.unwrap_or_default()
}

/// By how many percent the mean has grown, at least and at most.
fn interval(before: &[f64], after: &[f64]) -> Option<(f64, f64)> {
    let fewest = before.len().min(after.len());
    if fewest < FEWEST {
        return None;
    }
    let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
    let growth = |before: f64, after: f64| (after / before - 1.0) * 100.0;
    let mut rng = Rng::with_seed(0x746f_776c);
    let mut draw = |samples: &[f64]| {
        let drawn = (0..samples.len()).map(|_| samples[rng.usize(..samples.len())]);
        drawn.sum::<f64>() / samples.len() as f64
    };
    let mut growths: Vec<f64> = (0..ROUNDS)
        .map(|_| growth(draw(before), draw(after)))
        .filter(|it| it.is_finite())
        .collect();
    if growths.len() < ROUNDS {
        return None;
    }
    growths.sort_by(f64::total_cmp);
    let at = |share: f64| growths[(share * (ROUNDS - 1) as f64).round() as usize];
    // What is drawn from few samples changes less than they do: Student's t over the normal
    // distribution, and n over n - 1.
    let n = fewest as f64;
    let wider = (1.0 + 2.4 / (n - 1.0)) * (n / (n - 1.0)).sqrt();
    let middle = growth(mean(before), mean(after));
    Some((middle - (middle - at(TAIL)) * wider, middle + (at(1.0 - TAIL) - middle) * wider))
}

/// Messages whose time is not known, as they were not answered in time or not even sent.
fn missing(before: &Report, after: &Report, margin: f64) -> Change {
    let counts = |report: &Report| {
        let counts = &report.measured.counts;
        let due = (counts.sent + counts.dropped) as f64;
        let missing = (counts.lost + counts.late + counts.dropped + counts.corrupt) as f64;
        (due > 0.0).then(|| (missing.min(due), due))
    };
    let share = |(missing, due): (f64, f64)| missing * 100.0 / due;
    let (before, after) = (counts(before), counts(after));
    let mut change =
        Change::new("missing".to_owned(), Unit::Percent, before.map(share), after.map(share), None);
    let (Some(before), Some(after)) = (before.map(wilson), after.map(wilson)) else {
        return change;
    };
    change.trend = match () {
        () if after.0 > before.1 => Trend::Worse,
        () if after.1 < before.0 => Trend::Better,
        () => Trend::Noise,
    };
    change.regression = after.0 > before.1 * (1.0 + margin / 100.0);
    change
}

/// Between which shares the true one is, with 99 % confidence (Wilson's score interval).
fn wilson((part, whole): (f64, f64)) -> (f64, f64) {
    let (share, z2) = (part / whole, Z * Z);
    let middle = share + z2 / (2.0 * whole);
    let spread = Z * (share * (1.0 - share) / whole + z2 / (4.0 * whole * whole)).sqrt();
    let scale = 1.0 + z2 / whole;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

impl Change {
    fn new(
        name: String,
        unit: Unit,
        before: Option<f64>,
        after: Option<f64>,
        interval: Option<(f64, f64)>,
    ) -> Self {
        let percent = before.zip(after).map(|(before, after)| (after / before - 1.0) * 100.0);
        Self {
            name,
            unit,
            before,
            after,
            percent: percent.filter(|it| it.is_finite()),
            low_percent: interval.map(|it| it.0),
            high_percent: interval.map(|it| it.1),
            trend: Trend::Unknown,
            regression: false,
        }
    }

    /// What is to be thought of it, if that follows from its interval.
    fn judge(&mut self, margin: Option<f64>) {
        let (Some(low), Some(high)) = (self.low_percent, self.high_percent) else {
            self.regression &= margin.is_some();
            return;
        };
        // A time that grows is worse, a rate that does is better.
        let (low, high) = if self.unit == Unit::PerS { (-high, -low) } else { (low, high) };
        self.trend = match () {
            () if low > 0.0 => Trend::Worse,
            () if high < 0.0 => Trend::Better,
            () => Trend::Noise,
        };
        self.regression = margin.is_some_and(|margin| low > margin);
    }

    /// A figure of it, with its unit.
    pub(super) fn shown(&self, figure: Option<f64>) -> String {
        match (figure, self.unit) {
            (None, _) => "–".to_owned(),
            (Some(figure), Unit::Us) => unit::time(figure),
            (Some(figure), Unit::Percent) => unit::percent(figure),
            (Some(figure), Unit::PerS) => unit::per_second(figure),
            (Some(figure), Unit::Count) => unit::significant(figure),
        }
    }

    /// Between which it is.
    pub(super) fn interval(&self) -> String {
        match (self.low_percent, self.high_percent) {
            (Some(low), Some(high)) => format!("{} to {}", signed(low), signed(high)),
            _ => String::new(),
        }
    }

    /// What is to be thought of it, in words.
    pub(super) fn word(&self) -> &'static str {
        match self.trend {
            _ if self.regression => "REGRESSION",
            Trend::Better => "better",
            Trend::Worse => "worse",
            Trend::Noise => "within noise",
            Trend::Unknown => "cannot be told",
        }
    }
}

/// A percentage with its sign, in five characters or little more.
pub(super) fn signed(percent: f64) -> String {
    match percent.abs() {
        it if it < 0.05 => "0.0%".to_owned(),
        it if it < 9.95 => format!("{percent:+.1}%"),
        it if it < 99_999.0 => format!("{percent:+.0}%"),
        _ => format!("{percent:+.0e}%"),
    }
}

impl Comparison {
    /// As JSON, with a newline at its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// [`Kind::Gate`] if something is worse by more than the margin, [`Kind::Invalid`] if that
    /// cannot be told although it was asked for.
    pub fn verdict(&self) -> Result<()> {
        let Some(margin) = self.margin_percent else { return Ok(()) };
        let mut worse = self.changes.iter().filter(|change| change.regression);
        if let Some(first) = worse.next() {
            let more = match worse.count() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let (before, after) = (first.shown(first.before), first.shown(first.after));
            let name = &first.name;
            let what = format!("{name} went from {before} to {after}, beyond {margin}%{more}");
            return Err(Error::new(Kind::Gate, what));
        }
        match self.changes.iter().all(|change| change.low_percent.is_none()) {
            false => Ok(()),
            true => {
                let what = format!(
                    "changes cannot be told from noise: it takes {FEWEST} seconds of each run"
                );
                Err(Error::new(Kind::Invalid, what))
            }
        }
    }
}

/// Whether one of two reports is of its client and not of the server.
///
/// # Errors
/// [`Kind::Invalid`], naming its file.
pub fn believed((name, report): (&str, &Report)) -> Result<()> {
    match report.validity {
        Validity::ClientLimited => {
            let what = "client limited: nothing follows from its figures";
            Err(Error::new(Kind::Invalid, what).at(name))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Measured, testing};
    use crate::bench::tally::Tally;

    /// A run whose seconds had these times, in microseconds, give or take some.
    fn run(seed: u64, seconds: usize, micros: f64, noise: f64) -> Report {
        let mut rng = Rng::with_seed(seed);
        let mut report = testing::report(0);
        let mut all = Tally::default();
        let interval = report.intervals[0].clone();
        report.intervals.clear();
        for second in 0..seconds {
            // Some seconds are slower than others as a whole.
            let factor = 1.0 + noise * (rng.f64() - 0.5) * 2.0;
            let mut tally = Tally::default();
            for _ in 0..1_000 {
                let nanos = micros * factor * (0.5 + rng.f64()) * 1_000.0;
                tally.time(Metric::Response, nanos as u64);
            }
            tally.counts.sent = 1_000;
            let start_s = second as f64;
            let response_us = tally.summary(Metric::Response);
            report.intervals.push(Interval {
                start_s,
                response_us,
                received: 1_000,
                ..interval.clone()
            });
            all.add(&tally);
        }
        report.measured = Measured::of(&all);
        report
    }

    fn compared(before: &Report, after: &Report, margin: Option<f64>) -> Comparison {
        compare(("a", before), ("b", after), margin).unwrap()
    }

    fn change<'a>(comparison: &'a Comparison, name: &str) -> &'a Change {
        comparison.changes.iter().find(|it| it.name == name).unwrap()
    }

    #[test]
    fn the_same_is_within_noise() {
        let mut alarms = 0;
        for seed in 0..25 {
            let (before, after) = (run(seed, 12, 800.0, 0.2), run(seed + 1_000, 12, 800.0, 0.2));
            let comparison = compared(&before, &after, Some(5.0));
            alarms += usize::from(comparison.verdict().is_err());
        }
        assert!(alarms <= 1, "{alarms} of 25 false alarms");
    }

    #[test]
    fn what_is_slower_is_found() {
        for seed in 0..8 {
            let (before, after) = (run(seed, 12, 800.0, 0.1), run(seed + 1_000, 12, 1_200.0, 0.1));
            let comparison = compared(&before, &after, Some(10.0));
            assert_eq!(change(&comparison, "response.p50").trend, Trend::Worse);
            assert_eq!(change(&comparison, "rate").trend, Trend::Noise);
            let error = comparison.verdict().unwrap_err();
            assert_eq!(error.kind(), Kind::Gate);
            assert!(error.to_string().starts_with("response.p50 went from "), "{error}");
            let back = compared(&after, &before, Some(10.0));
            assert_eq!(change(&back, "response.p99").trend, Trend::Better);
            assert!(back.verdict().is_ok());
        }
    }

    #[test]
    fn a_change_that_does_not_clear_the_margin_is_none() {
        let (before, after) = (run(1, 30, 800.0, 0.02), run(2, 30, 880.0, 0.02));
        let worse = compared(&before, &after, Some(15.0));
        assert_eq!(change(&worse, "response.p50").trend, Trend::Worse);
        assert!(worse.verdict().is_ok());
        assert!(compared(&before, &after, Some(3.0)).verdict().is_err());
        assert!(compared(&before, &after, None).verdict().is_ok(), "nothing was asked for");
    }

    #[test]
    fn the_same_figures_are_the_same_interval() {
        let (before, after) = (run(1, 10, 800.0, 0.2), run(2, 10, 900.0, 0.2));
        assert_eq!(compared(&before, &after, None), compared(&before, &after, None));
    }

    #[test]
    fn a_rate_that_falls_is_worse() {
        let before = run(1, 10, 800.0, 0.1);
        let mut after = before.clone();
        for (i, interval) in after.intervals.iter_mut().enumerate() {
            interval.received = 800 + i as u64;
        }
        after.rate.achieved = 805.0;
        let comparison = compared(&before, &after, Some(10.0));
        let rate = change(&comparison, "rate");
        assert_eq!((rate.trend, rate.regression), (Trend::Worse, true));
    }

    #[test]
    fn what_is_missing_is_compared_by_counts() {
        let before = run(1, 10, 800.0, 0.1);
        let mut after = before.clone();
        after.measured.counts.lost = 3;
        let few = compared(&before, &after, Some(10.0));
        assert_eq!(change(&few, "missing").trend, Trend::Noise);
        after.measured.counts.lost = 50;
        let many = compared(&before, &after, Some(10.0));
        assert!(change(&many, "missing").regression);
        let error = many.verdict().unwrap_err().to_string();
        assert_eq!(error, "missing went from 0% to 0.50%, beyond 10%");
        assert!(!change(&compared(&before, &after, None), "missing").regression);
    }

    #[test]
    fn percentages_are_short() {
        let shown = [-0.04, 4.26, 12.6, -99.4, 1e9].map(signed);
        assert_eq!(shown, ["0.0%", "+4.3%", "+13%", "-99%", "+1e9%"]);
    }

    #[test]
    fn few_seconds_tell_nothing() {
        let (before, after) = (run(1, 7, 800.0, 0.1), run(2, 7, 2_000.0, 0.1));
        let comparison = compared(&before, &after, Some(10.0));
        let p50 = change(&comparison, "response.p50");
        assert_eq!((p50.trend, p50.regression), (Trend::Unknown, false));
        assert!(p50.percent.unwrap() > 100.0);
        assert_eq!(comparison.verdict().unwrap_err().kind(), Kind::Invalid);
        // Seconds without that percentile are too few, however many there are.
        let p999 = change(&comparison, "response.p99.9");
        assert_eq!((p999.before, p999.trend), (None, Trend::Unknown));
    }

    #[test]
    fn runs_that_asked_for_something_else_are_refused() {
        let before = run(1, 10, 800.0, 0.1);
        let refused = |change: fn(&mut Report), said: &str| {
            let mut after = before.clone();
            change(&mut after);
            let error = compare(("a.json", &before), ("b.json", &after), None).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Usage, said));
        };
        refused(|it| it.config.rate = None, "b.json: `rate` is not set, but 1000 in a.json");
        refused(|it| it.config.connections = 3, "b.json: `connections` is 3, but 2 in a.json");
        refused(
            |it| it.config.targets = vec!["ssh://a,ws://b/".into()],
            "b.json: `targets` is ssh,ws, but ws in a.json",
        );
        refused(|it| it.mode = Mode::Closed, "b.json: `mode` is closed, but open in a.json");
        refused(|it| it.client.threads = 4, "b.json: `threads` is 4, but 2 in a.json");
        let mut elsewhere = before.clone();
        elsewhere.config.targets = vec!["ws://other:1/".into()];
        assert!(compare(("a", &before), ("b", &elsewhere), None).is_ok());
    }
}
