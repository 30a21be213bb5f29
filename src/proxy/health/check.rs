//! Checks: a backend is asked now and then whether it is there.

use std::str::FromStr;
use std::sync::{Arc, Weak};

use futures_util::{SinkExt, StreamExt};
use std::future::poll_fn;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::cli::CheckArgs;
use crate::context::Context;
use crate::duplex::{Body, Duplex};
use crate::endpoint::{Call, Shape, Side};
use crate::error::{Error, Kind, Result};
use crate::http::{self, Fields, Request};
use crate::proxy::backend::Backend;
use crate::proxy::balance::Pool;
use crate::proxy::exchange::{MAX_HEAD, no_answer};
use crate::trace::Trace;

/// What a backend is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether it can be connected to, through TLS if it has that.
    Tcp,
    /// Whether it answers a GET of this path with 2xx or 3xx.
    Http(String),
    /// Whether it grants a WebSocket at this path, and answers a message by one that contains a text.
    Ws(String, Option<(String, String)>),
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "tcp, http:/PATH, ws:/PATH or ws:/PATH:SEND=EXPECT".to_owned();
        if text == "tcp" {
            return Ok(Self::Tcp);
        }
        let (kind, rest) =
            text.split_once(':').filter(|it| it.1.starts_with('/')).ok_or_else(wrong)?;
        let (path, words) = match (kind, rest.split_once(':')) {
            ("ws", Some((path, words))) => (path, Some(words)),
            _ => (rest, None),
        };
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a path holds no spaces; write %20".into());
        }
        match (kind, words) {
            ("http", _) => Ok(Self::Http(path.to_owned())),
            ("ws", None) => Ok(Self::Ws(path.to_owned(), None)),
            ("ws", Some(words)) => {
                let (send, expect) = words.split_once('=').ok_or_else(wrong)?;
                Ok(Self::Ws(path.to_owned(), Some((send.to_owned(), expect.to_owned()))))
            }
            _ => Err(wrong()),
        }
    }
}

/// Asks a backend for as long as it belongs to its pool.
pub(in crate::proxy) async fn watch(
    check: Check,
    args: CheckArgs,
    backend: Arc<Backend>,
    pool: Weak<Pool>,
    cx: Arc<Context>,
) {
    loop {
        let patience = args.health_timeout;
        let outcome = timeout(patience, check.ask(&backend, &cx)).await.unwrap_or_else(|_| {
            let what = format_args!("no answer to a check after {patience:?} (--health-timeout)");
            Err(Error::new(Kind::Timeout, what))
        });
        if !pool.upgrade().is_some_and(|pool| pool.has(&backend)) {
            return;
        }
        backend.health.checked(outcome, &args);
        // Not all backends of all proxies at once.
        sleep(args.health_interval.mul_f64(0.9 + fastrand::f64() / 10.0)).await;
    }
}

impl Check {
    async fn ask(&self, backend: &Backend, cx: &Arc<Context>) -> Result<()> {
        match self {
            Self::Tcp => backend.dial(None, cx).await.map(drop),
            Self::Http(path) => get(backend, path, cx).await,
            Self::Ws(path, words) => talk(backend, path, words.as_ref(), cx).await,
        }
    }
}

/// Asks for a path.
async fn get(backend: &Backend, path: &str, cx: &Arc<Context>) -> Result<()> {
    let mut back = backend.dial(None, cx).await?;
    let mut fields = Fields::default();
    fields.push("Host", backend.endpoint.authority());
    fields.push("User-Agent", concat!("towline/", env!("CARGO_PKG_VERSION")));
    fields.push("Connection", "close");
    let target = format!("{}{path}", backend.endpoint.base());
    let request = Request { is_old: false, method: "GET".into(), target, fields };
    back.stream.write_all(&request.to_bytes()).await.map_err(Error::lost)?;
    back.stream.flush().await.map_err(Error::lost)?;
    let response = http::read_response(&mut back.stream, &mut back.buf, MAX_HEAD).await?;
    match response.ok_or_else(no_answer)?.status {
        200..400 => Ok(()),
        status => Err(Error::new(Kind::Status(status), format_args!("HTTP {status} to a check"))),
    }
}

/// Opens a WebSocket, and says something in it.
async fn talk(
    backend: &Backend,
    path: &str,
    words: Option<&(String, String)>,
    cx: &Arc<Context>,
) -> Result<()> {
    let trace = Trace::default();
    let call = Call { cx, near: Shape::Messages, side: Side::Far, peer: None, trace: &trace };
    let mut socket = match backend.endpoint.open_websocket(backend.at, path, &call).await? {
        Duplex::Messages(socket) => socket,
        Duplex::Bytes(_) => return Ok(()),
    };
    if let Some((send, expect)) = words {
        socket.send(Body::Text(send.as_str().into()).into()).await?;
        loop {
            let message = socket.next().await.transpose()?.map(|it| it.body);
            match message {
                Some(Body::Text(text)) if text.contains(expect.as_str()) => break,
                Some(Body::Text(_) | Body::Binary(_) | Body::Ping(_) | Body::Pong(_)) => {}
                Some(Body::Close(_)) | None => {
                    return Err(Error::new(Kind::Lost, "no answer to the message of a check"));
                }
            }
        }
    }
    // It has shown what it was to show; its goodbye is for its own sake.
    let goodbye = async {
        let _ = socket.close().await;
        let _ = poll_fn(|cx| socket.poll_finish(cx)).await;
    };
    let _ = timeout(crate::duplex::Close::PATIENCE, goodbye).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        let ws = |path: &str, words: Option<(&str, &str)>| {
            Check::Ws(path.into(), words.map(|(a, b)| (a.to_owned(), b.to_owned())))
        };
        for (text, want) in [
            ("tcp", Check::Tcp),
            ("http:/healthz?a:b", Check::Http("/healthz?a:b".into())),
            ("ws:/", ws("/", None)),
            ("ws:/chat:ping=pong", ws("/chat", Some(("ping", "pong")))),
            ("ws:/chat:{\"a\":1}==", ws("/chat", Some(("{\"a\":1}", "=")))),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        for text in ["", "tcp:1", "http:", "http:x", "ws:/chat:ping", "ftp:/", "http:/a b"] {
            assert!(text.parse::<Check>().is_err(), "{text}");
        }
    }
}
