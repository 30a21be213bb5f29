//! The result of a run: what it was, what came out, and whether that can be believed.
//!
//! It is written as JSON as it stands here; `schema/bench.schema.json` describes it. A field that is
//! added is a new minor version of the schema, one that changes its meaning a new major one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::tally::{Cause, Counts, Failures, Metric, Tally};
use hdrhistogram::Histogram;

/// The version of the schema that reports of this program have.
pub const SCHEMA_VERSION: u32 = 1;

/// One run, or several segments of one.
#[derive(Clone, Debug, Serialize, Deserialize, Default)]
pub struct Report {
    /// See [`SCHEMA_VERSION`].
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
    /// What was counted in the measured part; connections are those of the whole run.
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
    /// How far what was published has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOut>,
    /// Failures by kind, the most frequent first.
    pub errors: Vec<ErrorGroup>,
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
    /// What was asked for.
    pub config: Config,
    /// All histograms by name, as HdrHistogram V2 with DEFLATE in base64, in microseconds.
    pub histograms: BTreeMap<String, String>,
}

/// How messages are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
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
pub struct Rate {
    /// What was asked for; none in a closed loop.
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// Failures of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// What kind.
    #[serde(flatten)]
    pub cause: Cause,
    /// How often, and the first of them.
    #[serde(flatten)]
    pub failures: Failures,
}

/// One second, or what was left of the last one.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// See the report.
    pub response_us: Option<Summary>,
    /// See the report.
    pub service_us: Option<Summary>,
    /// The 99th percentile of how late this program was, in microseconds.
    pub pacer_lag_p99_us: Option<u64>,
    /// The CPU time of the busiest thread, in percent of one core.
    pub busiest_percent: f64,
    /// The time that the threads waited for a core, in percent of the interval, the worst of them.
    pub run_queue_percent: f64,
    /// Whether this machine was the limit.
    pub limited: bool,
}

/// What a run has cost the machine that made it.
#[derive(Clone, Debug, Serialize, Deserialize, Default)]
pub struct Client {
    /// Threads that sent and received.
    pub threads: usize,
    /// CPU time of the measured part, in seconds.
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
pub struct Step {
    /// Messages a second that were asked for.
    pub rate: f64,
    /// Messages a second that were answered.
    pub achieved: f64,
    /// See the report.
    pub response_us: Option<Summary>,
    /// Whether every objective was met; none where there was none.
    pub held: Option<bool>,
    /// See the report.
    pub validity: Validity,
}

/// What a gate said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateOutcome {
    /// The gate as it was written.
    pub gate: String,
    /// What was measured; none if it cannot be told.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub passed: bool,
}

/// What was asked for. Runs whose configurations are alike can be compared and merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
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
    /// What this run is of the whole, as `2/4`.
    pub segment: Option<String>,
}

impl Summary {
    /// Of what was measured.
    pub fn of(times: &Histogram<u64>) -> Self {
        // Ten samples lie above what is called a percentile.
        let at = |quantile: f64| {
            let enough = times.len() as f64 * (1.0 - quantile) >= 10.0 - 1e-6;
            enough.then(|| times.value_at_quantile(quantile))
        };
        Self {
            count: times.len(),
            min: times.min(),
            mean: times.mean(),
            stdev: times.stdev(),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: times.max(),
        }
    }
}

impl Report {
    /// Takes over what a tally holds.
    pub fn fill(&mut self, tally: &Tally) {
        self.counts = tally.counts.clone();
        self.response_us = tally.summary(Metric::Response);
        self.service_us = tally.summary(Metric::Service);
        self.send_lag_us = tally.summary(Metric::SendLag);
        self.pacer_lag_us = tally.summary(Metric::PacerLag);
        self.write_block_us = tally.summary(Metric::WriteBlock);
        self.handshake_us = tally.summary(Metric::Handshake);
        self.ping_us = tally.summary(Metric::Ping);
    }
}
