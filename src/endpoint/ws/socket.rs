//! A WebSocket after its handshake: messages, pings, and the way it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::tungstenite::Error as Fault;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::frames::Frames;
use crate::context::Context as Shared;
use crate::duplex::{Body, ByteStream, Close, Message, MessageIo};
use crate::error::{Error, Kind, Result};
use crate::resting::Resting;

/// How often a peer of `serve` is pinged when it is quiet: proxies cut at 60 s by default.
const PING: Duration = Duration::from_secs(30);

/// How many Pings are answered on trust. A peer that sends more and reads none of the Pongs is
/// heard again when it does: they wait in memory.
const UNREAD_PONGS: u32 = 64;

/// A WebSocket. Over `bytes`, the subprotocol for byte streams was granted.
pub(super) struct Socket {
    ws: Frames,
    bytes: bool,
    /// Nothing more comes from the peer.
    deaf: bool,
    /// Nothing more is said to the peer: our Close, or the end of our bytes, is on its way.
    mute: bool,
    closed: bool,
    /// The Close of the peer, once it has come.
    left: Option<Close>,
    /// Pings answered since all that was written was taken.
    pongs: u32,
    /// The peer broke the protocol, so that what it still sends is not looked at.
    broken: bool,
    /// The peer does not answer any more, so that nothing is waited for.
    lost: bool,
    keepalive: Option<Box<Keepalive>>,
    goodbye: Option<Pin<Box<Sleep>>>,
}

struct Keepalive {
    interval: Duration,
    patience: Duration,
    heard: Instant,
    pinged: bool,
    timer: Resting<Sleep>,
}

impl Socket {
    /// Takes over a stream after the handshake; `rest` was read with it.
    pub(super) fn new(
        stream: ByteStream,
        rest: Vec<u8>,
        role: Role,
        bytes: bool,
        cx: &Shared,
    ) -> Self {
        let ws = Frames::new(stream, &rest, role, cx.shared.join.max_message);
        let interval = cx.shared.ws.ping.or(cx.serve.is_some().then_some(PING));
        let interval = interval.filter(|interval| !interval.is_zero() && *interval < Duration::MAX);
        let keepalive = interval.map(|it| Box::new(Keepalive::new(it, cx.shared.ws.ping_timeout)));
        let (deaf, mute, closed, left) = (false, false, false, None);
        let (broken, lost) = (false, false);
        Self {
            ws,
            bytes,
            deaf,
            mute,
            closed,
            left,
            pongs: 0,
            broken,
            lost,
            keepalive,
            goodbye: None,
        }
    }

    fn send_close(&mut self, close: Close) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.mute = true;
        // It fails only where there is no connection any more to say goodbye on.
        let _ = self.ws.start_send(Body::Close(close));
    }

    /// Waits until a peer that pings without end has read the answers.
    fn poll_pongs(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.pongs >= UNREAD_PONGS {
            ready!(self.ws.poll_flush(cx))?;
            self.pongs = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// What the library says went wrong, and the Close that tells the peer.
    fn fault(&mut self, fault: Fault) -> Error {
        let error = explain(fault);
        if let Kind::Protocol(code) = error.kind() {
            self.broken = true;
            self.send_close(Close::new(code, error.what()));
        }
        error
    }
}

fn explain(fault: Fault) -> Error {
    match fault {
        Fault::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Fault::ConnectionClosed
        | Fault::AlreadyClosed => Error::new(Kind::Lost, "connection lost without a Close"),
        Fault::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => {
            Error::io(error)
        }
        Fault::Io(error) => {
            let what = format!("connection lost without a Close: {}", crate::error::plain(&error));
            Error::new(Kind::Lost, what)
        }
        Fault::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            let what = format!("a message of {size} bytes, over the limit of {max_size}");
            Error::new(Kind::Protocol(1009), what).hint("raise --max-message")
        }
        Fault::Utf8(_) => Error::new(Kind::Protocol(1007), "a text that is not UTF-8"),
        other => Error::new(Kind::Protocol(1002), other.to_string().to_lowercase()),
    }
}

impl Stream for Socket {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.deaf {
            return Poll::Ready(None);
        }
        let received = ready!(self.poll_receive(cx));
        if let Some(Ok(Message { body: Body::Binary(data), .. })) = &received
            && self.bytes
            && data.is_empty()
        {
            self.deaf = true;
            return Poll::Ready(None);
        }
        Poll::Ready(received)
    }
}

impl Socket {
    /// The next message of any kind; the end of the peer's bytes is an empty one.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        let received = match self.poll_pongs(cx) {
            Poll::Ready(Ok(())) => self.ws.poll_next(cx),
            Poll::Ready(Err(fault)) => Poll::Ready(Some(Err(fault))),
            Poll::Pending => Poll::Pending,
        };
        let Poll::Ready(received) = received else {
            if let Some(keepalive) = &mut self.keepalive
                && !self.closed
            {
                let lost = ready!(keepalive.poll(cx, &mut self.ws));
                (self.deaf, self.mute, self.lost) = (true, true, true);
                return Poll::Ready(Some(Err(lost)));
            }
            return Poll::Pending;
        };
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.heard();
        }
        match received {
            Some(Ok(body)) => {
                match &body {
                    Body::Ping(_) => self.pongs += 1,
                    Body::Close(close) => {
                        // The library answers it; nothing of ours may follow.
                        (self.deaf, self.mute, self.closed) = (true, true, true);
                        self.left = Some(close.clone());
                    }
                    _ => {}
                }
                Poll::Ready(Some(Ok(body.into())))
            }
            Some(Err(fault)) => {
                self.deaf = true;
                Poll::Ready(Some(Err(self.fault(fault))))
            }
            None => {
                self.deaf = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.ws.poll_ready(cx).map_err(explain)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        match message.body {
            // What comes after our goodbye is not for this peer any more.
            _ if self.mute => Ok(()),
            Body::Binary(data) if self.bytes && data.is_empty() => Ok(()),
            Body::Close(close) => {
                self.send_close(close);
                Ok(())
            }
            body => self.ws.start_send(body).map_err(explain),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.lost {
            return Poll::Ready(Ok(()));
        }
        self.ws.poll_flush(cx).map_err(explain)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.mute {
            if self.bytes {
                ready!(self.ws.poll_ready(cx)).map_err(explain)?;
                self.ws.start_send(Body::Binary(Bytes::new())).map_err(explain)?;
                self.mute = true;
            } else {
                self.send_close(Close::new(1000, ""));
            }
        }
        self.ws.poll_flush(cx).map_err(explain)
    }
}

impl MessageIo for Socket {
    fn half_closes(&self) -> bool {
        self.bytes
    }

    fn answers_pings(&self) -> bool {
        true
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        loop {
            if let Some(close) = &self.left {
                return Poll::Ready(Ok(close.clone()));
            }
            match ready!(self.poll_receive(cx)) {
                // Nothing but a Close counts after the end of the peer's bytes.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    return Poll::Ready(Err(Error::new(
                        Kind::Lost,
                        "connection lost without a Close",
                    )));
                }
            }
        }
    }

    /// The Pongs are not read now. A peer that takes what is written is there all the same; one
    /// that takes nothing, not even a Ping, would not answer it either.
    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let wire = self.ws.wire();
        wire.stream.check(cx)?;
        let written = wire.has_written();
        let Some(keepalive) = &mut self.keepalive else { return Ok(()) };
        if written {
            keepalive.heard();
        }
        match keepalive.poll(cx, &mut self.ws) {
            Poll::Ready(lost) if !self.closed => {
                (self.deaf, self.mute, self.lost) = (true, true, true);
                Err(lost)
            }
            _ => Ok(()),
        }
    }

    fn abort(&mut self, why: &Error) {
        self.send_close(Close::from(why));
    }

    /// Our Close, the peer's answer, then the end of the stream below. A peer that does not
    /// answer in time is left.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.lost {
            return Poll::Ready(Ok(()));
        }
        let goodbye = self.goodbye.get_or_insert_with(|| Box::pin(sleep(Close::PATIENCE)));
        if goodbye.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.send_close(Close::new(1000, ""));
        if ready!(self.ws.poll_flush(cx)).is_err() {
            return Poll::Ready(Ok(()));
        }
        if !self.broken {
            while ready!(self.ws.poll_next(cx)).is_some_and(|received| received.is_ok()) {}
            // The answer to a Close that came only now.
            let _ = ready!(self.ws.poll_flush(cx));
            let _ = ready!(Pin::new(&mut self.ws.wire().stream).poll_shutdown(cx));
            return Poll::Ready(Ok(()));
        }
        // What is unread when a socket is closed makes the kernel send a reset, which can overtake
        // our Close and destroy it.
        let stream = &mut self.ws.wire().stream;
        let _ = ready!(Pin::new(&mut *stream).poll_shutdown(cx));
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Keepalive {
    fn new(interval: Duration, patience: Duration) -> Self {
        let heard = Instant::now();
        Self { interval, patience, heard, pinged: false, timer: Resting::new(sleep(interval)) }
    }

    fn heard(&mut self) {
        self.heard = Instant::now();
        if std::mem::take(&mut self.pinged) {
            // The answer has come; the next Ping does not wait until it was due.
            self.timer.change().reset(Instant::now() + self.interval);
        }
    }

    /// Ready when the peer is lost.
    fn poll(&mut self, cx: &mut Context<'_>, ws: &mut Frames) -> Poll<Error> {
        while Pin::new(&mut self.timer).poll(cx).is_ready() {
            let quiet = self.heard.elapsed();
            if self.pinged {
                let patience = self.patience;
                let what = format!("connection lost: no answer to a Ping within {patience:?}");
                return Poll::Ready(Error::new(Kind::Lost, what));
            }
            let wait = if quiet < self.interval {
                self.interval - quiet
            } else {
                self.pinged = true;
                let _ = ws.start_send(Body::Ping(Bytes::new()));
                let _ = ws.poll_flush(cx);
                self.patience
            };
            self.timer.change().set(sleep(wait));
        }
        Poll::Pending
    }
}
