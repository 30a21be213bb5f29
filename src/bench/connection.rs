//! One connection: what it sends when it is told to, and what it makes of what comes back.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::now;
use super::frames::{self, Event, Opcode, Violation};
use super::matching::{Finder, Novelty, Seen, published};
use super::outbox::Outbox;
use super::payload::Place;
use super::pending::{Answer, Pending};
use super::stamp::Stamp;
use super::tally::Metric;
use super::worker::Worker;
use crate::cli::bench::Workload;
use crate::duplex::{ByteStream, Close};
use crate::endpoint::Bare;

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
    reader: Reader,
    lane: Lane,
    /// The task that reads, which also writes what does not go out at once.
    waker: Option<Waker>,
    /// When we have said goodbye.
    leaving: Option<u64>,
    shut: bool,
}

/// How what is read becomes messages.
enum Reader {
    Frames(frames::Reader),
    /// Lines, and the beginning of the next.
    Lines(Vec<u8>),
    /// Answers as long as their messages, and the beginning of the next.
    Sized(Vec<u8>),
    /// Only how much it is matters.
    Count,
}

/// What a connection has under way.
#[derive(Default)]
struct Lane {
    id: u32,
    publishes: bool,
    outbox: Outbox,
    pending: Pending,
    /// How many of them the thread knows to wait.
    known: usize,
    finder: Finder,
    /// The lengths of the messages whose answers are as long, in bytes.
    lengths: VecDeque<usize>,
    /// What has come from each publisher.
    seen: HashMap<u32, Seen>,
    published_at: usize,
    pinged: Option<u64>,
    /// What the server has closed with.
    close: Option<Close>,
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
    Broken(Violation),
}

/// How much bulk goes out in one message, in bytes.
const BULK: usize = 64 << 10;

impl Connection {
    pub(super) fn new(id: u32, publishes: bool) -> Self {
        Self { id, publishes, open: RefCell::default() }
    }

    /// Takes a connection that has just been made.
    pub(super) fn opened(&self, bare: Bare, worker: &Worker) -> Result<(), End> {
        let plan = &worker.plan;
        let lane = Lane { id: self.id, publishes: self.publishes, ..Lane::default() };
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
        let mut open = Open { stream, reader, lane, waker: None, leaving: None, shut: false };
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
        open.lane.send(&open.reader, worker, intended, now);
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
            Some(open) => open.poll(cx, worker),
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
                Poll::Ready(Err(error)) => return Poll::Ready(self.ended(worker, Some(error))),
                Poll::Pending => break,
            };
            if read.is_empty() {
                return Poll::Ready(self.ended(worker, None));
            }
            if let Err(end) = self.read(read, worker) {
                return Poll::Ready(end);
            }
        }
        match self.poll_flush(cx, worker) {
            Poll::Ready(Err(error)) => Poll::Ready(self.ended(worker, Some(error))),
            _ => Poll::Pending,
        }
    }

    /// What the end of a stream means.
    fn ended(&self, worker: &Worker, error: Option<io::Error>) -> End {
        if let Some(since) = self.leaving {
            worker.tally.borrow_mut().time(Metric::Close, now() - since);
            return End::Left;
        }
        match error {
            Some(error) => End::Lost(error),
            None => End::Eof,
        }
    }

    /// Takes what has come.
    fn read(&mut self, data: &[u8], worker: &Worker) -> Result<(), End> {
        let now = now();
        let Self { reader, lane, .. } = self;
        match reader {
            Reader::Frames(frames) => {
                let fed = frames.feed(data, |event| match event {
                    Event::Message { payload, .. } => lane.message(worker, payload, now),
                    Event::Ping(payload) => lane.control(Opcode::Pong, payload, worker),
                    Event::Pong(_) => {
                        if let Some(since) = lane.pinged.take() {
                            worker.tally.borrow_mut().time(Metric::Ping, now - since);
                        }
                    }
                    Event::Close(close) => lane.close = Some(close),
                });
                if let Err(violation) = fed {
                    lane.control(Opcode::Close, &violation.code.to_be_bytes(), worker);
                    self.flush(worker);
                    return Err(End::Broken(violation));
                }
            }
            Reader::Lines(tail) => {
                let mut rest = data;
                while let Some(at) = memchr(b'\n', rest) {
                    if tail.is_empty() {
                        lane.message(worker, &rest[..at], now);
                    } else {
                        tail.extend_from_slice(&rest[..at]);
                        lane.message(worker, &std::mem::take(tail), now);
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
                        lane.message(worker, end, now);
                    } else {
                        tail.extend_from_slice(end);
                        lane.message(worker, &std::mem::take(tail), now);
                    }
                }
                match lane.lengths.is_empty() {
                    // Nothing was asked for.
                    true if !rest.is_empty() => worker.tally.borrow_mut().counts.corrupt += 1,
                    _ => tail.extend_from_slice(rest),
                }
            }
            Reader::Count => worker.received(data.len(), now),
        }
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
        let mut wrote = false;
        loop {
            while !self.lane.outbox.bytes().is_empty() {
                let bytes = self.lane.outbox.bytes();
                match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => {
                        self.lane.written(worker, written);
                        wrote = true;
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
        if wrote && matches!(self.stream, ByteStream::Other(_)) {
            let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        }
        if self.leaving.is_some() && !self.shut && !matches!(self.reader, Reader::Frames(_)) {
            self.shut = Pin::new(&mut self.stream).poll_shutdown(cx)?.is_ready();
        }
        Poll::Ready(Ok(()))
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl Lane {
    /// Messages that wait for an answer, or for the system.
    fn backlog(&self) -> usize {
        self.pending.waiting().max(self.outbox.waiting())
    }

    /// Puts a message into the outbox.
    fn send(&mut self, reader: &Reader, worker: &Worker, intended: u64, now: u64) {
        let plan = &worker.plan;
        let stamp = Stamp { connection: self.id, sequence: self.pending.next() };
        let place = Place { stamp, intended };
        let out = self.outbox.end();
        let opcode = |text| if text { Opcode::Text } else { Opcode::Binary };
        let len = match (reader, plan.payload.shape()) {
            (Reader::Frames(_), Some((len, text))) => {
                frames::encode_with(opcode(text), len, worker.mask(), out, |out| {
                    plan.payload.render(&place, out);
                });
                len
            }
            (Reader::Frames(_), None) => {
                let mut payload = worker.rendered.borrow_mut();
                payload.clear();
                let text = plan.payload.render(&place, &mut payload);
                frames::encode(opcode(text), &payload, worker.mask(), out);
                payload.len()
            }
            (reader, _) => {
                let from = out.len();
                plan.payload.render(&place, out);
                let len = out.len() - from;
                match reader {
                    Reader::Lines(_) => out.push(b'\n'),
                    Reader::Sized(_) => self.lengths.push_back(len),
                    _ => {}
                }
                len
            }
        };
        self.outbox.push(intended, now, len);
        self.pending.push(intended, now);
        if plan.workload != Workload::Echo {
            // What is published is answered by others.
            self.pending.answer(stamp.sequence);
        }
    }

    /// Lets the thread know how many messages wait for their answers.
    fn settle(&mut self, worker: &Worker) {
        let waiting = self.pending.waiting();
        worker.waiting(waiting as i64 - self.known as i64);
        self.known = waiting;
    }

    /// Sends until so many messages are under way.
    fn fill(&mut self, reader: &Reader, worker: &Worker, in_flight: usize, now: u64) {
        if worker.plan.workload == Workload::Bulk {
            while self.outbox.bytes().len() < BULK && worker.may_send(now) {
                self.send(reader, worker, now, now);
            }
            return;
        }
        let more = in_flight.saturating_sub(self.backlog());
        for _ in 0..worker.may_send_some(now, more) {
            self.send(reader, worker, now, now);
        }
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8], worker: &Worker) {
        frames::encode(opcode, payload, worker.mask(), self.outbox.end());
    }

    /// The system has taken so many bytes.
    fn written(&mut self, worker: &Worker, bytes: usize) {
        let now = now();
        let mut tally = worker.tally.borrow_mut();
        let (measures, is_open) = (worker.measures(), worker.is_open_loop());
        let sent = self.outbox.take(bytes, |message| {
            if !measures.contains(&message.intended) {
                return;
            }
            tally.counts.sent += message.count;
            tally.counts.bytes_sent += message.payload as u64;
            if is_open {
                tally.times(Metric::SendLag, now - message.intended, message.count);
                tally.times(Metric::WriteBlock, now - message.made, message.count);
            }
        });
        self.pending.sent(sent, now);
    }

    /// A message has come.
    fn message(&mut self, worker: &Worker, payload: &[u8], now: u64) {
        match worker.plan.workload {
            Workload::Echo => self.answer(worker, payload, now),
            Workload::FanOut if self.publishes => {}
            Workload::FanOut => self.published(worker, payload, now),
            _ => worker.received(payload.len(), now),
        }
    }

    fn answer(&mut self, worker: &Worker, payload: &[u8], now: u64) {
        let plan = &worker.plan;
        let mut tally = worker.tally.borrow_mut();
        let found = self.finder.find(&plan.matching, self.id, &self.pending, payload);
        let Some(number) = found else {
            tally.counts.corrupt += u64::from(worker.measures().contains(&now));
            return;
        };
        let (entry, reordered) = match self.pending.answer(number) {
            Answer::First { entry, reordered } => (entry, reordered),
            Answer::Duplicate => {
                tally.counts.duplicate += u64::from(worker.measures().contains(&now));
                return;
            }
            Answer::Late => {
                tally.counts.late += 1;
                return;
            }
            Answer::Unknown => {
                tally.counts.corrupt += u64::from(worker.measures().contains(&now));
                return;
            }
        };
        if !worker.measures().contains(&entry.intended) {
            return;
        }
        tally.counts.received += 1;
        tally.counts.bytes_received += payload.len() as u64;
        tally.counts.reordered += u64::from(reordered);
        if plan.verify {
            let stamp = Stamp { connection: self.id, sequence: number };
            let place = Place { stamp, intended: entry.intended };
            let mut sent = worker.rendered.borrow_mut();
            sent.clear();
            plan.payload.render(&place, &mut sent);
            tally.counts.corrupt += u64::from(*sent != payload);
        }
        let since = if worker.is_open_loop() { entry.intended } else { entry.sent };
        if now - since > plan.late {
            tally.counts.late += 1;
            return;
        }
        if worker.is_open_loop() {
            tally.time(Metric::Response, now - entry.intended);
        }
        tally.time(Metric::Service, now.saturating_sub(entry.sent));
    }

    /// Something that somebody has published.
    fn published(&mut self, worker: &Worker, payload: &[u8], now: u64) {
        let mut tally = worker.tally.borrow_mut();
        let Some((stamp, intended)) = published(&mut self.published_at, payload) else {
            tally.counts.corrupt += u64::from(worker.measures().contains(&now));
            return;
        };
        let novelty = self.seen.entry(stamp.connection).or_default().add(stamp.sequence);
        if !worker.measures().contains(&intended) {
            return;
        }
        match novelty {
            Novelty::Duplicate => {
                tally.counts.duplicate += 1;
                return;
            }
            Novelty::Reordered => tally.counts.reordered += 1,
            Novelty::New => {}
        }
        tally.counts.received += 1;
        tally.counts.bytes_received += payload.len() as u64;
        tally.time(Metric::Response, now.saturating_sub(intended));
    }

    /// What has no answer is lost.
    fn give_up(&mut self, worker: &Worker) {
        let mut lost = 0;
        self.pending.give_up(|entry| {
            lost += u64::from(worker.measures().contains(&entry.intended));
        });
        self.settle(worker);
        self.lengths.clear();
        worker.tally.borrow_mut().counts.lost += lost;
    }

    /// What was never sent is dropped, and what has no answer is lost.
    fn abandon(&mut self, worker: &Worker) {
        let mut dropped = 0;
        self.pending.take_back(|entry| {
            dropped += u64::from(worker.measures().contains(&entry.intended));
        });
        worker.tally.borrow_mut().counts.dropped += dropped;
        self.give_up(worker);
    }
}
