//! Messages as frames over a stream that one task polls (RFC 6455 section 5).
//!
//! Nearly all messages are one frame with nothing special about it. Those are read and written here,
//! where they can stay where they were read, be gathered, and cost next to nothing. The protocol
//! library has all else: control frames, messages in several frames, and whatever is wrong.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error as Fault, Message};

use super::head::{self, Head};
use super::wire::Wire;
use crate::buffers::{BATCH, append};
use crate::duplex::{Body, ByteStream, Close};

/// What the library allocates for as long as a connection lives, and the most that it reads at once,
/// in bytes.
const READ_BUFFER: usize = 1 << 10;

const TEXT: u8 = 1;
const BINARY: u8 = 2;

pub(super) struct Frames {
    library: WebSocketContext,
    wire: Wire,
    role: Role,
    /// The most bytes that a message may have.
    max: usize,
    /// The library may have something to write.
    owes: bool,
    /// Nothing more is read.
    ended: bool,
}

impl Frames {
    /// Takes over a stream after the handshake, with what was read too early, and the most bytes
    /// that a message may have.
    pub(super) fn new(stream: ByteStream, read: &[u8], role: Role, max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(max))
            .max_frame_size(Some(max));
        let library = WebSocketContext::from_partially_read(Vec::new(), role, Some(config));
        let wire = Wire::new(stream, read);
        Self { library, wire, role, max, owes: false, ended: false }
    }

    /// What is below.
    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The next message; None at the end, and after a fault.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Body, Fault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let read = self.poll_read(cx);
        self.wire.pause(read.is_pending());
        match ready!(read) {
            Ok(body) => Poll::Ready(Some(Ok(body))),
            Err(fault) => {
                self.ended = true;
                let over = matches!(fault, Fault::AlreadyClosed | Fault::ConnectionClosed);
                Poll::Ready((!over).then_some(Err(fault)))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, Fault>> {
        if self.owes {
            match self.library.flush(&mut self.wire.view(cx, true)) {
                Err(fault) if would_block(&fault) => {}
                outcome => {
                    outcome?;
                    self.owes = false;
                }
            }
        }
        if self.library.can_read() {
            let masked = self.role == Role::Server;
            let max = self.max as u64;
            let ours = |head: &Head| {
                head.is_plain_message() && head.key.is_some() == masked && head.len <= max
            };
            if let Some((head, payload)) = ready!(self.wire.poll_frame(cx, ours))? {
                return Poll::Ready(plain(head, payload));
            }
        }
        // It also knows what an end means here.
        match self.library.read(&mut self.wire.view(cx, true)) {
            Err(fault) if would_block(&fault) => Poll::Pending,
            read => {
                self.owes = true;
                Poll::Ready(read.map(body))
            }
        }
    }

    /// Ready when another message may be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self.wire.outbox.len() < BATCH {
            true => Poll::Ready(Ok(())),
            false => self.wire.poll_write(cx).map_err(Fault::Io),
        }
    }

    /// Queues a message: whoever waits until it is written, waits in [`Self::poll_ready`] or
    /// [`Self::poll_flush`].
    pub(super) fn start_send(&mut self, body: Body) -> Result<(), Fault> {
        match body {
            Body::Text(text) if self.library.can_write() => self.put(TEXT, text.into()),
            Body::Binary(data) if self.library.can_write() => self.put(BINARY, data),
            body => {
                self.owes = true;
                let cx = &mut Context::from_waker(Waker::noop());
                match self.library.write(&mut self.wire.view(cx, false), message(body)) {
                    Err(fault) if would_block(&fault) => Ok(()),
                    outcome => outcome,
                }
            }
        }
    }

    fn put(&mut self, opcode: u8, payload: Bytes) -> Result<(), Fault> {
        let key = match self.role {
            Role::Server => None,
            Role::Client => Some(head::key().map_err(io::Error::other)?),
        };
        let end = self.wire.outbox.end();
        Head::new(opcode, true, key, payload.len()).write(end);
        match key {
            None => self.wire.outbox.push(payload, self.wire.stream.is_write_vectored()),
            Some(key) => {
                let at = end.len();
                append(end, &payload);
                head::mask(&mut end[at..], key, 0);
            }
        }
        Ok(())
    }

    /// Writes out all that is queued.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.owes {
            match self.library.flush(&mut self.wire.view(cx, false)) {
                Err(fault) if would_block(&fault) => return Poll::Pending,
                // It has said its last word.
                Err(Fault::ConnectionClosed) => {}
                outcome => outcome?,
            }
            self.owes = false;
        }
        self.wire.poll_flush(cx).map_err(Fault::Io)
    }
}

/// The content of a message that is one frame.
fn plain(head: Head, payload: Bytes) -> Result<Body, Fault> {
    match head.opcode() {
        TEXT => Ok(Body::Text(payload.try_into()?)),
        _ => Ok(Body::Binary(payload)),
    }
}

/// What the library has read.
fn body(message: Message) -> Body {
    match message {
        Message::Text(text) => Body::Text(text),
        Message::Binary(data) => Body::Binary(data),
        Message::Ping(data) => Body::Ping(data),
        Message::Pong(data) => Body::Pong(data),
        Message::Close(None) => Body::Close(Close::new(Close::NO_CODE, "")),
        Message::Close(Some(CloseFrame { code, reason })) => {
            Body::Close(Close { code: code.into(), reason })
        }
        // Given to nobody who has not asked for frames.
        Message::Frame(frame) => Body::Binary(frame.into_payload()),
    }
}

/// The same for the library, to be written.
fn message(body: Body) -> Message {
    match body {
        Body::Text(text) => Message::Text(text),
        Body::Binary(data) => Message::Binary(data),
        Body::Ping(data) => Message::Ping(data),
        Body::Pong(data) => Message::Pong(data),
        Body::Close(Close { code: Close::NO_CODE, .. }) => Message::Close(None),
        Body::Close(Close { code, reason }) => {
            Message::Close(Some(CloseFrame { code: code.into(), reason }))
        }
    }
}

fn would_block(fault: &Fault) -> bool {
    matches!(fault, Fault::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests;
