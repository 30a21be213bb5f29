//! What a session knows of its connection, which lives in tasks of its own: what has come, what of
//! ours has come back, and whether the server is there.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::duplex::Message;
use crate::error::{Error, Result};
use crate::report;

/// What waits for a slow reader: the oldest messages above it are dropped.
const QUEUE: usize = 65_536;
const QUEUE_BYTES: usize = 64 << 20;

/// How many bytes of ours may be under way to the server, or wait for it to come back.
const UNDER_WAY: usize = 16 << 20;

/// Drops are said at once, and then at most this often.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Shared by the session and the tasks of its connection.
#[derive(Default)]
pub(super) struct Feed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Message>,
    queued: usize,
    losses: Losses,
    /// How many of our messages have come back or are given up, and the sizes of those that have
    /// not.
    settled: u64,
    open: VecDeque<usize>,
    open_bytes: usize,
    /// While the connection is lost, how many messages had been written to it.
    away: Option<u64>,
    left: bool,
    failure: Option<Error>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Feed {
    /// A message from somebody else, before which we have `missed` some of theirs.
    pub(super) fn heard(&self, message: Message, missed: u64, server: &str) {
        let mut state = self.state();
        state.queued += message.payload().len();
        state.queue.push_back(message);
        while state.queue.len() > QUEUE || (state.queued > QUEUE_BYTES && state.queue.len() > 1) {
            let oldest = state.queue.pop_front();
            state.queued -= oldest.map_or(0, |oldest| oldest.payload().len());
            state.losses.dropped += 1;
        }
        state.losses.missed += missed;
        if state.losses.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            state.losses.say(server);
        }
        wake(state.reader.take());
    }

    /// The library itself has dropped a message, since its queue was full.
    pub(super) fn dropped(&self) {
        self.state().losses.dropped += 1;
    }

    /// The server has given us back our own message of this number.
    pub(super) fn came_back(&self, number: u64) {
        self.state().settle(number);
    }

    /// The connection is lost, to which `written` of our messages had been written. Whether that
    /// is news to a session that is still there.
    pub(super) fn lost(&self, written: u64) -> bool {
        let mut state = self.state();
        let news = !state.left && state.away.is_none();
        if news {
            state.away = Some(written);
        }
        news
    }

    /// There is a connection again. What was written to the lost one and has not come back will
    /// not: returns how many messages that are, if one was lost.
    pub(super) fn found(&self) -> Option<u64> {
        let mut state = self.state();
        let written = state.away.take()?;
        let before = state.settled;
        state.settle(written);
        Some(state.settled - before)
    }

    /// The session leaves: how many of its messages have not come back, and whether it does so
    /// while the server is away.
    pub(super) fn leave(&self) -> (u64, bool) {
        let mut state = self.state();
        state.left = true;
        (state.open.len() as u64, state.away.take().is_some())
    }

    /// The session is over.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state();
        state.failure.get_or_insert(error);
        let wakers = [state.reader.take(), state.writer.take()];
        wakers.into_iter().for_each(wake);
    }

    /// The next message from somebody else.
    pub(super) fn poll_hear(&self, cx: &Context<'_>) -> Poll<Result<Message>> {
        let mut state = self.state();
        if let Some(message) = state.queue.pop_front() {
            state.queued -= message.payload().len();
            return Poll::Ready(Ok(message));
        }
        if let Some(error) = &state.failure {
            return Poll::Ready(Err(error.clone()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether there is room for another message under way.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        self.poll_until(cx, |state| state.open_bytes < UNDER_WAY)
    }

    /// Whether all of our messages are settled.
    pub(super) fn poll_settled(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        self.poll_until(cx, |state| state.open.is_empty())
    }

    /// Counts a message of ours as under way; returns its number, from 1.
    pub(super) fn send(&self, bytes: usize) -> u64 {
        let mut state = self.state();
        state.open.push_back(bytes);
        state.open_bytes += bytes;
        state.settled + state.open.len() as u64
    }

    /// Takes the latest message back: it could not be sent.
    pub(super) fn unsend(&self) {
        let mut state = self.state();
        state.open_bytes -= state.open.pop_back().unwrap_or_default();
    }

    /// How many of our messages are settled; none while the server is away.
    pub(super) fn progress(&self) -> Option<u64> {
        let state = self.state();
        state.away.is_none().then_some(state.settled)
    }

    /// Says what has not been said yet of messages that the reader does not get.
    pub(super) fn say_losses(&self, server: &str) {
        self.state().losses.say(server);
    }

    fn poll_until(&self, cx: &Context<'_>, done: impl Fn(&State) -> bool) -> Poll<Result<()>> {
        let mut state = self.state();
        if let Some(error) = &state.failure {
            return Poll::Ready(Err(error.clone()));
        }
        if done(&state) {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What came before a message on the same connection is settled with it.
    fn settle(&mut self, number: u64) {
        while self.settled < number
            && let Some(bytes) = self.open.pop_front()
        {
            self.settled += 1;
            self.open_bytes -= bytes;
        }
        wake(self.writer.take());
    }
}

/// Messages of others that the reader does not get, as far as it was not told.
#[derive(Default)]
struct Losses {
    dropped: u64,
    missed: u64,
    said: Option<Instant>,
}

impl Losses {
    fn say(&mut self, server: &str) {
        let (dropped, missed) = (mem::take(&mut self.dropped), mem::take(&mut self.missed));
        if dropped > 0 {
            let count = messages(dropped);
            report::warn(format_args!("{server}: {count} dropped, as they are read too slowly"));
        }
        if missed > 0 {
            let count = messages(missed);
            report::warn(format_args!("{server}: {count} of others did not reach us"));
        }
        if dropped + missed > 0 {
            self.said = Some(Instant::now());
        }
    }
}

/// `1 message`, `2 messages`.
pub(super) fn messages(count: u64) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
