//! The handshake of a WebSocket, from its request to its 101.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::backend::{Back, Share};
use super::balance::{Attempts, Pool};
use super::client::Client;
use super::exchange::{self, MAX_HEAD};
use super::front::Front;
use super::gone::{self, while_there};
use super::visit::{Open, Visit};
use super::{Proxy, head};
use crate::accept::{join, reach_target};
use crate::endpoint::{Side, grant_websocket, handshake};
use crate::error::{Error, Kind, Result};
use crate::http::{self, Request, Response};
use crate::relay::Counts;
use crate::relay::tunnel::Tunnel;
use crate::site::Answer;

/// Passes a WebSocket on. The connection is returned if it can bring another request: it has been
/// refused.
pub(super) async fn run(
    mut front: Box<Front>,
    request: Request,
    pool: &Pool,
    proxy: &Arc<Proxy>,
) -> Option<Box<Front>> {
    let key = match key(&request) {
        Ok(key) => key.to_owned(),
        Err(answer) => return front.say(answer, &request, proxy).await,
    };
    if let Err(answer) = admit(&front, &request, proxy) {
        return front.say(answer, &request, proxy).await;
    }
    let mut attempts = pool.attempts(&request, &front.client);
    let mut refusal = None;
    let most = proxy.args.proxying.max_header;
    let came = Instant::now();
    loop {
        let near = (&mut front.stream, &mut front.buf);
        let share = match while_there(near, most, attempts.next()).await {
            Ok(Some(share)) => share,
            Ok(None) => break,
            Err(why) => {
                gone::log((&front, &request), "-", came, &why, proxy);
                return None;
            }
        };
        let began = Instant::now();
        if !share.endpoint.is_web() {
            Box::pin(bridge(front, request, share, &mut attempts, proxy)).await;
            return None;
        }
        let asking = async {
            let back = attempts.dial(&share, &front.peer).await?;
            Some(ask(back, &request, &front.client, &share, proxy).await)
        };
        let near = (&mut front.stream, &mut front.buf);
        let answered = match while_there(near, most, asking).await {
            Ok(answered) => answered,
            Err(why) => {
                gone::log((&front, &request), &share.name, came, &why, proxy);
                return None;
            }
        };
        let (back, mut response) = match answered {
            None => continue,
            Some(Ok(answered)) => answered,
            Some(Err(error)) => {
                attempts.failed(&share, error);
                continue;
            }
        };
        if response.status == 101
            && let Err(error) = terms(&request, &response, &key)
        {
            // What it said may have made it think that it talks to this client already.
            attempts.failed(&share, error);
            return front.say(attempts.answer().closing(), &request, proxy).await;
        }
        attempts.answered(&share, response.status);
        if let Some(cookie) = attempts.cookie(&share, &front.client) {
            response.fields.push("Set-Cookie", cookie);
        }
        match response.status {
            101 => {
                share.figures.websockets.add(1);
                share.figures.handshakes.add(began.elapsed());
                let visit = Visit::new(&front, &request, share, began, proxy);
                open(front, back, response, visit, proxy).await;
                return None;
            }
            // Another one may do better.
            502..=504 => refusal = Some((back, response, share)),
            _ => {
                return Box::pin(exchange::refuse(front, back, request, response, &share, proxy))
                    .await;
            }
        }
    }
    match refusal {
        Some((back, response, share)) => {
            Box::pin(exchange::refuse(front, back, request, response, &share, proxy)).await
        }
        None => front.say(attempts.answer(), &request, proxy).await,
    }
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

/// Checks whether a client may have a WebSocket now.
fn admit(front: &Front, request: &Request, proxy: &Proxy) -> Result<(), Answer> {
    if !proxy.origins.admits(request) {
        let what = "pages of this Origin may not connect here (--allow-origin)\n";
        return Err(Answer::text(403, "Forbidden", what));
    }
    proxy.quotas.admit(front.client.address())
}

/// Asks a backend.
async fn ask(
    mut back: Back,
    request: &Request,
    client: &Client,
    share: &Share,
    proxy: &Arc<Proxy>,
) -> Result<(Back, Response)> {
    let mut head = head::outgoing(request, client, share, &proxy.args);
    head.fields.push("Upgrade", "websocket");
    head.fields.push("Connection", "Upgrade");
    let patience = proxy.args.server.handshake_timeout;
    let asking = async {
        back.stream.write_all(&head.to_bytes()).await.map_err(Error::lost)?;
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
    if response.is_old {
        return Err(Error::new(Kind::Handshake, "a 101 of HTTP/1.0"));
    }
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
    mut front: Box<Front>,
    back: Back,
    mut response: Response,
    visit: Visit,
    proxy: &Proxy,
) {
    let extensions = response.fields.get("Sec-WebSocket-Extensions").is_some();
    response.fields = head::stripped(&response.fields, |_| false);
    // A 101 has no body, whatever it says.
    response.fields.remove("Content-Length");
    response.fields.push("Upgrade", "websocket");
    response.fields.push("Connection", "Upgrade");
    let patience = proxy.args.server.handshake_timeout;
    let head = response.to_bytes();
    let sending = async {
        front.stream.write_all(&head).await?;
        front.stream.flush().await
    };
    if !matches!(timeout(patience, sending).await, Ok(Ok(()))) {
        let why = "gone before the 101";
        return visit.over(&Counts::default(), None, Some(Side::Near), Some(why));
    }
    let Front { stream, buf, place, .. } = *front;
    let (backend, tag) = (visit.share.backend().clone(), visit.share.tag());
    let visit = Open::new(visit, place);
    let early = [buf.to_vec(), back.buf.to_vec()];
    let (near, far, owner) = (stream, back.stream, Box::new(visit));
    proxy.tunnels.add(Tunnel { near, far, early, extensions, tag, owner });
    // The word may have come between the choice of the backend and now.
    if backend.health.is_draining() {
        proxy.drain_tunnels(tag);
    }
}

/// Grants the WebSocket here, and joins it to something that does not speak HTTP.
async fn bridge(
    front: Box<Front>,
    request: Request,
    share: Share,
    attempts: &mut Attempts<'_>,
    proxy: &Arc<Proxy>,
) {
    let visit = Visit::new(&front, &request, share, Instant::now(), proxy);
    let Front { stream, buf, mut peer, place: _place, .. } = *front;
    let cx = &proxy.cx;
    peer.target = Some(visit.share.endpoint.clone());
    let joining = async {
        let near = grant_websocket(request, stream, &buf, &mut peer, cx).await?;
        // Others may have their handshakes meanwhile.
        peer.handshake.leave();
        let ends = match reach_target(near, &mut peer, cx).await {
            Ok(ends) => ends,
            Err(error) => {
                if error.kind() != Kind::Terminated {
                    attempts.unreachable(&visit.share, error.clone());
                }
                return Err(error);
            }
        };
        attempts.answered(&visit.share, 101);
        visit.share.figures.websockets.add(1);
        join(ends, &mut peer, cx).await
    };
    let (close, by, error) = match joining.await {
        Ok(ended) => (ended.close.map(|close| close.code), ended.by, None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    visit.over(&peer.moved, close, by, error.as_deref());
}
