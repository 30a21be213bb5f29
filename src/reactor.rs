//! Sockets of tasks that run on a thread with an epoll set of its own, as those of tunnels do.
//!
//! Such a thread watches the sockets of its tasks in the same set as all else, so that what becomes
//! of them later can stay in it, and one wait serves both. On all other threads sockets are tokio's:
//! [`Listener`], [`Accepted::stream`] and [`connect`] do what fits the thread they are called on.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures_util::future::BoxFuture;
use rustix::event::epoll::{self, EventData, EventFlags};
use tokio::task::coop;

use crate::lock::lock;
use crate::slab::Slab;

mod listener;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use listener::{Accepted, Listener};
pub(crate) use socket::{Socket, connect};

/// An epoll set, and who waits for what in it.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    sources: Mutex<Slab<Arc<Source>>>,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
    /// How often the task that runs may still read or write before others have their turn.
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// As tokio has it.
const MOST_TURNS: u32 = 128;

/// A task of a thread with a reactor. It gives way to others now and then, however much there is for
/// it to do.
pub(crate) struct Task(BoxFuture<'static, ()>);

impl Task {
    pub(crate) fn new(task: BoxFuture<'static, ()>) -> Self {
        Self(task)
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TURNS.set(MOST_TURNS);
        self.0.as_mut().poll(cx)
    }
}

/// Takes a turn of the task that runs, or has it wait for the next one.
fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    if HERE.with_borrow(Option::is_none) {
        return coop::poll_proceed(cx).map(|turn| turn.made_progress());
    }
    let left = TURNS.get();
    if left == 0 {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    TURNS.set(left - 1);
    Poll::Ready(())
}

impl Reactor {
    /// An empty set.
    ///
    /// # Errors
    /// The system has none.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Arc::new(Self { epoll, sources: Mutex::new(Slab::new()) }))
    }

    /// Has the tasks of this thread use it from now on.
    pub(crate) fn enter(self: &Arc<Self>) {
        HERE.set(Some(self.clone()));
    }

    /// That of this thread.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    /// The set, for those who have tokens of their own.
    pub(crate) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Whether an event of the set is about a socket of a task, which is told then.
    pub(crate) fn tell(&self, token: u64, flags: EventFlags) -> bool {
        let ours = token & OURS != 0;
        if ours {
            let source = lock(&self.sources).get_mut((token & !OURS) as usize).cloned();
            if let Some(source) = source {
                source.is_ready(flags);
            }
        }
        ours
    }

    fn watch(self: Arc<Self>, fd: &OwnedFd, flags: EventFlags) -> io::Result<Watched> {
        let source = Arc::new(Source::default());
        let key = lock(&self.sources).insert(source.clone());
        let watched = Watched { reactor: self, source, key };
        epoll::add(&watched.reactor.epoll, fd, watched.data(), flags)?;
        Ok(watched)
    }
}

/// Marks the tokens of sockets of tasks.
const OURS: u64 = 1 << 62;

/// What is known of a socket, and who is to be told.
#[derive(Default)]
struct Source(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether it is worth trying, to read and to write.
    ready: [bool; 2],
    /// The peer has ended its direction, or the connection has failed: reading waits no more.
    ended: bool,
    wakers: [Option<Waker>; 2],
}

/// What a socket is tried for.
#[derive(Clone, Copy)]
enum What {
    Read,
    Write,
}

impl Source {
    fn is_ready(&self, flags: EventFlags) {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let ended = failed || flags.contains(EventFlags::RDHUP);
        let ready =
            [ended || flags.contains(EventFlags::IN), failed || flags.contains(EventFlags::OUT)];
        let mut state = lock(&self.0);
        state.ended |= ended;
        let wakers = [0, 1].map(|what| {
            state.ready[what] |= ready[what];
            ready[what].then(|| state.wakers[what].take()).flatten()
        });
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Tries something once it may work, and again until it would not block. It says whether it has
    /// left nothing, so that there will be an event before it works again.
    fn poll<T>(
        &self,
        what: What,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        ready!(poll_turn(cx));
        loop {
            {
                let state = &mut *lock(&self.0);
                let ended = state.ended && matches!(what, What::Read);
                if !std::mem::take(&mut state.ready[what as usize]) && !ended {
                    let waker = &mut state.wakers[what as usize];
                    match waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => *waker = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                }
            }
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // An end that was told of is there to be read.
                    lock(&self.0).ended = false;
                }
                Ok((done, true)) => return Poll::Ready(Ok(done)),
                outcome => {
                    lock(&self.0).ready[what as usize] = true;
                    match outcome {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        outcome => return Poll::Ready(outcome.map(|(done, _)| done)),
                    }
                }
            }
        }
    }

    fn set_writable(&self) {
        lock(&self.0).ready[What::Write as usize] = true;
    }
}

/// A place in the set.
pub(crate) struct Watched {
    reactor: Arc<Reactor>,
    source: Arc<Source>,
    key: usize,
}

impl Watched {
    fn data(&self) -> EventData {
        EventData::new_u64(OURS | self.key as u64)
    }

    fn change(&self, fd: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.reactor.epoll, fd, self.data(), flags)?)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.reactor.sources).remove(self.key);
    }
}
