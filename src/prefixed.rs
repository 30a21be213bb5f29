//! A byte stream of which a little was read too early.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::{ByteStream, Io, as_below};

impl ByteStream {
    /// Puts back what was read past the end of a handshake. A socket stays one if that is nothing.
    #[must_use]
    pub(crate) fn unread(self, early: impl Into<Bytes>) -> Self {
        let early = early.into();
        if early.is_empty() { self } else { Self::other(Prefixed { early, stream: self }) }
    }
}

struct Prefixed {
    early: Bytes,
    stream: ByteStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..len]);
        self.early.advance(len);
        if self.early.is_empty() {
            // The buffer of the handshake goes now, not when the connection ends.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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

impl Io for Prefixed {
    as_below!(stream);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn what_was_unread_comes_first() {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"later").await.unwrap();
        far.shutdown().await.unwrap();
        let mut stream = ByteStream::Unix(near).unread(&b"early, "[..]);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "early, later");
    }

    #[tokio::test]
    async fn a_socket_without_early_bytes_stays_a_socket() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(matches!(ByteStream::Unix(near).unread(Bytes::new()), ByteStream::Unix(_)));
    }
}
