//! What a tunnel looks like from outside: the session, and what goes through each forward.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::cli::When;
use crate::context::Context;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::report::live::{Live, bytes, span};
use crate::ssh::Session;

/// How often the lines on the terminal change.
const TICK: Duration = Duration::from_millis(500);

/// How many ticks pass between two looks at the round trip time.
const PER_PING: u32 = 10;

/// What there is to see.
pub(super) struct Status {
    via: String,
    /// How each is written, with its figures.
    forwards: Vec<(String, Arc<Metrics>)>,
    link: Mutex<Link>,
    cx: Arc<Context>,
}

struct Link {
    session: Arc<Session>,
    since: Instant,
    /// When it was lost, if it is.
    lost: Option<Instant>,
    /// What the sessions before this one have moved, in bytes.
    moved: u64,
}

impl Status {
    pub(super) fn new(
        via: String,
        forwards: Vec<(String, Arc<Metrics>)>,
        session: Arc<Session>,
        cx: &Arc<Context>,
    ) -> Self {
        cx.metrics.sessions.add(1);
        let since = Instant::now();
        let link = Link { session, since, lost: None, moved: 0 };
        Self { via, forwards, link: Mutex::new(link), cx: cx.clone() }
    }

    pub(super) fn lost(&self) {
        self.cx.metrics.lost.add(1);
        lock(&self.link).lost = Some(Instant::now());
    }

    /// The session is lost no more. Tells for how long it was.
    pub(super) fn back(&self, session: Arc<Session>) -> Duration {
        self.cx.metrics.sessions.add(1);
        let mut link = lock(&self.link);
        link.moved += link.session.moved();
        (link.session, link.since) = (session, Instant::now());
        link.lost.take().map_or(Duration::ZERO, |lost| lost.elapsed())
    }

    /// Shows it on the terminal for as long as this is awaited.
    pub(super) async fn show(&self, when: When) {
        let Some(live) = Live::open(when) else {
            return std::future::pending().await;
        };
        let (mut before, mut ping) = (self.moved(), None);
        for tick in 0.. {
            if tick % PER_PING == 0 {
                let session = lock(&self.link).session.clone();
                // A link that hangs must not hold the lines up.
                ping = tokio::time::timeout(TICK, session.round_trip()).await.ok().flatten();
            }
            let moved = self.moved();
            let rate = (moved - before) * 1000 / TICK.as_millis() as u64;
            before = moved;
            let forwards = self.forwards.iter().map(|(name, figures)| forward_line(name, figures));
            let lines: Vec<_> = [self.link_line(rate, ping)].into_iter().chain(forwards).collect();
            live.show(&lines);
            sleep(TICK).await;
        }
    }

    fn moved(&self) -> u64 {
        let link = lock(&self.link);
        link.moved + link.session.moved()
    }

    fn link_line(&self, rate: u64, ping: Option<Duration>) -> String {
        let link = lock(&self.link);
        let state = match link.lost {
            Some(lost) => format!("lost {} ago", span(lost.elapsed())),
            None => format!("up {}", span(link.since.elapsed())),
        };
        let ping = ping
            .map_or_else(|| "-".to_owned(), |ping| format!("{:.1} ms", ping.as_secs_f64() * 1e3));
        let total = link.moved + link.session.moved();
        let again = match self.cx.metrics.sessions.get().saturating_sub(1) {
            0 => String::new(),
            n => format!(", reconnects: {n}"),
        };
        format!(
            "{}  {state}, round trip {ping}, {}/s, {} in all{again}",
            self.via,
            bytes(rate),
            bytes(total)
        )
    }
}

fn forward_line(name: &str, figures: &Metrics) -> String {
    let (came, left) = (figures.peers.get(), figures.left.get());
    let moved = figures.bytes_in.get() + figures.bytes_out.get();
    format!("  {name}  {} open, {came} so far, {}", came.saturating_sub(left), bytes(moved))
}
