//! A stream of a connection, as a byte stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lost;
use crate::duplex::Io;
use crate::error::{Error, Result};

/// The most that one write takes, in bytes.
const CHUNK: usize = 16 << 10;

/// A stream. The peer may send more once what it has sent was read here, and not before: so who
/// does not read stops the peer, and nobody else on the connection.
pub(super) struct Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has come, and was not read.
    first: Bytes,
    more: BytesMut,
    /// How the peer's direction has ended, if it has.
    end: Option<Result<()>>,
    /// Nothing more is sent.
    over: bool,
    /// What lives as long as this does.
    _held: Arc<dyn Send + Sync>,
}

impl Stream {
    pub(super) fn new(
        send: SendStream<Bytes>,
        receive: RecvStream,
        held: Arc<dyn Send + Sync>,
    ) -> Self {
        let (first, more) = (Bytes::new(), BytesMut::new());
        Self { send, receive, first, more, end: None, over: false, _held: held }
    }

    /// Takes the next frame from the library. Ready with nothing at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let end = match ready!(self.receive.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(data)),
            Some(Err(error)) => Err(lost(error)),
            None => Ok(()),
        };
        self.end = Some(end);
        Poll::Ready(None)
    }

    /// Why nothing more can be sent.
    fn why(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => lost(reason.into()).into(),
            Poll::Ready(Err(error)) => lost(error).into(),
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
        let this = &mut *self;
        while this.first.is_empty() {
            if !this.more.is_empty() {
                this.first = std::mem::take(&mut this.more).freeze();
                continue;
            }
            match ready!(this.poll_frame(cx)) {
                Some(data) => this.first = data,
                None => {
                    let end = this.end.as_ref().map_or(Ok(()), Result::clone);
                    return Poll::Ready(end.map_err(Into::into));
                }
            }
        }
        let len = this.first.len().min(buf.remaining());
        buf.put_slice(&this.first[..len]);
        this.first.advance(len);
        if this.first.is_empty() {
            // It may be a part of what was read for all streams.
            this.first = Bytes::new();
        }
        // It fails where there is no stream any more that could go on.
        let _ = this.receive.flow_control().release_capacity(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.send.reserve_capacity(buf.len().min(CHUNK));
        while this.send.capacity() == 0 {
            match ready!(this.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(this.why(cx))),
            }
        }
        let len = this.send.capacity().min(buf.len()).min(CHUNK);
        match this.send.send_data(Bytes::copy_from_slice(&buf[..len]), false) {
            Ok(()) => Poll::Ready(Ok(len)),
            Err(_) => Poll::Ready(Err(this.why(cx))),
        }
    }

    /// What was written is the connection's, which sends it as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.over, true) {
            // It fails where the stream is over already.
            let _ = self.send.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }
}

impl Io for Stream {
    /// As TCP's reset (RFC 8441 section 5).
    fn abort(&mut self, _: &Error) {
        self.over = true;
        self.send.send_reset(Reason::CANCEL);
    }

    /// Nobody reads now. Small frames cost more to keep than what is in them, so they are joined.
    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        while let Poll::Ready(Some(data)) = self.poll_frame(cx) {
            self.more.extend_from_slice(&data);
        }
        self.end.clone().unwrap_or(Ok(()))
    }
}
