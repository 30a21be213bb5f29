//! One connection: what it sends when it is told to, and what it makes of what comes back.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::now;
use super::frames::{self, Event, Opcode};
use super::lane::{Lane, Moment};
use super::tally::Metric;
use super::worker::Worker;
use crate::cli::bench::Workload;
use crate::duplex::{ByteStream, Close, Wire};
use crate::endpoint::Bare;
use crate::error::{Error, Kind};

/// A place for a connection, which may be open.
pub(super) struct Connection {
    /// Its number among those of all segments.
    pub(super) id: u32,
    /// Whether it publishes, and does not listen to what others do.
    pub(super) publishes: bool,
    open: RefCell<Option<Box<Open>>>,
}

struct Open {
    stream: ByteStream,
    /// What is counted of what has gone through on the wire.
    wire: Wire,
    /// What was written to the stream may be held in it.
    unflushed: bool,
    reader: Reader,
    lane: Lane,
    /// The task that reads, which also writes what does not go out at once.
    waker: Option<Waker>,
    /// When we have said goodbye.
    leaving: Option<u64>,
    shut: bool,
}

/// How what is read becomes messages.
pub(super) enum Reader {
    Frames(frames::Reader),
    /// Lines, and the beginning of the next.
    Lines(Vec<u8>),
    /// Answers as long as their messages, and the beginning of the next.
    Sized(Vec<u8>),
    /// Only how much it is matters.
    Count,
}

/// How a connection has ended.
#[derive(Debug)]
pub(super) enum End {
    /// In order, after our goodbye.
    Left,
    Closed(Close),
    /// The end of the stream, without a Close.
    Eof,
    Lost(io::Error),
    /// The server has broken a rule; what we close with.
    Broken {
        code: u16,
        what: String,
    },
}

impl Connection {
    pub(super) fn new(id: u32, publishes: bool) -> Self {
        Self { id, publishes, open: RefCell::default() }
    }

    /// Takes a connection that has just been made.
    pub(super) fn opened(&self, bare: Bare, worker: &Worker) -> Result<(), End> {
        let plan = &worker.plan;
        let lane = Lane::new(self.id, self.publishes);
        let (stream, reader, early) = match bare {
            Bare::WebSocket(stream, early) => {
                (stream, Reader::Frames(frames::Reader::new(plan.max_message)), early)
            }
            Bare::Bytes(stream) => {
                let reader = match plan.workload {
                    Workload::Echo if plan.lines => Reader::Lines(Vec::new()),
                    Workload::Echo => Reader::Sized(Vec::new()),
                    _ => Reader::Count,
                };
                (stream, reader, Vec::new())
            }
        };
        let mut open = Open {
            stream,
            wire: Wire::default(),
            unflushed: false,
            reader,
            lane,
            waker: None,
            leaving: None,
            shut: false,
        };
        open.read(&early, worker)?;
        *self.open.borrow_mut() = Some(Box::new(open));
        Ok(())
    }

    /// Makes a message, unless too many are under way. It goes out with the next [`Self::flush`].
    pub(super) fn send(&self, worker: &Worker, intended: u64, now: u64) -> bool {
        let mut open = self.open.borrow_mut();
        let Some(open) = open.as_mut().filter(|open| open.leaving.is_none()) else { return false };
        if open.lane.backlog() >= worker.plan.max_backlog {
            return false;
        }
        open.lane.send(&open.reader, worker, intended, now, 1);
        open.lane.settle(worker);
        true
    }

    /// Hands over to the system what it takes now.
    pub(super) fn flush(&self, worker: &Worker) {
        if let Some(open) = self.open.borrow_mut().as_mut() {
            open.flush(worker);
        }
    }

    /// Keeps so many messages under way, in a closed loop.
    pub(super) fn fill(&self, worker: &Worker, in_flight: usize) {
        if let Some(open) = self.open.borrow_mut().as_mut()
            && open.leaving.is_none()
        {
            open.lane.fill(&open.reader, worker, in_flight, now());
            open.lane.settle(worker);
            open.flush(worker);
        }
    }

    /// Sends a Ping, unless the last one has no answer yet.
    pub(super) fn ping(&self, worker: &Worker) {
        if let Some(open) = self.open.borrow_mut().as_mut()
            && matches!(open.reader, Reader::Frames(_))
            && open.leaving.is_none()
            && open.lane.pinged.is_none()
        {
            open.lane.pinged = Some(now());
            open.lane.control(Opcode::Ping, b"", worker);
            open.flush(worker);
        }
    }

    /// Says goodbye.
    pub(super) fn leave(&self, worker: &Worker) {
        if let Some(open) = self.open.borrow_mut().as_mut()
            && open.leaving.is_none()
        {
            open.leaving = Some(now());
            if let Reader::Frames(_) = open.reader {
                open.lane.control(Opcode::Close, &1000_u16.to_be_bytes(), worker);
            }
            open.flush(worker);
            open.wake();
        }
    }

    /// Waits for no answer any more; those that have not come are lost.
    pub(super) fn give_up(&self, worker: &Worker) {
        if let Some(open) = self.open.borrow_mut().as_mut() {
            open.lane.give_up(worker);
        }
    }

    /// Closes what is left, and forgets it.
    pub(super) fn discard(&self, worker: &Worker) {
        if let Some(mut open) = self.open.borrow_mut().take() {
            open.lane.abandon(worker);
        }
    }

    /// Reads and writes until the connection ends.
    pub(super) fn poll(&self, cx: &mut Context<'_>, worker: &Worker) -> Poll<End> {
        match self.open.borrow_mut().as_mut() {
            Some(open) => {
                let end = open.poll(cx, worker);
                open.count_wire(worker);
                end
            }
            None => Poll::Ready(End::Left),
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<End> {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            let mut scratch = worker.scratch.borrow_mut();
            let mut buf = ReadBuf::new(&mut scratch);
            let read = match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => buf.filled(),
                Poll::Ready(Err(error)) => {
                    let end = self.ended(worker, Some(error));
                    let _ = self.poll_flush(cx, worker);
                    return Poll::Ready(end);
                }
                Poll::Pending => break,
            };
            if read.is_empty() {
                return Poll::Ready(self.ended(worker, None));
            }
            if let Err(end) = self.read(read, worker) {
                let _ = self.poll_flush(cx, worker);
                return Poll::Ready(end);
            }
        }
        match self.poll_flush(cx, worker) {
            Poll::Ready(Err(error)) => Poll::Ready(self.ended(worker, Some(error))),
            _ => Poll::Pending,
        }
    }

    /// What the end of a stream means.
    fn ended(&mut self, worker: &Worker, error: Option<io::Error>) -> End {
        if let Some(since) = self.leaving {
            worker.tally.borrow_mut().time(Metric::Close, now() - since);
            return End::Left;
        }
        let Some(error) = error else { return End::Eof };
        // What cannot be inflated is found out below.
        match error.get_ref().and_then(|it| it.downcast_ref::<Error>()) {
            Some(broken) if let Kind::Protocol(code) = broken.kind() => {
                self.lane.control(Opcode::Close, &code.to_be_bytes(), worker);
                End::Broken { code, what: broken.to_string() }
            }
            _ => End::Lost(error),
        }
    }

    /// Takes what has come.
    fn read(&mut self, data: &[u8], worker: &Worker) -> Result<(), End> {
        let mut moment = Moment::new(worker);
        let now = moment.now;
        let Self { reader, lane, .. } = self;
        match reader {
            Reader::Frames(frames) => {
                let fed = frames.feed(data, |event| match event {
                    Event::Message { payload, .. } => lane.message(&mut moment, payload),
                    Event::Ping(payload) => lane.control(Opcode::Pong, payload, worker),
                    Event::Pong(_) => {
                        if let Some(since) = lane.pinged.take() {
                            moment.tally.time(Metric::Ping, now - since);
                        }
                    }
                    Event::Close(close) => lane.close = Some(close),
                });
                if let Err(violation) = fed {
                    drop(moment);
                    lane.control(Opcode::Close, &violation.code.to_be_bytes(), worker);
                    self.flush(worker);
                    let what = violation.to_string();
                    return Err(End::Broken { code: violation.code, what });
                }
            }
            Reader::Lines(tail) => {
                let mut rest = data;
                while let Some(at) = memchr(b'\n', rest) {
                    if tail.is_empty() {
                        lane.message(&mut moment, &rest[..at]);
                    } else {
                        tail.extend_from_slice(&rest[..at]);
                        lane.message(&mut moment, &std::mem::take(tail));
                    }
                    rest = &rest[at + 1..];
                }
                tail.extend_from_slice(rest);
            }
            Reader::Sized(tail) => {
                let mut rest = data;
                while let Some(len) = lane.lengths.front().copied() {
                    let missing = len - tail.len();
                    let Some((end, more)) = rest.split_at_checked(missing) else { break };
                    rest = more;
                    lane.lengths.pop_front();
                    if tail.is_empty() {
                        lane.message(&mut moment, end);
                    } else {
                        tail.extend_from_slice(end);
                        lane.message(&mut moment, &std::mem::take(tail));
                    }
                }
                match lane.lengths.is_empty() {
                    // Nothing was asked for.
                    true if !rest.is_empty() => moment.tally.counts.corrupt += 1,
                    _ => tail.extend_from_slice(rest),
                }
            }
            Reader::Count => moment.received(data.len()),
        }
        drop(moment);
        if let Some(close) = self.lane.close.take() {
            if let Some(since) = self.leaving {
                worker.tally.borrow_mut().time(Metric::Close, now - since);
                return Err(End::Left);
            }
            let code = if close.code == Close::NO_CODE { 1000 } else { close.code };
            self.lane.control(Opcode::Close, &code.to_be_bytes(), worker);
            self.flush(worker);
            return Err(End::Closed(close));
        }
        if let Some(in_flight) = worker.in_flight_wanted() {
            self.lane.fill(&self.reader, worker, in_flight, now);
        }
        self.lane.settle(worker);
        Ok(())
    }

    /// Writes what the system takes at once, and leaves the rest to the task.
    fn flush(&mut self, worker: &Worker) {
        let mut blocked = false;
        while !self.lane.outbox.bytes().is_empty() && !blocked {
            let bytes = self.lane.outbox.bytes();
            let written = match &self.stream {
                ByteStream::Tcp(stream) => stream.try_write(bytes),
                ByteStream::Unix(stream) => stream.try_write(bytes),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
            match written {
                Ok(written) => self.lane.written(worker, written),
                // A failure shows when the task writes.
                Err(_) => blocked = true,
            }
        }
        if blocked {
            self.wake();
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<io::Result<()>> {
        loop {
            while !self.lane.outbox.bytes().is_empty() {
                let bytes = self.lane.outbox.bytes();
                match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => {
                        self.lane.written(worker, written);
                        self.unflushed = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            // Bulk has no answers that ask for more.
            match worker.in_flight_wanted() {
                Some(in_flight) if worker.plan.workload == Workload::Bulk => {
                    self.lane.fill(&self.reader, worker, in_flight, now());
                }
                _ => {}
            }
            if self.lane.outbox.bytes().is_empty() {
                break;
            }
        }
        if self.unflushed && matches!(self.stream, ByteStream::Other(_)) {
            self.unflushed = Pin::new(&mut self.stream).poll_flush(cx)?.is_pending();
        }
        if self.leaving.is_some() && !self.shut && !matches!(self.reader, Reader::Frames(_)) {
            self.shut = Pin::new(&mut self.stream).poll_shutdown(cx)?.is_ready();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes down what has gone through on the wire, where messages are compressed.
    fn count_wire(&mut self, worker: &Worker) {
        let ByteStream::Other(stream) = &self.stream else { return };
        let Some(wire) = stream.wire() else { return };
        let before = std::mem::replace(&mut self.wire, wire);
        if worker.measures().contains(&now()) {
            let mut tally = worker.tally.borrow_mut();
            tally.compression.wire_sent += wire.written - before.written;
            tally.compression.wire_received += wire.read - before.read;
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
