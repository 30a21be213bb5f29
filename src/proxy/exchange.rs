//! One plain HTTP request, and its answer.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backend::{Back, Share};
use super::balance::Pool;
use super::front::Front;
use super::gone::{self, Heard, while_there};
use super::visit::who;
use super::{Proxy, head};
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::http::body::Length;
use crate::http::{self, Request, Response};
use crate::relay::body::{Pace, body};
use crate::report;
use crate::report::access::{self, Moved, Passed};
use crate::site::Answer;

/// The largest head of an answer; the backend was chosen by the user, so there is no flag.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// Passes a request on, and its answer back. The connection is returned if it can bring another.
pub(super) async fn run(
    mut front: Box<Front>,
    request: Request,
    pool: &Pool,
    proxy: &Arc<Proxy>,
) -> Option<Box<Front>> {
    let args = &proxy.args.proxying;
    let mut attempts = pool.attempts(&request, &front.client);
    let came = Instant::now();
    loop {
        let near = (&mut front.stream, &mut front.buf);
        let share = match while_there(near, args.max_header, attempts.next()).await {
            Ok(Some(share)) => share,
            Ok(None) => break,
            Err(why) => {
                gone::log((&front, &request), "-", came, &why, proxy);
                return None;
            }
        };
        if !share.endpoint.is_web() {
            let answer = Answer::text(426, "Upgrade Required", "only WebSockets are served here\n");
            return front.say(answer.with("Upgrade", "websocket"), &request, proxy).await;
        }
        // A backend that closes an idle connection as we write leaves open whether it has acted on
        // the request, so that one that must not be repeated gets a connection of its own.
        let reused = if attempts.repeatable { share.reuse(args.keep_alive) } else { None };
        let fresh = reused.is_none();
        let back = match reused {
            Some(back) => Some(back),
            None => {
                let near = (&mut front.stream, &mut front.buf);
                let dial = attempts.dial(&share, &front.peer);
                match while_there(near, args.max_header, dial).await {
                    Ok(back) => back,
                    Err(why) => {
                        gone::log((&front, &request), &share.name, came, &why, proxy);
                        return None;
                    }
                }
            }
        };
        let Some(mut back) = back else { continue };
        let mut passing = Passing::of(&request);
        let began = Instant::now();
        passing.cookie = attempts.cookie(&share, &front.client);
        let head = head::outgoing(&request, &front.client, &share, &proxy.args);
        let outcome = passing.run(head, &mut front, &mut back, proxy).await;
        if let Some(status) = passing.status {
            attempts.answered(&share, status);
        }
        match outcome {
            Ok(()) => {
                passing.log(&front, &share, began, None, proxy);
                // A connection with a PROXY header is for one client.
                let may_keep = passing.keep_back && proxy.cx.send_proxy.is_none();
                if may_keep && back.buf.is_empty() {
                    share.keep(back, args.keep_alive, args.max_idle);
                }
                let keep = passing.keep_front;
                drop(share);
                drop(attempts);
                return front.go_on(keep, proxy).await;
            }
            // The answer has begun, and cannot be taken back: what is cut off has to show.
            Err((side, error)) if passing.status.is_some() => {
                passing.log(&front, &share, began, Some((side, &error)), proxy);
                front.stream.abort(&error);
                return None;
            }
            Err((Side::Near, error)) => {
                gone::log((&front, &request), &share.name, came, &error, proxy);
                if error.kind() != Kind::Timeout {
                    return None;
                }
                let answer = Answer::text(408, "Request Timeout", "the body comes too slowly\n");
                return front.say(answer.closing(), &request, proxy).await;
            }
            // An idle connection that has just been closed says nothing about the backend.
            Err((Side::Far, error)) if !fresh && error.kind() != Kind::Timeout => {
                report::verbose(format_args!("{}: {error}", share.name));
            }
            Err((Side::Far, error)) => {
                let again = attempts.repeatable && error.kind() != Kind::Timeout;
                attempts.failed(&share, error);
                if !again {
                    break;
                }
            }
        }
    }
    let answer = attempts.answer();
    let answer = if request.has_body() { answer.closing() } else { answer };
    front.say(answer, &request, proxy).await
}

/// Passes on why a backend will have no WebSocket.
pub(super) async fn refuse(
    mut front: Box<Front>,
    mut back: Back,
    request: Request,
    response: Response,
    share: &Share,
    proxy: &Arc<Proxy>,
) -> Option<Box<Front>> {
    let began = Instant::now();
    let mut passing = Passing::of(&request);
    // What was sent before the answer arrived is no request (RFC 9931), and may still be on its way.
    passing.keep_front = false;
    let from = (&mut back.stream, &mut back.buf);
    let outcome = passing.answer(response, from, &mut front.stream, proxy).await;
    let error = outcome.err();
    passing.log(&front, share, began, error.as_ref().map(|(side, error)| (*side, error)), proxy);
    match error {
        None => front.go_on(false, proxy).await,
        Some((_, error)) => {
            front.stream.abort(&error);
            None
        }
    }
}

/// One request on its way.
struct Passing<'a> {
    request: &'a Request,
    /// Whether the client waits for a sign before it sends its body.
    waits: bool,
    /// The answer's, once some of it may have reached the client.
    status: Option<u16>,
    /// Bytes of content towards the backend, and back.
    up: u64,
    down: u64,
    /// What has the client come back to this backend.
    cookie: Option<String>,
    /// Cancelled when all of its body has gone out.
    heard: CancellationToken,
    keep_front: bool,
    keep_back: bool,
}

impl<'a> Passing<'a> {
    fn of(request: &'a Request) -> Self {
        let waits =
            !request.is_old && request.has_body() && request.fields.has("Expect", "100-continue");
        let keep_front = !request.is_old && !request.fields.has("Connection", "close");
        let heard = CancellationToken::new();
        if !request.has_body() {
            heard.cancel();
        }
        let (up, down) = (0, 0);
        let (status, cookie, keep_back) = (None, None, false);
        Self { request, waits, status, up, down, cookie, heard, keep_front, keep_back }
    }

    /// # Errors
    /// Which side failed.
    async fn run(
        &mut self,
        mut head: Request,
        front: &mut Front,
        back: &mut Back,
        proxy: &Proxy,
    ) -> Result<(), (Side, Error)> {
        let (patience, most) = (proxy.args.proxying.http_timeout, proxy.args.proxying.max_header);
        let length = Length::of_request(self.request).map_err(near)?;
        if self.waits {
            let sign = Response::new(100, "Continue").to_bytes();
            let sent = front.stream.write_all(&sign).await;
            sent.map_err(Error::lost).map_err(near)?;
        }
        let (mut from, mut to_front) = io::split(&mut front.stream);
        let (mut answers, mut to_back) = io::split(&mut back.stream);
        let sent = CancellationToken::new();
        let mut up = 0;
        let chunked = length == Length::Chunked;
        if chunked {
            head.fields.push("Transfer-Encoding", "chunked");
        }
        let (head, all_sent, heard) = (head.to_bytes(), sent.clone(), self.heard.clone());
        let (ended, left) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut answers = Heard::new(&mut answers, &ended, &left);
        let upload = async {
            let all_sent = all_sent.drop_guard();
            let first = timeout(patience, to_back.write_all(&head)).await;
            first
                .map_err(|_| late(patience))
                .and_then(|it| it.map_err(Error::lost))
                .map_err(far)?;
            let request = (&mut from, &mut front.buf);
            let pace = Pace { patience, least: proxy.args.proxying.min_body_rate as u64 };
            body(request, length, (&mut to_back, chunked), pace, &mut up).await?;
            heard.cancel();
            drop(all_sent);
            let end = gone::end((&mut from, &mut front.buf), most).await;
            end.map_err(|_| near(gone::left()))?;
            ended.store(true, Relaxed);
            // Has the answer look at it.
            yield_now().await;
            pending::<Result<Infallible, _>>().await
        };
        let download = async {
            let response = tokio::select! {
                response = self.final_head((&mut answers, &mut back.buf), &mut to_front) => response,
                // A large body may take long to send, and the answer comes after it.
                () = async { sent.cancelled().await; sleep(patience).await } => {
                    Err(far(late(patience)))
                }
            }?;
            self.answer(response, (&mut answers, &mut back.buf), &mut to_front, proxy).await
        };
        let mut uploading = true;
        let outcome = {
            tokio::pin!(upload, download);
            loop {
                tokio::select! {
                    Err((side, error)) = &mut upload, if uploading => {
                        uploading = false;
                        // A backend that stops reading may still say why.
                        if side == Side::Near {
                            break Err(near(error));
                        }
                    }
                    outcome = &mut download => break outcome,
                }
            }
        };
        self.up = up;
        self.keep_back &= self.heard.is_cancelled();
        if left.into_inner() { Err(near(gone::left())) } else { outcome }
    }

    /// Reads the head of the answer, and passes on those that come before it.
    async fn final_head<R, W>(
        &self,
        (from, buf): (&mut R, &mut BytesMut),
        to: &mut W,
    ) -> Result<Response, (Side, Error)>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            let response = http::read_any_response(from, buf, MAX_HEAD).await.map_err(far)?;
            let mut response = response.ok_or_else(no_answer).map_err(far)?;
            if !response.is_interim() {
                return Ok(response);
            }
            // It was us who wanted to know whether to go on.
            if response.status != 100 && !self.request.is_old {
                response.fields = head::stripped(&response.fields, |_| false);
                let sent = to.write_all(&response.to_bytes()).await;
                sent.map_err(Error::lost).map_err(near)?;
            }
        }
    }

    /// Counts it, and writes its line of the access log.
    fn log(
        &self,
        front: &Front,
        share: &Share,
        began: Instant,
        error: Option<(Side, &Error)>,
        proxy: &Proxy,
    ) {
        share.figures.requests.add(1);
        let text = error.map(|(_, error)| error.to_string());
        let moved =
            Moved { bytes_in: self.up, messages_in: 0, bytes_out: self.down, messages_out: 0 };
        let passed = Passed {
            status: self.status,
            moved: Some(moved),
            by: error.map(|(side, _)| who(side)),
            error: text.as_deref(),
            ..gone::record((front, self.request), &share.name, began)
        };
        access::passed(proxy.args.server.access_log, &passed);
    }

    /// Passes an answer on.
    async fn answer<R, W>(
        &mut self,
        mut response: Response,
        from: (&mut R, &mut BytesMut),
        to: &mut W,
        proxy: &Proxy,
    ) -> Result<(), (Side, Error)>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if response.status == 101 {
            let what = "a 101 that nobody asked for";
            return Err(far(Error::new(Kind::Handshake, what)));
        }
        let length = Length::of_response(&response, &self.request.method).map_err(far)?;
        self.keep_back = !response.is_old
            && length != Length::UntilClose
            && !response.fields.has("Connection", "close");
        // The rest of a body would be taken for the next request.
        self.keep_front &= self.heard.is_cancelled() && !proxy.cx.stop.is_cancelled();
        response.fields = head::stripped(&response.fields, |_| false);
        response.is_old = false;
        if response.status == 204 {
            response.fields.remove("Content-Length");
        }
        // A client of HTTP/1.0 knows the end of the connection only.
        let chunked = !matches!(length, Length::Known(_)) && !self.request.is_old;
        if chunked {
            response.fields.push("Transfer-Encoding", "chunked");
        }
        if !self.keep_front {
            response.fields.push("Connection", "close");
        }
        if let Some(cookie) = self.cookie.take() {
            response.fields.push("Set-Cookie", cookie);
        }
        self.status = Some(response.status);
        let patience = proxy.args.proxying.http_timeout;
        let head = response.to_bytes();
        let sent = timeout(patience, to.write_all(&head)).await;
        sent.map_err(|_| late(patience)).and_then(|it| it.map_err(Error::lost)).map_err(near)?;
        let pace = Pace { patience, least: 0 };
        let outcome = body(from, length, (to, chunked), pace, &mut self.down).await;
        // Here the far side is the one that is read from.
        outcome.map_err(|(side, error)| (side.other(), error))
    }
}

fn near(error: Error) -> (Side, Error) {
    (Side::Near, error)
}

fn far(error: Error) -> (Side, Error) {
    (Side::Far, error)
}

pub(super) fn no_answer() -> Error {
    Error::new(Kind::Lost, "the connection was closed without an HTTP answer")
}

fn late(patience: std::time::Duration) -> Error {
    Error::new(Kind::Timeout, format_args!("no answer after {patience:?} (--http-timeout)"))
}
