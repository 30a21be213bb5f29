//! Messages seen as bytes: payloads one after the other in, binary messages out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::{Body, ByteStream, Close, Io, Message, MessageStream};
use crate::error::{Error, Result};

/// Sees `messages` as a byte stream.
pub fn as_bytes(messages: MessageStream) -> ByteStream {
    ByteStream::other(Unframed { messages, rest: Bytes::new(), ended: false })
}

struct Unframed {
    messages: MessageStream,
    /// What is left of the message that was received last.
    rest: Bytes,
    ended: bool,
}

impl AsyncRead for Unframed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(self.messages.poll_next_unpin(cx)) {
                Some(Ok(message)) => match message.body {
                    Body::Text(text) => self.rest = text.into(),
                    Body::Binary(data) => self.rest = data,
                    Body::Ping(_) | Body::Pong(_) => {}
                    Body::Close(close) if close.is_clean() => self.ended = true,
                    Body::Close(close) => {
                        self.ended = true;
                        return Poll::Ready(Err(Error::closed(&close).into()));
                    }
                },
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(error.into()));
                }
                None => self.ended = true,
            }
        }
        let len = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..len]);
        self.rest.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unframed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.messages.poll_ready_unpin(cx))?;
        self.messages.start_send_unpin(Message::binary(Bytes::copy_from_slice(buf)))?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.messages.poll_flush_unpin(cx).map_err(Into::into)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.messages.poll_close_unpin(cx).map_err(Into::into)
    }
}

impl Io for Unframed {
    fn abort(&mut self, why: &Error) {
        self.messages.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.messages.poll_finish(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        self.messages.poll_left(cx)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.messages.check(cx)
    }

    fn endless(&self) -> bool {
        self.messages.endless()
    }
}
