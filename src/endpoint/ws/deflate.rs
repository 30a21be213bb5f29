//! permessage-deflate (RFC 7692), as a stream of bytes below the protocol library, which knows no
//! extensions: it is given plain frames, and what it sends as plain frames is compressed.
//!
//! All rules of RFC 6455 stay with the library. A frame that breaks one is left as it is.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use crate::cli::value::Compress;
use crate::context;
use crate::duplex::{ByteStream, Io, Wire, as_below};
use codec::{Compressor, Inflater};
use inbound::{Inbound, Step};
use outbound::Outbound;

mod codec;
mod inbound;
mod outbound;
mod terms;

pub(crate) use terms::FIELD;
pub(super) use terms::{Grant, grant, granted, offer};
pub use terms::{Terms, Window};

/// How much is read at once, in bytes.
const READ: usize = 16 << 10;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It masks what it sends.
    Client,
    /// It does not.
    Server,
}

/// What a message may be inflated to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its length, in bytes.
    pub size: usize,
    /// How many times longer than it was it may become, once it is not short any more.
    pub ratio: Option<u16>,
}

impl Limits {
    /// Those of `--max-message` and `--max-inflate`.
    pub fn of(cx: &context::Context) -> Self {
        Self { size: cx.shared.join.max_message, ratio: cx.max_inflate }
    }
}

/// A stream of frames, as it looks to somebody who does not know the extension. `early` was read of
/// it with the handshake.
pub fn over(
    stream: ByteStream,
    early: &[u8],
    end: End,
    terms: &Terms,
    compress: Compress,
    limits: Limits,
) -> ByteStream {
    let (ours, theirs) = match end {
        End::Client => (terms.client, terms.server),
        End::Server => (terms.server, terms.client),
    };
    let inflater = Inflater::new(theirs.bits, theirs.kept);
    ByteStream::other(Deflated {
        stream,
        inbound: Inbound::new(inflater, end == End::Server, limits),
        wire: Wire { read: early.len() as u64, written: 0 },
        input: early.into(),
        outbound: Outbound::new(Compressor::new(compress.level(), ours.bits, ours.kept)),
        output: Vec::new(),
        written: 0,
        tired: false,
    })
}

struct Deflated {
    stream: ByteStream,
    wire: Wire,
    inbound: Inbound,
    /// What was read and not looked at.
    input: BytesMut,
    outbound: Outbound,
    /// What is to be written, and how much of it was.
    output: Vec<u8>,
    written: usize,
    /// As much was compressed as may be at once.
    tired: bool,
}

impl Deflated {
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    self.written += written;
                    self.wire.written += written as u64;
                }
            }
        }
        (self.output, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Deflated {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A few bytes may inflate to very many without a look at the socket below.
        let coop = ready!(coop::poll_proceed(cx));
        let this = self.get_mut();
        let mut put = |bytes: &[u8], most: u64| {
            let len = bytes.len().min(buf.remaining());
            let len = usize::try_from(most).map_or(len, |most| most.min(len));
            buf.put_slice(&bytes[..len]);
            len
        };
        loop {
            match this.inbound.step(&mut this.input).map_err(io::Error::other)? {
                Step::Ready => {
                    this.inbound.hand_on(|frame| put(frame, u64::MAX));
                    break;
                }
                Step::Pass(left) if !this.input.is_empty() => {
                    let len = put(&this.input, left);
                    this.input.advance(len);
                    this.inbound.passed(len);
                    break;
                }
                Step::Pass(left) => {
                    this.input = BytesMut::new();
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.remaining());
                    let mut part = ReadBuf::new(buf.initialize_unfilled_to(len));
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                    let len = part.filled().len();
                    buf.advance(len);
                    this.wire.read += len as u64;
                    this.inbound.passed(len);
                    break;
                }
                Step::Read => {
                    if this.input.is_empty() {
                        this.input = BytesMut::new();
                    }
                    // Nothing is kept for a peer that says nothing.
                    let mut scratch = [const { MaybeUninit::uninit() }; READ];
                    let mut read = ReadBuf::uninit(&mut scratch);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
                    if read.filled().is_empty() {
                        break;
                    }
                    this.wire.read += read.filled().len() as u64;
                    this.input.extend_from_slice(read.filled());
                }
            }
        }
        coop.made_progress();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Deflated {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_output(cx))?;
        if std::mem::take(&mut this.tired) {
            // It is for whoever reads from this stream to go on now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let passes = usize::try_from(this.outbound.passes()).unwrap_or(usize::MAX).min(buf.len());
        let taken = if passes > 0 {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &buf[..passes]))?;
            this.outbound.passed(written);
            this.wire.written += written as u64;
            written
        } else {
            let taken = this.outbound.take(buf, &mut this.output).map_err(io::Error::other)?;
            this.tired = taken >= outbound::PIECE;
            // What does not go now goes with the next write, or with a flush.
            if let Poll::Ready(Err(error)) = this.poll_output(cx) {
                return Poll::Ready(Err(error));
            }
            taken
        };
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Io for Deflated {
    as_below!(stream);

    fn wire(&self) -> Option<Wire> {
        Some(self.wire)
    }
}

#[cfg(test)]
mod tests;
