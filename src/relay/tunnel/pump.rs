//! A tunnel as a task: for ends that are not sockets (TLS, SSH), and where there is no epoll.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::flow::{Ends, Flow, Turn};
use super::{End, Limits, SIDES, Totals, Tunnel, pace, tenths};
use crate::duplex::{ByteStream, Close};
use crate::endpoint::Side;
use crate::error::{Error, Kind};
use crate::lock::lock;
use crate::relay::{Counts, Lookout};

/// What one read takes.
const CHUNK: usize = 64 << 10;

/// How often a tunnel moves something before other tasks have their turn.
const TURNS: usize = 16;

thread_local! {
    /// What was read goes out again before anything else is polled, so one buffer serves all the
    /// tunnels of a thread, and a quiet one holds none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// All the tasks.
pub(super) struct Pumps(Arc<Shared>);

struct Shared {
    limits: Limits,
    start: Instant,
    totals: Totals,
    desks: Mutex<Desks>,
}

#[derive(Default)]
struct Desks {
    last: u64,
    /// With their tags.
    all: HashMap<u64, (u32, Arc<Desk>)>,
    /// The code that tunnels are closed with that come now.
    closing: Option<u16>,
}

/// Where a task finds its orders.
#[derive(Default)]
struct Desk {
    /// The code to close with, [`Desk::CUT`], or 0.
    order: AtomicU32,
    waker: AtomicWaker,
}

impl Desk {
    const CUT: u32 = u32::MAX;

    fn order(&self, order: u32) {
        self.order.fetch_max(order, Ordering::Release);
        self.waker.wake();
    }
}

impl Pumps {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            limits,
            start: Instant::now(),
            totals: Totals::default(),
            desks: Mutex::default(),
        }))
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.0.totals
    }

    /// What moves the bytes of a tunnel to its end.
    pub(super) fn task(&self, tunnel: Tunnel) -> impl Future<Output = ()> + Send + use<> {
        let Tunnel { near, far, early, extensions, tag, owner } = tunnel;
        let place = Place::take(&self.0, tag);
        let mut pump = Pump {
            flow: Flow::new(owner, tag, extensions, self.0.now()),
            halves: [near, far].map(|stream| Half { stream, dirty: false, ending: false }),
            early: Some(Box::new(early)),
            lookout: Lookout::default(),
            place,
        };
        // The goodbye is boxed, so that its room is not held all the time.
        async move {
            poll_fn(|cx| pump.poll(cx)).await;
            Box::pin(pump.goodbye()).await;
        }
    }

    pub(super) fn drain(&self, tag: Option<u32>, code: u16, within: Duration) {
        let desks: Vec<_> = {
            let mut desks = lock(&self.0.desks);
            if tag.is_none() {
                desks.closing = Some(code);
            }
            let meant = desks.all.values().filter(|(its, _)| tag.is_none_or(|tag| tag == *its));
            meant.map(|(_, desk)| desk.clone()).collect()
        };
        if desks.is_empty() {
            return;
        }
        let start = Instant::now();
        tokio::spawn(async move {
            for (done, desk) in desks.iter().enumerate() {
                sleep_until(start + pace(within, done, desks.len())).await;
                desk.order(code.into());
            }
        });
    }

    pub(super) fn abort(&self) {
        for (_, desk) in lock(&self.0.desks).all.values() {
            desk.order(Desk::CUT);
        }
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Shared {
    fn now(&self) -> u32 {
        tenths(self.start.elapsed())
    }
}

/// Being one of all.
struct Place {
    shared: Arc<Shared>,
    number: u64,
    desk: Arc<Desk>,
}

impl Place {
    fn take(shared: &Arc<Shared>, tag: u32) -> Self {
        shared.totals.opened();
        let desk = Arc::new(Desk::default());
        let mut desks = lock(&shared.desks);
        if let Some(code) = desks.closing {
            desk.order(code.into());
        }
        desks.last += 1;
        let number = desks.last;
        desks.all.insert(number, (tag, desk.clone()));
        Self { shared: shared.clone(), number, desk }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shared.desks).all.remove(&self.number);
        self.shared.totals.ended();
    }
}

/// One task.
struct Pump {
    flow: Flow,
    halves: [Half; 2],
    /// What was read behind the heads, until it is passed on.
    early: Option<Box<[Vec<u8>; 2]>>,
    lookout: Lookout,
    place: Place,
}

struct Half {
    stream: ByteStream,
    /// Something was written since the last flush.
    dirty: bool,
    /// Its direction is to be ended.
    ending: bool,
}

impl Pump {
    async fn goodbye(self) {
        let Self { flow, halves: [near, far], place, .. } = self;
        let broken = flow.is_broken();
        tokio::join!(near.finish(broken), far.finish(broken));
        drop(place);
        flow.tell();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { flow, halves, early, lookout, place } = self;
        let Shared { limits, totals, .. } = &*place.shared;
        let mut moved = Counts::default();
        let mut turn = Turn { limits, now: place.shared.now(), moved: &mut moved };
        let mut ends = Ready { halves, cx, moved: false };
        if let Some(early) = early.take() {
            flow.begin(&early, &mut ends, &mut turn);
        }
        place.desk.waker.register(ends.cx.waker());
        match place.desk.order.swap(0, Ordering::Acquire) {
            0 => {}
            Desk::CUT => flow.cut(),
            code => flow.close(code as u16, End::Closing(code as u16), &mut ends, &turn),
        }
        SCRATCH.with_borrow_mut(|scratch| move_all(flow, &mut ends, scratch, &mut turn));
        while (limits.ticks() || flow.is_timed())
            && !flow.is_over()
            && lookout.poll(ends.cx).is_ready()
        {
            flow.tick(&mut ends, &turn);
        }
        for half in &mut *ends.halves {
            half.poll_flush(ends.cx);
        }
        totals.add(&mut moved);
        if flow.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Moves what can be moved; then those are waited for that something is waited for from.
fn move_all(flow: &mut Flow, ends: &mut Ready<'_, '_>, scratch: &mut [u8], turn: &mut Turn<'_>) {
    for _ in 0..TURNS {
        ends.moved = false;
        for side in SIDES {
            if flow.writes(side) {
                flow.writable(side, ends, turn);
            }
            if flow.reads(side) {
                flow.readable(side, ends, scratch, turn);
            }
            if flow.is_over() {
                return;
            }
        }
        if !ends.moved {
            return;
        }
    }
    ends.cx.waker().wake_by_ref();
}

impl Half {
    fn poll_flush(&mut self, cx: &mut Context<'_>) {
        let mut stream = Pin::new(&mut self.stream);
        // What fails here fails again when it is written to.
        if self.dirty {
            self.dirty = stream.as_mut().poll_flush(cx).is_pending();
        }
        if self.ending && !self.dirty {
            self.ending = stream.poll_shutdown(cx).is_pending();
        }
    }

    async fn finish(mut self, broken: bool) {
        if broken {
            self.stream.abort(&Error::new(Kind::Lost, "the other side is lost"));
        }
        let goodbye = async {
            if !broken && self.stream.flush().await.is_ok() {
                let _ = self.stream.shutdown().await;
            }
            let _ = poll_fn(|cx| self.stream.poll_finish(cx)).await;
        };
        let _ = timeout(Close::PATIENCE, goodbye).await;
    }
}

/// The ends while they are polled.
struct Ready<'a, 'b> {
    halves: &'a mut [Half; 2],
    cx: &'a mut Context<'b>,
    /// Something was read or written.
    moved: bool,
}

impl Ready<'_, '_> {
    fn done<T>(&mut self, poll: Poll<io::Result<T>>) -> io::Result<T> {
        self.moved |= poll.is_ready();
        match poll {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Ends for Ready<'_, '_> {
    fn read(&mut self, side: Side, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        let stream = Pin::new(&mut self.halves[side as usize].stream);
        let read = stream.poll_read(self.cx, &mut into);
        self.done(read)?;
        Ok(into.filled().len())
    }

    fn write(&mut self, side: Side, data: &[u8]) -> io::Result<usize> {
        let half = &mut self.halves[side as usize];
        let written = Pin::new(&mut half.stream).poll_write(self.cx, data);
        half.dirty = true;
        self.done(written)
    }

    fn end(&mut self, side: Side) {
        self.halves[side as usize].ending = true;
    }
}
