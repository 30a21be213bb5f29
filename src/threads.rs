//! Threads that serve peers, each with a runtime of its own.
//!
//! A peer stays on the thread that it came to. What is ready there is read, passed on and written
//! before the thread waits again, and no other one has to be woken for it. Few threads are better
//! than many: what comes while one is at work costs it no wait of its own.

use std::io;
use std::iter::once;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. All but the first end when this is dropped.
pub struct Threads {
    first: Handle,
    others: Vec<Thread>,
}

struct Thread {
    runtime: Handle,
    /// Dropped, it ends the thread.
    _run: oneshot::Sender<()>,
}

impl Threads {
    /// The one that this is called on, or those of its runtime.
    pub fn here() -> Self {
        Self { first: Handle::current(), others: Vec::new() }
    }

    /// So many, of which the first is the one that this is called on.
    ///
    /// # Errors
    /// The system refuses one.
    pub fn start(count: usize) -> io::Result<Self> {
        let others = (1..count).map(|_| Thread::start()).collect::<io::Result<_>>()?;
        Ok(Self { others, ..Self::here() })
    }

    /// How many are best where nothing else is known: one core is left to the other end, or to what
    /// else there is to do.
    pub fn fitting() -> usize {
        (cores() - 1).max(1)
    }

    /// The one with the least to do.
    pub fn idlest(&self) -> &Handle {
        let all = once(&self.first).chain(self.others.iter().map(|it| &it.runtime));
        all.min_by_key(|it| it.metrics().num_alive_tasks()).unwrap_or(&self.first)
    }
}

/// How many cores this process may use; 1 where the system does not say.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (run, over) = oneshot::channel();
        thread::Builder::new().name("towline-peers".into()).spawn(move || {
            let _ = runtime.block_on(over);
            // A read that cannot be cancelled is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _run: run })
    }
}
