//! Clients that leave before they have their answer.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Proxy;
use super::front::Front;
use super::visit::who;
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::http::Request;
use crate::report;
use crate::report::access::{self, Moved, Passed, PassedEvent};

/// How long one that has ended its own direction is still believed to be there. Whether all of the
/// connection is closed cannot be told before something is written.
const GRACE: Duration = Duration::from_secs(1);

/// Does some work for a client for as long as the client is there. What it sends meanwhile is kept
/// for later; after `most` bytes of it, nobody looks.
///
/// # Errors
/// The client has left.
pub(super) async fn while_there<R: AsyncRead + Unpin, T>(
    (from, buf): (&mut R, &mut BytesMut),
    most: usize,
    work: impl Future<Output = T>,
) -> Result<T> {
    let leaving = async {
        if end((from, buf), most).await.is_ok() {
            sleep(GRACE).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = leaving => Err(left()),
    }
}

/// Reads on until a client ends its direction, else as [`while_there`].
///
/// # Errors
/// The connection is lost.
pub(super) async fn end<R: AsyncRead + Unpin>(
    (from, buf): (&mut R, &mut BytesMut),
    most: usize,
) -> io::Result<()> {
    while buf.len() < most {
        if from.read_buf(buf).await? == 0 {
            return Ok(());
        }
    }
    pending().await
}

pub(super) fn left() -> Error {
    Error::new(Kind::Lost, "the client has left")
}

/// An answer, for as long as there is a client to hear it: one that has `ended` its direction is
/// written to, which shows whether it is there, or has left if there is nothing to write for a
/// while.
pub(super) struct Heard<'a, R> {
    from: R,
    ended: &'a AtomicBool,
    /// Whether reading has failed since the client has left.
    left: &'a AtomicBool,
    grace: Option<Pin<Box<Sleep>>>,
}

impl<'a, R> Heard<'a, R> {
    /// Who sets `ended` is of the same task, and has it polled again.
    pub(super) fn new(from: R, ended: &'a AtomicBool, left: &'a AtomicBool) -> Self {
        Self { from, ended, left, grace: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.from).poll_read(cx, buf) {
            self.grace = None;
            return Poll::Ready(read);
        }
        if !self.ended.load(Relaxed) {
            return Poll::Pending;
        }
        let grace = self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        ready!(grace.as_mut().poll(cx));
        self.left.store(true, Relaxed);
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

/// Says that a client has failed before an answer to its request began. The backend is `-` where
/// none was chosen yet.
pub(super) fn log(
    (front, request): (&Front, &Request),
    backend: &str,
    began: Instant,
    why: &Error,
    proxy: &Proxy,
) {
    report::verbose(format_args!("{}: {why}", front.peer.address));
    let (by, error) = (Some(who(Side::Near)), why.to_string());
    let passed = Passed { by, error: Some(&error), ..record((front, request), backend, began) };
    access::passed(proxy.args.server.access_log, &passed);
}

/// A line of the access log on a request that was not answered.
pub(super) fn record<'a>(
    (front, request): (&'a Front, &'a Request),
    backend: &'a str,
    began: Instant,
) -> Passed<'a> {
    Passed {
        event: PassedEvent::Request,
        id: None,
        client: &front.peer.address,
        backend,
        host: request.fields.get("Host"),
        method: Some(&request.method),
        path: front.path(request),
        status: None,
        moved: Some(Moved { bytes_in: 0, messages_in: 0, bytes_out: 0, messages_out: 0 }),
        close: None,
        by: None,
        error: None,
        seconds: began.elapsed().as_secs_f64(),
    }
}
