//! `socks5://…`, `http://…` and `socks://…`: proxies to dial through, and proxies to be.
//!
//! As a hop, a proxy is the way to hosts that it reaches for us. As a listener, it asks its peers
//! where they want to go; `tcp:` takes them there. A listener of `socks:` tells by the first byte
//! which protocol a peer speaks.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::tcp::{HostPort, Tcp, authority};
use super::{Call, Footing, Ground, Hop, Network, Scheme, Shape};
use crate::accept::{Listener, Peer};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};
use crate::trace::Phase;

mod connect;
mod environment;
mod listening;
mod login;
mod rules;
mod socks4;
mod socks5;

pub use rules::Rule;

pub(crate) use environment::from_environment;
pub(super) use login::Login;
pub(super) use rules::Rules;

/// Where a proxy is, what it speaks, and how to log in to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    protocol: Protocol,
    login: Option<Login>,
    at: HostPort,
    /// Whether `at` is written. Over the hop before it need not be.
    placed: bool,
    /// Where the peers of a listener may go.
    rules: Option<Arc<Rules>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Socks5,
    /// A listener for SOCKS5, SOCKS4 and HTTP; to dial through, SOCKS5.
    Socks,
    Connect,
    /// Only from the environment: in an address, `tls:` is a hop of its own.
    ConnectOverTls,
}

impl Scheme for Proxy {
    const NAMES: &'static [&'static str] = &["socks5", "http", "socks"];
    const USAGE: &'static str = "socks5://[USER:PASSWORD@]HOST:PORT, http://..., socks://...";
    const HELP: &'static str = "a SOCKS5 or HTTP (CONNECT) proxy to dial through, or to be; a listener of socks: speaks both, and SOCKS4; over the hop before no port is needed";
    const STANDS_ON: &'static [Footing] = Footing::ANY;
    const GIVES: Option<Footing> = Some(Footing::Network);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(name: &str, rest: &str) -> Result<Self, String> {
        let protocol = match name {
            "http" => Protocol::Connect,
            "socks" => Protocol::Socks,
            _ => Protocol::Socks5,
        };
        Self::of(protocol, rest, None)
    }

    async fn carry(&self, ground: Ground, call: &Call<'_>) -> Result<Ground> {
        if !self.placed && !matches!(ground, Ground::Stream(_)) {
            return Err(self.no_port());
        }
        let stream = ground.open(&self.at, call).await?;
        Ok(self.clone().over(stream))
    }

    fn socket(&self) -> Option<Hop> {
        self.placed.then(|| Hop::Tcp(Tcp::at(self.at.clone())))
    }

    async fn listen(&self, _: &Arc<Context>) -> Result<Listener> {
        Err(self.no_port())
    }

    async fn answer(
        &self,
        stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        listening::answer(self, stream, peer, cx).await
    }
}

impl Proxy {
    fn of(protocol: Protocol, rest: &str, default: Option<u16>) -> Result<Self, String> {
        let (login, host) = Login::split(authority(rest))?;
        if let Some(login) = &login {
            protocol.check(login)?;
        }
        let placed = !host.is_empty() || default.is_some();
        let at = HostPort::parse(host, if placed { default } else { Some(0) })?;
        Ok(Self { protocol, login, at, placed, rules: None })
    }

    /// A listener of `socks:`, over the hop before if it has no place of its own.
    pub(super) fn of_socks(at: Option<HostPort>, login: Option<Login>, rules: Rules) -> Self {
        let placed = at.is_some();
        let at = at.unwrap_or(HostPort { host: String::new(), port: 0 });
        Self { protocol: Protocol::Socks, login, at, placed, rules: Some(Arc::new(rules)) }
    }

    fn no_port(&self) -> Error {
        let name = self.protocol.name();
        Error::new(Kind::Usage, format!("a port is missing, as in {name}://:1080"))
    }

    /// Whether its peers have to log in.
    pub(super) fn asks(&self) -> bool {
        self.login.is_some()
    }

    /// Where it is, as written.
    fn place(&self) -> String {
        if self.placed { self.at.to_string() } else { String::new() }
    }

    /// Everything that can be reached by asking this proxy over `stream`.
    fn over(self, stream: ByteStream) -> Ground {
        Ground::Network(Box::new(Tunnel { proxy: self, stream }))
    }

    /// Asks for a connection to `to`.
    async fn ask(&self, mut stream: ByteStream, to: &HostPort) -> Result<ByteStream> {
        let login = self.login.as_ref();
        // Without a host it is the loopback, and that of the proxy: `to` lives on the far side.
        let host = if to.host.is_empty() { "127.0.0.1" } else { &to.host };
        let to = &HostPort { host: host.to_owned(), port: to.port };
        let asked = match self.protocol {
            Protocol::Socks5 | Protocol::Socks => {
                socks5::ask(&mut stream, to, login).await.map(|()| stream)
            }
            Protocol::Connect | Protocol::ConnectOverTls => {
                connect::ask(&mut stream, to, login).await.map(|early| stream.unread(early))
            }
        };
        asked.map_err(|refusal| refusal.by(self))
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::Socks => "socks",
            Self::Connect => "http",
            Self::ConnectOverTls => "https",
        }
    }

    /// Whether the protocol can say this login.
    fn check(self, login: &Login) -> Result<(), String> {
        let http = matches!(self, Self::Connect | Self::ConnectOverTls | Self::Socks);
        let socks = matches!(self, Self::Socks5 | Self::Socks);
        if socks && login.user.len().max(login.password.len()) > 255 {
            return Err("SOCKS5 takes user names and passwords of at most 255 bytes".into());
        }
        if http && login.user.contains(':') {
            return Err("an HTTP user name cannot have a colon".into());
        }
        Ok(())
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.protocol.name();
        match &self.login {
            None if !self.placed => return write!(f, "{name}:"),
            None => write!(f, "{name}://")?,
            Some(login) => {
                write!(f, "{name}://")?;
                login.fmt(f)?;
            }
        }
        if self.placed { write!(f, "{}", self.at) } else { Ok(()) }
    }
}

/// A connection to a proxy that has not been asked for anything yet.
struct Tunnel {
    proxy: Proxy,
    stream: ByteStream,
}

impl Network for Tunnel {
    fn open<'a>(
        self: Box<Self>,
        to: &'a HostPort,
        call: &'a Call<'_>,
    ) -> BoxFuture<'a, Result<ByteStream>> {
        Box::pin(async move {
            let _waiting = call.trace.enter(Phase::Proxy);
            self.proxy.ask(self.stream, to).await
        })
    }
}

/// Why a proxy did not open a connection.
enum Refusal {
    /// It cannot reach the place it was asked for, or does not want to.
    Target(String),
    /// It wants another login.
    Login(String),
    /// It does not speak the protocol, or is gone.
    Proxy(Error),
}

impl Refusal {
    /// The place is named by whoever wanted to go there, the proxy by its own failures.
    fn by(self, proxy: &Proxy) -> Error {
        match self {
            Self::Target(why) => {
                Error::new(Kind::Refused, format!("{why}, says the proxy {}", proxy.place()))
            }
            Self::Login(why) => {
                let error = Error::new(Kind::Auth, why).at(format_args!("{proxy:#}"));
                let (name, at) = (proxy.protocol.name(), proxy.place());
                error.hint(format!("the login stands before the host: {name}://USER:PASSWORD@{at}"))
            }
            Self::Proxy(error) => error.at(format_args!("{proxy:#}")),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Proxy(lost(error))
    }
}

/// The stream failed, or ended where more was due.
fn lost(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::new(Kind::Lost, "connection closed inside the proxy handshake")
        }
        _ => Error::lost(error),
    }
}

#[cfg(test)]
mod tests {
    use super::listening::{Asked, hear, reply};
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    /// Both parts of a protocol against each other: what the client is told, and what it hears
    /// after that.
    async fn ask(client: &str, server: &str, to: &str, result: Result<()>) -> Result<String> {
        let proxy = |text: &str| {
            let (name, rest) = text.split_once(':').unwrap();
            Proxy::parse(name, rest).unwrap()
        };
        let (client, server, to) =
            (proxy(client), proxy(server), HostPort::parse(to, None).unwrap());
        let (near, far) = UnixStream::pair().unwrap();
        let serve = async {
            let mut stream = ByteStream::Unix(far);
            let Asked { to, outcome, .. } = hear(&server, &mut stream, connect::MAX_HEAD).await?;
            let near = Duplex::Bytes(stream);
            let Duplex::Bytes(mut stream) =
                reply(outcome)(near, result.as_ref().map(|_| ())).await?
            else {
                unreachable!()
            };
            stream.write_all(format!("this is {to}").as_bytes()).await.unwrap();
            Ok(())
        };
        let dial = async {
            let mut stream = client.ask(ByteStream::Unix(near), &to).await?;
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            Ok(heard)
        };
        let (heard, _): (_, Result<()>) = tokio::join!(dial, serve);
        heard
    }

    #[tokio::test]
    async fn our_client_and_our_server_understand_each_other() {
        for scheme in ["socks5", "http"] {
            let open = format!("{scheme}://:1");
            let closed = format!("{scheme}://me:pw@:1");
            for to in ["db.example:5432", "127.0.0.1:1", "[2001:db8::1]:65535"] {
                let told = format!("this is {to}");
                assert_eq!(ask(&open, &open, to, Ok(())).await.unwrap(), told);
                assert_eq!(ask(&closed, &closed, to, Ok(())).await.unwrap(), told);
            }
            // Loopback is that of the proxy.
            assert_eq!(ask(&open, &open, ":80", Ok(())).await.unwrap(), "this is 127.0.0.1:80");
            // A login that nobody asked for does no harm.
            assert_eq!(ask(&closed, &open, "x:1", Ok(())).await.unwrap(), "this is x:1");
            let wrong = format!("{scheme}://me:pq@:1");
            for wrong in [&open, &wrong] {
                let error = ask(wrong, &closed, "x:1", Ok(())).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Auth, "{error}");
                assert!(!error.to_string().contains("pq"), "{error}");
            }
            let refused = Err(Error::new(Kind::Refused, "connection refused"));
            let error = ask(&open, &open, "x:1", refused).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.what().contains("connection refused, says the proxy"), "{error}");
        }
    }

    #[test]
    fn addresses_are_written_back_and_hide_their_password() {
        let proxy = Proxy::parse("http", "//me:p%40ss@proxy:3128/").unwrap();
        assert_eq!(proxy.to_string(), "http://me:p%40ss@proxy:3128");
        assert_eq!(format!("{proxy:#}"), "http://me:***@proxy:3128");
        assert_eq!(
            Proxy::parse("socks5", "//[::1]:1080").unwrap().to_string(),
            "socks5://[::1]:1080"
        );
    }

    #[test]
    fn a_login_that_the_protocol_cannot_say_is_refused() {
        let long = "x".repeat(256);
        assert!(Proxy::parse("socks5", &format!("//me:{long}@proxy:1")).is_err());
        assert!(Proxy::parse("http", &format!("//me:{long}@proxy:1")).is_ok());
        assert!(Proxy::parse("http", "//a%3Ab:c@proxy:1").is_err());
        assert!(Proxy::parse("http", "//proxy").is_err());
    }
}
