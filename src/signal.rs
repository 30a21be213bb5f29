//! SIGINT and SIGTERM: the first ends a run in order, the second at once.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// Signals that come together are one: timeout(1) sends its own to us and then to our group.
const ONE_ACT: Duration = Duration::from_millis(250);

/// SIGHUP, which does not end us from now on: it asks for the configuration to be read again.
///
/// # Errors
/// The system refuses.
pub fn hangups() -> Result<Signal> {
    signal(SignalKind::hangup()).map_err(Error::io)
}

/// The signals that end a run.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from now on. A run does so before it says that it is ready.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(Error::io);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Runs `work` to its end. The first signal cancels `stop`, the second does not wait for what
    /// the work makes of that. Which signal came first is returned beside the outcome.
    ///
    /// # Errors
    /// What the work says, or [`Kind::Interrupted`] or [`Kind::Terminated`] for a second signal.
    pub async fn run<T>(
        &mut self,
        stop: &CancellationToken,
        work: impl Future<Output = Result<T>>,
    ) -> (Option<Kind>, Result<T>) {
        tokio::pin!(work);
        let first = tokio::select! {
            outcome = &mut work => return (None, outcome),
            first = self.next() => first,
        };
        stop.cancel();
        let second = async {
            let began = Instant::now();
            loop {
                let second = self.next().await;
                if began.elapsed() >= ONE_ACT {
                    return second;
                }
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            second = second => Err(Error::new(second, "interrupted twice")),
        };
        (Some(first), outcome)
    }

    async fn next(&mut self) -> Kind {
        tokio::select! {
            _ = self.interrupt.recv() => Kind::Interrupted,
            _ = self.terminate.recv() => Kind::Terminated,
        }
    }
}
