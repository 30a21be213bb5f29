//! `tls://HOST:PORT`.

use std::fmt;
use std::sync::Arc;

use super::tcp::{HostPort, Tcp, authority};
use super::{Call, Footing, Ground, Hop, Scheme, Shape};
use crate::accept::{Listener, Peer, in_time};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};

/// TLS over TCP, or over the hop before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tls {
    to: HostPort,
    /// Whether a port is written. There is no usual one, but over the hop before none is needed.
    port: bool,
    /// The protocols to agree to where a peer offers some, if those are known.
    alpn: &'static [&'static str],
}

impl Scheme for Tls {
    const NAMES: &'static [&'static str] = &["tls"];
    const USAGE: &'static str = "tls://HOST:PORT";
    const HELP: &'static str = "TLS over TCP, or over the hop before, where no port is needed";
    const STANDS_ON: &'static [Footing] = Footing::ANY;
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        let authority = authority(rest);
        let after_host = authority.rsplit(']').next().unwrap_or(authority);
        let to = HostPort::parse(authority, Some(0))?;
        Ok(Self { to, port: after_host.contains(':'), alpn: &[] })
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        if !self.port && !matches!(ground, Ground::Stream(_)) {
            return Err(no_port());
        }
        let stream = ground.open(&self.to, call).await?;
        call.cx.tls.connect(stream, &self.to.host, &[], call).await.map(Duplex::Bytes)
    }

    fn socket(&self) -> Option<Hop> {
        self.port.then(|| Hop::Tcp(Tcp::at(self.to.clone())))
    }

    async fn listen(&self, _: &Arc<Context>) -> Result<Listener> {
        Err(no_port())
    }

    async fn answer(
        &self,
        stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        in_time(cx, cx.tls.accept(stream, self.alpn, peer)).await.map(Duplex::Bytes)
    }
}

impl Tls {
    /// TLS over the hop before, or at a place of its own.
    pub(super) fn at(to: Option<HostPort>) -> Self {
        let port = to.is_some();
        Self { to: to.unwrap_or(HostPort { host: String::new(), port: 0 }), port, alpn: &[] }
    }

    /// For such protocols inside it.
    pub(super) fn with_alpn(self, alpn: &'static [&'static str]) -> Self {
        Self { alpn, ..self }
    }
}

fn no_port() -> Error {
    Error::new(Kind::Usage, "a port is missing, as in tls://host:443")
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.to.host.contains(':')) {
            (true, _) => write!(f, "tls://{}", self.to),
            (false, true) => write!(f, "tls://[{}]", self.to.host),
            (false, false) => write!(f, "tls://{}", self.to.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_to_the_same() {
        for text in [
            "//a.example:443",
            "//a.example",
            "//[::1]:1",
            "//[::1]",
            "//:0",
            "//",
            "//127.0.0.1:7",
        ] {
            let parsed = Tls::parse("tls", text).unwrap();
            assert_eq!(parsed.to_string(), format!("tls:{text}"));
            let again = parsed.to_string();
            assert_eq!(Tls::parse("tls", again.strip_prefix("tls:").unwrap()), Ok(parsed));
        }
        for text in ["//a:b", "//::1", "//a:70000", "//a/b:1"] {
            assert!(Tls::parse("tls", text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_written_port_makes_a_socket() {
        assert!(Tls::parse("tls", "//:0").unwrap().socket().is_some());
        assert!(Tls::parse("tls", "//a").unwrap().socket().is_none());
    }
}
