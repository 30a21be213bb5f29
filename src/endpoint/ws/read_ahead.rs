//! Large reads into a buffer of the thread, so that a connection needs none of its own.
//!
//! The protocol library keeps its read buffer for as long as a connection lives, so that buffer has
//! to be small where there may be thousands of peers; but bulk read in small pieces costs more in
//! system calls than in anything else. So a read takes what there is, and the library is given that
//! in pieces: a head alone, and then its payload, for which it makes room that is exactly large
//! enough and goes with the message.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::ByteStream;

/// What one read takes, in bytes.
const CHUNK: usize = 64 << 10;

/// What waits for the library in a buffer that is no larger, in bytes.
const LITTLE: usize = 4 << 10;

thread_local! {
    /// The buffer that the next read goes into. Mostly all of it is taken by the library before
    /// anything else is polled.
    static FREE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

pub(super) struct ReadAhead {
    pub(super) stream: ByteStream,
    /// What was read and not taken yet is between `at` and `end`.
    chunk: Box<[u8]>,
    at: usize,
    end: usize,
    heads: Heads,
    /// Something was taken from us since somebody last asked.
    written: bool,
}

impl ReadAhead {
    /// Over a stream of which some was read already.
    pub(super) fn new(stream: ByteStream, read: Vec<u8>) -> Self {
        let end = read.len();
        Self { stream, chunk: read.into(), at: 0, end, heads: Heads::default(), written: false }
    }

    /// Gives some of what comes next, and 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.at == self.end {
            self.chunk = FREE.take().unwrap_or_else(|| vec![0; CHUNK].into());
            let mut buf = ReadBuf::new(&mut self.chunk);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
            (self.at, self.end) = (0, buf.filled().len());
            if self.end == 0 {
                self.free();
                return read.map_ok(|()| 0);
            }
        }
        let ahead = &self.chunk[self.at..self.end];
        let len = self.heads.split(ahead, into.len());
        into[..len].copy_from_slice(&ahead[..len]);
        self.at += len;
        if self.at == self.end {
            self.free();
        }
        Poll::Ready(Ok(len))
    }

    /// Nothing is read for a while: the buffer is left to others, if there is little in it.
    pub(super) fn pause(&mut self) {
        let left = self.end - self.at;
        if self.chunk.len() == CHUNK && left <= LITTLE {
            let few = self.chunk[self.at..self.end].into();
            self.free();
            (self.chunk, self.at, self.end) = (few, 0, left);
        }
    }

    fn free(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.len() == CHUNK {
            FREE.set(Some(chunk));
        }
        (self.at, self.end) = (0, 0);
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.written |= written.is_ok();
        Poll::Ready(written)
    }

    /// Whether anything was written since this was last asked.
    pub(super) fn has_written(&mut self) -> bool {
        std::mem::take(&mut self.written)
    }
}

/// Where heads of frames end and begin (RFC 6455 section 5.2).
#[derive(Default)]
struct Heads {
    /// The head that is not whole yet, but for its mask.
    head: [u8; 10],
    /// How many of its bytes have come.
    have: usize,
    /// How many bytes of payload are to come after a head.
    left: u64,
}

impl Heads {
    /// How many of these bytes are given at once, of at most `room`.
    fn split(&mut self, bytes: &[u8], room: usize) -> usize {
        let most = bytes.len().min(room);
        if self.left > 0 {
            let len = usize::try_from(self.left).unwrap_or(most).min(most);
            self.left -= len as u64;
            return len;
        }
        for (i, byte) in bytes[..most].iter().enumerate() {
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            if self.have == self.len() {
                self.left = self.payload();
                self.have = 0;
                return i + 1;
            }
        }
        most
    }

    /// The length of this head, as far as it has come.
    fn len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        2 + self.extended() + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn extended(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload(&self) -> u64 {
        match self.extended() {
            0 => u64::from(self.head[1] & 0x7f),
            len => self.head[2..2 + len].iter().fold(0, |n, it| n << 8 | u64::from(*it)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_they_come() {
        // A masked text of 3, an empty Ping, a binary of 126, an unmasked one of 65,536.
        let mut wire = vec![0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c', 0x89, 0x80, 1, 2, 3, 4];
        wire.extend([0x82, 0xfe, 0, 126, 1, 2, 3, 4]);
        wire.extend([0; 126]);
        wire.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        wire.extend(vec![0; 65_536]);
        wire.extend([0x88, 0]);
        let ends = [6, 9, 15, 23, 149, 159, 65_695, 65_697];
        for piece in [1, 2, 3, 7, 100, 65_697] {
            let (mut heads, mut at, mut cuts) = (Heads::default(), 0, Vec::new());
            while at < wire.len() {
                let len = heads.split(&wire[at..wire.len().min(at + piece)], 70_000);
                assert!(len > 0);
                at += len;
                cuts.push(at);
            }
            assert!(ends.iter().all(|end| cuts.contains(end)), "{piece}: {cuts:?}");
            if piece == 65_697 {
                assert_eq!(cuts, ends);
            }
        }
    }
}
