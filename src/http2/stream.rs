//! A stream of a connection, as a byte stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lost;
use crate::duplex::Io;
use crate::error::{Error, Result};

/// The most that one write takes, in bytes.
pub(super) const CHUNK: usize = 16 << 10;

/// A stream in both directions.
pub(super) struct Stream {
    near: Sending,
    far: Receiving,
    /// What lives as long as this does.
    _held: Arc<dyn Send + Sync>,
}

/// The peer's direction. It may send more once what it has sent was read here, and not before: so
/// who does not read stops the peer, and nobody else on the connection.
pub(super) struct Receiving {
    stream: RecvStream,
    /// What has come, and was not read.
    first: Bytes,
    more: BytesMut,
    /// How it has ended, if it has.
    end: Option<Result<()>>,
}

/// Our direction.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    over: bool,
}

impl Stream {
    pub(super) fn new(
        near: SendStream<Bytes>,
        far: RecvStream,
        held: Arc<dyn Send + Sync>,
    ) -> Self {
        Self { near: Sending::new(near), far: Receiving::new(far), _held: held }
    }
}

impl Receiving {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, first: Bytes::new(), more: BytesMut::new(), end: None }
    }

    /// What comes next, at most so much of it; nothing at the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<Bytes>> {
        while self.first.is_empty() {
            if !self.more.is_empty() {
                self.first = std::mem::take(&mut self.more).freeze();
                continue;
            }
            match ready!(self.poll_frame(cx)) {
                Some(data) => self.first = data,
                None => {
                    let end = self.end.as_ref().map_or(Ok(()), Result::clone);
                    return Poll::Ready(end.map(|()| Bytes::new()).map_err(Into::into));
                }
            }
        }
        let len = self.first.len().min(most);
        let piece = self.first.split_to(len);
        if self.first.is_empty() {
            // It may be a part of what was read for all streams.
            self.first = Bytes::new();
        }
        // It fails where there is no stream any more that could go on.
        let _ = self.stream.flow_control().release_capacity(len);
        Poll::Ready(Ok(piece))
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.poll_next(cx, buf.remaining()))?;
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }

    /// Takes what has come while nobody reads, and joins it: small frames cost more to keep than
    /// what is in them.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) -> Result<()> {
        while let Poll::Ready(Some(data)) = self.poll_frame(cx) {
            self.more.extend_from_slice(&data);
        }
        self.end.clone().unwrap_or(Ok(()))
    }

    /// Takes the next frame from the library. Ready with nothing at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let end = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(data)),
            Some(Err(error)) => Err(lost(error)),
            None => Ok(()),
        };
        self.end = Some(end);
        Poll::Ready(None)
    }
}

impl Sending {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, over: false }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.stream.reserve_capacity(buf.len().min(CHUNK));
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(self.why(cx))),
            }
        }
        let len = self.stream.capacity().min(buf.len()).min(CHUNK);
        match self.stream.send_data(Bytes::copy_from_slice(&buf[..len]), false) {
            Ok(()) => Poll::Ready(Ok(len)),
            Err(_) => Poll::Ready(Err(self.why(cx))),
        }
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            // It fails where the stream is over already.
            let _ = self.stream.send_data(Bytes::new(), true);
        }
    }

    /// Has the peer see that the stream has failed.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.over = true;
        self.stream.send_reset(reason);
    }

    /// Ready when the peer has reset the stream.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.stream.poll_reset(cx).map(|reason| lost(reason.map_or_else(|it| it, Into::into)))
    }

    /// Why nothing more can be sent.
    fn why(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.poll_reset(cx) {
            Poll::Ready(error) => error.into(),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.far.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.near.poll_write(cx, buf)
    }

    /// What was written is the connection's, which sends it as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.near.end();
        Poll::Ready(Ok(()))
    }
}

impl Io for Stream {
    /// As TCP's reset (RFC 8441 section 5).
    fn abort(&mut self, _: &Error) {
        self.near.reset(Reason::CANCEL);
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.far.gather(cx)
    }
}
