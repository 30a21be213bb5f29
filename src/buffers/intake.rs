//! What was read of a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::{LARGE, borrow, give_back};

/// What was read and not taken yet.
#[derive(Default)]
pub(crate) struct Intake {
    bytes: BytesMut,
    /// They are in a chunk of the thread.
    lent: bool,
}

impl Intake {
    /// With what was read before.
    pub(crate) fn new(read: &[u8]) -> Self {
        Self { bytes: read.into(), lent: false }
    }

    /// The bytes, to be taken from the front.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Appends what can be read at once, and returns how much it was; 0 is the end.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut R,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.bytes.len() > LARGE {
            // The end of this may be far away, so that there is more and more room.
            self.bytes.reserve(LARGE);
            return poll_read_buf(stream, cx, &mut self.bytes);
        }
        let mut chunk = borrow();
        chunk.extend_from_slice(&self.bytes);
        let read = poll_read_buf(stream, cx, &mut chunk);
        if matches!(read, Poll::Ready(Ok(1..))) {
            self.replace(chunk, true);
        } else {
            give_back(chunk);
        }
        read
    }

    /// Leaves a chunk to others if there is too little in it: before nothing is taken for a while, or
    /// what is taken may be kept for long. A buffer of its own goes once it is empty.
    pub(crate) fn settle(&mut self, worth: usize) {
        if self.bytes.is_empty() || self.lent && self.bytes.len() < worth {
            let few = BytesMut::from(&self.bytes[..]);
            self.replace(few, false);
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn replace(&mut self, bytes: BytesMut, lent: bool) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if std::mem::replace(&mut self.lent, lent) {
            give_back(before);
        }
    }
}
