//! A client's connection of HTTP/2. Each stream is to us what a connection of HTTP/1.1 is that brings
//! one request, so that nothing is decided twice.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::Semaphore;

use super::{Client, Current, Front, Place, Proxy, Seat, requests};
use crate::accept::{Handshake, Peer, in_time};
use crate::endpoint::handshake;
use crate::http::Request;
use crate::http2::{Asked, Reply, Server};
use crate::report;
use crate::site::Answer;

/// Serves a connection to its end.
pub(super) async fn serve(front: Box<Front>, handshake: &Handshake, current: &Arc<Current>) {
    let Front { stream, buf, peer, sender, from, redirect, place, .. } = *front;
    let cx = current.now().cx.clone();
    let max = current.now().args.proxying.max_header;
    let mut server = match in_time(&cx, Server::begin(stream.unread(buf), max)).await {
        Ok(server) => server,
        Err(error) => {
            cx.metrics.refused.add(1);
            return report::verbose(format_args!("{sender}: {error}"));
        }
    };
    handshake.leave();
    // The place and the seat of the connection, which it has in any case, are for its first
    // WebSocket.
    let (_place, own) = (place, Arc::new(Semaphore::new(1)));
    loop {
        let patience = current.now().args.proxying.keep_alive;
        let asked = match server.next(patience, &cx.stop).await {
            Ok(Some(asked)) => asked,
            Ok(None) => return,
            Err(error) => return report::verbose(format_args!("{sender}: {error}")),
        };
        let peer = Peer {
            address: sender.clone(),
            local: peer.local.clone(),
            listener: peer.listener.clone(),
            tls: peer.tls,
            alpn: peer.alpn.clone(),
            ..Peer::default()
        };
        let (sender, own, current) = (sender.clone(), own.clone(), current.clone());
        cx.peers.spawn(async move {
            let Asked { request, reply } = asked;
            let proxy = current.now();
            let is_websocket = request.as_ref().is_ok_and(Request::is_websocket);
            // A plain request does not hold for a moment what a WebSocket could have.
            let place = match is_websocket.then(|| own.try_acquire_owned()) {
                None => Some(Place { _of_all: None, seat: None }),
                Some(Ok(own)) => Some(Place { _of_all: Some(own), seat: None }),
                Some(Err(_)) => proxy.cx.peers.place().map(|place| {
                    let seat = proxy.seat(from);
                    Place { _of_all: Some(place), seat }
                }),
            };
            let (mut request, place) = match (request, place) {
                (Ok(request), Some(place)) => (request, place),
                (Ok(_), None) => {
                    let full = Answer::text(503, "Service Unavailable", "no more peers fit in\n");
                    return refuse(full.with("Retry-After", "5"), &peer, reply, &proxy).await;
                }
                (Err(why), _) => return refuse(why.into(), &peer, reply, &proxy).await,
            };
            if is_websocket {
                handshake::upgrade(&mut request);
            }
            let (stream, client) = (reply.into_connection(request), Client::at(from));
            let (buf, came) = (BytesMut::new(), None);
            let mut front =
                Box::new(Front { stream, buf, peer, client, came, sender, from, redirect, place });
            match front.place.seat.as_ref().and_then(Seat::refusal) {
                Some(answer) => drop(front.refuse(answer, None, &proxy).await),
                None => drop(requests(front, &Handshake::default(), &current).await),
            }
        });
    }
}

/// Answers what is not looked at any further.
async fn refuse(answer: Answer, peer: &Peer, reply: Reply, proxy: &Proxy) {
    let (client, status) = (&peer.address, answer.status());
    report::verbose(format_args!("{client}: {status} {}", answer.line()));
    proxy.cx.metrics.refused.add(1);
    proxy.refusals.add(status);
    // Nobody is left to hear of it where that fails.
    let _ = answer.reply(None, peer, reply, &proxy.cx).await;
}
