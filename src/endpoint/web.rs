//! Addresses as the two sides of an HTTP proxy: where requests come in, and the servers to pass
//! them on to. On both `http:` is `ws:` by another name, since one port serves both.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::address::split_hops;
use super::tls::Tls;
use super::{Call, Endpoint, Ground, Hop, HostPort, Tcp, ws};
use crate::accept::{Listener, Peer, proxy_header};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};

impl Endpoint {
    /// Parses an address of `proxy`.
    ///
    /// # Errors
    /// As for any address; and where neither a host nor a port is written.
    pub fn parse_web(text: &str) -> Result<Self> {
        // Where hops are told apart, https: is no scheme that is known.
        let known = &text.replace(",https:", ",wss:");
        let last = split_hops(known).last().unwrap_or(known);
        let (before, last) = known.split_at(known.len() - last.len());
        let (last, is_http) = match last.split_once(':') {
            Some(("http", rest)) => (format!("ws:{rest}"), true),
            Some(("https", rest)) => (format!("wss:{rest}"), true),
            Some((_, rest)) => (last.to_owned(), text.ends_with(&format!(",https:{rest}"))),
            None => (last.to_owned(), false),
        };
        let mut endpoint: Self = format!("{before}{last}").parse()?;
        let alone = endpoint.hops.len() == 1;
        if let Some(Hop::Ws(ws)) = endpoint.hops.last_mut() {
            *ws = ws.clone().called_http(is_http);
            if alone && ws.is_nowhere() {
                let this = format_args!("{}://localhost", ws.scheme());
                let what = format!("`{ws:#}` names no host; this machine is `{this}`");
                return Err(Error::new(Kind::Usage, what));
            }
        }
        Ok(endpoint)
    }

    /// Whether it is a server that speaks HTTP, or else something that WebSockets are joined to.
    pub(crate) fn is_web(&self) -> bool {
        matches!(self.last(), Hop::Ws(_) | Hop::Unix(_))
    }

    /// What a client of this server calls it in its Host.
    pub(crate) fn authority(&self) -> String {
        match self.last() {
            Hop::Ws(ws) => ws.authority(),
            _ => "localhost".to_owned(),
        }
    }

    /// What stands before every path of this server: nothing, or a path without its last slash.
    pub(crate) fn base(&self) -> &str {
        match self.last() {
            Hop::Ws(ws) => ws.path().trim_end_matches('/'),
            _ => "",
        }
    }

    /// Checks, before anything is opened, that HTTP can be served at this address.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn check_listen_web(&self) -> Result<()> {
        self.check_listen()?;
        match self.last() {
            Hop::Ws(ws) if matches!(ws.path(), "" | "/") => Ok(()),
            Hop::Ws(_) => {
                let error = Error::new(Kind::Usage, "a proxy listens for every path");
                Err(self.last().blame(error).hint("--route sends a path to backends of its own"))
            }
            Hop::Tcp(_) | Hop::Tls(_) | Hop::Unix(_) => Ok(()),
            other => {
                let error = Error::new(Kind::Usage, "does not listen for HTTP");
                Err(other.blame(error).hint("listen on http:, https: or unix:"))
            }
        }
    }

    /// Listens for connections that bring HTTP, after a PROXY header where proxies make them.
    pub(crate) async fn listen_web(&self, proxies: bool, cx: &Arc<Context>) -> Result<Listener> {
        self.listen_http(ws::HTTP, proxies, cx).await
    }

    /// Listens for connections that bring HTTP/1.1.
    pub(crate) async fn listen_web_1(&self, cx: &Arc<Context>) -> Result<Listener> {
        self.listen_http(ws::HTTP_1, false, cx).await
    }

    async fn listen_http(
        &self,
        alpn: &'static [&'static str],
        proxies: bool,
        cx: &Arc<Context>,
    ) -> Result<Listener> {
        let mut carrier = self.clone();
        if let Hop::Ws(ws) = self.last() {
            carrier.hops.pop();
            let alone = carrier.hops.is_empty();
            match (ws.is_secure(), alone) {
                (true, _) => carrier.hops.push(Hop::Tls(Tls::at(alone.then(|| ws.host_port())))),
                (false, true) => carrier.hops.push(Hop::Tcp(Tcp::at(ws.host_port()))),
                (false, false) => {}
            }
        }
        if let Some(Hop::Tls(tls)) = carrier.hops.last_mut() {
            *tls = tls.clone().with_alpn(alpn);
        }
        let mut listener = match proxies {
            true => {
                let after = cx.clone();
                carrier.listen_after(move |peer| peer.spoken_for(after.clone()), cx).await?
            }
            false => carrier.listen(cx).await?,
        };
        for (socket, name) in [("tcp://", "http://"), ("tls://", "https://")] {
            if let Some(rest) = listener.address.strip_prefix(socket) {
                listener.address = format!("{name}{rest}");
            }
        }
        Ok(listener)
    }

    /// Whether it is a server to connect to, and no program, file or room.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.last(), Hop::Ws(_) | Hop::Unix(_) | Hop::Tcp(_) | Hop::Tls(_))
    }

    /// The name that this machine looks up to reach this server, if it has one.
    pub(crate) fn name(&self) -> Option<HostPort> {
        let [Hop::Ws(ws)] = &self.hops[..] else { return None };
        Some(ws.host_port()).filter(|it| !it.host.is_empty() && it.host.parse::<IpAddr>().is_err())
    }

    /// Opens a connection to this server, `at` one of the addresses of its name if that is given.
    pub(crate) async fn open_web(
        &self,
        at: Option<SocketAddr>,
        call: &Call<'_>,
    ) -> Result<ByteStream> {
        let ground = self.ground(at, call).await?;
        self.open_on(ground, call).await.map_err(|error| self.last().blame(error))
    }

    /// Opens a connection, with a PROXY header before all else where one is wanted.
    async fn open_on(&self, ground: Ground, call: &Call<'_>) -> Result<ByteStream> {
        let mut stream = match self.last() {
            Hop::Ws(ws) => ground.open(&ws.host_port(), call).await?,
            other => Box::pin(other.connect(ground, call)).await?.into_bytes(),
        };
        if let Some(version) = call.cx.send_proxy {
            let header = proxy_header::write(version, call.peer.and_then(Peer::ends));
            stream.write_all(&header).await.map_err(Error::lost)?;
        }
        match self.last() {
            Hop::Ws(ws) => ws.protect(stream, call).await,
            _ => Ok(stream),
        }
    }

    /// Opens a WebSocket at a path of this server; else as [`Endpoint::open_web`].
    pub(crate) async fn open_websocket(
        &self,
        at: Option<SocketAddr>,
        path: &str,
        call: &Call<'_>,
    ) -> Result<Duplex> {
        let stream = self.open_web(at, call).await?;
        let target = format!("ws://{}{}{path}", self.authority(), self.base());
        // TLS, if there is any, is part of the stream.
        Self::parse_web(&target)?.last().connect(Ground::Stream(stream), call).await
    }

    /// What its last hop stands on.
    async fn ground(&self, at: Option<SocketAddr>, call: &Call<'_>) -> Result<Ground> {
        let Some(at) = at else {
            return Ground::after(&self.hops[..self.hops.len() - 1], call).await;
        };
        let place = HostPort { host: at.ip().to_string(), port: at.port() };
        let opened = Ground::Here.open(&place, call).await;
        opened.map(Ground::Stream).map_err(|error| self.last().blame(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_what_websockets_are_spoken_over() {
        for (text, want) in [
            ("http://a:1/x", "http://a:1/x"),
            ("https://a", "https://a"),
            ("ws://a", "ws://a"),
            (":8080", "ws://:8080"),
            ("http://proxy:3128,https://a", "http://proxy:3128,https://a"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(Endpoint::parse_web(text).unwrap().to_string(), want);
        }
    }
}
