//! An end that only hears: what stdin says is not for the peer where a script says it all.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};

use crate::duplex::{Message, MessageIo, MessageStream};
use crate::error::{Error, Result};

/// Keeps an end from saying anything; what it is told, it still hears.
pub fn mute(end: MessageStream) -> MessageStream {
    Box::new(Mute(end))
}

struct Mute(MessageStream);

impl Stream for Mute {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

impl Sink<Message> for Mute {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        Pin::new(&mut self.0).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl MessageIo for Mute {
    fn half_closes(&self) -> bool {
        self.0.half_closes()
    }

    fn answers_pings(&self) -> bool {
        self.0.answers_pings()
    }

    fn abort(&mut self, why: &Error) {
        self.0.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_finish(cx)
    }
}
