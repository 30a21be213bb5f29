//! An end of a join that hears as before, but says something else.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream, stream};

use super::{Message, MessageIo, MessageStream};
use crate::error::{Error, Result};

/// Keeps an end from saying anything; what it is told, it still hears.
pub(crate) fn mute(end: MessageStream) -> MessageStream {
    voiced(stream::empty(), end)
}

/// Has `voice` speak for an end.
pub(crate) fn voiced<V>(voice: V, end: MessageStream) -> MessageStream
where
    V: Stream<Item = Result<Message>> + Send + Unpin + 'static,
{
    Box::new(Voiced { voice, end })
}

struct Voiced<V> {
    voice: V,
    end: MessageStream,
}

impl<V: Stream<Item = Result<Message>> + Unpin> Stream for Voiced<V> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.voice).poll_next(cx)
    }
}

impl<V: Unpin> Sink<Message> for Voiced<V> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.end).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        Pin::new(&mut self.end).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.end).poll_close(cx)
    }
}

impl<V: Stream<Item = Result<Message>> + Send + Unpin> MessageIo for Voiced<V> {
    fn half_closes(&self) -> bool {
        self.end.half_closes()
    }

    fn answers_pings(&self) -> bool {
        self.end.answers_pings()
    }

    fn abort(&mut self, why: &Error) {
        self.end.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.end.poll_finish(cx)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.end.check(cx)
    }
}
