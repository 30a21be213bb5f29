//! One thread of a run: its connections, its part of the schedule, its tally.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::timeout;

use super::clock::{Alarm, now};
use super::connection::{Connection, End};
use super::failure;
use super::plan::{Pace, Plan, SEED};
use super::saturation::{Usage, UsageMeter};
use super::schedule::{Schedule, Share};
use super::tally::{Metric, Recorder, Tally};
use crate::backoff::Backoff;
use crate::cli::bench::{Arrival, Workload};
use crate::context::Context;
use crate::duplex::Close;
use crate::endpoint::{Bare, Call, Shape, Side};
use crate::error::Error;
use crate::trace::Trace;

/// What a thread is told to do. It does one thing after the other.
pub(super) enum Order {
    /// Open all connections, the first at this time.
    Connect(u64),
    /// Send for a while.
    Drive(Round),
    /// Close all connections.
    Close,
}

/// A part of the run with one rate.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) pace: Pace,
    /// When to begin, in nanoseconds.
    pub(super) start: u64,
    /// What is due then is measured.
    pub(super) measures: Range<u64>,
    /// How many messages are measured by the whole segment, if that decides.
    pub(super) messages: Option<u64>,
    /// How many threads have not sent all yet.
    pub(super) sending: Arc<AtomicUsize>,
}

/// What a thread has to say.
pub(super) enum News {
    /// What has happened since the last tick.
    Tick(Box<Tick>),
    /// The order is carried out; its last tick came before.
    Done,
    /// The thread has ended.
    Failed(Error),
}

/// What has happened in an interval.
pub(super) struct Tick {
    pub(super) tally: Tally,
    pub(super) usage: Usage,
    /// Connections that are open, and messages that wait for their answers.
    pub(super) open: usize,
    pub(super) in_flight: u64,
    /// Which part of a run it is.
    pub(super) part: Part,
    /// When it ended, in nanoseconds; what is measured may have ended earlier.
    pub(super) until: u64,
}

/// Which part of a run an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing was measured yet, or nothing is measured any more.
    Unmeasured,
    /// A second of the measured part, or what there is of the last one.
    Second(usize),
    /// What came after the last whole second, and the answers that came after the end.
    Rest,
}

/// Messages that are sent in one go, before answers are looked at again.
const BATCH: usize = 4096;

/// How much is read at once, in bytes.
const SCRATCH: usize = 64 << 10;

/// The length of an interval, in nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// What the tasks of a thread share.
pub(super) struct Worker {
    pub(super) plan: Arc<Plan>,
    pub(super) tally: RefCell<Recorder>,
    /// What is read into.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// What messages are made in.
    pub(super) rendered: RefCell<Vec<u8>>,
    cx: Arc<Context>,
    index: usize,
    connections: Vec<Rc<Connection>>,
    pub(super) random: RefCell<fastrand::Rng>,
    open_loop: Cell<bool>,
    in_flight_wanted: Cell<Option<usize>>,
    /// The bounds of what is measured now.
    measures: Cell<(u64, u64)>,
    /// What is due then is not sent any more.
    until: Cell<u64>,
    /// How many more messages may be measured.
    left: Cell<u64>,
    open: Cell<usize>,
    in_flight: Cell<u64>,
    /// Connections that were tried.
    tried: Cell<usize>,
    closing: Cell<bool>,
    /// Something has come to an end that somebody may wait for.
    changed: Notify,
    meter: RefCell<UsageMeter>,
    news: mpsc::UnboundedSender<(usize, News)>,
}

impl Worker {
    /// One of `plan.threads`.
    pub(super) fn new(
        plan: Arc<Plan>,
        cx: Arc<Context>,
        index: usize,
        news: mpsc::UnboundedSender<(usize, News)>,
    ) -> Rc<Self> {
        let own = |first: usize, count: usize, publishes: bool| {
            let ids = (index..count).step_by(plan.threads);
            ids.map(move |i| Rc::new(Connection::new((first + i) as u32, publishes)))
        };
        // A publisher is nobody's last connection: threads take them from the other end.
        let mut connections: Vec<_> = own(plan.first_publisher, plan.publishers, true).collect();
        if plan.workload != Workload::Connect {
            connections.extend(own(plan.first, plan.connections, false));
        }
        Rc::new(Self {
            tally: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            rendered: RefCell::default(),
            cx,
            index,
            connections,
            random: RefCell::new(fastrand::Rng::new()),
            open_loop: Cell::new(false),
            in_flight_wanted: Cell::new(None),
            measures: Cell::new((0, 0)),
            until: Cell::new(0),
            left: Cell::new(0),
            open: Cell::new(0),
            in_flight: Cell::new(0),
            tried: Cell::new(0),
            closing: Cell::new(false),
            changed: Notify::new(),
            meter: RefCell::new(UsageMeter::new()),
            news,
            plan,
        })
    }

    /// Does as it is told, until nobody tells it anything any more.
    ///
    /// # Errors
    /// There is no descriptor left for the alarm.
    pub(super) async fn run(
        self: Rc<Self>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> io::Result<()> {
        let alarm = Alarm::new()?;
        while let Some(order) = orders.recv().await {
            match order {
                Order::Connect(at) => self.connect(at, &alarm).await?,
                Order::Drive(round) => self.drive(round, &alarm).await?,
                Order::Close => self.close().await,
            }
            self.tick(Part::Unmeasured);
            self.say(News::Done);
        }
        Ok(())
    }

    /// A key to mask a frame with.
    pub(super) fn mask(&self) -> [u8; 4] {
        self.random.borrow_mut().u32(..).to_ne_bytes()
    }

    /// What is due in this time is measured.
    pub(super) fn measures(&self) -> Range<u64> {
        let (start, end) = self.measures.get();
        start..end
    }

    /// Whether messages are sent by a schedule.
    pub(super) fn is_open_loop(&self) -> bool {
        self.open_loop.get()
    }

    /// How many messages of a connection are to be under way, in a closed loop.
    pub(super) fn in_flight_wanted(&self) -> Option<usize> {
        self.in_flight_wanted.get()
    }

    /// Whether a message may be sent that is due now; if so, it is counted.
    pub(super) fn may_send(&self, due: u64) -> bool {
        self.may_send_some(due, 1) == 1
    }

    /// How many of so many messages that are due now may be sent; these are counted.
    pub(super) fn may_send_some(&self, due: u64, wanted: usize) -> usize {
        if due >= self.until.get() || wanted == 0 {
            return 0;
        }
        if due < self.measures.get().0 {
            return wanted;
        }
        let left = self.left.get();
        let some = left.min(wanted as u64);
        self.left.set(left - some);
        if left == some {
            self.changed.notify_one();
        }
        some as usize
    }

    /// More or fewer messages wait for their answers.
    pub(super) fn waiting(&self, more: i64) {
        let in_flight = self.in_flight.get().saturating_add_signed(more);
        self.in_flight.set(in_flight);
        if in_flight == 0 && more != 0 {
            self.changed.notify_one();
        }
    }

    /// Opens all connections, as many a second as are wanted.
    async fn connect(self: &Rc<Self>, at: u64, alarm: &Alarm) -> io::Result<()> {
        let all = self.plan.connections + self.plan.publishers;
        let share = self.share(all, 0.0);
        let mut ramp = Schedule::new(at, self.plan.ramp, share, Arrival::Constant, 0);
        for (i, connection) in self.connections.iter().enumerate() {
            alarm.until(ramp.peek()).await?;
            ramp.advance();
            spawn_local(self.clone().attend(connection.clone(), i));
            if self.cx.stop.is_cancelled() {
                break;
            }
            if i % 64 == 63 {
                self.tick(Part::Unmeasured);
            }
        }
        while self.tried.get() < self.connections.len() && !self.cx.stop.is_cancelled() {
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.cx.stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => self.tick(Part::Unmeasured),
            }
        }
        Ok(())
    }

    /// Keeps one connection, for as long as there is one.
    async fn attend(self: Rc<Self>, connection: Rc<Connection>, place: usize) {
        const PAUSE: Duration = Duration::from_millis(100);
        let mut backoff = Backoff::new(PAUSE, Duration::from_secs(5));
        let place = self.index + place * self.plan.threads;
        let mut first = true;
        loop {
            // In a box of its own: what dialling needs is large, and not needed once it is over.
            let opened = Box::pin(self.dial(&connection, place)).await;
            if std::mem::take(&mut first) {
                self.tried.set(self.tried.get() + 1);
                self.changed.notify_one();
            }
            if opened {
                backoff.reset();
                self.open.set(self.open.get() + 1);
                if let Some(in_flight) = self.in_flight_wanted() {
                    connection.fill(&self, in_flight);
                }
                let end = poll_fn(|cx| connection.poll(cx, &self)).await;
                connection.discard(&self);
                self.open.set(self.open.get() - 1);
                self.changed.notify_one();
                self.ended(end);
            }
            if !self.plan.reconnect || self.closing.get() {
                return;
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Connects; whether that has succeeded is taken down.
    async fn dial(&self, connection: &Connection, place: usize) -> bool {
        let trace = Trace::default();
        let call = Call {
            cx: &self.cx,
            near: Shape::Messages,
            side: Side::Near,
            peer: None,
            trace: &trace,
        };
        let began = now();
        let bare = self.plan.target(place).connect_bare(&call).await;
        let took = now() - began;
        let facts = trace.facts();
        let mut tally = self.tally.borrow_mut();
        match bare {
            Ok(bare) => {
                tally.counts.opened += 1;
                tally.time(Metric::Handshake, took);
                for (phase, time) in &facts.phases {
                    tally.time(Metric::from(*phase), time.as_nanos() as u64);
                }
                if let Some(terms) = facts.compression {
                    *tally.compression.agreed.entry(terms.to_string()).or_default() += 1;
                } else if self.plan.compress.is_some() && matches!(bare, Bare::WebSocket(..)) {
                    tally.compression.declined += 1;
                }
                drop(tally);
                let opened = connection.opened(bare, self);
                opened.map_err(|end| self.ended(end)).is_ok()
            }
            Err(error) => {
                tally.counts.failed += 1;
                tally.fail(failure::connecting(&error, facts.latest), || error.to_string());
                false
            }
        }
    }

    /// Takes down how a connection has ended, unless we have ended it.
    fn ended(&self, end: End) {
        let mut tally = self.tally.borrow_mut();
        if let Some((cause, what)) = failure::running(end) {
            tally.counts.closed += 1;
            tally.fail(cause, || what);
        }
    }

    /// Sends as the round has it, and waits for the answers.
    async fn drive(self: &Rc<Self>, round: Round, alarm: &Alarm) -> io::Result<()> {
        self.measures.set((round.measures.start, round.measures.end));
        self.until.set(round.measures.end);
        self.left.set(round.messages.map_or(u64::MAX, |count| self.senders().of(count)));
        self.open_loop.set(round.pace.rate().is_some());
        self.in_flight_wanted.set(match round.pace {
            Pace::Closed { in_flight } if self.plan.workload != Workload::Connect => {
                Some(in_flight)
            }
            _ => None,
        });
        let pings = self.plan.ping.map(|gap| spawn_local(self.clone().ping(gap)));
        let ticks = spawn_local(self.clone().tick_by_second(round.clone()));
        match round.pace {
            Pace::Open { rate, arrival } => {
                let share = self.senders();
                if share.own() > 0 {
                    let segment = self.plan.segment;
                    let seed = SEED ^ (self.index as u64) << 32 ^ segment.index as u64;
                    let schedule = Schedule::new(round.start, rate, share, arrival, seed);
                    match self.plan.workload {
                        Workload::Connect => self.knock(schedule, alarm).await?,
                        _ => self.pace(schedule, alarm).await?,
                    }
                }
            }
            Pace::Closed { in_flight } => {
                alarm.until(round.start).await?;
                match self.plan.workload {
                    Workload::Connect => self.knock_in_turn(in_flight).await,
                    _ => {
                        for connection in self.sending() {
                            connection.fill(self, in_flight);
                        }
                    }
                }
            }
            Pace::Still => {}
        }
        self.until_over().await;
        // From now on nothing is due.
        self.until.set(self.until.get().min(now().max(round.measures.start)));
        round.sending.fetch_sub(1, Relaxed);
        if self.plan.workload == Workload::FanOut {
            // What others publish comes here, too.
            while round.sending.load(Relaxed) > 0 && !self.cx.stop.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let _ = timeout(self.plan.drain, self.until_answered()).await;
        match self.until.get() == round.measures.end {
            // The last second is over, or about to be.
            true => drop(ticks.await),
            false => ticks.abort(),
        }
        if let Some(pings) = pings {
            pings.abort();
        }
        self.connections.iter().for_each(|connection| connection.give_up(self));
        self.tick(Part::Rest);
        Ok(())
    }

    /// Returns when the time of the round is over, or all its messages are sent.
    async fn until_over(&self) {
        loop {
            let (start, end) = self.measures.get();
            let now = now();
            let sent = self.left.get() == 0 && now >= start;
            if now >= end || sent || self.cx.stop.is_cancelled() {
                return;
            }
            let next = if now < start { start } else { end };
            let left = Duration::from_nanos(next - now);
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.cx.stop.cancelled() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Returns when no message waits for an answer; where answers are not known, when none has come
    /// for a while.
    async fn until_answered(&self) {
        const QUIET: Duration = Duration::from_millis(300);
        match self.plan.workload {
            Workload::FanOut => {
                let received = || self.tally.borrow().counts.received;
                let mut before = received();
                loop {
                    tokio::time::sleep(QUIET).await;
                    let now = received();
                    if now == before {
                        return;
                    }
                    before = now;
                }
            }
            _ => {
                while self.in_flight.get() > 0 {
                    self.changed.notified().await;
                }
            }
        }
    }

    /// Sends what is due, when it is due.
    async fn pace(&self, mut schedule: Schedule, alarm: &Alarm) -> io::Result<()> {
        let senders: Vec<&Rc<Connection>> = self.sending().collect();
        let mut turn = senders.iter().cycle();
        let mut touched: Vec<&Rc<Connection>> = Vec::new();
        loop {
            let due = schedule.peek();
            if due >= self.until.get() || self.left.get() == 0 || self.cx.stop.is_cancelled() {
                return Ok(());
            }
            let mut late = now() >= due;
            if !late {
                tokio::select! {
                    rung = alarm.until(due) => rung?,
                    () = self.cx.stop.cancelled() => return Ok(()),
                }
            }
            let woken = now();
            for _ in 0..BATCH {
                let due = schedule.peek();
                if due > woken || !self.may_send(due) {
                    late = false;
                    break;
                }
                schedule.advance();
                let connection = turn.next().expect("there are senders");
                let sent = connection.send(self, due, woken);
                if sent && touched.last().is_none_or(|last| !Rc::ptr_eq(last, connection)) {
                    touched.push(connection);
                }
                if self.measures().contains(&due) {
                    let mut tally = self.tally.borrow_mut();
                    match sent {
                        true => tally.time(Metric::PacerLag, woken - due),
                        false => tally.counts.dropped += 1,
                    }
                }
            }
            // Of a connection that has several, they go out together with the first.
            touched.drain(..).for_each(|connection| connection.flush(self));
            if late {
                yield_now().await;
            }
        }
    }

    /// Opens and closes connections by a schedule.
    async fn knock(self: &Rc<Self>, mut schedule: Schedule, alarm: &Alarm) -> io::Result<()> {
        let mut place = 0;
        loop {
            let due = schedule.peek();
            if !self.may_send(due) || self.cx.stop.is_cancelled() {
                return Ok(());
            }
            tokio::select! {
                rung = alarm.until(due) => rung?,
                () = self.cx.stop.cancelled() => return Ok(()),
            }
            schedule.advance();
            let woken = now();
            let measured = self.measures().contains(&due);
            if self.in_flight.get() >= self.plan.max_backlog as u64 {
                self.tally.borrow_mut().counts.dropped += u64::from(measured);
                continue;
            }
            if measured {
                self.tally.borrow_mut().time(Metric::PacerLag, woken - due);
            }
            self.waiting(1);
            spawn_local(self.clone().visit(due, place));
            place += 1;
        }
    }

    /// Opens and closes connections, so many at once.
    async fn knock_in_turn(self: &Rc<Self>, in_flight: usize) {
        let visits: Vec<JoinHandle<()>> = (0..in_flight)
            .map(|place| {
                let this = self.clone();
                spawn_local(async move {
                    while this.may_send(now()) && !this.cx.stop.is_cancelled() {
                        this.waiting(1);
                        this.clone().visit(now(), place).await;
                    }
                })
            })
            .collect();
        for visit in visits {
            let _ = visit.await;
        }
    }

    /// Opens one connection, and closes it. It is waited for already.
    async fn visit(self: Rc<Self>, due: u64, place: usize) {
        let measured = self.measures().contains(&due);
        let connection = Connection::new(0, false);
        self.tally.borrow_mut().counts.sent += u64::from(measured);
        let place = self.index + place * self.plan.threads;
        if self.dial(&connection, place).await {
            if measured {
                let mut tally = self.tally.borrow_mut();
                tally.counts.received += 1;
                let metric = if self.is_open_loop() { Metric::Response } else { Metric::Service };
                tally.time(metric, now() - due);
            }
            // Bytes have no goodbye that is answered.
            if self.plan.target(place).ends_with_websocket() {
                connection.leave(&self);
                let _ = timeout(Close::PATIENCE, poll_fn(|cx| connection.poll(cx, &self))).await;
            }
            connection.discard(&self);
        }
        self.waiting(-1);
    }

    /// Pings each connection once in so many nanoseconds, one after the other.
    async fn ping(self: Rc<Self>, gap: u64) {
        let began = now();
        let all = self.connections.len() as u128;
        let between = Duration::from_nanos(gap / all.max(1) as u64);
        let mut tick = tokio::time::interval(between.max(Duration::from_millis(1)));
        let mut turn = self.connections.iter().cycle();
        let mut pinged = 0;
        loop {
            tick.tick().await;
            let due = (u128::from(now() - began) * all / u128::from(gap)) as usize + 1;
            turn.by_ref().take(due - pinged).for_each(|connection| connection.ping(&self));
            pinged = due;
        }
    }

    /// Says what has happened, at every second of what is measured.
    async fn tick_by_second(self: Rc<Self>, round: Round) {
        let start = round.measures.start;
        let until = |at: u64| tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now())));
        until(start).await;
        self.tick(Part::Unmeasured);
        for second in 0.. {
            let end = (start + (second as u64 + 1) * SECOND).min(round.measures.end);
            until(end).await;
            self.tick(Part::Second(second));
            if end == round.measures.end {
                return;
            }
        }
    }

    fn tick(&self, part: Part) {
        let tick = Tick {
            tally: self.tally.borrow_mut().take(),
            usage: self.meter.borrow_mut().lap(),
            open: self.open.get(),
            in_flight: self.in_flight.get(),
            part,
            until: now().min(self.until.get()),
        };
        self.say(News::Tick(Box::new(tick)));
    }

    /// Nobody listens any more once the run is over.
    fn say(&self, news: News) {
        let _ = self.news.send((self.index, news));
    }

    /// Says goodbye everywhere, and waits a little for the answers.
    async fn close(&self) {
        self.closing.set(true);
        self.in_flight_wanted.set(None);
        self.connections.iter().for_each(|connection| connection.leave(self));
        let gone = async {
            while self.open.get() > 0 {
                self.changed.notified().await;
            }
        };
        let _ = timeout(Close::PATIENCE, gone).await;
        self.connections.iter().for_each(|connection| connection.discard(self));
    }

    /// The connections that send.
    fn sending(&self) -> impl Iterator<Item = &Rc<Connection>> {
        let fans = self.plan.workload == Workload::FanOut;
        self.connections.iter().filter(move |connection| connection.publishes == fans)
    }

    /// The senders of this thread among those of the segment.
    fn senders(&self) -> Share {
        let segment = self.plan.segment;
        // Segments send in between each other.
        let offset = (segment.index - 1) as f64 / segment.of as f64;
        match self.plan.workload {
            Workload::Connect => self.share(self.plan.threads, offset),
            _ => self.share(self.plan.senders(), offset),
        }
    }

    /// What this thread has of so many that are dealt out in turn.
    fn share(&self, all: usize, offset: f64) -> Share {
        Share { all, first: self.index, step: self.plan.threads, offset }
    }
}
