//! `tcp://HOST:PORT`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::accept::{Incoming, Listener, Peer, merged};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result, plain};
use crate::network::socket_text;
use crate::reactor::{self, Accepted};
use crate::trace::{Phase, Trace};

/// A TCP connection or listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tcp {
    /// None stands for wherever the peer of a proxy listener asked to go.
    to: Option<HostPort>,
}

/// A host name or address and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// A name, or an address without brackets; empty stands for loopback.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Scheme for Tcp {
    const NAMES: &'static [&'static str] = &["tcp"];
    const USAGE: &'static str = "tcp://HOST:PORT";
    const HELP: &'static str = "a TCP connection or listener; `tcp:` alone is where the peer of a proxy listener asks to go";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Network, Footing::Machine];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        if rest.is_empty() {
            return Ok(Self { to: None });
        }
        Ok(Self { to: Some(HostPort::parse(authority(rest), None)?) })
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        let asked = || call.peer.and_then(|peer| peer.asked.clone());
        let to = self.to.clone().or_else(asked).ok_or_else(|| {
            Error::new(Kind::Usage, "no host and port")
                .hint("write tcp://HOST:PORT; `tcp:` alone is for the peers of socks5: and http: listeners")
        })?;
        // `tcp:` alone would not say where.
        let opened = ground.open(&to, call).await;
        opened.map(Duplex::Bytes).map_err(|error| error.at(format_args!("tcp://{to}")))
    }

    async fn listen(&self, cx: &Arc<Context>) -> Result<Listener> {
        let at = self.to.as_ref().ok_or_else(|| Error::new(Kind::Usage, "no port to listen on"))?;
        let refused = |error: io::Error| {
            let taken =
                matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied);
            let error = Error::new(Kind::Refused, format!("cannot listen: {}", plain(&error)));
            match taken {
                true => error.hint("port 0 is any free port"),
                false => error,
            }
        };
        let sockets = match cx.inherited.tcp().map_err(refused)? {
            Some(socket) => vec![adopt(socket).map_err(refused)?],
            None => {
                let shared = cx.serve.as_ref().is_some_and(|serve| serve.server.reuse_port);
                bind_with(at, shared).await.map_err(refused)?
            }
        };
        let address = sockets[0].local_addr().map_err(Error::io)?;
        let sockets = sockets.into_iter().map(|socket| {
            let address = socket.local_addr()?;
            Ok((reactor::Listener::new(socket)?, address))
        });
        let sockets: Vec<_> = sockets.collect::<io::Result<_>>().map_err(refused)?;
        let incoming = sockets.into_iter().map(|(socket, local)| {
            stream::unfold(socket, move |mut socket| async move {
                let accepted = socket.accept().await;
                Some((accepted.map(|(it, from)| arrived(it, from, local)), socket))
            })
            .boxed()
        });
        Ok(Listener { address: format!("tcp://{address}"), incoming: merged(incoming) })
    }
}

fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    tune(&socket)?;
    TcpListener::from_std(socket)
}

fn arrived(accepted: Accepted, from: SocketAddr, at: SocketAddr) -> Incoming {
    // One that listens at a single address has no other.
    let local = match at.ip().is_unspecified() {
        true => accepted.local_addr().map(socket_text).unwrap_or_default(),
        false => socket_text(at),
    };
    let peer = Peer { address: socket_text(from), local, ..Peer::default() };
    Incoming::taken(peer, || {
        let stream = accepted.stream()?;
        // Linux hands the settings of a listener down to what it accepts.
        #[cfg(not(target_os = "linux"))]
        let _ = tune(&stream);
        Ok(stream)
    })
}

/// No delay for small messages; and a peer that has vanished is noticed, after two minutes at the
/// latest, whether we wait for it or it owes us acknowledgements.
pub(crate) fn tune(stream: &impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    // Linux has one time for both, and counts no probes then.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, 120_000)?;
    #[cfg(not(target_os = "linux"))]
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// Binds a name: loopback if there is none, and every address that a written name has. The
/// addresses of one name share the port that the system chose for the first.
pub(crate) async fn bind(at: &HostPort) -> io::Result<Vec<TcpListener>> {
    bind_with(at, false).await
}

/// As [`bind`]; other processes that share the port get a part of the connections.
async fn bind_with(at: &HostPort, shared: bool) -> io::Result<Vec<TcpListener>> {
    let mut bound: Vec<TcpListener> = Vec::new();
    for mut address in at.resolve().await? {
        if let (0, Some(first)) = (at.port, bound.first()) {
            address.set_port(first.local_addr()?.port());
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(shared)?;
        tune(&socket)?;
        match socket.bind(address).and_then(|()| socket.listen(4096)) {
            Ok(listener) => bound.push(listener),
            // A machine without IPv6 still resolves `localhost` to ::1.
            Err(error) if !bound.is_empty() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bound)
}

impl Ground {
    /// Opens a connection to a host from here, or takes the stream that is there already.
    pub(crate) async fn open(self, to: &HostPort, call: &Call<'_>) -> Result<ByteStream> {
        match self {
            Self::Here => to.dial(call.cx.local.next(), call.trace).await,
            Self::Network(network) => network.open(to, call).await,
            Self::Machine(session) => session.open_tcp(to, call.trace).await,
            Self::Stream(stream) => Ok(stream),
        }
    }
}

impl Tcp {
    /// The place that is written.
    pub(super) fn to(&self) -> Option<&HostPort> {
        self.to.as_ref()
    }

    /// A connection to, or a listener at, one place.
    pub(crate) fn at(to: HostPort) -> Self {
        Self { to: Some(to) }
    }

    /// The host, if one is written.
    pub(crate) fn host(&self) -> Option<&str> {
        self.to.as_ref().map(|to| to.host.as_str()).filter(|host| !host.is_empty())
    }
}

impl HostPort {
    /// Parses `host:port`, `[v6]:port`, `:port`; without a port only if there is a default.
    pub(crate) fn parse(text: &str, default: Option<u16>) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("an IPv6 address ends with `]`")?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| format!("[{host}] is not an IPv6 address"))?;
                (host, port.strip_prefix(':'))
            }
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(format!("an IPv6 address stands in brackets: [{text}]"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.chars().any(|c| c.is_whitespace() || c.is_control() || "/?#@,".contains(c)) {
            return Err(format!("`{host}` is not a host name"));
        }
        let port = match port {
            Some("") => return Err("a port is missing after the colon".into()),
            Some(port) => {
                port.parse().map_err(|_| format!("`{port}` is not a port, which is 0 to 65535"))?
            }
            None => default.ok_or("a port is missing, as in host:8010")?,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// All addresses of the host, loopback if there is none.
    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            return Ok(vec![(Ipv4Addr::LOCALHOST, self.port).into()]);
        }
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![(ip, self.port).into()]);
        }
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect())
    }

    /// Connects to the first address that answers, families in turn, a new attempt every 250 ms
    /// or as soon as one fails (RFC 8305, "Happy Eyeballs"); `from` an address of this machine, if
    /// one is given.
    pub(crate) async fn dial(&self, from: Option<IpAddr>, trace: &Trace) -> Result<ByteStream> {
        let resolving = trace.enter(Phase::Dns);
        let addresses = self.resolve().await.map_err(|error| {
            Error::new(
                Kind::Resolve,
                format!("cannot resolve `{}`: {}", self.host, resolver(&error)),
            )
        })?;
        drop(resolving);
        let _connecting = trace.enter(Phase::Tcp);
        let (address, stream) = match addresses[..] {
            // Most often there is one, and nobody to run a race against.
            [only] => (only, reactor::connect(only, from).await.map_err(refused)?),
            _ => race(addresses, from).await?,
        };
        let tune = |socket| match address.ip().is_loopback() {
            // A peer on this machine does not vanish without a word of the kernel.
            true => Ok(sockopt::set_tcp_nodelay(socket, true)?),
            false => tune(&socket),
        };
        stream.socket().map_or(Ok(()), tune).map_err(Error::io)?;
        trace.facts().peer = Some(socket_text(address));
        Ok(stream)
    }
}

/// Connects to the first address that answers.
async fn race(
    addresses: Vec<SocketAddr>,
    from: Option<IpAddr>,
) -> Result<(SocketAddr, ByteStream)> {
    const STAGGER: Duration = Duration::from_millis(250);
    let mut waiting = interleave(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(async move { (address, reactor::connect(address, from).await) });
        }
        let stagger = async {
            match waiting.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(STAGGER).await,
            }
        };
        let attempt = tokio::select! {
            attempt = attempts.next() => attempt,
            () = stagger => continue,
        };
        match attempt {
            Some((address, Ok(stream))) => return Ok((address, stream)),
            Some((_, Err(error))) => failure = Some(error),
            None => break,
        }
    }
    Err(failure.map_or_else(|| Error::new(Kind::Refused, "it has no address"), refused))
}

fn refused(error: io::Error) -> Error {
    Error::new(Kind::Refused, plain(&error))
}

/// Addresses of this machine that connections are made from, in turn.
#[derive(Debug, Default)]
pub(crate) struct Local {
    addresses: Vec<IpAddr>,
    used: AtomicUsize,
}

impl Local {
    /// From these; from whatever the system chooses if there are none.
    pub(crate) fn new(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, used: AtomicUsize::new(0) }
    }

    fn next(&self) -> Option<IpAddr> {
        match self.addresses.as_slice() {
            [] => None,
            some => some.get(self.used.fetch_add(1, Relaxed) % some.len()).copied(),
        }
    }
}

/// Orders addresses such that the families take turns, beginning with the resolver's first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (a, b): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| it.is_ipv6() == first_v6);
    let mut ordered = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
}

/// What the resolver says, in our words.
pub(super) fn resolver(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.to_lowercase()
}

/// What stands after `//`, up to the path, and the path.
pub(crate) fn authority_and_path(rest: &str) -> (&str, &str) {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// The authority after `//`; a slash may end it.
pub(crate) fn authority(rest: &str) -> &str {
    let authority = rest.strip_prefix("//").unwrap_or(rest);
    authority.strip_suffix('/').unwrap_or(authority)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => write!(f, "tcp://{to}"),
            None => f.write_str("tcp:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_is_as_its_listener() {
        let at = HostPort { host: String::new(), port: 0 };
        let listener = bind(&at).await.unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let (connected, accepted) =
            tokio::join!(TcpStream::connect(address), async { listener.accept().await });
        let (connected, accepted) = (connected.unwrap(), accepted.unwrap().0);
        tune(&connected).unwrap();
        for stream in [connected, accepted] {
            assert!(sockopt::tcp_nodelay(&stream).unwrap());
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), Duration::from_secs(60));
            assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), Duration::from_secs(15));
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 120_000);
        }
    }
}
