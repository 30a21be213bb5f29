//! WebSockets over HTTP/2 (RFC 8441): a connection brings many, and plain requests between them.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::Semaphore;

use super::client::{Attempt, Offers, agreed, refused};
use super::server::{Way, max_head, open};
use super::{Ws, handshake};
use crate::accept::{Handshake, Incoming, Peer, in_time};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::{Call, Ground};
use crate::error::{Error, Kind, Result};
use crate::http::Request;
use crate::http2::{Asked, Reply, Server};
use crate::report;
use crate::site::{self, Answer, Verdict};

/// What a listener agrees to by ALPN; and one over whose WebSockets another handshake follows, so that
/// a connection is one peer.
pub(in crate::endpoint) const SPOKEN: &[&str] = &["h2", "http/1.1"];
pub(in crate::endpoint) const ONLY_1: &[&str] = &["http/1.1"];

/// What `--http2` offers: a server that would choose the other is one that has no HTTP/2.
pub(super) const ASKED: &[&str] = &["h2"];

/// Serves a connection to its end. Each WebSocket is a peer of its own.
pub(super) async fn serve(
    ws: &Ws,
    stream: ByteStream,
    peer: &Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    let Some(serve) = &cx.serve else { return Err(Error::new(Kind::Usage, "there is no server")) };
    let mut server = in_time(cx, Server::begin(stream, max_head(cx))).await?;
    // From here on it is the streams that have handshakes.
    peer.handshake.leave();
    let visit = Visit {
        ws: ws.clone(),
        cx: cx.clone(),
        address: peer.address.clone(),
        local: peer.local.clone(),
        listener: peer.listener.clone(),
        tls: peer.tls,
        alpn: peer.alpn.clone(),
        place: Arc::new(Semaphore::new(1)),
    };
    // As long as HTTP/1.1 waits for the next request.
    let patience = serve.server.handshake_timeout;
    while let Some(asked) = server.next(patience, &cx.stop).await? {
        visit.answer(asked);
    }
    Err(Error::new(Kind::Closed(1000), "disconnected"))
}

/// A connection, as what its streams bring is told of it.
struct Visit {
    ws: Ws,
    cx: Arc<Context>,
    address: String,
    local: String,
    listener: Option<Arc<str>>,
    tls: bool,
    alpn: Option<String>,
    /// The place among `--max-peers` that the connection has anyway: for its first WebSocket.
    place: Arc<Semaphore>,
}

impl Visit {
    /// Answers a request in a task of its own.
    fn answer(&self, asked: Asked) {
        let Asked { request, reply } = asked;
        let (peer, cx, ws) = (self.peer(), self.cx.clone(), self.ws.clone());
        let request = match request {
            Ok(request) => request,
            Err(why) => {
                cx.metrics.refused.add(1);
                report::verbose(format_args!("{}: {}", peer.address, why.what));
                let answer = Answer::from(why);
                return self.say(answer, None, peer, reply);
            }
        };
        if !request.is_websocket() {
            let answering = async move {
                let mut peer = peer;
                // What is no WebSocket is answered in any case.
                if let Verdict::Answer(answer) =
                    site::decide(&request, &ws.path, &mut peer, &cx).await
                    && let Err(error) = answer.reply(Some(&request), &peer, reply, &cx).await
                {
                    report::verbose(format_args!("{}: {error}", peer.address));
                }
            };
            return self.cx.peers.spawn(answering);
        }
        let own = self.place.clone().try_acquire_owned().ok();
        let Some(place) = own.or_else(|| cx.peers.place()) else {
            cx.metrics.refused.add(1);
            report::verbose(format_args!("{}: no more peers fit in", peer.address));
            let answer = Answer::text(503, "Service Unavailable", "no more peers fit in\n");
            return self.say(answer.with("Retry-After", "5"), Some(request), peer, reply);
        };
        let (address, listener) = (peer.address.clone(), self.listener.clone());
        let ready = async move {
            let mut peer = peer;
            let opened = grant(request, reply, &ws, &mut peer, &cx).await.map_err(|error| {
                cx.metrics.refused.add(1);
                error.at(listener.as_deref().unwrap_or(ws.scheme()))
            })?;
            Ok((opened, peer))
        };
        let handshake = Handshake::default();
        let incoming = Incoming { address, ready: Box::pin(ready), handshake };
        self.cx.peers.join(incoming, place, &self.cx);
    }

    fn say(&self, answer: Answer, request: Option<Request>, peer: Peer, reply: Reply) {
        let cx = self.cx.clone();
        self.cx.peers.spawn(async move {
            // Nobody is left to hear of it where that fails.
            let _ = answer.reply(request.as_ref(), &peer, reply, &cx).await;
        });
    }

    fn peer(&self) -> Peer {
        Peer {
            address: self.address.clone(),
            local: self.local.clone(),
            listener: self.listener.clone(),
            tls: self.tls,
            alpn: self.alpn.clone(),
            ..Peer::default()
        }
    }
}

/// Opens the WebSocket that is asked for, or says why not.
async fn grant(
    request: Request,
    reply: Reply,
    ws: &Ws,
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    let decided = async { Ok(site::decide(&request, &ws.path, peer, cx).await) };
    if let Verdict::Answer(answer) = in_time(cx, decided).await? {
        answer.reply(Some(&request), peer, reply, cx).await?;
        let what = format!("{} {} was answered over HTTP", request.method, request.path());
        return Err(Error::new(Kind::Handshake, what));
    }
    if let Err(why) = handshake::version(&request) {
        let what = why.what;
        let answer = Answer::from(why).with("Sec-WebSocket-Version", "13");
        answer.reply(Some(&request), peer, reply, cx).await?;
        return Err(Error::new(Kind::Handshake, what));
    }
    open(request, Way::Stream(reply), peer, cx).await
}

/// Plays the client's part of the handshake, once.
pub(super) async fn attempt(
    ws: &Ws,
    ground: Ground,
    trusted: bool,
    offered: &Offers,
    call: &Call<'_>,
) -> Result<Attempt> {
    // What goes through something else depends on more than the place it leads to.
    let place =
        matches!(ground, Ground::Here).then(|| format!("{} {}", ws.scheme(), ws.host_port()));
    let opening = async {
        let stream = ws.open(ground, call).await?;
        let alpn = call.trace.facts().tls.as_ref().and_then(|tls| tls.alpn.clone());
        if ws.secure && alpn.as_deref() != Some("h2") {
            let what = match alpn {
                Some(other) => format!("the server has no HTTP/2; it chose {other}"),
                None => "the server has no HTTP/2; it chose no protocol (ALPN)".to_owned(),
            };
            let hint = "leave out --http2 to connect over HTTP/1.1";
            return Err(Error::new(Kind::Handshake, what).hint(hint));
        }
        Ok(stream)
    };
    let request = ws.request("", offered, trusted, call);
    let asking = call.cx.http2.ask(place, opening, &request, ws.secure, call.trace);
    let (response, stream) = asking.await?;
    call.trace.facts().response = Some(response.clone());
    match response.status {
        200..300 => agreed(ws, &request, &response, offered, stream, Vec::new(), call),
        _ => refused(response, stream, BytesMut::new(), call).await,
    }
}
