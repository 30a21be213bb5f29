//! SIGINT and SIGTERM: the first ends a run in order, the second at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::error::{Error, Kind, Result};

/// Runs `work`; a signal tells it to stop and becomes the outcome.
///
/// # Errors
/// What the work says, or which signal ended it.
pub async fn until_interrupted<T>(
    cx: &Arc<Context>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    let which = tokio::select! {
        outcome = &mut work => return outcome,
        which = next() => which?,
    };
    cx.stop.cancel();
    let done = tokio::select! {
        outcome = work => outcome,
        again = next() => Err(Error::new(again?, "interrupted twice")),
    };
    match done {
        // What was under way got to its end all the same.
        Err(_) => Err(Error::new(which, "interrupted")),
        Ok(done) => Ok(done),
    }
}

/// Waits for a signal that ends the run.
pub async fn next() -> Result<Kind> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io)?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Kind::Interrupted,
        _ = terminate.recv() => Kind::Terminated,
    })
}
