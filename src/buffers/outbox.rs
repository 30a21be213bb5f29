//! What waits to be written to a stream.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::{LARGE, append, borrow, give_back, take};

/// How many pieces one write takes.
const PIECES: usize = 16;

/// From here on a piece is better written from where it is, in bytes.
const WORTH: usize = 16 << 10;

/// What waits to be written, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    /// What comes before `end`.
    pieces: VecDeque<Bytes>,
    /// The length of all those.
    before: usize,
    /// What is gathered.
    end: BytesMut,
    /// That is in a chunk of the thread.
    lent: bool,
}

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.before + self.end.len()
    }

    /// Where to append what is small.
    pub(crate) fn end(&mut self) -> &mut BytesMut {
        if self.end.capacity() == 0 {
            (self.end, self.lent) = (borrow(), true);
        }
        &mut self.end
    }

    /// Appends a piece, for a stream that is written `vectored` without a copy if it is large.
    pub(crate) fn push(&mut self, piece: Bytes, vectored: bool) {
        if !vectored || piece.len() < WORTH {
            append(self.end(), &piece);
            return;
        }
        if !self.end.is_empty() {
            self.before += self.end.len();
            self.pieces.push_back(self.end.split().freeze());
        }
        self.before += piece.len();
        self.pieces.push_back(piece);
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the stream, and [`io::ErrorKind::WriteZero`].
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = if self.pieces.is_empty() {
                Pin::new(&mut *stream).poll_write(cx, &self.end)
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let pieces = self.pieces.iter().map(|it| &it[..]).chain([&self.end[..]]);
                let count = slices.iter_mut().zip(pieces).map(|(to, it)| *to = IoSlice::new(it));
                let count = count.count();
                Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count])
            };
            match written {
                Poll::Pending => {
                    self.settle();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => self.advance(written?),
            }
        }
        self.replace(BytesMut::new());
        Poll::Ready(Ok(()))
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.before + self.end.capacity()
    }

    fn advance(&mut self, mut len: usize) {
        while let Some(first) = self.pieces.front_mut() {
            let part = len.min(first.len());
            first.advance(part);
            self.before -= part;
            len -= part;
            if !first.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        take(&mut self.end, len);
    }

    /// The stream takes nothing: a chunk is left to others, if there is little in it.
    fn settle(&mut self) {
        if self.lent && self.end.len() < LARGE {
            self.replace(BytesMut::from(&self.end[..]));
        }
    }

    fn replace(&mut self, end: BytesMut) {
        let before = std::mem::replace(&mut self.end, end);
        if std::mem::take(&mut self.lent) {
            give_back(before);
        }
    }
}
