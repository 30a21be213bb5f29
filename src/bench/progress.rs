//! What is seen while it runs.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::report::{Interval, time};
use crate::cli::When;
use crate::cli::bench::{Progress, ProgressArgs};
use crate::report::{self, live::Live};

/// What there is to see now.
#[derive(Default, Serialize)]
pub(super) struct State {
    /// `connect`, `warm-up` or `measure`.
    pub(super) phase: &'static str,
    /// Of the phase, in seconds.
    pub(super) elapsed_s: f64,
    pub(super) total_s: Option<f64>,
    pub(super) open: u64,
    pub(super) failed: u64,
    pub(super) sent_per_s: f64,
    pub(super) received_per_s: f64,
    pub(super) in_flight: u64,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) errors: u64,
    /// Whether this machine was the limit in the last interval.
    pub(super) limited: bool,
}

/// Shows it.
pub(super) struct Shown {
    how: How,
    every: Duration,
    last: Option<Instant>,
}

enum How {
    Bar(Live),
    Lines,
    Json,
    Nothing,
}

impl Shown {
    pub(super) fn new(args: &ProgressArgs) -> Self {
        let how = match args.progress {
            Progress::Auto => Live::open(When::Auto).map_or(How::Lines, How::Bar),
            Progress::Bar => Live::open(When::Always).map_or(How::Lines, How::Bar),
            Progress::Lines => How::Lines,
            Progress::Json => How::Json,
            Progress::None => How::Nothing,
        };
        Self { how, every: args.progress_interval, last: None }
    }

    /// Shows how things are, if it is time to.
    pub(super) fn show(&mut self, state: &State) {
        if let How::Bar(live) = &self.how {
            let parts = state.parts();
            // So that no line is wider than a terminal of 80 columns.
            let lines = parts.chunks(3).map(|parts| format!("  {}", parts.join(", ")));
            return live.show(&[bar(state)].into_iter().chain(lines).collect::<Vec<_>>());
        }
        // The first line is due after one interval, as all others.
        let last = *self.last.get_or_insert_with(Instant::now);
        if last.elapsed() < self.every {
            return;
        }
        self.last = Some(Instant::now());
        match &self.how {
            How::Lines => report::note(format_args!(
                "{} {:.0} s: {}",
                state.phase,
                state.elapsed_s,
                state.parts().join(", ")
            )),
            How::Json => report::json(state),
            How::Bar(_) | How::Nothing => {}
        }
    }
}

/// How much of a phase is over.
fn bar(state: &State) -> String {
    const WIDTH: usize = 40;
    let total = state.total_s.filter(|total| *total > 0.0);
    let part = total.map_or(0.0, |total| (state.elapsed_s / total).clamp(0.0, 1.0));
    let full = (part * WIDTH as f64).round() as usize;
    let total = total.map(|total| format!("/{total:.0}")).unwrap_or_default();
    format!(
        "{:<8} [{}{}] {:.0}{total} s",
        state.phase,
        "=".repeat(full),
        " ".repeat(WIDTH - full),
        state.elapsed_s
    )
}

impl State {
    /// Takes in what was found out in the last second.
    pub(super) fn last(&mut self, interval: Option<&Interval>) {
        let Some(last) = interval else { return };
        self.sent_per_s = last.sent as f64 / last.length_s;
        self.received_per_s = last.received as f64 / last.length_s;
        let times = last.response_us.as_ref().or(last.service_us.as_ref());
        self.p50_us = times.and_then(|times| times.p50);
        self.p99_us = times.and_then(|times| times.p99);
        self.limited = last.limited;
    }

    /// What there is to say, a few words each.
    fn parts(&self) -> Vec<String> {
        let mut parts = vec![format!("{} open", self.open)];
        if self.phase != "connect" {
            parts.push(format!("{:.0}/s sent", self.sent_per_s));
            parts.push(format!("{:.0}/s received", self.received_per_s));
            parts.push(format!("{} in flight", self.in_flight));
            if let (Some(p50), Some(p99)) = (self.p50_us, self.p99_us) {
                parts.push(format!("p50 {}, p99 {}", time(p50 as f64), time(p99 as f64)));
            }
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.errors > 0 {
            parts.push(format!("{} errors", self.errors));
        }
        if self.limited {
            parts.push("CLIENT LIMITED".to_owned());
        }
        parts
    }
}
