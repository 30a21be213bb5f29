//! A client's connection: one request after the other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::client::{self, Client};
use super::{Proxy, exchange, head, upgrade};
use crate::accept::{Handshake, Incoming, Peer, in_time};
use crate::duplex::ByteStream;
use crate::http::{self, Request};
use crate::report;
use crate::site::Answer;

/// A client's connection between two requests.
pub(super) struct Front {
    pub(super) stream: ByteStream,
    /// What was read already.
    pub(super) buf: BytesMut,
    pub(super) peer: Peer,
    /// Who sent the request that is answered now. The peer has its address.
    pub(super) client: Client,
    /// Where the connection itself comes from.
    sender: String,
    from: Option<IpAddr>,
    /// Its place among all clients.
    pub(super) place: OwnedSemaphorePermit,
}

/// Serves a client to its end, or until it has become a tunnel.
pub(super) async fn serve(incoming: Incoming, place: OwnedSemaphorePermit, proxy: &Arc<Proxy>) {
    let Incoming { address, ready, handshake } = incoming;
    let cx = &proxy.cx;
    cx.metrics.handshakes.add(1);
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
    let (buf, client) = (BytesMut::new(), Client::default());
    let (sender, from) = (peer.address.clone(), client::address(&peer));
    let mut front = Front { stream, buf, peer, client, sender, from, place };
    let mut patience = None;
    while let Some(request) = front.next(patience, proxy).await {
        let Some(again) = answer(front, request, &handshake, proxy).await else { return };
        front = again;
        patience = Some(proxy.args.proxying.keep_alive);
    }
}

/// Answers a request. The connection is returned if it can bring another one.
async fn answer(
    mut front: Front,
    mut request: Request,
    handshake: &Handshake,
    proxy: &Arc<Proxy>,
) -> Option<Front> {
    if let Err(answer) = head::check(&mut request) {
        return front.say(answer, &request, proxy).await;
    }
    front.know(&request, proxy);
    if request.is_websocket() {
        return upgrade::run(front, request, proxy).await;
    }
    // One that reads what we have may take long, and is nobody who waits to be let in.
    handshake.leave();
    exchange::run(front, request, proxy).await
}

impl Front {
    /// Finds out who has sent a request.
    fn know(&mut self, request: &Request, proxy: &Proxy) {
        self.client = Client::of(request, self.from, self.peer.tls, &proxy.args.clients.trust);
        let address = self.client.address();
        self.peer.address = match address.filter(|_| address != self.from) {
            Some(address) => address.to_string(),
            None => self.sender.clone(),
        };
    }

    /// The next request. There has been one before if there is a time to wait for it; the first one
    /// has to come at once.
    async fn next(&mut self, patience: Option<Duration>, proxy: &Proxy) -> Option<Request> {
        let cx = &proxy.cx;
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
            Err(error) => {
                cx.metrics.refused.add(1);
                report::verbose(format_args!("{}: {error}", self.peer.address));
                if let Some(answer) = Answer::complaint(&error, self.buf.len() > max) {
                    proxy.refusals.add(answer.status());
                    let _ = answer.send(None, &self.peer, &mut self.stream, cx).await;
                }
                None
            }
        }
    }

    /// Waits for another request, or takes leave.
    pub(super) async fn go_on(mut self, keep: bool, proxy: &Proxy) -> Option<Self> {
        if !keep {
            self.stream.hang_up(proxy.args.server.handshake_timeout).await;
        }
        keep.then_some(self)
    }

    /// Sends an answer of our own.
    pub(super) async fn say(
        mut self,
        answer: Answer,
        request: &Request,
        proxy: &Proxy,
    ) -> Option<Self> {
        // What was sent before the answer to an upgrade arrived is no request (RFC 9931).
        let answer = if request.is_websocket() { answer.closing() } else { answer };
        proxy.refusals.add(answer.status());
        let sent = answer.send(Some(request), &self.peer, &mut self.stream, &proxy.cx).await;
        matches!(sent, Ok(true)).then_some(self)
    }
}
