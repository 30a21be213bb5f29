//! What a round comes to: from the ticks of its threads to its report.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::plan::{self, Plan};
use super::report::{
    Asked, Client, Config, FanOut, Interval, Measured, Mode, Rate, Report, SCHEMA_VERSION,
    Validity, histograms,
};
use super::saturation::{Usage, Verdict, limits, percent};
use super::tally::{Metric, Tally};
use super::worker::{Part, Round, SECOND, Tick};
use crate::cli;
use crate::cli::bench::{BenchArgs, Weighted, Workload};
use crate::threads::cores;

/// Who is told what was measured in a second, which began then and was so long.
pub(crate) type Told<'a> = dyn FnMut(OffsetDateTime, Duration, &Tally) + 'a;

/// Adds up what the threads say of one round.
pub(super) struct Outcome {
    pub(super) intervals: Vec<Interval>,
    pub(super) verdict: Verdict,
    pub(super) throttled: u64,
    pub(super) interrupted: bool,
    /// Whether intervals keep their histograms, so that they can be merged with those of others.
    keeps: bool,
    tally: Tally,
    /// What came after the last whole second, where it is not known beforehand when that is.
    rest: Second,
    /// The seconds of which not every thread has spoken yet, from `intervals.len()` on.
    seconds: Vec<Second>,
    round: Round,
    started: OffsetDateTime,
    /// CPU time of what is measured, in nanoseconds.
    cpu: u64,
    /// When the last message was due, in nanoseconds.
    end: u64,
}

/// What threads have said about one second.
#[derive(Default)]
struct Second {
    tally: Tally,
    usages: Vec<Usage>,
    open: usize,
    in_flight: u64,
}

impl Second {
    fn take(&mut self, tick: Tick) {
        self.tally.add(&tick.tally);
        self.usages.push(tick.usage);
        self.open += tick.open;
        self.in_flight += tick.in_flight;
    }
}

impl Outcome {
    /// Of a round that is about to begin; its measured part begins at `started`.
    pub(super) fn new(round: &Round, started: OffsetDateTime, keeps: bool) -> Self {
        Self {
            intervals: Vec::new(),
            verdict: Verdict::default(),
            throttled: 0,
            interrupted: false,
            keeps,
            tally: Tally::default(),
            rest: Second::default(),
            seconds: Vec::new(),
            round: round.clone(),
            started,
            cpu: 0,
            end: round.measures.start,
        }
    }

    /// Adds what a thread has to say; returns whether a second is complete now, which `told` is told.
    pub(super) fn add(&mut self, tick: Tick, threads: usize, told: &mut Told<'_>) -> bool {
        self.tally.add(&tick.tally);
        self.end = self.end.max(tick.until.min(self.round.measures.end));
        if tick.part != Part::Unmeasured {
            self.cpu += tick.usage.cpu;
        }
        let Part::Second(second) = tick.part else {
            if tick.part == Part::Rest && self.round.messages.is_some() {
                self.rest.take(tick);
            }
            return false;
        };
        let at = second - self.intervals.len();
        if self.seconds.len() <= at {
            self.seconds.resize_with(at + 1, Second::default);
        }
        self.seconds[at].take(tick);
        let complete = self.seconds[0].usages.len() == threads;
        if complete {
            let second = self.seconds.remove(0);
            self.complete(&second, SECOND, told);
        }
        complete
    }

    fn complete(&mut self, second: &Second, length: u64, told: &mut Told<'_>) {
        let Second { tally, usages, open, in_flight } = second;
        let measures = &self.round.measures;
        let start = self.intervals.len() as u64 * SECOND;
        let length = length.min(measures.end - measures.start - start);
        let length_s = length as f64 / 1e9;
        told(self.started + Duration::from_nanos(start), Duration::from_nanos(length), tally);
        let due = self.round.pace.rate().map(|rate| rate * length_s);
        let worst = |part: fn(&Usage) -> u64| {
            usages.iter().map(|usage| percent(part(usage), usage.wall)).fold(0.0, f64::max)
        };
        let limited = self.verdict.add(limits(tally, usages, due));
        let counts = &tally.counts;
        let lag = tally.histogram(Metric::PacerLag).map(|lag| lag.value_at_quantile(0.99));
        self.intervals.push(Interval {
            start_s: start as f64 / 1e9,
            length_s,
            sent: counts.sent,
            received: counts.received,
            dropped: counts.dropped,
            errors: counts.errors,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            open: *open as u64,
            in_flight: *in_flight,
            response_us: tally.summary(Metric::Response),
            service_us: tally.summary(Metric::Service),
            send_lag_us: tally.summary(Metric::SendLag),
            pacer_lag_p99_us: lag,
            busiest_percent: worst(|usage| usage.cpu),
            run_queue_percent: worst(|usage| usage.waited),
            limited,
            histograms: if self.keeps { histograms(tally) } else { BTreeMap::new() },
        });
    }

    /// The report of this round; connections and failures are those of the whole run.
    pub(super) fn report(
        mut self,
        args: &BenchArgs,
        plan: &Plan,
        life: &Tally,
        rate: Option<f64>,
        told: &mut Told<'_>,
    ) -> Report {
        let whole = self.intervals.len() as u64 * SECOND;
        let left = (self.end - self.round.measures.start).saturating_sub(whole);
        if !self.rest.usages.is_empty() && left > 0 {
            let rest = std::mem::take(&mut self.rest);
            self.complete(&rest, left, told);
        }
        let target = self.round.pace.rate();
        let closed = target.is_none();
        self.tally.take_connections(life);
        let counts = self.tally.counts.clone();
        let duration_s = (self.end - self.round.measures.start) as f64 / 1e9;
        let per_second =
            |count: u64| if duration_s > 0.0 { count as f64 / duration_s } else { 0.0 };
        if self.throttled > 0 {
            let times = self.throttled;
            self.verdict.add_always(format!("the control group was held back {times} times"));
        }
        let reasons = self.verdict.reasons();
        let headline = if closed { Metric::Service } else { Metric::Response };
        let samples = self.tally.histogram(headline).map(|it| it.len());
        let (validity, validity_reasons) = match samples {
            _ if !reasons.is_empty() => (Validity::ClientLimited, reasons),
            Some(samples @ 0..1000) => {
                let reason = format!("{samples} samples are too few for a 99th percentile");
                (Validity::TooFewSamples, vec![reason])
            }
            _ => (Validity::Ok, Vec::new()),
        };
        let fan_out = (plan.workload == Workload::FanOut).then(|| {
            let subscribers = args.load.connections as u64;
            let expected = counts.sent * subscribers;
            let reach = counts.received as f64 / expected.max(1) as f64;
            let publishers = args.load.publishers as u64;
            FanOut { publishers, subscribers, expected, received: counts.received, reach }
        });
        let messages = counts.sent.max(counts.received);
        let cpu_us_per_message = (messages > 0).then(|| self.cpu as f64 / 1e3 / messages as f64);
        Report {
            schema_version: SCHEMA_VERSION,
            tool: concat!("towline ", env!("CARGO_PKG_VERSION")).to_owned(),
            mode: if closed { Mode::Closed } else { Mode::Open },
            validity,
            validity_reasons,
            started_at: self.started.format(&Rfc3339).unwrap_or_default(),
            duration_s,
            interrupted: self.interrupted,
            rate: Rate {
                target,
                achieved: per_second(counts.received),
                sent: per_second(counts.sent),
                bytes_sent: per_second(counts.bytes_sent),
                bytes_received: per_second(counts.bytes_received),
            },
            fan_out,
            intervals: self.intervals,
            client: Client {
                threads: plan.threads,
                cpu_s: self.cpu as f64 / 1e9,
                cpu_us_per_message,
                max_rss: max_rss(),
                throttled: self.throttled,
                cores: cores(),
                shares_machine: plan.targets.iter().any(is_here),
            },
            config: config(args, plan, rate),
            steps: Vec::new(),
            gates: Vec::new(),
            comparison: None,
            measured: Measured::of(&self.tally),
        }
    }
}

/// What a run asks for, if that is known before it: --find-max chooses its rate itself.
pub(crate) fn asked(args: &BenchArgs, plan: &Plan) -> Option<Asked> {
    let rate = *plan::rates(args, plan).last().filter(|_| !args.load.find_max)?;
    let closed = plan::pace(args, plan, rate).rate().is_none();
    let mode = if closed { Mode::Closed } else { Mode::Open };
    Some(Asked { mode, threads: plan.threads, config: config(args, plan, rate) })
}

fn config(args: &BenchArgs, plan: &Plan, rate: Option<f64>) -> Config {
    let load = &args.load;
    Config {
        targets: plan::shown(&plan.targets),
        workload: cli::name_of(plan.workload),
        rate,
        arrival: rate.map(|_| cli::name_of(load.arrival)),
        in_flight: load.in_flight.map(|count| count as u64),
        connections: load.connections as u64,
        publishers: (plan.workload == Workload::FanOut).then_some(load.publishers as u64),
        ramp: Some(plan::total(load.ramp, load.connections)),
        warm_up_s: load.warm_up.as_secs_f64(),
        duration_s: load.messages.is_none().then_some(load.duration.as_secs_f64()),
        messages: load.messages,
        payload: plan.payload.to_string(),
        matching: plan.matching.name(),
        verify: plan.verify,
        compress: plan.compress.clone(),
        segment: args.machine.segment.map(|segment| segment.to_string()),
    }
}

/// Whether a target is on this machine, as far as its address tells.
fn is_here(target: &Weighted) -> bool {
    target.target.host().is_none_or(|host| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// The most memory that this process has had, in bytes.
fn max_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
