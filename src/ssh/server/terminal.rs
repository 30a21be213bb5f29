//! Somebody at a terminal, as a stream of lines.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lines::{Lines, Typed, show};
use crate::duplex::{Close, Io};
use crate::error::{Error, Result};
use crate::ssh::channel::Channel;

/// A channel at whose other end is a terminal in raw mode.
pub(super) struct Typist {
    channel: Channel,
    lines: Lines,
    /// Lines that are typed and not read yet.
    typed: VecDeque<u8>,
    /// What is to be seen and not sent yet.
    shown: Vec<u8>,
    sent: usize,
    last: u8,
    ended: bool,
    left: bool,
}

impl Typist {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            lines: Lines::default(),
            typed: VecDeque::new(),
            shown: Vec::new(),
            sent: 0,
            last: b'\n',
            ended: false,
            left: false,
        }
    }

    /// Sends what is to be seen.
    fn poll_show(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.shown.len() {
            let rest = &self.shown[self.sent..];
            self.sent += ready!(Pin::new(&mut self.channel).poll_write(cx, rest))?;
        }
        self.shown.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, byte: u8) {
        match self.lines.take(byte, &mut self.shown) {
            Typed::Nothing => {}
            Typed::Text(text) => self.typed.extend(text.as_bytes()),
            Typed::End => self.ended = true,
            Typed::Leave => (self.ended, self.left) = (true, true),
        }
    }
}

impl AsyncRead for Typist {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let fits = self.typed.len().min(buf.remaining());
            if fits > 0 {
                let bytes: Vec<u8> = self.typed.drain(..fits).collect();
                buf.put_slice(&bytes);
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_show(cx))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; 1024];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.channel).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                self.ended = true;
            }
            for &byte in read.filled() {
                if self.ended {
                    break;
                }
                self.take(byte);
            }
        }
    }
}

impl AsyncWrite for Typist {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_show(cx))?;
        let this = &mut *self;
        // A line that is being typed makes way, and comes back below.
        let typing = !this.lines.line().is_empty() && buf.ends_with(b"\n");
        if typing {
            this.shown.extend(b"\r\x1b[K");
        }
        show(buf, &mut this.last, &mut this.shown);
        if typing {
            this.shown.extend(this.lines.line().as_bytes());
        }
        // All of it is taken; what cannot be sent now is sent before anything else is taken.
        if let Poll::Ready(Err(error)) = this.poll_show(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_show(cx))?;
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_show(cx))?;
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}

impl Io for Typist {
    fn abort(&mut self, why: &Error) {
        self.channel.abort(why);
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // One who cannot be shown the rest is gone.
        let _ = ready!(self.poll_show(cx));
        self.channel.poll_finish(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        match self.left {
            true => Poll::Ready(Ok(Close::new(1000, ""))),
            false => self.channel.poll_left(cx),
        }
    }
}
