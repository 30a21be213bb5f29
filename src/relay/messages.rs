//! Messages to messages. How streams end is most of it, and one table of events decides all of it,
//! so that it stays one file.

use std::future::{pending, poll_fn};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{ANSWER, Count, Counts, Ended, Lookout, Options};
use crate::duplex::{Body, Close, MessageStream};
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::report;
use crate::resting::Resting;

/// After our Close, how long the peer may go on with what it had sent before it read that.
const BACKLOG: Duration = Duration::from_secs(10);

/// How many messages one direction moves at the most before the other has its turn.
const LONGEST_TURN: u32 = 64;

/// How many turns a join takes before other connections have theirs.
const TURNS: u32 = 64;

pub(super) async fn relay(
    near: &mut MessageStream,
    far: &mut MessageStream,
    options: &Options,
) -> (Counts, Result<Ended>) {
    let mut join = Join {
        near: End::new(near),
        far: End::new(far),
        up: Lane::new(Side::Near, options),
        down: Lane::new(Side::Far, options),
        turn: 1,
        waiting: Waiting::Open,
        patience: options.idle,
        since: Instant::now(),
        latest: None,
        lookout: Lookout::default(),
    };
    let outcome = join.run(options).await;
    let near = async {
        match options.keep_near {
            true => options.in_flush_time(None, join.near.stream.flush()).await,
            false => join.near.goodbye(options).await,
        }
    };
    // Boxed, so that the join is not the larger by its end for as long as it lasts.
    let (near, far) = Box::pin(async { tokio::join!(near, join.far.goodbye(options)) }).await;
    // A child may fail after its output has ended, a file when its last bytes are written.
    let outcome = outcome.and_then(|ended| near.and(far).map(|()| ended));
    (Counts { received: join.up.moved, sent: join.down.moved }, outcome)
}

/// The state of a join.
struct Join<'a> {
    near: End<'a>,
    far: End<'a>,
    /// Near to far.
    up: Lane,
    /// Far to near.
    down: Lane,
    /// How many messages a turn has.
    turn: u32,
    waiting: Waiting,
    /// How long may pass without a message, and since when none has.
    patience: Option<Duration>,
    since: Instant,
    /// When the join is over although messages still come.
    latest: Option<Instant>,
    lookout: Lookout,
}

/// One end of a join, and how it is left.
struct End<'a> {
    stream: &'a mut MessageStream,
    bye: Bye,
}

impl<'a> End<'a> {
    fn new(stream: &'a mut MessageStream) -> Self {
        Self { stream, bye: Bye::Finish }
    }
}

/// How an end is left.
enum Bye {
    /// Its own way: what had to be said was said.
    Finish,
    /// Its direction ends first.
    Close,
    /// It has to see that the other end failed.
    Abort(Error),
}

/// One direction.
struct Lane {
    /// Where it comes from.
    side: Side,
    /// Who the near end is in the log, if the messages of this direction are logged.
    label: Option<Arc<str>>,
    moved: Count,
    /// Something was written since the last flush.
    dirty: bool,
    /// The source has ended, and the sink is being told.
    ending: bool,
    /// Nothing more is moved.
    done: bool,
    /// The sink has to take something before the source is heard again.
    stalled: bool,
    /// The turn ended before the source had nothing to say.
    more: bool,
}

/// What the join waits for.
enum Waiting {
    /// Both directions.
    Open,
    /// The near end has ended; the far end may still answer (`--linger`).
    Lingering,
    /// A Close was sent, and its answer is to come.
    Closing,
    /// An end could not be written to, and may have said why.
    Broken(Error),
}

enum Event {
    /// A side's direction has ended and that was passed on.
    Ended(Side),
    /// A side's direction has ended, and the other side cannot be told that alone.
    Stuck(Side),
    /// A side said Close.
    Closed(Side, Close),
    /// Reading from a side failed.
    ReadFailed(Side, Error),
    /// Writing to a side failed.
    WriteFailed(Side, Error),
    /// No message for as long as was allowed.
    Quiet,
    /// The run is to end.
    Stopped,
}

impl Join<'_> {
    async fn run(&mut self, options: &Options) -> Result<Ended> {
        let mut stopped = Resting::new(options.stop.cancelled());
        loop {
            let deadline = self.deadline();
            let quiet = async {
                match deadline {
                    Some(deadline) => Box::pin(sleep_until(deadline)).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                event = poll_fn(|cx| self.poll(cx)) => event,
                () = &mut stopped => Event::Stopped,
                () = quiet => Event::Quiet,
            };
            // A message that came meanwhile has moved the deadline.
            if matches!(event, Event::Quiet) && self.deadline() != deadline {
                continue;
            }
            if let Break(outcome) = self.handle(event, options) {
                return outcome;
            }
        }
    }

    /// Acts on an event; breaks with the outcome if that was the last one.
    fn handle(&mut self, event: Event, options: &Options) -> ControlFlow<Result<Ended>> {
        match event {
            Event::Ended(_) | Event::Stuck(_) | Event::Quiet | Event::ReadFailed(..)
                if let Waiting::Broken(error) = &self.waiting =>
            {
                let error = error.clone();
                Break(Err(self.abort(error)))
            }
            // The answer to our own Close, or none in time.
            Event::Closed(..) | Event::Quiet if matches!(self.waiting, Waiting::Closing) => {
                Break(Ok(Ended::default()))
            }
            Event::Quiet if matches!(self.waiting, Waiting::Lingering) => {
                self.close(Side::Far);
                Continue(())
            }
            Event::Quiet => {
                let patience = self.patience.unwrap_or_default();
                let what = format!("nothing was said for {patience:?} (--idle-timeout)");
                Break(Err(self.abort(Error::new(Kind::Timeout, what))))
            }
            Event::Ended(side) if self.is_over(side.other()) => Break(Ok(Ended::default())),
            Event::Ended(_) => Continue(()),
            Event::Stuck(side) if self.is_over(side.other()) => {
                self.close(side.other());
                Break(Ok(Ended::default()))
            }
            Event::Stuck(Side::Near) => {
                // An answer may still come, unless it has been quiet for too long anyway.
                let idle = options.idle.unwrap_or(Duration::MAX);
                self.wait(Waiting::Lingering, Some(options.linger.min(idle)));
                Continue(())
            }
            Event::Stuck(Side::Far) => {
                // The end that was asked has finished: there is no answer to wait for.
                self.close(Side::Near);
                Continue(())
            }
            // A Close that was written as an envelope: its author still hears what comes back, unless
            // nobody listens there any more (a hub has shown the peer the door).
            Event::Closed(side, close)
                if self.end(side).stream.half_closes() && !self.lane(side.other()).done =>
            {
                self.send_close(side.other(), close);
                Continue(())
            }
            Event::Closed(side, close) => {
                let other = self.end(side.other());
                let _ = other.stream.start_send_unpin(Body::Close(close.clone()).into());
                if other.stream.half_closes() {
                    let why = || Error::new(Kind::Closed(close.code), close.reason.as_str());
                    other.bye = if close.is_clean() { Bye::Close } else { Bye::Abort(why()) };
                }
                Break(Ok(Ended { close: Some(close), by: Some(side) }))
            }
            Event::ReadFailed(side, error) => {
                self.end(side.other()).bye = Bye::Abort(error.clone());
                Break(Err(error))
            }
            Event::WriteFailed(side, error) if error.kind() == Kind::ClosedOutput => {
                self.close(side.other());
                Break(Err(error))
            }
            Event::WriteFailed(side, error) if self.lane(side).done => {
                self.end(side.other()).bye = Bye::Abort(error.clone());
                Break(Err(error))
            }
            Event::WriteFailed(_, error) => {
                // It may have said a Close before it went, which tells more than a broken pipe.
                self.wait(Waiting::Broken(error), Some(ANSWER));
                Continue(())
            }
            Event::Stopped => Break(Err(self.abort(Error::new(Kind::Terminated, "going away")))),
        }
    }

    /// Moves what can be moved, until something happens that is not a message.
    ///
    /// The directions take turns of one message while both have something to say: a peer that asks
    /// twice and closes at once gets the answers that were there before its Close was read, after
    /// which nothing may be sent. A direction that has the word alone keeps it for longer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let before = self.moved();
        let mut event = self.take_turns(cx);
        if event.is_pending() {
            event = self.poll_unread(cx);
        }
        if self.patience.is_some() && self.moved() != before {
            self.since = Instant::now();
        }
        event
    }

    fn take_turns(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let (near, far) = (&mut *self.near.stream, &mut *self.far.stream);
        for _ in 0..TURNS {
            let moved = (self.down.moved.messages, self.up.moved.messages);
            let event = self.up.poll(cx, near, far, self.turn);
            if event.is_ready() {
                return event;
            }
            let event = self.down.poll(cx, far, near, self.turn);
            if event.is_ready() {
                return event;
            }
            if !self.down.more && !self.up.more {
                return Poll::Pending;
            }
            let both = self.down.moved.messages > moved.0 && self.up.moved.messages > moved.1;
            self.turn = if both { 1 } else { (2 * self.turn).min(LONGEST_TURN) };
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notices the failure of an end while nobody reads from it; see the relay of bytes.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !matches!(self.waiting, Waiting::Open | Waiting::Lingering) {
            return Poll::Pending;
        }
        let unread = [(Side::Near, self.up.is_unread()), (Side::Far, self.down.is_unread())];
        let unread = unread.into_iter().filter_map(|(side, unread)| unread.then_some(side));
        while unread.clone().next().is_some() && self.lookout.poll(cx).is_ready() {
            for side in unread.clone() {
                if let Err(error) = self.end(side).stream.check(cx) {
                    return Poll::Ready(Event::WriteFailed(side, error));
                }
            }
        }
        Poll::Pending
    }

    fn wait(&mut self, waiting: Waiting, patience: Option<Duration>) {
        (self.waiting, self.patience, self.since) = (waiting, patience, Instant::now());
    }

    /// None also where it is further away than a clock can say (`inf`).
    fn deadline(&self) -> Option<Instant> {
        let quiet = self.since.checked_add(self.patience?)?;
        Some(self.latest.map_or(quiet, |latest| quiet.min(latest)))
    }

    fn close(&mut self, side: Side) {
        self.send_close(side, Close::new(1000, ""));
    }

    /// Sends a Close and waits for its answer, before which other messages may still come.
    fn send_close(&mut self, side: Side, close: Close) {
        let _ = self.end(side).stream.start_send_unpin(Body::Close(close).into());
        self.lane(side.other()).dirty = true;
        self.wait(Waiting::Closing, Some(Close::PATIENCE));
        self.latest.get_or_insert_with(|| Instant::now() + BACKLOG);
    }

    /// Leaves both ends with an error.
    fn abort(&mut self, why: Error) -> Error {
        self.near.bye = Bye::Abort(why.clone());
        self.far.bye = Bye::Abort(why.clone());
        why
    }

    fn moved(&self) -> u64 {
        self.up.moved.messages + self.down.moved.messages
    }

    /// Whether nothing is to be expected from a side.
    fn is_over(&mut self, side: Side) -> bool {
        self.lane(side).done || self.end(side).stream.endless()
    }

    /// The direction that a side is the source of.
    fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Near => &mut self.up,
            Side::Far => &mut self.down,
        }
    }
}

impl<'a> Join<'a> {
    fn end(&mut self, side: Side) -> &mut End<'a> {
        match side {
            Side::Near => &mut self.near,
            Side::Far => &mut self.far,
        }
    }
}

impl End<'_> {
    /// Writes out what is queued and says goodbye. A peer that does not read it is left.
    ///
    /// # Errors
    /// Output that could not be written, a child that failed. That a peer has gone by now is none.
    async fn goodbye(&mut self, options: &Options) -> Result<()> {
        let flushed = match &self.bye {
            Bye::Finish => options.in_flush_time(None, self.stream.flush()).await,
            Bye::Close => options.in_flush_time(None, self.stream.close()).await,
            Bye::Abort(why) => options.in_flush_time(Some(why), self.stream.flush()).await,
        };
        if let Bye::Abort(why) = &self.bye {
            self.stream.abort(why);
        }
        let finished = poll_fn(|cx| self.stream.poll_finish(cx)).await;
        match flushed.and(finished) {
            Err(error) if !matches!(error.kind(), Kind::Local | Kind::ClosedOutput) => Ok(()),
            outcome => outcome,
        }
    }
}

impl Lane {
    fn new(side: Side, options: &Options) -> Self {
        // -v tells what comes from peers, -vv what goes to them too.
        let logged = side == Side::Near || report::logs_messages();
        let label = options.label.clone().filter(|_| logged);
        let (moved, dirty, ending, done, stalled, more) = Default::default();
        Self { side, label, moved, dirty, ending, done, stalled, more }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut MessageStream,
        to: &mut MessageStream,
        turn: u32,
    ) -> Poll<Event> {
        let side = self.side;
        (self.more, self.stalled) = (false, false);
        match ready!(self.drive(cx, from, to, turn)) {
            Ok(Stop::Ended) => Poll::Ready(Event::Ended(side)),
            Ok(Stop::Stuck) => Poll::Ready(Event::Stuck(side)),
            Ok(Stop::Closed(close)) => Poll::Ready(Event::Closed(side, close)),
            Ok(Stop::Failed(error)) => Poll::Ready(Event::ReadFailed(side, error)),
            Err(error) => {
                (self.ending, self.done, self.dirty) = (false, true, false);
                Poll::Ready(Event::WriteFailed(side.other(), error))
            }
        }
    }

    /// Whether the source has ended, or waits until the sink takes what it has said.
    fn is_unread(&self) -> bool {
        self.stalled || self.ending || self.done
    }

    /// Moves messages until the source stops, or writing fails.
    fn drive(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut MessageStream,
        to: &mut MessageStream,
        turn: u32,
    ) -> Poll<Result<Stop>> {
        for _ in 0..turn {
            if self.ending {
                let half_closes = to.half_closes();
                match half_closes {
                    true => ready!(to.poll_close_unpin(cx))?,
                    false => ready!(to.poll_flush_unpin(cx))?,
                }
                (self.ending, self.dirty, self.done) = (false, false, true);
                return Poll::Ready(Ok(if half_closes { Stop::Ended } else { Stop::Stuck }));
            }
            if self.done {
                return self.poll_flush(cx, to);
            }
            if to.poll_ready_unpin(cx)?.is_pending() {
                self.stalled = true;
                return Poll::Pending;
            }
            let message = match from.poll_next_unpin(cx) {
                Poll::Pending => return self.poll_flush(cx, to),
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => {
                    self.done = true;
                    return Poll::Ready(Ok(Stop::Failed(error)));
                }
                Poll::Ready(None) => {
                    self.ending = true;
                    continue;
                }
            };
            if let Body::Close(close) = message.body {
                self.done = true;
                return Poll::Ready(Ok(Stop::Closed(close)));
            }
            if let Some(label) = &self.label {
                report::message(label, self.side, &message);
            }
            if message.is_data() {
                self.moved.messages += 1;
                self.moved.bytes += message.payload().len() as u64;
            } else if from.answers_pings() && to.answers_pings() {
                // A Ping is the business of one connection, and has been answered there.
                continue;
            }
            to.start_send_unpin(message)?;
            self.dirty = true;
        }
        self.more = true;
        Poll::Pending
    }

    /// Writes out what was written since the last time, once the source has nothing more to say.
    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut MessageStream) -> Poll<Result<Stop>> {
        if self.dirty {
            ready!(to.poll_flush_unpin(cx))?;
            self.dirty = false;
        }
        Poll::Pending
    }
}

/// Why a direction does not go on.
enum Stop {
    Ended,
    Stuck,
    Closed(Close),
    Failed(Error),
}
