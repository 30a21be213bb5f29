//! `null:` swallows everything and says nothing.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::{ByteStream, Duplex, Io, Message, MessageIo};
use crate::error::{Error, Result};

/// A place where nothing comes back from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Null;

impl Scheme for Null {
    const NAMES: &'static [&'static str] = &["null"];
    const USAGE: &'static str = "null:";
    const HELP: &'static str = "discards what it is told and says nothing";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const SHAPE: Shape = Shape::Either;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        match rest {
            "" => Ok(Self),
            _ => Err("nothing follows `null:`".into()),
        }
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        Ok(match call.near {
            Shape::Bytes => Duplex::Bytes(ByteStream::other(Hole)),
            Shape::Messages | Shape::Either => Duplex::Messages(Box::new(Hole)),
        })
    }
}

impl fmt::Display for Null {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null:")
    }
}

struct Hole;

impl AsyncRead for Hole {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Hole {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Hole {
    fn endless(&self) -> bool {
        true
    }
}

impl Stream for Hole {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Message> for Hole {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> Result<()> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl MessageIo for Hole {
    fn abort(&mut self, _: &Error) {}

    fn endless(&self) -> bool {
        true
    }
}
