//! The flags of `bench TARGET`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use time::OffsetDateTime;

use crate::bench::report::Gate;
use crate::bench::{Matching, Sizes, Template};
use crate::cli::value::{self, Discreet, Size, duration};
use crate::endpoint::Endpoint;

/// What is driven
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Measure this server as well, `ADDRESS*3` with three times the connections (repeat)
    #[arg(long = "target", value_name = "ADDRESS", value_parser = Discreet::<Weighted>::parser())]
    pub more_targets: Vec<Weighted>,

    /// What kind of work to measure
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub workload: Workload,

    /// Hold idle connections and ping them, as --workload idle
    #[arg(long, conflicts_with = "workload")]
    pub soak: bool,

    /// Messages a second, over all connections, by a schedule that answers do not change (an open loop); `5k` is 5000. `N/conn` is for each connection [default: 1000, unless --in-flight is given]
    #[arg(long, value_name = "N", conflicts_with = "in_flight")]
    pub rate: Option<Rate>,

    /// How messages are spaced
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub arrival: Arrival,

    /// Send a message as soon as fewer than N of a connection wait for their answers, in place of a schedule (a closed loop): its times are no response times under load
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub in_flight: Option<usize>,

    /// How many connections to open
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = value::at_least_one)]
    pub connections: usize,

    /// How many connections publish, besides those that receive, in --workload fan-out
    #[arg(long, value_name = "N", default_value = "1", value_parser = value::at_least_one)]
    pub publishers: usize,

    /// How many connections to open in a second
    #[arg(long, value_name = "N", default_value = "1000")]
    pub ramp: Rate,

    /// The time that is left out at the start of what is measured
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,

    /// The time that is measured
    #[arg(short, long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// End when N messages were sent that are measured
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration")]
    pub messages: Option<u64>,

    /// How long to wait for the answers to the last messages
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = duration)]
    pub drain: Duration,

    /// Measure these rates one after the other, each for --duration
    #[arg(long, value_name = "N,N...", value_delimiter = ',', conflicts_with_all = ["rate", "in_flight", "messages"])]
    pub steps: Vec<Rate>,

    /// Search the highest rate at which every --slo holds: double from --rate on, then halve the gap
    #[arg(long, requires = "slo", conflicts_with_all = ["steps", "in_flight", "messages"])]
    pub find_max: bool,

    /// What has to hold at the rate that --find-max looks for, as `p99<50ms`; see --gate (repeat)
    #[arg(long, value_name = "GATE", requires = "find_max")]
    pub slo: Vec<Gate>,

    /// Open a connection again when it is lost
    #[arg(long)]
    pub reconnect: bool,

    /// How many messages of a connection may wait to be sent, or to be answered; more are dropped, and counted
    ///
    /// With --workload connect: how many handshakes of a thread may be under way.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = value::at_least_one)]
    pub max_backlog: usize,

    /// An answer that takes longer is late: counted apart, and in no percentile
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration)]
    pub late: Duration,
}

/// What kind of work to measure
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Every message gets an answer: an echo, or request and reply
    #[default]
    Echo,
    /// What publishers send comes to all other connections
    FanOut,
    /// Connections receive, and nothing is sent
    Receive,
    /// Connections are opened and closed, and nothing is sent
    Connect,
    /// Connections are held and pinged
    Idle,
    /// As many bytes as will go through
    Bulk,
}

/// How messages are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Arrival {
    /// All gaps are equal
    #[default]
    Constant,
    /// As from many who do not know of each other
    Poisson,
}

/// What is sent
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub struct MessageArgs {
    /// How long messages are: `128`, a range `16-4KiB`, or several with weights `128*9,4KiB`
    #[arg(long, value_name = "SIZE", default_value = "128")]
    pub size: Sizes,

    /// Send this text, with {seq}, {conn}, {now}, {rand:N} and {stamp} filled in
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["size", "payload_file", "replay"])]
    pub payload: Option<Template>,

    /// Send the lines of FILE in turn
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["size", "replay"])]
    pub payload_file: Option<PathBuf>,

    /// Send what was sent in a recording of `connect --log`, in turn
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "size")]
    pub replay: Option<PathBuf>,

    /// Send text messages
    #[arg(long, conflicts_with = "binary")]
    pub text: bool,

    /// Send binary messages [default, but for --payload and --payload-file]
    #[arg(short, long)]
    pub binary: bool,

    /// Where the server speaks bytes: messages end with a newline, and so do answers [default: an answer is as long as its message]
    #[arg(long)]
    pub lines: bool,

    /// How answers are known: by their `stamp`, by the `order`, or `json:/POINTER` to the {seq} [default: stamp where messages have one]
    #[arg(long = "match", value_name = "HOW")]
    pub matching: Option<Matching>,

    /// Compare each answer with what was sent
    #[arg(long)]
    pub verify: bool,

    /// The largest message to take
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = value::message_size)]
    pub max_message: Size,
}

/// The machine that sends
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "This machine")]
pub struct MachineArgs {
    /// How many threads send and receive [default: one a core]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub threads: Option<usize>,

    /// Connect from these addresses of this machine in turn, as `127.0.0.1-127.0.0.20` (repeat, or separate with commas)
    #[arg(long, value_name = "IP[-IP]", value_delimiter = ',')]
    pub local_addr: Vec<Addresses>,

    /// Do the I-th of N parts of the load, which run elsewhere at the same time: `2/4`; see `bench merge`
    #[arg(long, value_name = "I/N", conflicts_with_all = ["steps", "find_max"])]
    pub segment: Option<Segment>,

    /// Begin at this time, as 2026-11-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = start_time)]
    pub start_at: Option<OffsetDateTime>,

    /// Exit with 0 even if this machine was the limit, and not the server; the report says so all the same
    #[arg(long)]
    pub allow_limited: bool,
}

/// What is seen while it runs
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Progress")]
pub struct ProgressArgs {
    /// How to show progress, on stderr
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub progress: Progress,

    /// The time between two lines of progress
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub progress_interval: Duration,
}

/// How to show progress
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, lines elsewhere
    #[default]
    Auto,
    /// A bar, and live figures
    Bar,
    /// A line now and then
    Lines,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}

/// So many a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Positive.
    pub per_second: f64,
    /// Whether that is for each connection.
    pub per_connection: bool,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, per_connection) = match text.strip_suffix("/conn") {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number = number.strip_suffix("/s").unwrap_or(number);
        let (number, unit) = match number.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1e3),
            None => number.strip_suffix('M').map_or((number, 1.0), |number| (number, 1e6)),
        };
        let per_second = number.parse::<f64>().ok().map(|number| number * unit);
        match per_second.filter(|rate| (1e-6..=1e9).contains(rate)) {
            Some(per_second) => Ok(Self { per_second, per_connection }),
            None => Err("a rate is a number a second, as 500, 5k or 2/conn".into()),
        }
    }
}

/// An address, and its part of the connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// Where to connect.
    pub target: Endpoint,
    /// At least 1.
    pub weight: usize,
}

impl FromStr for Weighted {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let weight = |text: &str| text.parse().ok().filter(|weight| (1..=10_000).contains(weight));
        match text.rsplit_once('*').and_then(|(target, text)| Some((target, weight(text)?))) {
            Some((target, weight)) => Ok(Self { target: target.parse()?, weight }),
            None => Ok(Self { target: text.parse()?, weight: 1 }),
        }
    }
}

/// One address of this machine, or all from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: u32 = 65_536;
        let ip = |text: &str| text.parse().map_err(|_| format!("`{text}` is no IP address"));
        let Some((from, to)) = text.split_once('-') else { return Ok(Self(vec![ip(text)?])) };
        match (ip(from)?, ip(to)?) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.to_bits(), to.to_bits());
                match to.checked_sub(from) {
                    Some(more) if more < MOST => {
                        Ok(Self((from..=to).map(|bits| IpAddr::V4(bits.into())).collect()))
                    }
                    Some(_) => Err(format!("more than {MOST} addresses")),
                    None => Err("the first address is above the last".into()),
                }
            }
            _ => Err("a range is of IPv4 addresses".into()),
        }
    }
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// From 1 to `of`.
    pub index: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Default for Segment {
    fn default() -> Self {
        Self { index: 1, of: 1 }
    }
}

impl Segment {
    /// The part of `count` things, and how many come before it.
    pub fn share(self, count: usize) -> (usize, usize) {
        let up_to = |index: usize| count / self.of * index + (count % self.of).min(index);
        (up_to(self.index - 1), up_to(self.index) - up_to(self.index - 1))
    }
}

impl FromStr for Segment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok();
        match text.split_once('/').and_then(|(i, of)| Some((number(i)?, number(of)?))) {
            Some((index, of)) if index >= 1 && index <= of && of <= 10_000 => {
                Ok(Self { index, of })
            }
            _ => Err("a segment is I/N with I from 1 to N, as 2/4".into()),
        }
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

fn start_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
        .map_err(|_| "a time is written as 2026-11-25T12:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate =
            |text: &str| text.parse::<Rate>().map(|rate| (rate.per_second, rate.per_connection));
        assert_eq!(rate("500"), Ok((500.0, false)));
        assert_eq!(rate("5k/s"), Ok((5000.0, false)));
        assert_eq!(rate("0.5/conn"), Ok((0.5, true)));
        assert_eq!(rate("2/s/conn"), Ok((2.0, true)));
        for text in ["", "0", "-1", "x", "inf", "NaN", "1e99"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn segments_are_a_partition() {
        for (count, of) in [(10, 4), (3, 4), (0, 2), (7, 7), (60_000, 7)] {
            let mut next = 0;
            for index in 1..=of {
                let (before, share) = Segment { index, of }.share(count);
                assert_eq!(before, next);
                next += share;
            }
            assert_eq!(next, count);
        }
        for text in ["0/4", "5/4", "1", "/", "1/0"] {
            assert!(text.parse::<Segment>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_of_addresses() {
        let addresses: Addresses = "127.0.0.254-127.0.1.1".parse().unwrap();
        assert_eq!(addresses.0.len(), 4);
        for text in ["127.0.0.2-127.0.0.1", "0.0.0.0-255.0.0.0", "::1-::2", "x"] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
    }
}
