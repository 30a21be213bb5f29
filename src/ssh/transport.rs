//! The stream below an SSH session, with a queue for what is written.
//!
//! russh does not read while it writes. Two such ends that both have much to say would wait for
//! each other for ever, and a keepalive that is due while a write waits would never be sent. So
//! writes never wait here: a task of its own takes them to the stream. What can pile up is bounded
//! by the windows of the channels, since nothing is sent that the peer has not asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::duplex::ByteStream;

/// A byte stream whose writes are queued.
pub(super) struct Transport {
    reads: ReadHalf<ByteStream>,
    /// None once our direction has ended.
    writes: Option<mpsc::UnboundedSender<Bytes>>,
    /// How many bytes went through, both ways.
    moved: Arc<AtomicU64>,
}

impl Transport {
    /// Starts the task that writes. When it has written everything after the end, or cannot write
    /// any more, it cancels the token that is returned, beside the count of bytes that were moved.
    pub(super) fn new(stream: ByteStream) -> (Self, Arc<AtomicU64>, CancellationToken) {
        let (reads, stream) = split(stream);
        let (writes, queue) = mpsc::unbounded_channel();
        let drained = CancellationToken::new();
        let done = drained.clone().drop_guard();
        tokio::spawn(async move {
            // The session learns of a failure from its own reads and keepalives.
            let _ = drain(queue, stream).await;
            drop(done);
        });
        let moved = Arc::new(AtomicU64::new(0));
        (Self { reads, writes: Some(writes), moved: moved.clone() }, moved, drained)
    }
}

async fn drain(
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    mut stream: WriteHalf<ByteStream>,
) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        stream.write_all(&bytes).await?;
        if queue.is_empty() {
            stream.flush().await?;
        }
    }
    stream.shutdown().await
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.reads).poll_read(cx, buf);
        self.moved.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        outcome
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.moved.fetch_add(buf.len() as u64, Ordering::Relaxed);
        let queued = self.writes.as_ref().map(|queue| queue.send(Bytes::copy_from_slice(buf)));
        Poll::Ready(match queued {
            Some(Ok(())) => Ok(buf.len()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes = None;
        Poll::Ready(Ok(()))
    }
}
