//! A stream for tests.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::Io;

/// A stream that gives what it has in pieces, sometimes after a while, and takes what it is given in
/// pieces.
pub(super) struct Scripted {
    pub(super) gives: VecDeque<Vec<u8>>,
    /// Whether the next thing it does is to make somebody wait; None where it never does.
    pub(super) rests: Option<bool>,
    pub(super) takes: usize,
    pub(super) taken: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// Whether it is time for a rest, which comes before each piece.
    fn rests(&mut self, cx: &Context<'_>) -> bool {
        let Some(rests) = &mut self.rests else { return false };
        if *rests {
            cx.waker().wake_by_ref();
        }
        std::mem::replace(rests, !*rests)
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rests(cx) {
            return Poll::Pending;
        }
        let Some(mut piece) = self.gives.pop_front() else { return Poll::Ready(Ok(())) };
        let len = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..len]);
        if len < piece.len() {
            self.gives.push_front(piece.split_off(len));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.rests(cx) {
            return Poll::Pending;
        }
        let (mut taken, mut left) = (self.taken.lock().unwrap(), self.takes);
        for buf in bufs {
            let len = buf.len().min(left);
            taken.extend_from_slice(&buf[..len]);
            left -= len;
        }
        Poll::Ready(Ok(self.takes - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Scripted {}
