//! A thread that moves bytes between sockets.
//!
//! It runs tasks, too: those that make the handshakes of its tunnels, so that their sockets are in
//! its set from the beginning and nobody has to be woken for each of them.
//!
//! It waits for all its sockets in one epoll set, edge-triggered. What can be read is read once,
//! into a buffer that all share, and written at once: two system calls for a message. Only where a
//! read may have left something is the socket armed anew, which reports it again; and only where a
//! socket does not take it all is the rest kept, and the other socket not read until it is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::sockopt;
use sockets::{Sockets, socket};
use tokio::runtime::Handle;

use super::flow::{Flow, Turn};
use super::{End, Limits, Owner, SIDES, Totals, Tunnel, pace, tenths};
use crate::endpoint::Side;
use crate::reactor::{Reactor, Task};
use crate::relay::Counts;
use crate::relay::splice::Pipe;
use crate::slab::Slab;

mod sockets;

/// What one read takes.
const CHUNK: usize = 64 << 10;

/// How many events are taken at once.
const EVENTS: usize = 256;

/// How often the tunnels are looked through, where any of them waits for a time.
const TICK: Duration = Duration::from_secs(1);

/// Says that there are orders. Tunnels have their number, and the side in the last bit.
const BELL: u64 = u64::MAX;

/// The thread, as seen by others.
pub(super) struct Engine {
    orders: Sender<Order>,
    bell: Arc<Bell>,
    totals: Arc<Totals>,
    reactor: Arc<Reactor>,
    tasks: Arc<AtomicUsize>,
}

/// Has the thread look for orders.
struct Bell {
    fd: OwnedFd,
    /// Whether it may be waiting. As long as it is at work it looks by itself.
    waited_for: AtomicBool,
}

enum Order {
    Run(BoxFuture<'static, ()>),
    Add(Box<Arrival>),
    Drain { tag: Option<u32>, code: u16, within: Duration },
    Abort,
    Quit,
}

struct Arrival {
    /// With whether it is in the set already.
    sockets: [(OwnedFd, bool); 2],
    early: [Vec<u8>; 2],
    extensions: bool,
    tag: u32,
    owner: Box<dyn Owner>,
}

impl Engine {
    pub(super) fn start(limits: Limits) -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let reactor = Reactor::new()?;
        // Each ring is an event, so that it is never read.
        epoll::add(
            reactor.epoll(),
            &fd,
            EventData::new_u64(BELL),
            EventFlags::IN | EventFlags::ET,
        )?;
        let bell = Arc::new(Bell { fd, waited_for: AtomicBool::new(false) });
        let totals = Arc::new(Totals::default());
        let tasks = Arc::new(AtomicUsize::new(0));
        let now = Instant::now();
        let worker = Worker {
            reactor: reactor.clone(),
            tasks: FuturesUnordered::new(),
            running: tasks.clone(),
            slab: Slab::new(),
            pipe: None,
            scratch: vec![0; CHUNK].into(),
            limits,
            moved: Counts::default(),
            start: now,
            time: now,
            now: 0,
            next_tick: now,
            timed: false,
            closing: None,
            drains: Vec::new(),
            totals: totals.clone(),
        };
        let (orders, inbox) = channel();
        let rung = bell.clone();
        let thread = thread::Builder::new().name("towline-tunnels".into());
        let runtime = Handle::try_current().ok();
        thread.spawn(move || {
            // For the clock, and for what tasks do that is not about sockets of their own.
            let _entered = runtime.as_ref().map(Handle::enter);
            worker.run(&rung, &inbox);
        })?;
        Ok(Self { orders, bell, totals, reactor, tasks })
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many tunnels and tasks it has.
    pub(super) fn load(&self) -> usize {
        self.totals.open() + self.tasks.load(Relaxed)
    }

    /// Whether this is called on the thread.
    pub(super) fn is_here(&self) -> bool {
        Reactor::here().is_some_and(|here| Arc::ptr_eq(&here, &self.reactor))
    }

    /// Runs a task on the thread. Its sockets are those of [`crate::reactor`].
    pub(super) fn run(&self, task: BoxFuture<'static, ()>) {
        self.tasks.fetch_add(1, Relaxed);
        self.order(Order::Run(task));
    }

    /// Takes over a tunnel whose ends are sockets.
    pub(super) fn add(&self, tunnel: Tunnel) {
        let Tunnel { near, far, early, extensions, tag, owner } = tunnel;
        let (near, far) = match (socket(near, &self.reactor), socket(far, &self.reactor)) {
            (Ok(near), Ok(far)) => (near, far),
            (Err(error), _) => {
                return owner.ended(&Counts::default(), End::Lost(Side::Near, error));
            }
            (_, Err(error)) => return owner.ended(&Counts::default(), End::Lost(Side::Far, error)),
        };
        self.totals.opened();
        let sockets = [near, far];
        self.order(Order::Add(Box::new(Arrival { sockets, early, extensions, tag, owner })));
    }

    pub(super) fn drain(&self, tag: Option<u32>, code: u16, within: Duration) {
        self.order(Order::Drain { tag, code, within });
    }

    pub(super) fn abort(&self) {
        self.order(Order::Abort);
    }

    /// The thread ends only after [`Order::Quit`], which is the last.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl Bell {
    fn ring(&self) {
        if self.waited_for.swap(false, AcqRel) {
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.order(Order::Quit);
    }
}

/// The thread itself.
struct Worker {
    reactor: Arc<Reactor>,
    tasks: FuturesUnordered<Task>,
    running: Arc<AtomicUsize>,
    slab: Slab<Entry>,
    /// Opened for the first bulk. It is empty whenever a tunnel is done with it.
    pipe: Option<Pipe>,
    scratch: Box<[u8]>,
    limits: Limits,
    moved: Counts,
    start: Instant,
    /// The time of this round, and in tenths of a second since the start.
    time: Instant,
    now: u32,
    next_tick: Instant,
    /// Whether any tunnel waits for a time.
    timed: bool,
    /// The code that tunnels are closed with that come now.
    closing: Option<u16>,
    drains: Vec<Drain>,
    totals: Arc<Totals>,
}

struct Entry {
    flow: Flow,
    sockets: [OwnedFd; 2],
    /// What the sockets are watched for, once they are in the set.
    armed: [Option<Watch>; 2],
}

const _: () = assert!(size_of::<Option<Entry>>() <= 128);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Watch {
    read: bool,
    write: bool,
}

/// Tunnels that are to be closed evenly over a time.
struct Drain {
    code: u16,
    keys: Vec<usize>,
    done: usize,
    start: Instant,
    within: Duration,
}

impl Worker {
    fn run(mut self, bell: &Arc<Bell>, inbox: &Receiver<Order>) {
        self.reactor.enter();
        let mut events = Vec::with_capacity(EVENTS);
        let waker = Waker::from(bell.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            // While it is at work nobody has to ring for it.
            self.poll_tasks(&mut cx);
            // What comes while orders are carried out rings.
            bell.waited_for.swap(true, AcqRel);
            // After all events, so that none is taken for one of a tunnel that has just come.
            if !self.orders(inbox) {
                break;
            }
            self.poll_tasks(&mut cx);
            self.totals.add(&mut self.moved);
            events.clear();
            let timeout = self.timeout().and_then(|time| Timespec::try_from(time).ok());
            match epoll::wait(self.reactor.epoll(), spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
            bell.waited_for.swap(false, AcqRel);
            self.time = Instant::now();
            self.now = tenths(self.time - self.start);
            for event in &events {
                let (token, flags) = (event.data.u64(), event.flags);
                match token {
                    BELL => {}
                    _ if self.reactor.tell(token, flags) => {}
                    _ if token & 1 == 0 => self.serve((token >> 1) as usize, Side::Near, flags),
                    _ => self.serve((token >> 1) as usize, Side::Far, flags),
                }
            }
            self.drain_due();
            self.tick();
        }
        self.cut_all();
    }

    /// Has the tasks go on that can.
    fn poll_tasks(&mut self, cx: &mut Context<'_>) {
        loop {
            let polled = AssertUnwindSafe(|| self.tasks.poll_next_unpin(cx));
            match catch_unwind(polled) {
                // One has ended; a panic ends one, too, and not all of the thread's.
                Ok(Poll::Ready(Some(()))) | Err(_) => drop(self.running.fetch_sub(1, Relaxed)),
                Ok(Poll::Ready(None) | Poll::Pending) => return,
            }
        }
    }

    /// Acts on the event of a socket.
    fn serve(&mut self, key: usize, side: Side, flags: EventFlags) {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let ended = failed || flags.contains(EventFlags::RDHUP);
        self.work(key, |flow, ends, scratch, turn| {
            if flow.writes(side) && (failed || flags.contains(EventFlags::OUT)) {
                flow.writable(side, ends, turn);
            }
            if flow.reads(side) && (ended || flags.contains(EventFlags::IN)) {
                flow.readable(side, ends, scratch, turn);
                // The end comes after what was read, and most often right after it.
                if ended && flow.reads(side) {
                    flow.readable(side, ends, scratch, turn);
                    ends.left = Some(side);
                }
            }
        });
    }

    /// Does something with a tunnel, and what follows from it.
    fn work(
        &mut self,
        key: usize,
        what: impl FnOnce(&mut Flow, &mut Sockets<'_>, &mut [u8], &mut Turn<'_>),
    ) {
        let Some(Entry { flow, sockets, .. }) = self.slab.get_mut(key) else { return };
        let mut ends = Sockets { sockets, pipe: &mut self.pipe, left: None };
        let mut turn = Turn { limits: &self.limits, now: self.now, moved: &mut self.moved };
        let scratch = &mut self.scratch;
        // A panic is to end one tunnel, not all of the thread's.
        let whole = catch_unwind(AssertUnwindSafe(|| what(flow, &mut ends, scratch, &mut turn)));
        let left = ends.left;
        self.timed |= flow.is_timed();
        if whole.is_err() {
            flow.cut();
        }
        let Some(entry) = self.slab.get_mut(key) else { return };
        if !entry.flow.is_over() && entry.arm(key, left, self.reactor.epoll()).is_err() {
            entry.flow.cut();
        }
        if entry.flow.is_over() {
            self.end(key);
        }
    }

    fn end(&mut self, key: usize) {
        let Some(Entry { flow, sockets, .. }) = self.slab.remove(key) else { return };
        if flow.is_broken() {
            for socket in &sockets {
                let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            }
        }
        drop(sockets);
        self.totals.add(&mut self.moved);
        self.totals.ended();
        let _ = catch_unwind(AssertUnwindSafe(|| flow.tell()));
    }

    /// Carries out orders; false after the last.
    fn orders(&mut self, inbox: &Receiver<Order>) -> bool {
        loop {
            match inbox.try_recv() {
                Ok(Order::Run(task)) => self.tasks.push(Task::new(task)),
                Ok(Order::Add(arrival)) => self.insert(*arrival),
                Ok(Order::Drain { tag, code, within }) => self.drain(tag, code, within),
                Ok(Order::Abort) => self.cut_all(),
                Ok(Order::Quit) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn insert(&mut self, arrival: Arrival) {
        let Arrival { sockets, early, extensions, tag, owner } = arrival;
        let flow = Flow::new(owner, tag, extensions, self.now);
        let none = Watch { read: false, write: false };
        let armed = [0, 1].map(|side: usize| sockets[side].1.then_some(none));
        let sockets = sockets.map(|(socket, _)| socket);
        let key = self.slab.insert(Entry { flow, sockets, armed });
        let closing = self.closing;
        self.work(key, |flow, ends, _, turn| {
            flow.begin(&early, ends, turn);
            if let Some(code) = closing {
                flow.close(code, End::Closing(code), ends, turn);
            }
        });
    }

    fn drain(&mut self, tag: Option<u32>, code: u16, within: Duration) {
        if tag.is_none() {
            self.closing = Some(code);
        }
        let (all, slab) = (self.slab.keys(), &mut self.slab);
        let meant = |&key: &usize| slab.get_mut(key).is_some_and(|it| it.flow.mark(tag, code));
        let keys = all.filter(meant).collect();
        self.drains.push(Drain { code, keys, done: 0, start: self.time, within });
    }

    /// Closes those whose turn has come.
    fn drain_due(&mut self) {
        for mut drain in std::mem::take(&mut self.drains) {
            while let Some(&key) = drain.keys.get(drain.done)
                && drain.next() <= self.time
            {
                drain.done += 1;
                self.work(key, |flow, ends, _, turn| flow.close_marked(drain.code, ends, turn));
            }
            if drain.done < drain.keys.len() {
                self.drains.push(drain);
            }
        }
    }

    fn cut_all(&mut self) {
        for key in self.slab.keys() {
            self.work(key, |flow, _, _, _| flow.cut());
        }
    }

    /// Looks through the tunnels, once a tick.
    fn tick(&mut self) {
        if !(self.limits.ticks() || self.timed) || self.time < self.next_tick {
            return;
        }
        self.next_tick = self.time + TICK;
        self.timed = false;
        for key in self.slab.keys() {
            self.work(key, |flow, ends, _, turn| flow.tick(ends, turn));
        }
    }

    /// How long nothing has to be done.
    fn timeout(&self) -> Option<Duration> {
        let tick = (self.limits.ticks() || self.timed).then_some(self.next_tick);
        let next = self.drains.iter().map(Drain::next).chain(tick).min()?;
        Some(next.saturating_duration_since(self.time))
    }
}

impl Drain {
    /// When the turn of the next one comes.
    fn next(&self) -> Instant {
        self.start + pace(self.within, self.done, self.keys.len())
    }
}

impl Entry {
    /// Has the sockets watched for what the flow waits for now, and the one looked at again that may
    /// have something left to read.
    fn arm(&mut self, key: usize, left: Option<Side>, epoll: &OwnedFd) -> io::Result<()> {
        for side in SIDES {
            let watch = Watch { read: self.flow.reads(side), write: self.flow.writes(side) };
            let armed = &mut self.armed[side as usize];
            if *armed == Some(watch) && !(watch.read && left == Some(side)) {
                continue;
            }
            let mut flags = EventFlags::ET;
            flags.set(EventFlags::IN | EventFlags::RDHUP, watch.read);
            flags.set(EventFlags::OUT, watch.write);
            let (socket, token) = (&self.sockets[side as usize], (key as u64) << 1 | side as u64);
            match armed.replace(watch) {
                None => epoll::add(epoll, socket, EventData::new_u64(token), flags)?,
                Some(_) => epoll::modify(epoll, socket, EventData::new_u64(token), flags)?,
            }
        }
        Ok(())
    }
}
