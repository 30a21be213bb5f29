//! Bytes seen as messages: cut on the way in, written out in as few writes as they fit into.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::{Decoder, Encoder};
use crate::duplex::{ByteStream, Message, MessageIo};
use crate::error::{Error, Kind, Result};

/// A byte stream seen as messages.
pub struct Framed {
    bytes: ByteStream,
    decoder: Decoder,
    encoder: Encoder,
    input: BytesMut,
    output: BytesMut,
    eof: bool,
}

impl Framed {
    /// What one read asks for, and the backlog at which a writer has to wait.
    const CHUNK: usize = 64 << 10;

    /// Sees `bytes` as messages.
    pub fn new(bytes: ByteStream, decoder: Decoder) -> Self {
        let encoder = Encoder::new(decoder.framing);
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { bytes, decoder, encoder, input, output, eof: false }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.bytes).poll_write(cx, &self.output));
            match written.map_err(Error::io)? {
                0 => {
                    return Poll::Ready(Err(Error::new(
                        Kind::Local,
                        "nothing more can be written",
                    )));
                }
                n => self.output.advance(n),
            }
        }
        if self.output.capacity() > 2 * Self::CHUNK {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Framed {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(message) = this.decoder.decode(&mut this.input, this.eof)? {
                return Poll::Ready(Some(Ok(message)));
            }
            if this.eof {
                return Poll::Ready(None);
            }
            if this.input.is_empty() {
                // An idle stream holds no buffer, and what was handed on is not copied.
                this.input = BytesMut::new();
            }
            this.input.reserve(Self::CHUNK);
            match poll_read_buf(Pin::new(&mut this.bytes), cx, &mut this.input) {
                Poll::Ready(Ok(n)) => this.eof = n == 0,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(Error::lost(error))));
                }
                Poll::Pending => {
                    if this.input.is_empty() {
                        this.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Sink<Message> for Framed {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(error) = self.bytes.poll_deaf(cx) {
            return Poll::Ready(Err(error));
        }
        if self.output.len() < Self::CHUNK { Poll::Ready(Ok(())) } else { self.poll_drain(cx) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        let this = &mut *self;
        this.encoder.encode(&message, &mut this.output)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.bytes).poll_flush(cx).map_err(Error::io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.bytes).poll_shutdown(cx).map_err(Error::io)
    }
}

impl MessageIo for Framed {
    fn abort(&mut self, why: &Error) {
        self.bytes.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.bytes.poll_finish(cx)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.bytes.check(cx)
    }

    fn endless(&self) -> bool {
        self.bytes.endless()
    }
}
