//! What was counted and timed: tallies of threads and of intervals add up to that of the run.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::report::Summary;
use crate::trace::Phase;

/// The longest time that is told from longer ones, in microseconds: 60 s.
pub const LONGEST: u64 = 60_000_000;

/// Significant decimal digits of what histograms hold.
pub const DIGITS: u8 = 3;

/// A time that is measured again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Metric {
    /// From when a message was to be sent until its answer was here.
    Response,
    /// From when a message was sent until its answer was here.
    Service,
    /// From when a message was to be sent until the system had taken it.
    SendLag,
    /// The part of it in which this program was late.
    PacerLag,
    /// The part of it in which the connection took nothing.
    WriteBlock,
    /// From the start of a connection until it was ready.
    Handshake,
    /// The part of it that was name resolution.
    Dns,
    /// The TCP or Unix connect.
    Tcp,
    /// Asking a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket handshake.
    Upgrade,
    /// The SSH handshake.
    Ssh,
    /// Logging in by SSH.
    Login,
    /// Waiting for an SSH server to open a channel.
    Forward,
    /// From a Ping until its Pong.
    Ping,
    /// From our Close until the connection was over.
    Close,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Response,
        Self::Service,
        Self::SendLag,
        Self::PacerLag,
        Self::WriteBlock,
        Self::Handshake,
        Self::Dns,
        Self::Tcp,
        Self::Proxy,
        Self::Tls,
        Self::Upgrade,
        Self::Ssh,
        Self::Login,
        Self::Forward,
        Self::Ping,
        Self::Close,
    ];

    /// Its name in reports, and its tag in histogram logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Service => "service",
            Self::SendLag => "send_lag",
            Self::PacerLag => "pacer_lag",
            Self::WriteBlock => "write_block",
            Self::Handshake => "handshake",
            Self::Dns => Phase::Dns.name(),
            Self::Tcp => Phase::Tcp.name(),
            Self::Proxy => Phase::Proxy.name(),
            Self::Tls => Phase::Tls.name(),
            Self::Upgrade => Phase::Upgrade.name(),
            Self::Ssh => Phase::Ssh.name(),
            Self::Login => Phase::Login.name(),
            Self::Forward => Phase::Forward.name(),
            Self::Ping => "ping",
            Self::Close => "close",
        }
    }

    /// Whether it is about making connections, and not about what goes through them.
    fn is_of_connections(self) -> bool {
        (Self::Handshake..=Self::Forward).contains(&self)
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

impl From<Phase> for Metric {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Dns => Self::Dns,
            Phase::Tcp => Self::Tcp,
            Phase::Proxy => Self::Proxy,
            Phase::Tls => Self::Tls,
            Phase::Upgrade => Self::Upgrade,
            Phase::Ssh => Self::Ssh,
            Phase::Login => Self::Login,
            Phase::Forward => Self::Forward,
        }
    }
}

/// How often something has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Counts {
    /// Messages that were handed over to the system.
    pub sent: u64,
    /// Messages that have come, whatever they were.
    pub received: u64,
    /// Messages that were due and could not be sent.
    pub dropped: u64,
    /// Messages whose answer has not come.
    pub lost: u64,
    /// Messages whose answer came after `--late`; they are in no histogram.
    pub late: u64,
    /// Answers that came again.
    pub duplicate: u64,
    /// Answers that came before that of an earlier message.
    pub reordered: u64,
    /// Answers that were not what was sent, or no answer to anything.
    pub corrupt: u64,
    /// Failures of all kinds; see `errors` of the report.
    pub errors: u64,
    /// Times above [`LONGEST`], which histograms hold as that.
    pub saturated: u64,
    /// Bytes of payload that were sent.
    pub bytes_sent: u64,
    /// Bytes of payload that have come.
    pub bytes_received: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that could not be opened.
    pub failed: u64,
    /// Connections that the other side has ended before we did.
    pub closed: u64,
}

impl Counts {
    /// Adds what somebody else has counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            received,
            dropped,
            lost,
            late,
            duplicate,
            reordered,
            corrupt,
            errors,
            saturated,
            bytes_sent,
            bytes_received,
            opened,
            failed,
            closed,
        } = other;
        self.sent += sent;
        self.received += received;
        self.dropped += dropped;
        self.lost += lost;
        self.late += late;
        self.duplicate += duplicate;
        self.reordered += reordered;
        self.corrupt += corrupt;
        self.errors += errors;
        self.saturated += saturated;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
        self.opened += opened;
        self.failed += failed;
        self.closed += closed;
    }
}

/// What was agreed on about compression (permessage-deflate, RFC 7692), and what was sent then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Compression {
    /// Connections that compress, by what was agreed on, as a server grants it.
    pub agreed: BTreeMap<String, u64>,
    /// Connections that do not, since the server did not grant it.
    pub declined: u64,
    /// Bytes of frames that were sent on connections that compress, as they were on the wire: with
    /// their heads, without TLS.
    pub wire_sent: u64,
    /// Bytes of frames that have come on them, likewise.
    pub wire_received: u64,
}

impl Compression {
    fn add(&mut self, other: &Self) {
        self.add_connections(other);
        self.wire_sent += other.wire_sent;
        self.wire_received += other.wire_received;
    }

    fn add_connections(&mut self, other: &Self) {
        for (terms, count) in &other.agreed {
            *self.agreed.entry(terms.clone()).or_default() += count;
        }
        self.declined += other.declined;
    }
}

/// What kind of failure something was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Cause {
    /// When it happened: `dns`, `tcp`, `tls`, `upgrade`, ..., `run` or `close`.
    pub phase: String,
    /// What it was: `refused`, `timeout`, `status`, `reset`, `closed`, ...
    pub cause: String,
    /// The HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The close code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// How often there was a failure of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Failures {
    /// How often.
    pub count: u64,
    /// What the first of them said.
    pub first: String,
}

/// All that one thread has found out, or all threads together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What was counted.
    pub counts: Counts,
    /// Failures by kind.
    pub errors: BTreeMap<Cause, Failures>,
    /// Of connections that offer to compress.
    pub compression: Compression,
    /// A histogram for each metric that was measured, in microseconds. They are large.
    times: [Option<Box<Histogram<u64>>>; Metric::ALL.len()],
}

impl Tally {
    /// Takes down a time, in nanoseconds. Below 1 µs it counts as that.
    pub fn time(&mut self, metric: Metric, nanos: u64) {
        self.times(metric, nanos, 1);
    }

    /// Takes down the same time more than once.
    pub fn times(&mut self, metric: Metric, nanos: u64, count: u64) {
        let micros = micros(nanos);
        if micros > LONGEST {
            self.counts.saturated += count;
        }
        let histogram = self.times[metric as usize].get_or_insert_with(|| Box::new(empty()));
        histogram.saturating_record_n(micros.min(LONGEST), count);
    }

    /// Takes down a failure.
    pub fn fail(&mut self, cause: Cause, what: impl FnOnce() -> String) {
        self.counts.errors += 1;
        let failures = self.errors.entry(cause);
        failures.or_insert_with(|| Failures { count: 0, first: what() }).count += 1;
    }

    /// What is known of a metric, if it was ever measured.
    pub fn histogram(&self, metric: Metric) -> Option<&Histogram<u64>> {
        self.times[metric as usize].as_deref()
    }

    /// What a metric comes to, if it was ever measured.
    pub fn summary(&self, metric: Metric) -> Option<Summary> {
        self.histogram(metric).and_then(Summary::of)
    }

    /// Adds a histogram of a metric that was measured elsewhere.
    ///
    /// # Errors
    /// It holds times above [`LONGEST`].
    pub fn merge(
        &mut self,
        metric: Metric,
        other: &Histogram<u64>,
    ) -> Result<(), hdrhistogram::AdditionError> {
        self.times[metric as usize].get_or_insert_with(|| Box::new(empty())).add(other)
    }

    /// Adds all that somebody else has found out.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.add_errors(other);
        self.compression.add(&other.compression);
        Metric::ALL.into_iter().for_each(|metric| self.add_times(metric, other));
    }

    /// Adds what concerns connections: how many there are, how long they took, how they failed.
    pub(super) fn add_connections(&mut self, other: &Self) {
        let Counts { opened, failed, closed, errors, .. } = other.counts;
        self.counts.add(&Counts { opened, failed, closed, errors, ..Counts::default() });
        self.add_errors(other);
        self.compression.add_connections(&other.compression);
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_of_connections()) {
            self.add_times(metric, other);
        }
    }

    /// Takes what concerns connections from somebody who knows all of it.
    pub(super) fn take_connections(&mut self, other: &Self) {
        let Counts { opened, failed, closed, errors, .. } = other.counts;
        self.counts = Counts { opened, failed, closed, errors, ..self.counts.clone() };
        self.errors.clone_from(&other.errors);
        self.compression.agreed.clone_from(&other.compression.agreed);
        self.compression.declined = other.compression.declined;
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_of_connections()) {
            self.times[metric as usize].clone_from(&other.times[metric as usize]);
        }
    }

    fn add_errors(&mut self, other: &Self) {
        for (cause, failures) in &other.errors {
            match self.errors.get_mut(cause) {
                Some(known) => known.count += failures.count,
                None => drop(self.errors.insert(cause.clone(), failures.clone())),
            }
        }
    }

    fn add_times(&mut self, metric: Metric, other: &Self) {
        if let Some(histogram) = other.histogram(metric) {
            self.merge(metric, histogram).expect("all histograms are of one kind");
        }
    }
}

/// Rounded; 1 at least.
fn micros(nanos: u64) -> u64 {
    ((nanos + 500) / 1000).max(1)
}

/// A tally that is added to all the time. What comes together mostly took as long, and is taken down
/// together.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    tally: Tally,
    /// Of each metric the last time, in nanoseconds, and how often it came.
    runs: [(u64, u64); Metric::ALL.len()],
}

impl Recorder {
    /// See [`Tally::time`].
    #[inline]
    pub(super) fn time(&mut self, metric: Metric, nanos: u64) {
        self.times(metric, nanos, 1);
    }

    /// Takes down the same time, in nanoseconds, more than once.
    #[inline]
    pub(super) fn times(&mut self, metric: Metric, nanos: u64, count: u64) {
        let run = &mut self.runs[metric as usize];
        if run.0 == nanos {
            run.1 += count;
            return;
        }
        let (nanos, count) = std::mem::replace(run, (nanos, count));
        if count > 0 {
            self.tally.times(metric, nanos, count);
        }
    }

    /// All that was taken down, which is forgotten here.
    pub(super) fn take(&mut self) -> Tally {
        for metric in Metric::ALL {
            let (nanos, count) = std::mem::take(&mut self.runs[metric as usize]);
            if count > 0 {
                self.tally.times(metric, nanos, count);
            }
        }
        std::mem::take(&mut self.tally)
    }
}

impl Deref for Recorder {
    type Target = Tally;

    fn deref(&self) -> &Tally {
        &self.tally
    }
}

impl DerefMut for Recorder {
    fn deref_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds are sound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_down_together_is_as_much() {
        let (mut alone, mut together) = (Tally::default(), Recorder::default());
        for micros in [5, 5, 5, 7, 5, 7, 7, 90_000_000, 90_000_000] {
            for metric in [Metric::Response, Metric::Service] {
                alone.time(metric, micros * 1000);
                together.time(metric, micros * 1000);
            }
        }
        together.times(Metric::Service, 3000, 4);
        (0..4).for_each(|_| alone.time(Metric::Service, 3000));
        let taken = together.take();
        assert_eq!(taken.counts, alone.counts);
        assert_eq!(taken.counts.saturated, 4);
        for metric in [Metric::Response, Metric::Service] {
            assert_eq!(taken.histogram(metric), alone.histogram(metric));
        }
        assert!(together.take().histogram(Metric::Service).is_none());
    }
}
