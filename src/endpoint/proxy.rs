//! `socks5://…` and `http://…`: proxies to dial through, and proxies to be.
//!
//! As a hop, a proxy is the way to hosts that it reaches for us. As a listener, it asks its peers
//! where they want to go; `tcp:` takes them there.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use super::tcp::{HostPort, Tcp, authority};
use super::{Call, Footing, Ground, Hop, Network, Scheme, Shape};
use crate::accept::{Peer, Reply};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};
use crate::trace::Phase;

mod connect;
mod environment;
mod login;
mod socks5;

pub(crate) use environment::from_environment;
pub(super) use login::Login;

/// Where a proxy is, what it speaks, and how to log in to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    protocol: Protocol,
    login: Option<Login>,
    at: HostPort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Socks5,
    Connect,
    /// Only from the environment: in an address, `tls:` is a hop of its own.
    ConnectOverTls,
}

impl Scheme for Proxy {
    const NAMES: &'static [&'static str] = &["socks5", "http"];
    const USAGE: &'static str = "socks5://[USER:PASSWORD@]HOST:PORT, http://...";
    const HELP: &'static str = "a SOCKS5 or HTTP (CONNECT) proxy to dial through, or to be";
    const STANDS_ON: &'static [Footing] =
        &[Footing::Here, Footing::Network, Footing::Machine, Footing::Stream];
    const GIVES: Option<Footing> = Some(Footing::Network);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(name: &str, rest: &str) -> Result<Self, String> {
        let protocol = if name == "http" { Protocol::Connect } else { Protocol::Socks5 };
        Self::of(protocol, rest, None)
    }

    async fn carry(&self, ground: Ground, call: &Call<'_>) -> Result<Ground> {
        let stream = ground.open(&self.at, call).await?;
        Ok(self.clone().over(stream))
    }

    fn socket(&self) -> Option<Hop> {
        Some(Hop::Tcp(Tcp::at(self.at.clone())))
    }

    async fn answer(
        &self,
        mut stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        let login = self.login.as_ref();
        if self.protocol == Protocol::Socks5 {
            peer.asked = Some(socks5::answer(&mut stream, login).await?);
            peer.reply = Some(reply(socks5::outcome));
            return Ok(Duplex::Bytes(stream));
        }
        let max = cx.serve.as_ref().map_or(connect::MAX_HEAD, |serve| serve.http.max_header);
        let (asked, early) = connect::answer(&mut stream, login, max).await?;
        peer.asked = Some(asked);
        peer.reply = Some(reply(connect::outcome));
        Ok(Duplex::Bytes(stream.unread(early)))
    }
}

impl Proxy {
    fn of(protocol: Protocol, rest: &str, default: Option<u16>) -> Result<Self, String> {
        let (login, host) = Login::split(authority(rest))?;
        if let Some(login) = &login {
            protocol.check(login)?;
        }
        Ok(Self { protocol, login, at: HostPort::parse(host, default)? })
    }

    /// Whether its peers have to log in.
    pub(super) fn asks(&self) -> bool {
        self.login.is_some()
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
            Protocol::Socks5 => socks5::ask(&mut stream, to, login).await.map(|()| stream),
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
            Self::Connect => "http",
            Self::ConnectOverTls => "https",
        }
    }

    /// Whether the protocol can say this login.
    fn check(self, login: &Login) -> Result<(), String> {
        match self {
            Self::Socks5 if login.user.len().max(login.password.len()) > 255 => {
                Err("SOCKS5 takes user names and passwords of at most 255 bytes".into())
            }
            Self::Connect | Self::ConnectOverTls if login.user.contains(':') => {
                Err("an HTTP user name cannot have a colon".into())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.name())?;
        if let Some(login) = &self.login {
            login.fmt(f)?;
        }
        write!(f, "{}", self.at)
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
                Error::new(Kind::Refused, format!("{why}, says the proxy {}", proxy.at))
            }
            Self::Login(why) => {
                let error = Error::new(Kind::Auth, why).at(format_args!("{proxy:#}"));
                let (name, at) = (proxy.protocol.name(), &proxy.at);
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

/// Says to the peer of a listener what came of its request, as `outcome` writes it.
fn reply(outcome: fn(Result<(), &Error>) -> Vec<u8>) -> Reply {
    Box::new(move |mut peer, result| {
        let words = outcome(result);
        Box::pin(async move {
            let Duplex::Bytes(stream) = &mut peer else { return Ok(peer) };
            match result {
                Ok(()) => say(stream, &words).await.map_err(lost)?,
                Err(error) => {
                    last_words(stream, &words).await;
                    return Err(error.clone());
                }
            }
            Ok(peer)
        })
    })
}

async fn say(stream: &mut ByteStream, words: &[u8]) -> std::io::Result<()> {
    stream.write_all(words).await?;
    stream.flush().await
}

/// The last words on a connection. Whether they arrive is not ours to know.
async fn last_words(stream: &mut ByteStream, words: &[u8]) {
    let _ = say(stream, words).await;
    let _ = stream.shutdown().await;
    stream.discard().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
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
            let login = server.login.as_ref();
            let asked = match server.protocol {
                Protocol::Socks5 => socks5::answer(&mut stream, login).await?,
                _ => connect::answer(&mut stream, login, connect::MAX_HEAD).await?.0,
            };
            let outcome = match server.protocol {
                Protocol::Socks5 => socks5::outcome,
                _ => connect::outcome,
            };
            let near = Duplex::Bytes(stream);
            let Duplex::Bytes(mut stream) =
                reply(outcome)(near, result.as_ref().map(|_| ())).await?
            else {
                unreachable!()
            };
            stream.write_all(format!("this is {asked}").as_bytes()).await.unwrap();
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
