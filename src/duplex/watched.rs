//! An end of a join under watch: a recording, a tally and a log all see what passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};

use super::{Body, Close, Message, MessageIo, MessageStream};
use crate::error::{Error, Result};

/// Sees what passes through one end of a join; an error ends it.
pub(crate) trait Watch: Send + Unpin {
    /// The peer has said this.
    fn received(&mut self, message: &Message) -> Result<()>;

    /// This is being said to the peer. A Close is seen once, also where nobody has spelt it out.
    fn sent(&mut self, message: &Message) -> Result<()>;
}

/// An end under watch.
pub(crate) struct Watched<W> {
    end: MessageStream,
    watch: W,
    closed: bool,
}

impl<W: Watch + 'static> Watched<W> {
    /// Puts `end` under watch.
    pub(crate) fn boxed(end: MessageStream, watch: W) -> MessageStream {
        Box::new(Self { end, watch, closed: false })
    }
}

impl<W: Watch> Watched<W> {
    /// The Close that ending or failing amounts to.
    fn goodbye(&mut self, close: Close) -> Result<()> {
        if self.end.half_closes() || std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.watch.sent(&Body::Close(close).into())
    }
}

impl<W: Watch> Stream for Watched<W> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(Pin::new(&mut self.end).poll_next(cx));
        if let Some(Ok(message)) = &message {
            self.watch.received(message)?;
        }
        Poll::Ready(message)
    }
}

impl<W: Watch> Sink<Message> for Watched<W> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.end).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        self.closed |= matches!(message.body, Body::Close(_));
        self.watch.sent(&message)?;
        Pin::new(&mut self.end).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.goodbye(Close::new(1000, ""))?;
        Pin::new(&mut self.end).poll_close(cx)
    }
}

impl<W: Watch> MessageIo for Watched<W> {
    fn half_closes(&self) -> bool {
        self.end.half_closes()
    }

    fn answers_pings(&self) -> bool {
        self.end.answers_pings()
    }

    fn abort(&mut self, why: &Error) {
        // The connection is at its end; that this cannot be written down changes nothing.
        let _ = self.goodbye(why.into());
        self.end.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.end.poll_finish(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        self.end.poll_left(cx)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.end.check(cx)
    }

    fn endless(&self) -> bool {
        self.end.endless()
    }
}
