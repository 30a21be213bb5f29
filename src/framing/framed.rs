//! Bytes seen as messages: cut on the way in, written out in as few writes as they fit into.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use tokio::io::AsyncWrite;

use super::{Decoder, Encoder};
use crate::buffers::{BATCH, Intake, LARGE, Outbox};
use crate::duplex::{ByteStream, Message, MessageIo};
use crate::error::{Error, Kind, Result};

/// A byte stream seen as messages.
pub struct Framed {
    bytes: ByteStream,
    decoder: Decoder,
    encoder: Encoder,
    input: Intake,
    output: Outbox,
    eof: bool,
}

impl Framed {
    /// Sees `bytes` as messages.
    pub fn new(bytes: ByteStream, decoder: Decoder) -> Self {
        let encoder = Encoder::new(decoder.framing);
        let (input, output) = (Intake::default(), Outbox::default());
        Self { bytes, decoder, encoder, input, output, eof: false }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.output.poll_write(cx, &mut self.bytes).map_err(|error| match error.kind() {
            ErrorKind::WriteZero => Error::new(Kind::Local, "nothing more can be written"),
            _ => Error::io(error),
        })
    }
}

impl Stream for Framed {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(message) = this.decoder.decode(this.input.bytes(), this.eof)? {
                return Poll::Ready(Some(Ok(message)));
            }
            if this.eof {
                return Poll::Ready(None);
            }
            this.eof = ready!(this.input.poll_fill(cx, &mut this.bytes)).map_err(Error::lost)? == 0;
            // Messages are pieces of what was read, and somebody may keep one.
            this.input.settle(LARGE);
        }
    }
}

impl Sink<Message> for Framed {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(error) = self.bytes.poll_deaf(cx) {
            return Poll::Ready(Err(error));
        }
        if self.output.len() < BATCH { Poll::Ready(Ok(())) } else { self.poll_drain(cx) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        let this = &mut *self;
        if message.is_data() && this.encoder.is_bare() {
            this.output.push(message.into_payload(), this.bytes.is_write_vectored());
            return Ok(());
        }
        this.encoder.encode(&message, this.output.end())
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
