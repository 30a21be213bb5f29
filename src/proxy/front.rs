//! A client's connection: one request after the other, or with HTTP/2 many at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::client::{self, Client};
use super::quotas::{Place, Seat};
use super::{Current, Proxy, exchange, head, upgrade};
use crate::accept::{Handshake, Incoming, Peer, in_time};
use crate::cli::ClientArgs;
use crate::duplex::ByteStream;
use crate::error::Result;
use crate::http::{self, Request};
use crate::http2;
use crate::report;
use crate::site::Answer;

mod streams;

/// A client's connection between two requests.
pub(super) struct Front {
    pub(super) stream: ByteStream,
    /// What was read already.
    pub(super) buf: BytesMut,
    pub(super) peer: Peer,
    /// Who sent the request that is answered now. The peer has its address.
    pub(super) client: Client,
    /// The target of that request, where a route may have changed it.
    came: Option<String>,
    /// Where the connection itself comes from.
    sender: String,
    from: Option<IpAddr>,
    /// The port of https: that its requests are sent to.
    redirect: Option<u16>,
    pub(super) place: Place,
}

/// Serves a client to its end, or until it has become a tunnel; or else sends it to a port of
/// https:, if there is one to `redirect` to.
pub(super) async fn serve(
    incoming: Incoming,
    place: OwnedSemaphorePermit,
    redirect: Option<u16>,
    current: Arc<Current>,
) {
    let Incoming { address, ready, handshake } = incoming;
    let cx = current.now().cx.clone();
    cx.metrics.handshakes.add(1);
    let sender = client::address(&address);
    let mut seat = match current.now().speaks(sender) {
        // Its header says who it is that has a seat.
        Some(true) => None,
        Some(false) => {
            cx.metrics.refused.add(1);
            return report::verbose(format_args!("{address}: no proxy that is trusted (--trust)"));
        }
        None => current.now().seat(sender),
    };
    if seat.as_ref().is_some_and(Seat::is_flood) {
        cx.metrics.refused.add(1);
        return report::verbose(format_args!("{address}: far too many connections"));
    }
    let ready = tokio::select! {
        ready = ready => ready,
        () = cx.kill.cancelled() => return,
    };
    let (stream, peer) = match ready {
        Ok((duplex, peer)) => (duplex.into_bytes(), peer),
        Err(error) => {
            cx.metrics.refused.add(1);
            return report::verbose(format_args!("{address}: {error}"));
        }
    };
    let (sender, from) = (peer.address.clone(), client::address(&peer.address));
    seat = seat.or_else(|| current.now().seat(from));
    let (buf, client, place) =
        (BytesMut::new(), Client::at(from), Place { _of_all: Some(place), seat });
    let mut front =
        Box::new(Front { stream, buf, peer, client, came: None, sender, from, redirect, place });
    if let Some(answer) = front.place.seat.as_ref().and_then(Seat::refusal) {
        handshake.leave();
        let _ = front.refuse(answer, None, &current.now()).await;
        return;
    }
    let front = match front.peer.alpn.as_deref() {
        Some("h2") => Some(front),
        _ => requests(front, &handshake, &current).await,
    };
    if let Some(front) = front {
        Box::pin(streams::serve(front, &handshake, &current)).await;
    }
}

/// Answers the requests of a connection. It is returned if it turns out to speak HTTP/2.
async fn requests(
    mut front: Box<Front>,
    handshake: &Handshake,
    current: &Current,
) -> Option<Box<Front>> {
    let mut patience = None;
    while let Some(request) = front.next(patience, &current.now()).await {
        let proxy = current.now();
        front = answer(front, request, handshake, &proxy).await?;
        patience = Some(proxy.args.proxying.keep_alive);
    }
    (patience.is_none() && http2::is_preface(&front.buf)).then_some(front)
}

/// Answers a request. The connection is returned if it can bring another one.
async fn answer(
    mut front: Box<Front>,
    mut request: Request,
    handshake: &Handshake,
    proxy: &Arc<Proxy>,
) -> Option<Box<Front>> {
    let checked = head::check(&mut request).and_then(|()| front.know(&request, proxy));
    if let Err(answer) = checked {
        return front.say(answer, &request, proxy).await;
    }
    let Some((pool, came)) = proxy.routes.find(&mut request) else {
        let answer = Answer::text(404, "Not Found", "no route leads there\n");
        return front.say(answer, &request, proxy).await;
    };
    front.came = came;
    if request.is_websocket() {
        return upgrade::run(front, request, &pool, proxy).await;
    }
    // One that reads what we have may take long, and is nobody who waits to be let in.
    handshake.leave();
    Box::pin(exchange::run(front, request, &pool, proxy)).await
}

impl Proxy {
    /// Where connections begin with a PROXY header, whether that of a sender is believed.
    fn speaks(&self, sender: Option<IpAddr>) -> Option<bool> {
        let ClientArgs { proxy_protocol, trust, .. } = &self.args.clients;
        proxy_protocol.then(|| trust.is_empty() || trust.iter().any(|it| it.covers(sender)))
    }

    /// One more connection of a client; not of those who speak for others.
    fn seat(&self, client: Option<IpAddr>) -> Option<Seat> {
        let trusted = self.args.clients.trust.iter().any(|it| it.covers(client));
        client.filter(|_| !trusted).and_then(|client| self.quotas.seat(client))
    }
}

impl Front {
    /// Finds out who has sent a request.
    ///
    /// # Errors
    /// What to answer where that is all.
    fn know(&mut self, request: &Request, proxy: &Proxy) -> Result<(), Answer> {
        self.client = Client::of(request, self.from, self.peer.tls, &proxy.args.clients.trust);
        let address = self.client.address();
        match address.filter(|_| address != self.from) {
            Some(address) => {
                self.peer.address = address.to_string();
                self.place.seat = proxy.seat(Some(address));
                let refusal = self.place.seat.as_ref().and_then(Seat::refusal);
                refusal.map_or(Ok(()), Err)?;
            }
            None => self.peer.address = self.sender.clone(),
        }
        self.redirect.map_or(Ok(()), |port| Err(head::redirect(request, port)))
    }

    /// The next request. There has been one before if there is a time to wait for it; the first one
    /// has to come at once.
    async fn next(&mut self, patience: Option<Duration>, proxy: &Proxy) -> Option<Request> {
        let cx = &proxy.cx;
        self.came = None;
        if self.client.address() != self.from {
            // The next request may be another client's.
            self.place.seat = None;
        }
        if let Some(patience) = patience.filter(|_| self.buf.is_empty()) {
            // A connection between two requests holds no buffer.
            self.buf = BytesMut::with_capacity(1024);
            let first = timeout(patience, self.stream.read_buf(&mut self.buf));
            let read = tokio::select! {
                read = first => read,
                () = cx.stop.cancelled() => return None,
            };
            if !matches!(read, Ok(Ok(1..))) {
                return None;
            }
        }
        let max = proxy.args.proxying.max_header;
        let request = http::read_any_request(&mut self.stream, &mut self.buf, max);
        match in_time(cx, request).await {
            Ok(request) => request,
            Err(_) if patience.is_none() && http2::is_preface(&self.buf) => None,
            Err(error) => {
                match Answer::complaint(&error, self.buf.len() > max) {
                    Some(answer) => drop(self.refuse(answer, None, proxy).await),
                    None => report::verbose(format_args!("{}: {error}", self.peer.address)),
                }
                None
            }
        }
    }

    /// The path of the request that is answered now, as the client has sent it.
    pub(super) fn path<'a>(&'a self, request: &'a Request) -> &'a str {
        self.came.as_deref().map_or_else(|| request.path(), http::path)
    }

    /// Waits for another request, or takes leave.
    pub(super) async fn go_on(mut self: Box<Self>, keep: bool, proxy: &Proxy) -> Option<Box<Self>> {
        if !keep {
            self.stream.hang_up(proxy.args.server.handshake_timeout).await;
        }
        keep.then_some(self)
    }

    /// Sends an answer of our own.
    pub(super) async fn say(
        mut self: Box<Self>,
        answer: Answer,
        request: &Request,
        proxy: &Proxy,
    ) -> Option<Box<Self>> {
        // What was sent before the answer to an upgrade arrived is no request (RFC 9931).
        let answer = if request.is_websocket() { answer.closing() } else { answer };
        let sent = self.refuse(answer, Some(request), proxy).await;
        matches!(sent, Ok(true)).then_some(self)
    }

    /// Sends an answer of our own, and says why. True if another request may follow.
    async fn refuse(
        &mut self,
        answer: Answer,
        request: Option<&Request>,
        proxy: &Proxy,
    ) -> Result<bool> {
        let (client, status, why) = (&self.peer.address, answer.status(), answer.line());
        match request {
            Some(request) => report::verbose(format_args!(
                "{client} {} {}: {status} {why}",
                request.method,
                self.path(request),
            )),
            None => {
                proxy.cx.metrics.refused.add(1);
                report::verbose(format_args!("{client}: {status} {why}"));
            }
        }
        proxy.refusals.add(status);
        answer.send(request, &self.peer, &mut self.stream, &proxy.cx).await
    }
}
