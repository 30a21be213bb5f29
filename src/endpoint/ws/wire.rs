//! The stream below: what was read of it, what waits to be written, and how that looks to the
//! protocol library.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::head::{self, Head};
use crate::buffers::{Intake, LARGE, Outbox, take};
use crate::duplex::ByteStream;

/// What may lie unread in a buffer of its own while something else is done, in bytes.
const LITTLE: usize = 4 << 10;

pub(super) struct Wire {
    pub(super) stream: ByteStream,
    pub(super) outbox: Outbox,
    intake: Intake,
    /// A payload that is read into a buffer of its own.
    long: Option<Box<Long>>,
    /// How much of a frame that was begun by the library is to come, in bytes.
    begun: u64,
    /// The library has the beginning of a message of which more frames are to come.
    fragmented: bool,
    eof: bool,
    /// Something was taken from us since somebody last asked.
    written: bool,
}

struct Long {
    head: Head,
    payload: BytesMut,
}

impl Wire {
    /// Over a stream of which some was read already.
    pub(super) fn new(stream: ByteStream, read: &[u8]) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            intake: Intake::new(read),
            long: None,
            begun: 0,
            fragmented: false,
            eof: false,
            written: false,
        }
    }

    /// The next frame with its payload unmasked, if `ours` says so of its head; None where what comes
    /// next is for the library, such as the end.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        ours: impl Fn(&Head) -> bool,
    ) -> Poll<io::Result<Option<(Head, Bytes)>>> {
        if self.begun > 0 || self.fragmented {
            return Poll::Ready(Ok(None));
        }
        while !self.eof {
            if self.long.is_some() {
                return self.poll_long(cx);
            }
            let bytes = self.intake.bytes();
            if let Some((head, at)) = Head::parse(bytes) {
                if !ours(&head) {
                    break;
                }
                let len = usize::try_from(head.len).map_err(io::Error::other)?;
                if bytes.len() - at >= len {
                    return Poll::Ready(Ok(Some((head, payload(bytes, at, &head, len)))));
                }
                if len > LARGE {
                    bytes.advance(at);
                    let mut payload = BytesMut::with_capacity(len);
                    payload.put(bytes.split());
                    self.long = Some(Box::new(Long { head, payload }));
                    continue;
                }
            }
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(None))
    }

    fn poll_long(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<(Head, Bytes)>>> {
        let Some(mut long) = self.long.take() else { return Poll::Ready(Ok(None)) };
        loop {
            let left = long.head.len as usize - long.payload.len();
            if left == 0 {
                let Long { head, payload: mut bytes } = *long;
                let len = bytes.len();
                return Poll::Ready(Ok(Some((head, payload(&mut bytes, 0, &head, len)))));
            }
            let mut rest = (&mut long.payload).limit(left);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut rest) {
                Poll::Ready(Ok(0)) => {
                    self.eof = true;
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(read) => drop(read?),
                Poll::Pending => {
                    self.long = Some(long);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.intake.poll_fill(cx, &mut self.stream))?;
        self.eof = read == 0;
        Poll::Ready(Ok(()))
    }

    /// Nothing is read for a while, or until the stream has more (`waiting`).
    pub(super) fn pause(&mut self, waiting: bool) {
        self.intake.settle(if waiting { LARGE } else { LITTLE });
    }

    /// Writes out all that is queued.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outbox.len();
        let outcome = self.outbox.poll_write(cx, &mut self.stream);
        self.written |= self.outbox.len() < before;
        outcome
    }

    /// The same, and whatever is below.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whether anything was written since this was last asked.
    pub(super) fn has_written(&mut self) -> bool {
        std::mem::take(&mut self.written)
    }

    /// The memory that is held, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let long = self.long.as_ref().map_or(0, |long| long.payload.capacity());
        self.intake.capacity() + self.outbox.capacity() + long
    }

    /// What the library reads and writes while a task polls.
    pub(super) fn view<'a, 'b>(
        &'a mut self,
        cx: &'a mut Context<'b>,
        reading: bool,
    ) -> View<'a, 'b> {
        View { wire: self, cx, reading }
    }
}

/// Takes a payload off the front, unmasked; `at` says where it begins.
fn payload(bytes: &mut BytesMut, at: usize, head: &Head, len: usize) -> Bytes {
    let end = at + len;
    if let Some(key) = head.key {
        head::mask(&mut bytes[at..end], key, 0);
    }
    if len >= LARGE {
        bytes.advance(at);
        return bytes.split_to(len).freeze();
    }
    let payload = Bytes::copy_from_slice(&bytes[at..end]);
    take(bytes, end);
    payload
}

pub(super) struct View<'a, 'b> {
    wire: &'a mut Wire,
    cx: &'a mut Context<'b>,
    /// While it is read, the library sends Pongs as well. One that a peer does not take any more is
    /// no reason not to hear its last words, so that writing seems to wait when it fails.
    reading: bool,
}

impl Read for View<'_, '_> {
    /// Gives a head alone, and then its payload, so that the library never has anything of the next
    /// frame.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wire = &mut *self.wire;
        let most = loop {
            let bytes = wire.intake.bytes();
            let head = (wire.begun == 0).then(|| Head::parse(bytes)).flatten();
            if let Some((head, at)) = head {
                wire.begun = head.len.saturating_add(at as u64);
                if !head.is_control() {
                    wire.fragmented = !head.is_last();
                }
                break at;
            }
            if wire.begun > 0 && !bytes.is_empty() {
                break bytes.len();
            }
            if !wire.eof {
                or_would_block(wire.poll_fill(self.cx))?;
            }
            if wire.eof {
                return Ok(0);
            }
        };
        let left = usize::try_from(wire.begun).unwrap_or(usize::MAX);
        let len = most.min(left).min(into.len());
        let bytes = wire.intake.bytes();
        into[..len].copy_from_slice(&bytes[..len]);
        bytes.advance(len);
        wire.begun -= len as u64;
        Ok(len)
    }
}

impl Write for View<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wire.outbox.end().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.wire.poll_flush(self.cx) {
            Poll::Ready(Err(_)) if self.reading => Err(ErrorKind::WouldBlock.into()),
            outcome => or_would_block(outcome),
        }
    }
}

fn or_would_block<T>(outcome: Poll<io::Result<T>>) -> io::Result<T> {
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
