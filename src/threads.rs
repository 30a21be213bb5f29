//! Threads that serve peers, each with a runtime of its own.
//!
//! A peer stays on the thread that it came to. What is ready there is read, passed on and written
//! before the thread waits again, and no other one has to be woken for it. Few threads are better
//! than many: what comes while one is at work costs it no wait of its own.

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. All but the first end when this is dropped.
pub(crate) struct Threads {
    runtimes: Vec<Handle>,
    _run: Vec<oneshot::Sender<()>>,
}

impl Threads {
    /// The one that this is called on, or those of its runtime.
    pub(crate) fn here() -> Self {
        Self { runtimes: vec![Handle::current()], _run: Vec::new() }
    }

    /// So many, of which the first is the one that this is called on.
    ///
    /// # Errors
    /// The system refuses one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut threads = Self::here();
        for _ in 1..count {
            threads.add()?;
        }
        Ok(threads)
    }

    fn add(&mut self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        self.runtimes.push(runtime.handle().clone());
        let (run, over) = oneshot::channel();
        self._run.push(run);
        thread::Builder::new().name("towline-peers".into()).spawn(move || {
            let _ = runtime.block_on(over);
            // Nobody waits for a read that cannot be cancelled.
            runtime.shutdown_background();
        })?;
        Ok(())
    }

    /// The one with the least to do.
    pub(crate) fn idlest(&self) -> &Handle {
        let tasks = |it: &&Handle| it.metrics().num_alive_tasks();
        self.runtimes.iter().min_by_key(tasks).unwrap_or(&self.runtimes[0])
    }

    /// How many are best where nothing else is known: one core is left to the other end, or to what
    /// else there is to do.
    pub(crate) fn fitting() -> usize {
        thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
    }
}
