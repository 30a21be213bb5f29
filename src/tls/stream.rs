//! A TLS connection as a byte stream, and the stream below it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

use super::explain;
use crate::duplex::{ByteStream, Close, Io};
use crate::error::{Error, Result};

/// A TLS connection whose handshake is done.
pub(super) struct Stream {
    tls: TlsStream<Carrier>,
    aborted: bool,
}

impl Stream {
    pub(super) fn new(tls: impl Into<TlsStream<Carrier>>) -> Self {
        let mut tls = tls.into();
        tls.get_mut().0.said = None;
        Self { tls, aborted: false }
    }

    /// Why a write failed. A peer that refuses our certificate says so in an alert, but the write
    /// that it no longer takes may fail before the alert is read.
    fn why(&mut self, error: io::Error, cx: &mut Context<'_>) -> io::Error {
        match Pin::new(&mut self.tls).poll_fill_buf(cx) {
            Poll::Ready(Err(alert)) if explain::is_tls(&alert) => explain::broken(alert),
            _ => explain::broken(error),
        }
    }

    fn poll_out<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TlsStream<Carrier>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = ready!(write(Pin::new(&mut self.tls), cx));
        Poll::Ready(result.map_err(|error| self.why(error, cx)))
    }
}

impl Io for Stream {
    fn abort(&mut self, why: &Error) {
        self.aborted = true;
        self.tls.get_mut().0.stream.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.tls.get_mut().0.stream.poll_finish(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        self.tls.get_mut().0.stream.poll_left(cx)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.tls.get_mut().0.stream.check(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf).map_err(explain::broken)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |tls, cx| tls.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |tls, cx| tls.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx, |tls, cx| tls.poll_flush(cx))
    }

    /// Says close_notify, then ends our direction of the stream below.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.aborted {
            return Poll::Ready(Ok(()));
        }
        self.poll_out(cx, |tls, cx| tls.poll_shutdown(cx))
    }
}

/// What TLS runs over. During the handshake it remembers how the peer began, so that a peer that
/// does not speak TLS at all can be quoted.
pub(super) struct Carrier {
    stream: ByteStream,
    said: Option<Vec<u8>>,
}

impl Carrier {
    /// As much as an error message quotes, or less.
    const QUOTED: usize = 64;

    pub(super) fn new(stream: ByteStream) -> Self {
        Self { stream, said: Some(Vec::new()) }
    }

    /// The first bytes from the peer, while the handshake lasts.
    pub(super) fn said(&self) -> &[u8] {
        self.said.as_deref().unwrap_or_default()
    }

    /// Whether the peer has begun with something other than a TLS record (RFC 8446 section 5.1).
    pub(super) fn is_plain(&self) -> bool {
        self.said().first().is_some_and(|first| !(20..=24).contains(first))
    }

    /// Says `last` and closes such that it arrives: data that nobody has read would turn the close
    /// into a reset, which overtakes an alert on its way.
    pub(super) async fn close(mut self, last: &[u8]) {
        const PATIENCE: Duration = Duration::from_secs(1);
        let goodbye = async {
            self.stream.write_all(last).await?;
            self.stream.shutdown().await
        };
        let _ = tokio::time::timeout(PATIENCE, goodbye).await;
        self.stream.discard().await;
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(said) = &mut self.said {
            let room = Self::QUOTED - said.len();
            said.extend(buf.filled()[before..].iter().take(room));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An alert would be noise to a peer that does not speak TLS.
        if self.is_plain() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_plain() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
