//! Bytes to bytes: a half-close is passed on, the join ends when both directions have.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until};

#[cfg(target_os = "linux")]
use super::splice::{Pipe, Socket};
use super::{ANSWER, Count, Counts, Ended, Lookout, Options};
use crate::duplex::{ByteStream, Close};
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::resting::Resting;

/// What one read takes. Larger gains nothing; at 8 KiB the copy costs 1.7 times the CPU.
const CHUNK: usize = 64 << 10;

/// How many chunks one direction moves before the other has its turn.
const TURN: u32 = 16;

thread_local! {
    /// What was read goes out again before anything else is polled, so one buffer serves all the
    /// connections of a thread, and a quiet connection holds none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

pub(super) async fn relay(
    near: &mut ByteStream,
    far: &mut ByteStream,
    options: &Options,
) -> (Counts, Result<Ended>) {
    // Nobody can be told 1001 over plain sockets, so they go on until the time to drain is over.
    let stop = match (&near, &far) {
        (ByteStream::Other(_), _) | (_, ByteStream::Other(_)) => &options.stop,
        _ => &options.kill,
    };
    let mut join = Join {
        near,
        far,
        up: Lane::default(),
        down: Lane::default(),
        patience: options.idle,
        since: Instant::now(),
        broken: None,
        left: None,
        keep_near: options.keep_near,
        lookout: Lookout::default(),
    };
    let stopped = Resting::new(stop.cancelled());
    let outcome = tokio::select! {
        biased;
        outcome = join.run() => outcome,
        () = stopped => Err(join.abort(Error::new(Kind::Terminated, "going away"))),
    };
    // What an end said before it failed may still be on its way through a thread (stdout, a file).
    let (near, far) = (&mut *join.near, &mut *join.far);
    let failed = outcome.as_ref().err();
    let near = async {
        let flush = async { near.flush().await.map_err(Error::lost) };
        let _ = options.in_flush_time(failed, flush).await;
        if !options.keep_near {
            let _ = poll_fn(|cx| near.poll_finish(cx)).await;
        }
    };
    let far = async {
        let flush = async { far.flush().await.map_err(Error::lost) };
        let _ = options.in_flush_time(failed, flush).await;
        poll_fn(|cx| far.poll_finish(cx)).await
    };
    // Boxed, so that the join is not the larger by its end for as long as it lasts.
    let (_, far) = Box::pin(async { tokio::join!(near, far) }).await;
    // A child that was joined may fail after its output has ended.
    let outcome = outcome.and_then(|ended| far.map(|()| ended));
    (counts(&join.up, &join.down), outcome)
}

fn counts(up: &Lane, down: &Lane) -> Counts {
    let count = |lane: &Lane| Count { bytes: lane.moved, messages: 0 };
    Counts { received: count(up), sent: count(down) }
}

struct Join<'a> {
    near: &'a mut ByteStream,
    far: &'a mut ByteStream,
    /// Near to far.
    up: Lane,
    /// Far to near.
    down: Lane,
    /// How long may pass without a byte, and since when none has.
    patience: Option<Duration>,
    since: Instant,
    /// Why an end could not be written to.
    broken: Option<Error>,
    /// The Close of a peer that has left although the other direction goes on.
    left: Option<Ended>,
    keep_near: bool,
    lookout: Lookout,
}

enum Event {
    /// A side's direction has ended and that was passed on.
    Ended(Side),
    ReadFailed(Side, Error),
    WriteFailed(Side, Error),
    /// A side has left altogether, after its direction had ended.
    Left(Side, Result<Close>),
    /// No byte for as long as was allowed.
    Quiet,
}

impl Join<'_> {
    async fn run(&mut self) -> Result<Ended> {
        loop {
            let deadline = self.deadline();
            let quiet = async {
                match deadline {
                    Some(deadline) => Box::pin(sleep_until(deadline)).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                event = poll_fn(|cx| self.poll(cx)) => event,
                () = quiet => Event::Quiet,
            };
            if matches!(event, Event::Quiet) && self.deadline() != deadline {
                continue;
            }
            if let Break(outcome) = self.handle(event) {
                return outcome;
            }
        }
    }

    /// Acts on an event; breaks with the outcome if that was the last one.
    fn handle(&mut self, event: Event) -> ControlFlow<Result<Ended>> {
        match (event, self.broken.take()) {
            (Event::WriteFailed(_, error), _) if error.kind() == Kind::ClosedOutput => {
                Break(Err(error))
            }
            (_, Some(error)) => Break(Err(self.abort(error))),
            (Event::Ended(side), None) => match self.is_over(side.other()) {
                true => Break(Ok(self.ended())),
                false => Continue(()),
            },
            (Event::ReadFailed(side, error), None) => {
                self.tell(side.other(), &error);
                Break(Err(error))
            }
            (Event::WriteFailed(side, error), None) if self.lane(side).done => {
                self.tell(side.other(), &error);
                Break(Err(error))
            }
            (Event::Left(side, Ok(close)), None) if close.is_clean() => {
                // A socket that is closed while its peer still talks loses what is on its way
                // there, so the peer's end is waited for. Nobody hears what it says.
                let waits = self.end(side.other()).socket().is_some();
                self.left = Some(Ended { close: Some(close), by: Some(side) });
                (self.patience, self.since) = (Some(ANSWER), Instant::now());
                if waits { Continue(()) } else { Break(Ok(self.ended())) }
            }
            (Event::Left(side, left), None) => {
                let error = left.map_or_else(|error| error, |close| Error::closed(&close));
                self.tell(side.other(), &error);
                Break(Err(error))
            }
            (Event::WriteFailed(_, error), None) => {
                // What the end said before it went is still to be delivered, and may tell why.
                self.broken = Some(error);
                (self.patience, self.since) = (Some(ANSWER), Instant::now());
                Continue(())
            }
            (Event::Quiet, None) if self.left.is_some() => Break(Ok(self.ended())),
            (Event::Quiet, None) => {
                let patience = self.patience.unwrap_or_default();
                let what = format!("nothing was said for {patience:?} (--idle-timeout)");
                Break(Err(self.abort(Error::new(Kind::Timeout, what))))
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let before = self.moved();
        let mut event = self.poll_deaf(cx);
        if event.is_pending() {
            event = self.down.poll(cx, self.far, self.near, Side::Far);
        }
        if event.is_pending() {
            event = self.up.poll(cx, self.near, self.far, Side::Near);
        }
        // An end may turn out to be endless only now, after the other one has ended.
        if event.is_pending() {
            for side in [Side::Near, Side::Far] {
                if self.lane(side.other()).done && self.end(side).endless() {
                    event = Poll::Ready(Event::Ended(side.other()));
                }
            }
        }
        for side in [Side::Near, Side::Far] {
            if event.is_pending() && self.left.is_none() && self.lane(side).done {
                event = self.end(side).poll_left(cx).map(|left| Event::Left(side, left));
            }
        }
        if event.is_pending() {
            event = self.poll_unread(cx);
        }
        if self.patience.is_some() && self.left.is_none() && self.moved() != before {
            self.since = Instant::now();
        }
        event
    }

    /// Notices an end that hears nothing any more, also while there is nothing to write to it.
    fn poll_deaf(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for side in [Side::Near, Side::Far] {
            if let Poll::Ready(error) = self.end(side).poll_deaf(cx) {
                return Poll::Ready(Event::WriteFailed(side, error));
            }
        }
        Poll::Pending
    }

    /// Notices the failure of an end while nobody reads from it. What it has said before is still
    /// delivered, if the other end takes it soon, as after a write to it that failed.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.broken.is_some() || self.left.is_some() {
            return Poll::Pending;
        }
        let unread = [(Side::Near, self.up.is_unread()), (Side::Far, self.down.is_unread())];
        let unread = unread.into_iter().filter_map(|(side, unread)| unread.then_some(side));
        while unread.clone().next().is_some() && self.lookout.poll(cx).is_ready() {
            for side in unread.clone() {
                if let Err(error) = self.end(side).check(cx) {
                    return Poll::Ready(Event::WriteFailed(side, error));
                }
            }
        }
        Poll::Pending
    }

    /// None also where it is further away than a clock can say (`inf`).
    fn deadline(&self) -> Option<Instant> {
        self.since.checked_add(self.patience?)
    }

    fn abort(&mut self, why: Error) -> Error {
        self.tell(Side::Near, &why);
        self.tell(Side::Far, &why);
        why
    }

    /// Lets a side see that the join has failed.
    fn tell(&mut self, side: Side, why: &Error) {
        if side == Side::Far || !self.keep_near {
            self.end(side).abort(why);
        }
    }

    fn ended(&mut self) -> Ended {
        self.left.take().unwrap_or_default()
    }

    fn moved(&self) -> u64 {
        self.up.moved + self.down.moved
    }

    /// Whether nothing is to be expected from a side.
    fn is_over(&mut self, side: Side) -> bool {
        self.lane(side).done || self.end(side).endless()
    }

    /// The direction that a side is the source of.
    fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Near => &mut self.up,
            Side::Far => &mut self.down,
        }
    }

    fn end(&mut self, side: Side) -> &mut ByteStream {
        match side {
            Side::Near => self.near,
            Side::Far => self.far,
        }
    }
}

/// One direction.
#[derive(Default)]
struct Lane {
    moved: u64,
    /// What could not be written yet.
    rest: Bytes,
    /// Something was written since the last flush.
    dirty: bool,
    eof: bool,
    done: bool,
    #[cfg(target_os = "linux")]
    pipe: Splicing,
}

#[cfg(target_os = "linux")]
#[derive(Default)]
enum Splicing {
    /// Not worth four descriptors yet.
    #[default]
    Later,
    On(Pipe),
    /// The kernel cannot, or the pipes of this user are used up.
    Never,
}

/// Which of the two ends of a direction failed.
enum Failure {
    Read(Error),
    Write(Error),
}

impl Lane {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ByteStream,
        to: &mut ByteStream,
        side: Side,
    ) -> Poll<Event> {
        if self.done {
            return Poll::Pending;
        }
        let outcome = ready!(self.drive(cx, from, to));
        self.done = true;
        Poll::Ready(match outcome {
            Ok(()) => Event::Ended(side),
            Err(Failure::Read(error)) => Event::ReadFailed(side, error),
            Err(Failure::Write(error)) => Event::WriteFailed(side.other(), error),
        })
    }

    /// Whether the source has ended, or waits until the sink takes what it has said.
    fn is_unread(&self) -> bool {
        #[cfg(target_os = "linux")]
        if let Splicing::On(pipe) = &self.pipe
            && !pipe.is_empty()
        {
            return true;
        }
        self.eof || !self.rest.is_empty()
    }

    fn drive(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ByteStream,
        to: &mut ByteStream,
    ) -> Poll<Result<(), Failure>> {
        for _ in 0..TURN {
            while !self.rest.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest));
                match written.map_err(write_failed)? {
                    0 => return Poll::Ready(Err(write_failed(io::ErrorKind::WriteZero.into()))),
                    n => self.rest.advance(n),
                }
            }
            if self.eof {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(write_failed)?;
                return Poll::Ready(Ok(()));
            }
            #[cfg(target_os = "linux")]
            if let (Some(from), Some(to)) = (Socket::of(from), Socket::of(to))
                && self.splices()
            {
                ready!(self.poll_splice(cx, from, to))?;
                continue;
            }
            ready!(SCRATCH.with_borrow_mut(|scratch| self.poll_copy(cx, from, to, scratch)))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what can be written at once; the rest is kept.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ByteStream,
        to: &mut ByteStream,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Failure>> {
        let mut buf = ReadBuf::new(scratch);
        match Pin::new(from).poll_read(cx, &mut buf) {
            Poll::Ready(read) => read.map_err(|error| Failure::Read(Error::lost(error)))?,
            Poll::Pending => {
                if self.dirty {
                    ready!(Pin::new(to).poll_flush(cx)).map_err(write_failed)?;
                    self.dirty = false;
                }
                return Poll::Pending;
            }
        }
        let read = buf.filled();
        if read.is_empty() {
            self.eof = true;
            return Poll::Ready(Ok(()));
        }
        self.moved += read.len() as u64;
        self.dirty = true;
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(written) => written.map_err(write_failed)?,
            Poll::Pending => 0,
        };
        self.rest = Bytes::copy_from_slice(&read[written..]);
        Poll::Ready(Ok(()))
    }

    /// Whether this direction goes through a kernel pipe. The pipe is opened once the direction
    /// has shown that it is bulk.
    #[cfg(target_os = "linux")]
    fn splices(&mut self) -> bool {
        if let Splicing::Later = self.pipe
            && self.moved >= CHUNK as u64
        {
            self.pipe = Pipe::open().map_or(Splicing::Never, Splicing::On);
        }
        matches!(self.pipe, Splicing::On(_))
    }

    #[cfg(target_os = "linux")]
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: Socket<'_>,
        to: Socket<'_>,
    ) -> Poll<Result<(), Failure>> {
        let Splicing::On(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        if pipe.is_empty() {
            match ready!(pipe.poll_fill(cx, from)) {
                Ok(0) => self.eof = true,
                Ok(n) => self.moved += n as u64,
                // These sockets cannot be spliced; nothing was read.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.pipe = Splicing::Never;
                }
                Err(error) => return Poll::Ready(Err(Failure::Read(Error::lost(error)))),
            }
            return Poll::Ready(Ok(()));
        }
        match ready!(pipe.poll_drain(cx, to)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.rest = pipe.take().map_err(write_failed)?;
                self.pipe = Splicing::Never;
            }
            Err(error) => return Poll::Ready(Err(write_failed(error))),
        }
        Poll::Ready(Ok(()))
    }
}

fn write_failed(error: io::Error) -> Failure {
    Failure::Write(Error::lost(error))
}
