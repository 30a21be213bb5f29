//! Large reads for connections that are busy, small buffers for those that are not.
//!
//! The protocol library keeps its read buffer for as long as a connection lives, so that buffer
//! has to be small where there may be thousands of peers; but bulk read 4 KiB at a time costs more
//! in system calls than in anything else. So a connection that fills its small buffer gets a large
//! one below it, until it pauses.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::duplex::ByteStream;

/// What one read takes while a connection is busy.
const CHUNK: usize = 64 << 10;

pub(super) struct ReadAhead {
    pub(super) stream: ByteStream,
    ahead: BytesMut,
    /// The last read gave all that was asked for.
    busy: bool,
    /// Something was taken from us since somebody last asked.
    written: bool,
    /// What is written now is written on the way to read.
    reading: bool,
}

impl ReadAhead {
    pub(super) fn new(stream: ByteStream) -> Self {
        Self { stream, ahead: BytesMut::new(), busy: false, written: false, reading: false }
    }

    /// While it is read, the library sends Pongs as well. One that a peer does not take any more is
    /// no reason not to hear its last words, so that writing seems to wait when it fails.
    pub(super) fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
    }

    fn unless_reading<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Err(_)) if self.reading => Poll::Pending,
            outcome => outcome,
        }
    }

    /// Whether anything was written since this was last asked.
    pub(super) fn has_written(&mut self) -> bool {
        std::mem::take(&mut self.written)
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() && !this.busy {
            let before = buf.remaining();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            this.busy = buf.remaining() == 0 && before < CHUNK;
            return Poll::Ready(Ok(()));
        }
        if this.ahead.is_empty() {
            this.ahead.reserve(CHUNK);
            let read = poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.ahead);
            this.busy = matches!(read, Poll::Ready(Ok(n)) if n > buf.remaining());
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
            ready!(read)?;
        }
        let len = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..len]);
        this.ahead.advance(len);
        if this.ahead.is_empty() && !this.busy {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        let written = ready!(self.unless_reading(written));
        self.written |= written.is_ok();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_reading(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
