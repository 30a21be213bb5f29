//! The server's part of the handshake, and the HTTP around it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::socket::Socket;
use super::{BYTES, Ws, carries_bytes, deflate, handshake, http2};
use crate::accept::{Peer, in_time};
use crate::cli::value::Compress;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::Shape;
use crate::error::{Error, Kind, Result};
use crate::framing;
use crate::http::{self, Request, Response};
use crate::http2::{Reply, is_preface};
use crate::report;
use crate::site::{self, Answer, Verdict};

/// Answers requests until one becomes a WebSocket.
pub(super) async fn answer(
    ws: &Ws,
    mut stream: ByteStream,
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    if ws.secure {
        let alpn = if peer.carries { http2::ONLY_1 } else { http2::SPOKEN };
        stream = in_time(cx, cx.tls.accept(stream, alpn, peer)).await?;
    }
    let max = max_head(cx);
    let mut buf = BytesMut::new();
    if peer.alpn.as_deref() == Some("h2") && !peer.carries {
        return http2::serve(ws, stream, peer, cx).await;
    }
    let mut first = true;
    let request = loop {
        let request = match in_time(cx, http::read_request(&mut stream, &mut buf, max)).await {
            Ok(Some(request)) => request,
            Ok(None) => return Err(Error::new(Kind::Lost, "left without asking for a WebSocket")),
            Err(_) if first && !peer.carries && is_preface(&buf) => {
                return http2::serve(ws, stream.unread(buf), peer, cx).await;
            }
            Err(error) => {
                if let Some(answer) = Answer::complaint(&error, buf.len() > max) {
                    let _ = answer.send(None, peer, &mut stream, cx).await;
                }
                return Err(error);
            }
        };
        first = false;
        let Verdict::Answer(answer) = site::decide(&request, &ws.path, peer, cx).await else {
            break request;
        };
        // A visitor who reads a site may take long, and is nobody who waits to be let in.
        if !request.is_websocket() {
            peer.handshake.leave();
        }
        if !answer.send(Some(&request), peer, &mut stream, cx).await? {
            let what = format!("{} {} was answered over HTTP", request.method, request.path());
            return Err(Error::new(Kind::Handshake, what));
        }
    };
    match handshake::key(&request) {
        Ok(key) => {
            let accept = handshake::accept(key);
            open(request, Way::Upgrade { stream, read: &buf, accept }, peer, cx).await
        }
        Err(why) => {
            let answer = Answer::text(why.status, why.reason, format!("{}\n", why.what))
                .with("Sec-WebSocket-Version", "13")
                .with("Upgrade", "websocket")
                .closing();
            let _ = answer.send(Some(&request), peer, &mut stream, cx).await;
            Err(Error::new(Kind::Handshake, why.what))
        }
    }
}

/// How large a head may be, in bytes.
pub(super) fn max_head(cx: &Context) -> usize {
    cx.serve.as_ref().map_or(16 << 10, |serve| serve.http.max_header)
}

/// How a request is granted.
pub(super) enum Way<'a> {
    /// All of its connection becomes a WebSocket; `read` is what was read after the request.
    Upgrade { stream: ByteStream, read: &'a [u8], accept: String },
    /// One stream of its connection does (RFC 8441).
    Stream(Reply),
}

impl Way<'_> {
    fn head(&self) -> Response {
        match self {
            Self::Upgrade { accept, .. } => Response::new(101, "Switching Protocols")
                .with("Upgrade", "websocket")
                .with("Connection", "Upgrade")
                .with("Sec-WebSocket-Accept", accept),
            Self::Stream(_) => Response::new(200, "OK"),
        }
    }

    /// Says so, and returns the stream and what was read of it.
    async fn take(self, head: &Response) -> Result<(ByteStream, Vec<u8>)> {
        match self {
            Self::Upgrade { mut stream, read, .. } => {
                stream.write_all(&head.to_bytes()).await.map_err(Error::lost)?;
                stream.flush().await.map_err(Error::lost)?;
                Ok((stream, read.to_vec()))
            }
            Self::Stream(reply) => Ok((reply.open(head)?, Vec::new())),
        }
    }
}

/// Grants a request.
pub(super) async fn open(
    request: Request,
    way: Way<'_>,
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    let target = peer.target.as_deref().or(cx.serve.as_ref().map(|serve| &*serve.target));
    let bytes = peer.carries || target.is_some_and(|target| target.shape() == Shape::Bytes);
    let granted = grant(&request, bytes, cx);
    let mut response = way.head();
    if let Some(granted) = &granted {
        response = response.with("Sec-WebSocket-Protocol", granted);
    }
    // What another handshake follows over its bytes is encrypted, and does not shrink.
    let compress = if peer.carries { Compress::Off } else { cx.compress };
    let compression = deflate::grant(compress, &request.fields);
    if let Some(grant) = &compression {
        response = response.with(deflate::FIELD, &grant.answer);
    }
    let (mut stream, mut read) = way.take(&response).await?;
    if let Some(deflate::Grant { terms, .. }) = &compression {
        report::verbose(format_args!("{}: compressing, {terms}", peer.address));
        let (early, limits) = (std::mem::take(&mut read), deflate::Limits::of(cx));
        stream = deflate::over(stream, &early, deflate::End::Server, terms, compress, limits);
    }
    let bytes = granted.as_deref() == Some(BYTES);
    peer.subprotocol = granted;
    peer.request = Some(Arc::new(request));
    let socket = Socket::new(stream, read, Role::Server, bytes, cx);
    Ok(match bytes {
        true => Duplex::Bytes(framing::as_bytes(Box::new(socket))),
        false => Duplex::Messages(Box::new(socket)),
    })
}

/// The first of our subprotocols that the peer offers; the one for byte streams only where the
/// target is one.
fn grant(request: &Request, bytes: bool, cx: &Context) -> Option<String> {
    let offers = |name: &str| request.fields.list("Sec-WebSocket-Protocol").any(|it| it == name);
    if bytes && carries_bytes(cx) && offers(BYTES) {
        return Some(BYTES.to_owned());
    }
    cx.shared.ws.subprotocol.iter().find(|name| offers(name)).cloned()
}
