//! The protocol library over a stream that one task polls.
//!
//! Its own adapter to tokio serves a reading and a writing task, with two shared wakers a
//! connection. A join is one task.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error as Fault, Message};

use super::read_ahead::ReadAhead;
use crate::duplex::ByteStream;

/// What the library allocates for as long as a connection lives, and the most that it takes from a
/// [`ReadAhead`] at once, in bytes.
const READ_BUFFER: usize = 1 << 10;

pub(super) struct Frames {
    library: WebSocketContext,
    stream: ReadAhead,
    /// The last large payload. While it is there, the library cannot keep the buffer that it came
    /// in for what comes next.
    large: Bytes,
    /// More may be queued.
    ready: bool,
    /// Nothing more is read.
    ended: bool,
}

impl Frames {
    /// Takes over a stream after the handshake, with what was read too early, and the most bytes
    /// that a message may have.
    pub(super) fn new(stream: ByteStream, read: Vec<u8>, role: Role, max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(max))
            .max_frame_size(Some(max));
        let library = WebSocketContext::from_partially_read(Vec::new(), role, Some(config));
        let stream = ReadAhead::new(stream, read);
        Self { library, stream, large: Bytes::new(), ready: true, ended: false }
    }

    /// What is below.
    pub(super) fn stream(&mut self) -> &mut ReadAhead {
        &mut self.stream
    }

    /// The next message; None at the end, and after a fault.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Fault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut wire = Wire { stream: &mut self.stream, cx, reading: true };
        let read = self.library.read(&mut wire);
        self.stream.pause();
        self.large = match &read {
            Ok(Message::Text(text)) if text.len() > READ_BUFFER => text.clone().into(),
            Ok(Message::Binary(data)) if data.len() > READ_BUFFER => data.clone(),
            _ => Bytes::new(),
        };
        match read {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(fault) if would_block(&fault) => Poll::Pending,
            Err(fault) => {
                self.ended = true;
                let over = matches!(fault, Fault::AlreadyClosed | Fault::ConnectionClosed);
                Poll::Ready((!over).then_some(Err(fault)))
            }
        }
    }

    /// Ready when another message may be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self.ready {
            true => Poll::Ready(Ok(())),
            false => self.poll_write_out(cx),
        }
    }

    /// Queues a message. What is queued beyond the library's measure is written, if it can be
    /// written at once: whoever waits, waits in [`Self::poll_ready`] or [`Self::poll_flush`].
    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Fault> {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut wire = Wire { stream: &mut self.stream, cx, reading: false };
        match self.library.write(&mut wire, message) {
            Err(fault) if would_block(&fault) => {
                self.ready = false;
                Ok(())
            }
            outcome => {
                self.ready = true;
                outcome
            }
        }
    }

    /// Writes out all that is queued.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self.poll_write_out(cx) {
            // That was the last word.
            Poll::Ready(Err(Fault::ConnectionClosed)) => Poll::Ready(Ok(())),
            outcome => outcome,
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut wire = Wire { stream: &mut self.stream, cx, reading: false };
        match self.library.flush(&mut wire) {
            Err(fault) if would_block(&fault) => Poll::Pending,
            outcome => {
                self.ready = true;
                Poll::Ready(outcome)
            }
        }
    }
}

fn would_block(fault: &Fault) -> bool {
    matches!(fault, Fault::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The stream as the library sees it while a task polls it.
struct Wire<'a, 'b> {
    stream: &'a mut ReadAhead,
    cx: &'a mut Context<'b>,
    /// While it is read, the library sends Pongs as well. One that a peer does not take any more is
    /// no reason not to hear its last words, so that writing seems to wait when it fails.
    reading: bool,
}

impl Wire<'_, '_> {
    fn written<T>(&self, outcome: Poll<io::Result<T>>) -> io::Result<T> {
        match outcome {
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

impl Read for Wire<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        or_would_block(self.stream.poll_read(self.cx, buf))
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.stream.poll_write(self.cx, buf);
        self.written(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = Pin::new(&mut self.stream.stream).poll_flush(self.cx);
        self.written(flushed)
    }
}
