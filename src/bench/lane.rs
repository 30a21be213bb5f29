//! What a connection has under way: the messages that it makes, and the answers that it waits for.

use std::cell::RefMut;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::clock::now;
use super::connection::Reader;
use super::frames::{self, Opcode};
use super::matching::{Finder, Novelty, Seen, published};
use super::outbox::Outbox;
use super::payload::Place;
use super::pending::{Answer, Pending};
use super::stamp::Stamp;
use super::tally::{Metric, Recorder};
use super::worker::Worker;
use crate::cli::bench::Workload;
use crate::duplex::Close;

/// What a connection has under way.
#[derive(Default)]
pub(super) struct Lane {
    id: u32,
    publishes: bool,
    pub(super) outbox: Outbox,
    pending: Pending,
    /// How many of them the thread knows to wait.
    known: usize,
    finder: Finder,
    /// The lengths of the messages whose answers are as long, in bytes.
    pub(super) lengths: VecDeque<usize>,
    /// What has come from each publisher.
    seen: HashMap<u32, Seen>,
    published_at: usize,
    pub(super) pinged: Option<u64>,
    /// What the server has closed with.
    pub(super) close: Option<Close>,
}

/// How much bulk goes out in one message, in bytes.
const BULK: usize = 64 << 10;

/// What is the same for all that is read at once: asked for once, since a read brings many messages.
pub(super) struct Moment<'a> {
    worker: &'a Worker,
    pub(super) tally: RefMut<'a, Recorder>,
    measures: Range<u64>,
    is_open_loop: bool,
    pub(super) now: u64,
}

impl<'a> Moment<'a> {
    pub(super) fn new(worker: &'a Worker) -> Self {
        Self {
            worker,
            tally: worker.tally.borrow_mut(),
            measures: worker.measures(),
            is_open_loop: worker.is_open_loop(),
            now: now(),
        }
    }

    /// Something has come of which only the length matters.
    pub(super) fn received(&mut self, len: usize) {
        if self.measures.contains(&self.now) {
            self.tally.counts.received += 1;
            self.tally.counts.bytes_received += len as u64;
        }
    }

    /// One, if what comes now is counted although it is not known when it was due.
    fn counted(&self) -> u64 {
        u64::from(self.measures.contains(&self.now))
    }
}

impl Lane {
    pub(super) fn new(id: u32, publishes: bool) -> Self {
        Self { id, publishes, ..Self::default() }
    }

    /// Messages that wait for an answer, or for the system.
    pub(super) fn backlog(&self) -> usize {
        self.pending.waiting().max(self.outbox.waiting())
    }

    /// Puts so many messages into the outbox.
    pub(super) fn send(
        &mut self,
        reader: &Reader,
        worker: &Worker,
        intended: u64,
        now: u64,
        count: usize,
    ) {
        let plan = &worker.plan;
        let (connection, first) = (self.id, self.pending.next());
        let stamps = (0..count).map(|i| Stamp { connection, sequence: first + i as u64 });
        let out = self.outbox.end();
        let mut len = 0;
        match (reader, plan.payload.blanks()) {
            (Reader::Frames(_), Some(blanks)) => {
                blanks.fill(stamps.map(Stamp::to_hex), &mut worker.random.borrow_mut(), out);
                len = count * blanks.payload();
            }
            (Reader::Frames(_), None) => {
                let mut payload = worker.rendered.borrow_mut();
                for stamp in stamps {
                    payload.clear();
                    let text = plan.payload.render(&Place { stamp, intended }, &mut payload);
                    frames::encode(Opcode::of_data(text), &payload, worker.mask(), out);
                    len += payload.len();
                }
            }
            (reader, _) => {
                for stamp in stamps {
                    let from = out.len();
                    plan.payload.render(&Place { stamp, intended }, out);
                    let added = out.len() - from;
                    match reader {
                        Reader::Lines(_) => out.push(b'\n'),
                        Reader::Sized(_) => self.lengths.push_back(added),
                        _ => {}
                    }
                    len += added;
                }
            }
        }
        self.outbox.push(intended, now, count, len);
        self.pending.push(intended, now, count);
        if plan.workload != Workload::Echo {
            // What is published is answered by others.
            for number in first..first + count as u64 {
                self.pending.answer(number);
            }
        }
    }

    /// Lets the thread know how many messages wait for their answers.
    pub(super) fn settle(&mut self, worker: &Worker) {
        let waiting = self.pending.waiting();
        worker.waiting(waiting as i64 - self.known as i64);
        self.known = waiting;
    }

    /// Sends until so many messages are under way.
    pub(super) fn fill(&mut self, reader: &Reader, worker: &Worker, in_flight: usize, now: u64) {
        if worker.plan.workload == Workload::Bulk {
            while self.outbox.bytes().len() < BULK && worker.may_send(now) {
                self.send(reader, worker, now, now, 1);
            }
            return;
        }
        let more = worker.may_send_some(now, in_flight.saturating_sub(self.backlog()));
        if more > 0 {
            self.send(reader, worker, now, now, more);
        }
    }

    pub(super) fn control(&mut self, opcode: Opcode, payload: &[u8], worker: &Worker) {
        frames::encode(opcode, payload, worker.mask(), self.outbox.end());
    }

    /// The system has taken so many bytes.
    pub(super) fn written(&mut self, worker: &Worker, bytes: usize) {
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
    #[inline]
    pub(super) fn message(&mut self, moment: &mut Moment<'_>, payload: &[u8]) {
        match moment.worker.plan.workload {
            Workload::Echo => self.answer(moment, payload),
            Workload::FanOut if self.publishes => {}
            Workload::FanOut => self.published(moment, payload),
            _ => moment.received(payload.len()),
        }
    }

    #[inline]
    fn answer(&mut self, moment: &mut Moment<'_>, payload: &[u8]) {
        let plan = &moment.worker.plan;
        let now = moment.now;
        let found = self.finder.find(&plan.matching, self.id, &self.pending, payload);
        // What is an answer to nothing has a number that nothing has.
        let number = found.unwrap_or(u64::MAX);
        let counted = moment.counted();
        let (entry, reordered) = match self.pending.answer(number) {
            Answer::First { entry, reordered } => (entry, reordered),
            Answer::Duplicate => return moment.tally.counts.duplicate += counted,
            Answer::Late => return moment.tally.counts.late += 1,
            Answer::Unknown => return moment.tally.counts.corrupt += counted,
        };
        if !moment.measures.contains(&entry.intended) {
            return;
        }
        let counts = &mut moment.tally.counts;
        counts.received += 1;
        counts.bytes_received += payload.len() as u64;
        counts.reordered += u64::from(reordered);
        if plan.verify {
            let stamp = Stamp { connection: self.id, sequence: number };
            let place = Place { stamp, intended: entry.intended };
            let mut sent = moment.worker.rendered.borrow_mut();
            sent.clear();
            plan.payload.render(&place, &mut sent);
            counts.corrupt += u64::from(*sent != payload);
        }
        let since = if moment.is_open_loop { entry.intended } else { entry.sent };
        if now - since > plan.late {
            counts.late += 1;
            return;
        }
        if moment.is_open_loop {
            moment.tally.time(Metric::Response, now - entry.intended);
        }
        moment.tally.time(Metric::Service, now.saturating_sub(entry.sent));
    }

    /// Something that somebody has published.
    fn published(&mut self, moment: &mut Moment<'_>, payload: &[u8]) {
        let Some((stamp, intended)) = published(&mut self.published_at, payload) else {
            moment.tally.counts.corrupt += moment.counted();
            return;
        };
        let novelty = self.seen.entry(stamp.connection).or_default().add(stamp.sequence);
        if !moment.measures.contains(&intended) {
            return;
        }
        let counts = &mut moment.tally.counts;
        match novelty {
            Novelty::Duplicate => {
                counts.duplicate += 1;
                return;
            }
            Novelty::Reordered => counts.reordered += 1,
            Novelty::New => {}
        }
        counts.received += 1;
        counts.bytes_received += payload.len() as u64;
        let took = moment.now.saturating_sub(intended);
        moment.tally.time(Metric::Response, took);
    }

    /// What has no answer is lost.
    pub(super) fn give_up(&mut self, worker: &Worker) {
        let mut lost = 0;
        self.pending.give_up(|entry| {
            lost += u64::from(worker.measures().contains(&entry.intended));
        });
        self.settle(worker);
        self.lengths.clear();
        worker.tally.borrow_mut().counts.lost += lost;
    }

    /// What was never sent is dropped, and what has no answer is lost.
    pub(super) fn abandon(&mut self, worker: &Worker) {
        let mut dropped = 0;
        self.pending.take_back(|entry| {
            dropped += u64::from(worker.measures().contains(&entry.intended));
        });
        worker.tally.borrow_mut().counts.dropped += dropped;
        self.give_up(worker);
    }
}
