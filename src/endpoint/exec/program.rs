//! The connection to a child: what is written is its input, what is read its output.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::children::{Guarded, Stop};
use crate::duplex::{Close, Io};
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};

/// A running child. Dropped, it is stopped in the background.
pub(super) struct Program<I, O> {
    /// None once our direction has ended.
    input: Option<I>,
    /// None once the child's direction has ended.
    output: Option<O>,
    /// Which end of the join it is.
    side: Side,
    /// Whether the child has closed its input.
    deaf: bool,
    stop: Option<oneshot::Sender<Stop>>,
    outcome: Outcome,
    patience: Option<Pin<Box<Sleep>>>,
}

enum Outcome {
    Awaited(oneshot::Receiver<Result<()>>),
    Known(Result<()>),
}

impl<I, O> Program<I, O>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
{
    pub(super) fn new(input: I, output: O, guarded: Guarded, side: Side) -> Self {
        Self {
            input: Some(input),
            output: Some(output),
            side,
            deaf: false,
            stop: guarded.stop,
            outcome: Outcome::Awaited(guarded.outcome),
            patience: None,
        }
    }

    /// How the child has ended, once it has.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Outcome::Awaited(outcome) = &mut self.outcome {
            // The guard always tells, unless the runtime is shut down.
            let outcome = ready!(Pin::new(outcome).poll(cx)).unwrap_or(Ok(()));
            self.outcome = Outcome::Known(outcome);
        }
        match &self.outcome {
            Outcome::Known(outcome) => Poll::Ready(outcome.clone()),
            Outcome::Awaited(_) => Poll::Pending,
        }
    }

    /// What becomes of bytes that the child does not want.
    fn poll_unwanted(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        // As long as it talks, they are dropped: an error would cut its last words off, and to
        // wait would keep whoever writes from noticing anything else.
        if self.output.is_some() {
            return Poll::Ready(Ok(len));
        }
        match self.poll_outcome(cx) {
            Poll::Pending => Poll::Ready(Ok(len)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) => {
                Poll::Ready(Err(Error::new(Kind::ClosedOutput, "the program has ended").into()))
            }
        }
    }
}

impl<I, O> AsyncRead for Program<I, O>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        /// A child that has closed its output is about to end, almost always; one that lives on
        /// has half-closed.
        const ENDING: Duration = Duration::from_secs(1);
        let this = &mut *self;
        if let Some(output) = &mut this.output {
            let before = buf.filled().len();
            ready!(Pin::new(output).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.output = None;
        }
        if let Poll::Ready(outcome) = this.poll_outcome(cx) {
            return Poll::Ready(outcome.map_err(Into::into));
        }
        let patience = this.patience.get_or_insert_with(|| Box::pin(sleep(ENDING)));
        patience.as_mut().poll(cx).map(Ok)
    }
}

impl<I, O> AsyncWrite for Program<I, O>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match &mut this.input {
            Some(input) if !this.deaf => match ready!(Pin::new(input).poll_write(cx, buf)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => this.deaf = true,
                outcome => return Poll::Ready(outcome),
            },
            _ => {}
        }
        this.poll_unwanted(cx, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(input) = &mut self.input {
            // A child that no longer reads has no need of the end, either.
            let _ = ready!(Pin::new(input).poll_shutdown(cx));
            self.input = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I, O> Io for Program<I, O>
where
    I: AsyncWrite + Send + Unpin,
    O: AsyncRead + Send + Unpin,
{
    fn abort(&mut self, _: &Error) {
        self.input = None;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Stop::Now);
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let _ = Pin::new(&mut *self).poll_shutdown(cx);
        self.input = None;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Stop::Gently);
        }
        // A child that is blocked on its output could not end.
        let mut unheard = [0; 8 << 10];
        while let Some(output) = &mut self.output {
            let mut unheard = ReadBuf::new(&mut unheard);
            match Pin::new(output).poll_read(cx, &mut unheard) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !unheard.filled().is_empty() => {}
                Poll::Ready(_) => self.output = None,
            }
        }
        self.poll_outcome(cx)
    }

    /// A program that has ended hears nothing. One that only feeds the far end leaves that to
    /// finish, as in a pipeline of the shell.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        match self.side {
            Side::Near => Poll::Pending,
            Side::Far => self.poll_outcome(cx).map_ok(|()| Close::new(1000, "")),
        }
    }
}
