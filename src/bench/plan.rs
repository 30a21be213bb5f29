//! What is to be done, with all that the flags leave open decided.

use super::clock::nanos;
use super::matching::Matching;
use super::payload::Payload;
use super::stamp::Stamp;
use crate::cli::bench::{Arrival, BenchArgs, Rate, Segment, Weighted, Workload};
use crate::cli::value::Compress;
use crate::endpoint::{Endpoint, deflate};
use crate::error::{Error, Kind, Result};
use crate::recording;
use crate::threads::cores;

/// What every thread of a run knows.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) targets: Vec<Weighted>,
    pub(super) workload: Workload,
    /// The connections of this segment, publishers apart.
    pub(super) connections: usize,
    pub(super) publishers: usize,
    /// The number of the first connection of this segment, and of the first publisher.
    pub(super) first: usize,
    pub(super) first_publisher: usize,
    pub(super) segment: Segment,
    pub(super) threads: usize,
    pub(super) payload: Payload,
    pub(super) matching: Matching,
    pub(super) verify: bool,
    /// How messages are to be compressed, if that is offered.
    pub(super) compress: Option<String>,
    pub(super) lines: bool,
    pub(super) max_message: usize,
    pub(super) max_backlog: usize,
    /// In nanoseconds.
    pub(super) late: u64,
    pub(super) drain: std::time::Duration,
    /// Connections that are opened in a second by this segment.
    pub(super) ramp: f64,
    pub(super) reconnect: bool,
    /// The time between two Pings of a connection, in nanoseconds.
    pub(super) ping: Option<u64>,
}

/// How messages are timed, by this segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// So many a second, by a schedule.
    Open { rate: f64, arrival: Arrival },
    /// So many of a connection at once.
    Closed { in_flight: usize },
    /// None are sent.
    Still,
}

impl Pace {
    /// Messages a second, if there is a schedule.
    pub(super) fn rate(self) -> Option<f64> {
        match self {
            Self::Open { rate, .. } => Some(rate),
            Self::Closed { .. } | Self::Still => None,
        }
    }
}

/// The seed of all that is random: two runs of one command line send the same.
pub(super) const SEED: u64 = 0x0074_6f77_6c69_6e65;

/// Messages a second where nothing else is asked for.
const RATE: Rate = Rate { per_second: 1000.0, per_connection: false };

impl Plan {
    /// Checks flags against each other.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the flag.
    pub(crate) fn new(args: &BenchArgs) -> Result<Self> {
        let (load, messages, machine) = (&args.load, &args.messages, &args.machine);
        let workload = if load.soak { Workload::Idle } else { load.workload };
        let mut targets = vec![args.target.clone().expect("clap asks for one")];
        targets.extend(load.more_targets.iter().cloned());
        for Weighted { target, .. } in &targets {
            target.check_bare()?;
        }
        let refused = |flag: &str, what: &str| Err(Error::new(Kind::Usage, what).at(flag));
        let publishers = if workload == Workload::FanOut { load.publishers } else { 0 };
        if (load.connections + publishers) as u64 > Stamp::MOST_CONNECTIONS {
            return refused("--connections", "more than a million connections");
        }
        if load.messages.is_some() && matches!(workload, Workload::Receive | Workload::Idle) {
            return refused("--messages", "nothing is sent; --duration says when to end");
        }
        let still = matches!(workload, Workload::FanOut | Workload::Receive | Workload::Idle);
        if load.in_flight.is_some() && still {
            return refused("--in-flight", "no answer is waited for in this --workload");
        }
        let segment = machine.segment.unwrap_or_default();
        let (first, connections) = segment.share(load.connections);
        let (first_publisher, own_publishers) = segment.share(publishers);
        if connections == 0 {
            return refused("--segment", "there are fewer connections than segments");
        }
        let of_bytes = targets.iter().find(|it| !it.target.ends_with_websocket());
        if let Some(Weighted { target, .. }) = of_bytes
            && matches!(workload, Workload::FanOut | Workload::Idle)
        {
            return refused("--workload", &format!("{target:#} is no WebSocket"));
        }
        if args.reach.compression.compress != Compress::Off
            && !targets.iter().any(|it| it.target.ends_with_websocket())
        {
            return refused("--compress", "there is no WebSocket whose messages it is about");
        }
        let payload = payload(args, workload)?;
        if messages.size.shortest() == 0 && of_bytes.is_some() {
            return refused("--size", "where bytes are spoken, no bytes are no message");
        }
        let bytes = of_bytes.is_some() && !messages.lines;
        let matching = match &messages.matching {
            Some(Matching::Stamp) if !payload.is_stamped() => {
                return refused(
                    "--match",
                    "the messages have no stamp; --size 16 has room for one",
                );
            }
            Some(Matching::Json(_))
                if !messages.payload.as_ref().is_some_and(|it| it.has_sequence()) =>
            {
                return refused("--match", "there is no {seq} in the --payload");
            }
            Some(how) if bytes && *how != Matching::Order => {
                return refused("--match", "bytes have no beginning and no end; see --lines");
            }
            Some(how) => how.clone(),
            None if payload.is_stamped() && !bytes => Matching::Stamp,
            None => Matching::Order,
        };
        if workload == Workload::FanOut && !payload.is_stamped() {
            return refused("--workload", "what is published needs a {stamp}, or a --size from 32");
        }
        let threads = machine.threads.unwrap_or_else(cores);
        let threads = match workload {
            Workload::Connect => threads,
            _ => threads.min(connections + own_publishers),
        };
        let idle = (workload == Workload::Idle).then_some(std::time::Duration::from_secs(30));
        let ping = args.reach.ws.ping.or(idle).filter(|it| !it.is_zero());
        Ok(Self {
            workload,
            connections,
            publishers: own_publishers,
            first,
            first_publisher: load.connections + first_publisher,
            segment,
            threads,
            payload,
            matching,
            verify: messages.verify,
            compress: compress(args),
            lines: messages.lines,
            max_message: messages.max_message,
            max_backlog: load.max_backlog,
            late: nanos(load.late),
            drain: load.drain,
            ramp: total(load.ramp, load.connections) / segment.of as f64,
            reconnect: load.reconnect,
            ping: ping.map(nanos),
            targets,
        })
    }

    /// The connections that send, of this segment.
    pub(super) fn senders(&self) -> usize {
        match self.workload {
            Workload::FanOut => self.publishers,
            Workload::Receive | Workload::Idle | Workload::Connect => 0,
            Workload::Echo | Workload::Bulk => self.connections,
        }
    }

    /// The place that a connection of this segment goes to.
    pub(super) fn target(&self, connection: usize) -> &Endpoint {
        let sum: usize = self.targets.iter().map(|it| it.weight).sum();
        let mut at = connection % sum;
        for Weighted { target, weight } in &self.targets {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return target,
            }
        }
        unreachable!("the weights are those that were added up")
    }
}

/// The rates that are to be measured, one after the other, in all segments together; none in a closed loop.
pub(super) fn rates(args: &BenchArgs, plan: &Plan) -> Vec<Option<f64>> {
    let load = &args.load;
    let senders = match plan.workload {
        Workload::FanOut => load.publishers,
        _ => load.connections,
    };
    match plan.workload {
        Workload::Receive | Workload::Idle | Workload::Bulk => vec![None],
        _ if load.in_flight.is_some() => vec![None],
        _ if !load.steps.is_empty() => {
            load.steps.iter().map(|rate| Some(total(*rate, senders))).collect()
        }
        _ => vec![Some(total(load.rate.unwrap_or(RATE), senders))],
    }
}

/// How this segment is to send at a rate of all segments.
pub(super) fn pace(args: &BenchArgs, plan: &Plan, rate: Option<f64>) -> Pace {
    match (plan.workload, rate) {
        (Workload::Receive | Workload::Idle, _) => Pace::Still,
        (Workload::Bulk, _) => Pace::Closed { in_flight: 1 },
        (_, None) => Pace::Closed { in_flight: args.load.in_flight.unwrap_or(1) },
        (workload, Some(rate)) => {
            let (own, all) = match workload {
                Workload::FanOut => (plan.publishers, args.load.publishers),
                _ => (plan.connections, args.load.connections),
            };
            Pace::Open { rate: rate * own as f64 / all as f64, arrival: args.load.arrival }
        }
    }
}

pub(super) fn total(rate: Rate, connections: usize) -> f64 {
    if rate.per_connection { rate.per_second * connections as f64 } else { rate.per_second }
}

/// What is offered, in the words of the flags; a header takes the place of what we would offer.
fn compress(args: &BenchArgs) -> Option<String> {
    let asked = args.reach.compression.compress;
    let asked = (asked != Compress::Off).then(|| asked.to_string());
    let own = args.reach.ws.header.iter();
    let own = own.filter(|it| it.name.eq_ignore_ascii_case(deflate::FIELD));
    let said: Vec<_> = asked.into_iter().chain(own.map(|it| it.value.clone())).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn payload(args: &BenchArgs, workload: Workload) -> Result<Payload> {
    let messages = &args.messages;
    let timed = workload == Workload::FanOut;
    // Templates and lines are written as text, sizes mean bytes.
    if let Some(template) = &messages.payload {
        return Ok(Payload::template(template.clone(), !messages.binary, timed, SEED));
    }
    if let Some(file) = &messages.payload_file {
        return Payload::lines(file, !messages.binary);
    }
    if let Some(file) = &messages.replay {
        let items = recording::outgoing(file)?;
        if items.is_empty() {
            let error = Error::new(Kind::Usage, "nothing was sent in this recording");
            return Err(error.at(file.display()));
        }
        return Ok(Payload::items(items));
    }
    Ok(Payload::sized(messages.size.clone(), messages.text, timed, SEED))
}

/// The targets as they are shown, with their weights.
pub(super) fn shown(targets: &[Weighted]) -> Vec<String> {
    let shown = |it: &Weighted| match it.weight {
        1 => format!("{:#}", it.target),
        weight => format!("{:#}*{weight}", it.target),
    };
    targets.iter().map(shown).collect()
}
