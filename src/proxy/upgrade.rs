//! The handshake of a WebSocket, from its request to its 101.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::backend::{Back, Share};
use super::exchange::{self, MAX_HEAD};
use super::front::Front;
use super::{Proxy, head};
use crate::accept::{Peer, join_target};
use crate::endpoint::{Side, grant_websocket, handshake};
use crate::error::{Error, Kind, Result};
use crate::http::{self, Request, Response};
use crate::relay::Counts;
use crate::relay::tunnel::{End, Owner, Tunnel};
use crate::report;
use crate::site::Answer;

/// Passes a WebSocket on. The connection is returned if it can bring another request: it has been
/// refused.
pub(super) async fn run(front: Front, request: Request, proxy: &Arc<Proxy>) -> Option<Front> {
    let key = match key(&request) {
        Ok(key) => key.to_owned(),
        Err(answer) => return front.say(answer, &request, proxy).await,
    };
    let mut tried: Vec<Share> = Vec::new();
    let mut failure = None;
    let (share, back, response) = loop {
        let Some(share) = proxy.pool.pick(&tried) else {
            return front.say(head::unanswered(failure.as_ref()), &request, proxy).await;
        };
        if !share.endpoint.is_web() {
            bridge(front, request, share, proxy).await;
            return None;
        }
        match ask(&request, &front.peer, &share, proxy).await {
            // Another one may do better.
            Ok((_, response))
                if matches!(response.status, 502..=504) && tried.len() + 1 < proxy.pool.len() =>
            {
                let what = format_args!("HTTP {}", response.status);
                failure = Some(Error::new(Kind::Status(response.status), what));
            }
            Ok((back, response)) => break (share, back, response),
            Err(error) => {
                report::warn(format_args!("{}: {error}", share.name));
                failure = Some(error);
            }
        }
        tried.push(share);
    };
    if response.status != 101 {
        return exchange::refuse(front, back, request, response, proxy).await;
    }
    if let Err(error) = terms(&request, &response, &key) {
        report::warn(format_args!("{}: {error}", share.name));
        let answer = head::unanswered(Some(&error)).closing();
        return front.say(answer, &request, proxy).await;
    }
    open(front, back, request, response, share, proxy).await;
    None
}

/// Checks an upgrade, and returns its key.
fn key(request: &Request) -> Result<&str, Answer> {
    let refuse = |status, reason: &str, what: &str| {
        let answer = Answer::text(status, reason, format!("{what}\n"));
        answer.with("Sec-WebSocket-Version", "13").with("Upgrade", "websocket").closing()
    };
    let mut protocols = request.fields.list("Upgrade");
    if !protocols.all(|it| it.eq_ignore_ascii_case("websocket")) {
        return Err(refuse(400, "Bad Request", "only one protocol can be upgraded to"));
    }
    handshake::key(request).map_err(|why| match why.status {
        // Another method is no upgrade, and what follows it no WebSocket.
        405 => refuse(400, "Bad Request", why.what),
        status => refuse(status, why.reason, why.what),
    })
}

/// Asks a backend.
async fn ask(
    request: &Request,
    peer: &Peer,
    share: &Share,
    proxy: &Arc<Proxy>,
) -> Result<(Back, Response)> {
    let mut back = share.dial(peer, &proxy.cx).await?;
    let mut head = head::outgoing(request, peer, share, &proxy.args);
    head.fields.push("Upgrade", "websocket");
    head.fields.push("Connection", "Upgrade");
    let patience = proxy.args.server.handshake_timeout;
    let asking = async {
        back.stream.write_all(head.to_string().as_bytes()).await.map_err(Error::lost)?;
        back.stream.flush().await.map_err(Error::lost)?;
        http::read_response(&mut back.stream, &mut back.buf, MAX_HEAD).await
    };
    let response = timeout(patience, asking).await.map_err(|_| {
        let what = format_args!("no answer after {patience:?} (--handshake-timeout)");
        Error::new(Kind::Timeout, what)
    })??;
    let response = response.ok_or_else(exchange::no_answer)?;
    Ok((back, response))
}

/// Checks that a 101 answers what was asked, and agrees to nothing else.
fn terms(request: &Request, response: &Response, key: &str) -> Result<()> {
    handshake::check(response, key)?;
    let offered = |name: &str, granted: &str| {
        let what = |it: &str| it.split(';').next().unwrap_or_default().trim().to_owned();
        request.fields.list(name).any(|it| what(it) == what(granted))
    };
    let mut protocols = response.fields.list("Sec-WebSocket-Protocol");
    let (protocol, more) = (protocols.next(), protocols.next());
    let protocol = protocol.filter(|it| !offered("Sec-WebSocket-Protocol", it));
    let extension = response.fields.list("Sec-WebSocket-Extensions");
    let extension = extension.into_iter().find(|it| !offered("Sec-WebSocket-Extensions", it));
    match (protocol, more, extension) {
        (None, None, None) => Ok(()),
        (_, Some(_), _) => {
            Err(Error::new(Kind::Handshake, "more than one subprotocol was granted"))
        }
        (Some(it), ..) => {
            let what = format_args!("the subprotocol {it} was granted but never offered");
            Err(Error::new(Kind::Handshake, what))
        }
        (.., Some(it)) => {
            let what = format_args!("the extension {it} was granted but never offered");
            Err(Error::new(Kind::Handshake, what))
        }
    }
}

/// Passes the 101 on, and makes a tunnel of the two connections.
async fn open(
    mut front: Front,
    back: Back,
    request: Request,
    mut response: Response,
    share: Share,
    proxy: &Arc<Proxy>,
) {
    let extensions = response.fields.get("Sec-WebSocket-Extensions").is_some();
    head::strip(&mut response.fields);
    response.fields.push("Upgrade", "websocket");
    response.fields.push("Connection", "Upgrade");
    let patience = proxy.args.server.handshake_timeout;
    let text = response.to_string();
    let sent = timeout(patience, front.stream.write_all(text.as_bytes())).await;
    if !matches!(sent, Ok(Ok(()))) || front.stream.flush().await.is_err() {
        return report::verbose(format_args!("{}: left in the handshake", front.peer.address));
    }
    let Front { stream, buf, peer, place } = front;
    proxy.cx.metrics.peers.add(1);
    let visit = Visit {
        proxy: proxy.clone(),
        client: peer.address.into(),
        path: request.path().into(),
        share,
        began: Instant::now(),
        _place: place,
        _token: proxy.cx.peers.token(),
    };
    let early = [buf.to_vec(), back.buf.to_vec()];
    let tunnel = Tunnel { near: stream, far: back.stream, early, owner: Box::new(visit) };
    proxy.tunnels.add(tunnel, extensions);
}

/// A WebSocket that is open: what is said of it when it is over.
struct Visit {
    proxy: Arc<Proxy>,
    client: Box<str>,
    path: Box<str>,
    share: Share,
    began: Instant,
    _place: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Owner for Visit {
    fn ended(self: Box<Self>, counts: &Counts, end: End) {
        let metrics = &self.proxy.cx.metrics;
        metrics.count(counts);
        metrics.left.add(1);
        let how = match end {
            End::Closed { by, code } => format!("closed with {code} by the {}", who(by)),
            End::Gone(side) => format!("the {} has gone", who(side)),
            End::Lost(side, error) => format!("the {} was lost: {error}", who(side)),
            End::Idle => "idle".to_owned(),
            End::Closing(code) => format!("closed with {code}"),
            End::Protocol(side, code, what) => format!("the {}: {what} ({code})", who(side)),
        };
        report::verbose(format_args!(
            "{} {} {}: {how} after {:.3}s",
            self.client,
            self.path,
            self.share.name,
            self.began.elapsed().as_secs_f64()
        ));
    }
}

fn who(side: Side) -> &'static str {
    match side {
        Side::Near => "client",
        Side::Far => "backend",
    }
}

/// Grants the WebSocket here, and joins it to something that does not speak HTTP.
async fn bridge(front: Front, request: Request, share: Share, proxy: &Arc<Proxy>) {
    let Front { stream, buf, mut peer, place: _place } = front;
    let cx = &proxy.cx;
    peer.target = Some(share.endpoint.clone());
    let (address, path) = (peer.address.clone(), request.path().to_owned());
    let near = match grant_websocket(request, stream, &buf, &mut peer, cx).await {
        Ok(near) => near,
        Err(error) => return report::verbose(format_args!("{address}: {error}")),
    };
    cx.metrics.peers.add(1);
    let outcome = join_target(near, &mut peer, cx).await;
    cx.metrics.count(&peer.moved);
    cx.metrics.left.add(1);
    if let Err(error) = outcome {
        report::verbose(format_args!("{address} {path} {}: {error}", share.name));
    }
}
