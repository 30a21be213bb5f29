//! `ws://HOST[:PORT]/PATH` and `wss://`, RFC 6455. Nothing outside this file and its folder knows
//! which library speaks the protocol.

use std::fmt;
use std::sync::Arc;

use super::tcp::{HostPort, Tcp, authority_and_path};
use super::{Call, Footing, Ground, Hop, Scheme, Shape};
use crate::accept::Peer;
use crate::cli::value::{Compress, Secret};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::Result;
use crate::http::Request;

mod client;
pub mod deflate;
mod frames;
pub(crate) mod handshake;
pub(crate) mod head;
mod http2;
#[cfg(test)]
mod scripted;
mod server;
mod socket;
mod wire;

pub(super) use client::Upgraded;
pub(super) use http2::{ONLY_1 as HTTP_1, SPOKEN as HTTP};

/// A reference-counted `str`, so that text is checked once, where it enters.
pub type Text = tokio_tungstenite::tungstenite::Utf8Bytes;

/// A WebSocket, over TLS if it is `wss:`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ws {
    secure: bool,
    /// Whether it is written as `http:`, which is for people.
    http: bool,
    login: Option<Secret>,
    /// As written; the port has a default.
    host: String,
    port: Option<u16>,
    /// The path and query as written, which may be empty.
    path: String,
}

impl Scheme for Ws {
    const NAMES: &'static [&'static str] = &["ws", "wss"];
    const USAGE: &'static str = "ws://HOST[:PORT]/PATH, wss://...";
    const HELP: &'static str =
        "a WebSocket, over TLS if wss:; a bare HOST:PORT or :PORT is ws: too";
    const STANDS_ON: &'static [Footing] = Footing::ANY;
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Messages;

    fn parse(name: &str, rest: &str) -> Result<Self, String> {
        if rest.starts_with('/') && !rest.starts_with("//") {
            // Read as a path on this machine, it would connect where nobody meant to.
            let meant = format!("`{name}:/{rest}`, or `{name}://{rest}` for this machine");
            return Err(format!("the host stands after two slashes; did you mean {meant}?"));
        }
        let (authority, path) = authority_and_path(rest);
        let (login, authority) = match authority.rsplit_once('@') {
            Some((login, authority)) => (Some(login.parse()?), authority),
            None => (None, authority),
        };
        let secure = name == "wss";
        // A port that is not written gets the scheme's; one that is, is kept for display.
        let to = HostPort::parse(authority, Some(if secure { 443 } else { 80 }))?;
        let written = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let port = written.then_some(to.port);
        let root = Self { secure, http: false, login, host: to.host, port, path: String::new() };
        root.with_path(path.to_owned())
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        client::connect(self, ground, call, call.cx.compress).await
    }

    async fn carry(&self, ground: Ground, call: &Call<'_>) -> Result<Ground> {
        let carrier = Call { near: Shape::Bytes, ..*call };
        // What is encrypted does not shrink.
        let carrying = client::connect(self, ground, &carrier, Compress::Off).await?;
        Ok(Ground::Stream(carrying.into_bytes()))
    }

    fn socket(&self) -> Option<Hop> {
        Some(Hop::Tcp(Tcp::at(self.host_port())))
    }

    async fn answer(
        &self,
        stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        server::answer(self, stream, peer, cx).await
    }
}

impl Ws {
    /// Plays the client's part of the handshake, and leaves frames to the caller.
    pub(super) async fn upgrade(&self, ground: Ground, call: &Call<'_>) -> Result<Upgraded> {
        client::upgrade(self, ground, call, call.cx.compress).await
    }

    /// A listener that stands on another one and takes every path.
    pub(super) fn with_any_path() -> Self {
        Self {
            secure: false,
            http: false,
            login: None,
            host: String::new(),
            port: None,
            path: String::new(),
        }
    }

    /// The same, by another name.
    pub(super) fn called_http(self, http: bool) -> Self {
        Self { http, ..self }
    }

    /// Whether neither a host nor a port is written.
    pub(super) fn is_nowhere(&self) -> bool {
        self.host.is_empty() && self.port.is_none()
    }

    /// Another path at the same place. A fragment is not for the server (RFC 9110 section 7.1).
    fn with_path(&self, mut path: String) -> Result<Self, String> {
        path.truncate(path.find('#').unwrap_or(path.len()));
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a path holds no spaces; write %20".into());
        }
        Ok(Self { path, ..self.clone() })
    }

    /// Whether it is `wss:`.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host and the port, written or not.
    pub(super) fn host_port(&self) -> HostPort {
        let default = if self.secure { 443 } else { 80 };
        HostPort { host: self.host.clone(), port: self.port.unwrap_or(default) }
    }

    /// The Host of a request: the port is left out where it is the scheme's own (RFC 9110
    /// section 7.2).
    pub(super) fn authority(&self) -> String {
        let host = match self.host.as_str() {
            "" => "localhost".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        match self.port {
            Some(port) if port != if self.secure { 443 } else { 80 } => format!("{host}:{port}"),
            _ => host,
        }
    }

    /// The path and query as written.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The stream that it is spoken over.
    pub(super) async fn open(&self, ground: Ground, call: &Call<'_>) -> Result<ByteStream> {
        let stream = ground.open(&self.host_port(), call).await?;
        self.protect(stream, call).await
    }

    /// Has TLS protect a connection to it, where it is to be.
    pub(super) async fn protect(&self, stream: ByteStream, call: &Call<'_>) -> Result<ByteStream> {
        if !self.secure {
            return Ok(stream);
        }
        let host = if self.host.is_empty() { "localhost" } else { &self.host };
        let alpn = if call.cx.shared.ws.http2 { http2::ASKED } else { http2::ONLY_1 };
        Box::pin(call.cx.tls.connect(stream, host, alpn, call)).await
    }

    /// The request target.
    fn target(&self) -> String {
        match self.path.starts_with('/') {
            true => self.path.clone(),
            false => format!("/{}", self.path),
        }
    }

    /// The name that it is written with.
    pub(super) fn scheme(&self) -> &'static str {
        match (self.http, self.secure) {
            (false, false) => "ws",
            (false, true) => "wss",
            (true, false) => "http",
            (true, true) => "https",
        }
    }
}

impl fmt::Display for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        if let Some(login) = &self.login {
            let shown = if f.alternate() { "***" } else { login.reveal() };
            write!(f, "{shown}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

/// The subprotocols of a byte stream in a WebSocket. `towline.v1` gives each direction an end of
/// its own: an empty binary message. `towline.v0` means what every server does anyway, plain
/// messages; it is offered first, because there are servers that grant whatever comes first.
const PLAIN: &str = "towline.v0";
const BYTES: &str = "towline.v1";

/// Grants a sound request that was read elsewhere, with what was read after it.
pub(crate) async fn grant(
    request: Request,
    stream: ByteStream,
    read: &[u8],
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    let accept = handshake::accept(request.fields.get("Sec-WebSocket-Key").unwrap_or_default());
    server::open(request, server::Way::Upgrade { stream, read, accept }, peer, cx).await
}

/// Whether bytes are to be carried as bytes, or the user asked for messages of some kind.
fn carries_bytes(cx: &Context) -> bool {
    let join = &cx.shared.join;
    let raw = matches!(join.frame, None | Some(crate::framing::Framing::Raw));
    raw && !join.text && !join.binary && cx.shared.ws.subprotocol.is_empty()
}
