//! The result of a run: what it was, what came out, and whether that can be believed.
//!
//! It is written as JSON as it stands here; `schema/bench.schema.json` describes it. A field that is
//! added is a new minor version of the schema, one that changes its meaning a new major one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tally::{Cause, Failures};

mod bars;
mod baseline;
mod csv;
mod gate;
mod hdr_log;
mod html;
mod measured;
mod merge;
#[cfg(test)]
mod schema;
mod text;
mod unit;
mod verdict;

pub use baseline::{Asked, Change, Comparison, Trend, believed, comparable, compare};
pub use csv::csv;
pub use gate::{Gate, judge};
pub use hdr_log::HdrLog;
pub use html::{comparison_html, html};
pub use measured::Measured;
pub use merge::{Merged, merge};
pub use text::{comparison_text, text};
pub use verdict::verdict;

pub(super) use measured::histograms;
pub(super) use unit::time;

/// The version of the schema that reports of this program have.
pub const SCHEMA_VERSION: u32 = 1;

/// One run, or several segments of one.
#[derive(Clone, Debug, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Report {
    /// The version of this schema that the report keeps to.
    pub schema_version: u32,
    /// The program that wrote it, as `towline 1.2.3`.
    pub tool: String,
    /// Whether the schedule was fixed before the run.
    pub mode: Mode,
    /// Whether the figures can be believed.
    pub validity: Validity,
    /// Why not, one line each.
    pub validity_reasons: Vec<String>,
    /// When the measured part began, RFC 3339.
    pub started_at: String,
    /// How long the measured part took, in seconds.
    pub duration_s: f64,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// Messages a second.
    pub rate: Rate,
    /// What was counted and timed.
    #[serde(flatten)]
    pub measured: Measured,
    /// How far what was published has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOut>,
    /// The measured part, second by second.
    pub intervals: Vec<Interval>,
    /// What the run has cost this machine.
    pub client: Client,
    /// The rates that were tried, with `--steps` or `--find-max`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What the gates said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateOutcome>,
    /// What has changed since the run of `--baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What was asked for.
    pub config: Config,
}

/// Numbers that are larger were not counted, and would not add up.
fn check_numbers(value: &Value) -> Result<(), String> {
    const MOST: u64 = 1 << 50;
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|number| number > MOST) => {
            Err(format!("has a number that nobody has counted: {number}"))
        }
        Value::Array(values) => values.iter().try_for_each(check_numbers),
        Value::Object(fields) => fields.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

/// How messages are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By a schedule that answers do not change.
    #[default]
    Open,
    /// Each after the answer to an earlier one.
    Closed,
}

/// Whether figures can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// They can.
    #[default]
    Ok,
    /// There are too few samples for the percentiles that are shown or asked for.
    TooFewSamples,
    /// This program or its machine was the limit, and not the server.
    ClientLimited,
}

/// Messages a second.
#[derive(Clone, Debug, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Rate {
    /// What was asked for, of this segment if it is one; none in a closed loop.
    pub target: Option<f64>,
    /// What was answered (received, where nothing is asked).
    pub achieved: f64,
    /// What was sent.
    pub sent: f64,
    /// Payload that was sent, in bytes a second.
    pub bytes_sent: f64,
    /// Payload that has come, in bytes a second.
    pub bytes_received: f64,
}

/// A distribution, in microseconds. Percentiles of which there are too few samples are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Summary {
    /// How many samples there are.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The median.
    pub p50: Option<u64>,
    /// The 75th percentile.
    pub p75: Option<u64>,
    /// The 90th percentile.
    pub p90: Option<u64>,
    /// The 95th percentile.
    pub p95: Option<u64>,
    /// The 99th percentile.
    pub p99: Option<u64>,
    /// The 99.9th percentile.
    pub p999: Option<u64>,
    /// The 99.99th percentile.
    pub p9999: Option<u64>,
    /// The largest.
    pub max: u64,
}

/// How far what was published has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct FanOut {
    /// Connections that publish.
    pub publishers: u64,
    /// Connections that receive.
    pub subscribers: u64,
    /// Messages that subscribers should have received.
    pub expected: u64,
    /// Messages that they have, without duplicates.
    pub received: u64,
    /// `received` by `expected`, from 0 to 1.
    pub reach: f64,
}

impl ErrorGroup {
    /// What kind, in a few words.
    pub(crate) fn title(&self) -> String {
        let Cause { phase, cause, status, code } = &self.cause;
        let status = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
        let code = code.map(|code| format!(" (close code {code})")).unwrap_or_default();
        format!("{phase}: {cause}{status}{code}")
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ErrorGroup {
    /// What kind.
    #[serde(flatten)]
    pub cause: Cause,
    /// How often, and the first of them.
    #[serde(flatten)]
    pub failures: Failures,
}

/// One second, or what was left of the last one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Interval {
    /// When it began, in seconds after the start of the measured part.
    pub start_s: f64,
    /// How long it was, in seconds.
    pub length_s: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages that were due and could not be sent.
    pub dropped: u64,
    /// Failures.
    pub errors: u64,
    /// Payload sent, in bytes.
    pub bytes_sent: u64,
    /// Payload received, in bytes.
    pub bytes_received: u64,
    /// Connections that were open at its end.
    pub open: u64,
    /// Messages that waited for their answer at its end.
    pub in_flight: u64,
    /// From when a message was to be sent until its answer, for the answers of this second; none in
    /// a closed loop.
    pub response_us: Option<Summary>,
    /// From when a message was sent until its answer.
    pub service_us: Option<Summary>,
    /// From when a message was to be sent until it was.
    pub send_lag_us: Option<Summary>,
    /// The 99th percentile of how late this program was, in microseconds.
    pub pacer_lag_p99_us: Option<u64>,
    /// The CPU time of the busiest thread, in percent of one core.
    pub busiest_percent: f64,
    /// The time that the threads waited for a core, in percent of the interval, the worst of them.
    pub run_queue_percent: f64,
    /// Whether this machine was the limit.
    pub limited: bool,
    /// The histograms of the interval, as those of the report. Segments have them, so that they can
    /// be merged second by second.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub histograms: BTreeMap<String, String>,
}

/// What a run has cost the machine that made it.
#[derive(Clone, Debug, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Client {
    /// Threads that sent and received.
    pub threads: usize,
    /// CPU time of the measured part, in seconds, with what TLS and compression take of it.
    pub cpu_s: f64,
    /// CPU time for each message that was sent or received, in microseconds.
    pub cpu_us_per_message: Option<f64>,
    /// The largest resident memory, in bytes.
    pub max_rss: Option<u64>,
    /// Times that the control group was held back for having used up its share of CPU.
    pub throttled: u64,
    /// Cores of this machine.
    pub cores: usize,
    /// Whether a target is on this machine, and so shares its cores.
    pub shares_machine: bool,
}

/// A rate that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Step {
    /// Messages a second that were asked for.
    pub rate: f64,
    /// Messages a second that were answered.
    pub achieved: f64,
    /// From when a message was to be sent until its answer.
    pub response_us: Option<Summary>,
    /// Whether every objective was met; none where there was none.
    pub held: Option<bool>,
    /// Whether the figures of this rate can be believed.
    pub validity: Validity,
}

/// What a gate said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct GateOutcome {
    /// The gate as it was written.
    pub gate: String,
    /// What was measured; none if it cannot be told.
    pub measured: Option<f64>,
    /// What `measured` is in.
    pub unit: Unit,
    /// Whether it was met. A gate that cannot be judged is not.
    pub passed: bool,
    /// Why it cannot be told, or what else decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a number is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Microseconds.
    Us,
    /// Hundredths of a whole.
    Percent,
    /// Times a second.
    PerS,
    /// Times.
    Count,
}

/// What was asked for. Runs whose configurations are alike can be compared and merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Config {
    /// Where to, with weights.
    pub targets: Vec<String>,
    /// What kind of work: `echo`, `fan-out`, `receive`, `connect`, `idle` or `bulk`.
    pub workload: String,
    /// Messages a second in all; none in a closed loop.
    pub rate: Option<f64>,
    /// How the schedule is spaced: `constant` or `poisson`.
    pub arrival: Option<String>,
    /// Messages of a connection that may wait for an answer, in a closed loop.
    pub in_flight: Option<u64>,
    /// Connections in all.
    pub connections: u64,
    /// Of which so many publish.
    pub publishers: Option<u64>,
    /// Connections opened in a second, in all.
    pub ramp: Option<f64>,
    /// The time that is left out at the start, in seconds.
    pub warm_up_s: f64,
    /// The time that is measured, in seconds.
    pub duration_s: Option<f64>,
    /// The messages that are measured.
    pub messages: Option<u64>,
    /// What is sent, in words.
    pub payload: String,
    /// How answers are told apart.
    #[serde(rename = "match")]
    pub matching: String,
    /// Whether they are compared with what was sent.
    pub verify: bool,
    /// How messages are to be compressed: `auto`, a level of zlib's, an offer that a header makes; none
    /// where nothing is offered.
    pub compress: Option<String>,
    /// What this run is of the whole, as `2/4`.
    pub segment: Option<String>,
}

impl Report {
    /// Reads what was written as JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let no_report = |error| format!("is no report of `towline bench`: {error}");
        let version: Version = serde_json::from_str(text).map_err(no_report)?;
        match version.schema_version {
            SCHEMA_VERSION => {
                let value = serde_json::from_str(text).map_err(no_report)?;
                check_numbers(&value)?;
                serde_json::from_value(value).map_err(no_report)
            }
            other => Err(format!("has version {other} of the schema, not {SCHEMA_VERSION}")),
        }
    }

    /// As JSON, with a newline at its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::bench::tally::{Metric, Tally};

    /// A run that is all right, with so many messages: the n-th was answered in n microseconds.
    pub(super) fn report(messages: u64) -> Report {
        let mut tally = Tally::default();
        for micros in 1..=messages {
            tally.time(Metric::Response, micros * 1_000);
            tally.time(Metric::Service, micros * 750);
        }
        tally.counts.sent = messages;
        tally.counts.received = messages;
        tally.counts.bytes_sent = messages * 128;
        tally.counts.bytes_received = messages * 128;
        tally.counts.opened = 2;
        let interval = |i: u64| Interval {
            start_s: i as f64,
            length_s: 1.0,
            sent: messages / 10,
            received: messages / 10,
            dropped: 0,
            errors: 0,
            bytes_sent: messages * 128 / 10,
            bytes_received: messages * 128 / 10,
            open: 2,
            in_flight: 1,
            response_us: None,
            service_us: None,
            send_lag_us: None,
            pacer_lag_p99_us: Some(80),
            busiest_percent: 12.5,
            run_queue_percent: 0.1,
            limited: false,
            histograms: BTreeMap::new(),
        };
        Report {
            schema_version: SCHEMA_VERSION,
            tool: "towline 0.1.0".into(),
            mode: Mode::Open,
            validity: Validity::Ok,
            validity_reasons: Vec::new(),
            started_at: "2026-11-25T12:00:00Z".into(),
            duration_s: 10.0,
            interrupted: false,
            rate: Rate {
                target: Some(1_000.0),
                achieved: 998.0,
                sent: 1_000.0,
                bytes_sent: 128_000.0,
                bytes_received: 128_000.0,
            },
            measured: Measured::of(&tally),
            fan_out: None,
            intervals: (0..10).map(interval).collect(),
            client: Client {
                threads: 2,
                cpu_s: 0.5,
                cpu_us_per_message: Some(12.5),
                max_rss: Some(8 << 20),
                throttled: 0,
                cores: 2,
                shares_machine: false,
            },
            steps: Vec::new(),
            gates: Vec::new(),
            comparison: None,
            config: Config {
                targets: vec!["ws://127.0.0.1:8010/".into()],
                workload: "echo".into(),
                rate: Some(1_000.0),
                arrival: Some("constant".into()),
                in_flight: None,
                connections: 2,
                publishers: None,
                ramp: Some(1_000.0),
                warm_up_s: 1.0,
                duration_s: Some(10.0),
                messages: None,
                payload: "128 B of bytes".into(),
                matching: "stamp".into(),
                verify: false,
                compress: None,
                segment: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::report::Ink;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever stands in a file, it is refused or shown.
        #[test]
        fn a_report_that_somebody_has_changed_is_no_danger(
            changes in vec((any::<prop::sample::Index>(), 0..WILD), 1..6),
        ) {
            let mut good = testing::report(1_000);
            good.config.segment = Some("1/1".into());
            good.fan_out =
                Some(FanOut { publishers: 1, subscribers: 1, expected: 1, received: 1, reach: 1.0 });
            judge(&mut good, &["p99<1ms".parse().unwrap(), "rate>=99%".parse().unwrap()]);
            let mut value = serde_json::to_value(&good).unwrap();
            for (at, wild) in changes {
                let mut leaves = Vec::new();
                leaves_of(&mut value, &mut leaves);
                let count = leaves.len();
                *leaves.swap_remove(at.index(count)) = wilds()[wild].clone();
            }
            let Ok(report) = Report::from_json(&value.to_string()) else { return Ok(()) };
            let page = html(&report) + &text(&report, Ink::default()) + &csv(&report);
            prop_assert!(!page.contains("NaN"), "{page}");
            for (a, b) in [(&good, &report), (&report, &good), (&report, &report)] {
                if let Ok(comparison) = compare(("a", a), ("b", b), Some(1.0)) {
                    let _ = (comparison_html(a, b, &comparison), comparison.verdict());
                }
            }
            let _ = (verdict(&report, true), merge(vec![("a".into(), report)]));
        }
    }

    const WILD: usize = 12;

    fn wilds() -> [Value; WILD] {
        [
            json!(0),
            json!(1),
            json!(1_u64 << 50),
            json!(-1),
            json!(1e300),
            json!(-1e-300),
            json!(0.5),
            json!(""),
            json!("2026-11-25T12:00:00.9Z"),
            json!("closed"),
            json!("HISTFAAAABx4nJNpmSzMwMDAxAABzFCaEUoz2X+AsgA9CAKB"),
            Value::Null,
        ]
    }

    fn leaves_of<'a>(value: &'a mut Value, leaves: &mut Vec<&'a mut Value>) {
        if !value.is_array() && !value.is_object() {
            return leaves.push(value);
        }
        match value {
            Value::Array(items) => items.iter_mut().for_each(|it| leaves_of(it, leaves)),
            Value::Object(fields) => fields.values_mut().for_each(|it| leaves_of(it, leaves)),
            _ => {}
        }
    }
}
