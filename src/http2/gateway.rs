//! A stream as a connection of HTTP/1.1 that brings one request: for those who pass requests on.
//!
//! What is read from it is the request as HTTP/1.1 writes it, so that it passes the same strict
//! parser; what is written to it is the answer, of which content and end are taken. A WebSocket that
//! is granted by a 101 is one by a 200 here, and bytes as they are from then on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::response_to;
use super::lost;
use super::stream::{CHUNK, Receiving, Sending};
use crate::duplex::Io;
use crate::error::{Error, Result};
use crate::http::body::{Body, LAST_CHUNK, Length, put_chunk};
use crate::http::{Request, Response, parse_response};

pub(super) struct Gateway {
    respond: SendResponse<Bytes>,
    method: String,
    is_websocket: bool,
    far: Receiving,
    near: Option<Sending>,
    /// The request, as far as it is to be read next.
    ahead: Bytes,
    up: Up,
    /// The answer, as far as it was written and not looked at.
    written: BytesMut,
    /// What of it is content to be sent next.
    content: Bytes,
    down: Down,
    _held: Arc<()>,
}

/// What is left of the request behind what is ahead.
enum Up {
    /// Bytes as they come.
    Plain,
    /// Bytes to be put into chunks.
    Chunked,
    Over,
}

/// What is left of the answer.
enum Down {
    Head,
    Body(Body),
    Plain,
    Over,
}

impl Gateway {
    pub(super) fn new(
        request: Request,
        respond: SendResponse<Bytes>,
        body: RecvStream,
        held: Arc<()>,
    ) -> Self {
        let is_websocket = request.is_websocket();
        let chunked = request.fields.get("Transfer-Encoding").is_some();
        let up = match (body.is_end_stream() && !is_websocket, chunked) {
            (true, _) => Up::Over,
            (false, true) => Up::Chunked,
            (false, false) => Up::Plain,
        };
        Self {
            respond,
            is_websocket,
            far: Receiving::new(body),
            near: None,
            ahead: request.to_bytes().into(),
            method: request.method,
            up,
            written: BytesMut::new(),
            content: Bytes::new(),
            down: Down::Head,
            _held: held,
        }
    }

    /// Sends what was written, as far as it is understood.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(near) = &mut self.near {
                while !self.content.is_empty() {
                    let sent = ready!(near.poll_write(cx, &self.content))?;
                    self.content.advance(sent);
                }
            }
            match &mut self.down {
                Down::Head => {
                    let Some((head, len)) = parse_response(&self.written)? else { break };
                    self.written.advance(len);
                    self.answer(head)?;
                }
                Down::Body(body) => match body.next(&mut self.written)? {
                    Some(piece) => self.content = piece,
                    None if body.is_over() => self.finish(),
                    None => break,
                },
                Down::Plain if self.written.is_empty() => break,
                Down::Plain => self.content = self.written.split().freeze(),
                Down::Over => {
                    self.written.clear();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn answer(&mut self, mut head: Response) -> Result<()> {
        if head.is_interim() {
            return self.respond.send_informational(response_to(&head)).map_err(lost);
        }
        let length = match head.status {
            101 => None,
            _ => Some(Length::of_response(&head, &self.method)?),
        };
        match (self.is_websocket, head.status) {
            (true, 101) => head = Response { fields: head.fields, ..Response::new(200, "OK") },
            // It would grant a WebSocket that is none.
            (true, 200..300) => {
                head = Response { fields: head.fields, ..Response::new(502, "Bad Gateway") };
            }
            _ => {}
        }
        let over = length == Some(Length::Known(0));
        let near = self.respond.send_response(response_to(&head), over).map_err(lost)?;
        self.near = Some(Sending::new(near));
        self.down = match length {
            None => Down::Plain,
            Some(_) if over => Down::Over,
            Some(length) => Down::Body(Body::new(length)),
        };
        Ok(())
    }

    /// Ends the answer.
    fn finish(&mut self) {
        if let Some(near) = &mut self.near {
            near.end();
        }
        self.down = Down::Over;
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.near {
            Some(near) => near.reset(reason),
            None => self.respond.send_reset(reason),
        }
        self.down = Down::Over;
    }

    /// Ready when the client has reset the stream.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match &mut self.near {
            Some(near) => near.poll_reset(cx),
            None => {
                let reset = ready!(self.respond.poll_reset(cx));
                Poll::Ready(lost(reset.map_or_else(|it| it, Into::into)))
            }
        }
    }
}

impl AsyncRead for Gateway {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ahead.is_empty() {
                let len = this.ahead.len().min(buf.remaining());
                buf.put_slice(&this.ahead.split_to(len));
                return Poll::Ready(Ok(()));
            }
            match this.up {
                Up::Plain => {
                    let before = buf.filled().len();
                    ready!(this.far.poll_read(cx, buf))?;
                    if buf.filled().len() > before || this.is_websocket {
                        return Poll::Ready(Ok(()));
                    }
                    this.up = Up::Over;
                }
                Up::Chunked => {
                    let piece = ready!(this.far.poll_next(cx, CHUNK))?;
                    let mut out = Vec::with_capacity(piece.len() + 16);
                    if piece.is_empty() {
                        out.extend_from_slice(LAST_CHUNK);
                        this.up = Up::Over;
                    } else {
                        put_chunk(&piece, &mut out);
                    }
                    this.ahead = out.into();
                }
                // No other request follows.
                Up::Over if matches!(this.down, Down::Over) => return Poll::Ready(Ok(())),
                // That it has said all does not mean that the client has left.
                Up::Over => return Poll::Ready(Err(ready!(this.poll_left(cx)).into())),
            }
        }
    }
}

impl AsyncWrite for Gateway {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        if let (Down::Plain, Some(near)) = (&this.down, &mut this.near) {
            return near.poll_write(cx, buf);
        }
        let len = buf.len().min(CHUNK);
        this.written.extend_from_slice(&buf[..len]);
        if let Poll::Ready(sent) = this.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    /// Ends the answer where it can end, and else has the client see that it is cut off.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let whole = match &mut self.down {
            Down::Over => return Poll::Ready(Ok(())),
            Down::Head => false,
            Down::Body(body) => body.end().is_ok(),
            Down::Plain => true,
        };
        match whole {
            true => self.finish(),
            false => self.reset(Reason::INTERNAL_ERROR),
        }
        Poll::Ready(Ok(()))
    }
}

impl Io for Gateway {
    fn abort(&mut self, _: &Error) {
        self.reset(if self.is_websocket { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.far.gather(cx)
    }
}
