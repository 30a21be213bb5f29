//! The far end under watch: what passes is counted, the last messages are remembered, and one
//! that was rejected ends the session, whoever reads it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pattern::Matcher;
use super::step::quoted;
use crate::duplex::{Body, Close, Message, Watch};
use crate::error::{Error, Kind, Result};
use crate::relay::Count;
use crate::report::cut;

/// How many of the last messages are remembered, and how much of each.
const LAST: (usize, usize) = (5, 200);

/// What has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: Count,
    pub(super) received: Count,
    /// The time from the handshake to the first message.
    pub(super) first: Option<Duration>,
    /// The last messages received, shortened.
    pub(super) last: VecDeque<String>,
    /// The first Close, and who said it.
    pub(super) close: Option<(Close, By)>,
    /// The place of the `--reject` that a message has hit.
    pub(super) rejected: Option<usize>,
}

/// Who closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Us,
    Peer,
}

/// A tally that the far end keeps while others look at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    pub(super) fn get(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What fails the session if a message matches it, and how it was written.
pub(super) type Rejects = Vec<(String, Matcher)>;

/// Keeps the tally, and looks out for what is rejected.
pub(super) struct Tap {
    tally: Shared,
    rejects: Rejects,
    since: Instant,
}

impl Tap {
    pub(super) fn new(tally: Shared, rejects: Rejects) -> Self {
        Self { tally, rejects, since: Instant::now() }
    }
}

impl Watch for Tap {
    fn received(&mut self, message: &Message) -> Result<()> {
        let mut tally = self.tally.get();
        if let Body::Close(close) = &message.body {
            tally.close.get_or_insert((close.clone(), By::Peer));
        }
        if !message.is_data() {
            return Ok(());
        }
        let payload = message.payload();
        add(&mut tally.received, payload);
        tally.first.get_or_insert_with(|| self.since.elapsed());
        if tally.last.len() == LAST.0 {
            tally.last.pop_front();
        }
        tally.last.push_back(shown(message));
        let Some(hit) = self.rejects.iter().position(|(_, matcher)| matcher.matches(payload))
        else {
            return Ok(());
        };
        tally.rejected = Some(hit);
        let what = format!("{}: received {}", self.rejects[hit].0, quoted(&shown(message), '"'));
        Err(Error::new(Kind::Expectation, what))
    }

    fn sent(&mut self, message: &Message) -> Result<()> {
        let mut tally = self.tally.get();
        match &message.body {
            Body::Text(_) | Body::Binary(_) => add(&mut tally.sent, message.payload()),
            Body::Close(close) => {
                tally.close.get_or_insert((close.clone(), By::Us));
            }
            Body::Ping(_) | Body::Pong(_) => {}
        }
        Ok(())
    }
}

/// The beginning of a message as text; what is not UTF-8 as hexadecimal digits.
pub(super) fn shown(message: &Message) -> String {
    let payload = message.payload();
    match str::from_utf8(payload) {
        Ok(text) => cut(text, LAST.1),
        Err(_) => {
            let digits = payload.iter().take(LAST.1 / 2).map(|byte| format!("{byte:02x}"));
            let more = if payload.len() > LAST.1 / 2 { "…" } else { "" };
            format!("0x{}{more}", digits.collect::<String>())
        }
    }
}

fn add(count: &mut Count, payload: &[u8]) {
    count.messages += 1;
    count.bytes += payload.len() as u64;
}
