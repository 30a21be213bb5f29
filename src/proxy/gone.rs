//! Clients that leave before they have their answer.

use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Proxy;
use super::front::Front;
use super::visit::who;
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::http::Request;
use crate::report;
use crate::report::access::{self, Moved, Passed, PassedEvent};

/// Does some work for a client for as long as the client is there.
///
/// # Errors
/// The client has left; see [`gone`].
pub(super) async fn while_there<R: AsyncRead + Unpin, T>(
    (from, buf): (&mut R, &mut BytesMut),
    most: usize,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        why = gone(from, buf, most) => Err(why),
    }
}

/// Ready, with what to say of it, once a client has left. Whether it has closed its connection or
/// only its own direction cannot be told before something is written, and proxies take both for the
/// former. What it sends meanwhile is kept for later; after `most` bytes of it, nobody looks.
pub(super) async fn gone<R: AsyncRead + Unpin>(
    from: &mut R,
    buf: &mut BytesMut,
    most: usize,
) -> Error {
    while buf.len() < most {
        if !matches!(from.read_buf(buf).await, Ok(1..)) {
            return Error::new(Kind::Lost, "the client has left");
        }
    }
    std::future::pending().await
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
