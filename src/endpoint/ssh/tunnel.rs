//! Port forwards as pairs of addresses: each is a listener and a target.
//!
//! `-L` listens here and connects from there, `-R` the other way round, `-D` leaves the target to
//! what a SOCKS client asks for. So `tunnel` has nothing to do that `serve` cannot.

use std::path::Path;
use std::sync::Arc;

use crate::cli::ForwardArgs;
use crate::cli::value::Secret;
use crate::endpoint::proxy::{Login, Proxy, Rules};
use crate::endpoint::tcp::{HostPort, Tcp};
use crate::endpoint::unix::Unix;
use crate::endpoint::{Call, Endpoint, Ground, Hop, Scheme};
use crate::error::{Error, Kind, Result};
use crate::ssh::Session;
use crate::ssh::forward::{Bind, Dynamic, Listen, Local, Remote, Stdio, Target};

/// What the SOCKS servers of a tunnel ask of their clients.
pub(crate) struct Socks {
    login: Option<Login>,
    rules: Rules,
}

impl Socks {
    /// From `--socks-auth` and `--allow`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a login that is none, and for flags that nothing heeds.
    pub(crate) fn new(forwards: &ForwardArgs) -> Result<Self> {
        let ForwardArgs { socks_auth, allow, dynamic, remote, .. } = forwards;
        let heeded = !dynamic.is_empty() || remote.iter().any(|it| it.target.is_none());
        let flag = match (socks_auth, allow.is_empty()) {
            (Some(_), _) => Some("--socks-auth"),
            (None, false) => Some("--allow"),
            (None, true) => None,
        };
        if let (false, Some(flag)) = (heeded, flag) {
            return Err(Error::new(Kind::Usage, format!("{flag} needs a SOCKS server"))
                .hint("it is about -D, and -R with a port alone"));
        }
        let login = socks_auth.as_ref().map(Secret::reveal).map(Login::parse).transpose();
        let login = login.map_err(|why| Error::new(Kind::Usage, why).at("--socks-auth"))?;
        Ok(Self { login, rules: Rules::new(allow) })
    }

    fn at(&self, place: Option<HostPort>) -> Hop {
        Hop::Proxy(Proxy::of_socks(place, self.login.clone(), self.rules.clone()))
    }

    fn over_a_socket(&self) -> Hop {
        self.at(None)
    }
}

impl Endpoint {
    /// `-L`: what to listen on, and what to join peers to.
    pub(crate) fn of_local(forward: &Local, via: &Self) -> Result<(Self, Self)> {
        Ok((Self::here([listen(&forward.listen)?])?, via.then([target(&forward.target)?])?))
    }

    /// `-R`: the same from the other side.
    pub(crate) fn of_remote(forward: &Remote, via: &Self, socks: &Socks) -> Result<(Self, Self)> {
        let there = far_listen(&forward.listen)?;
        match &forward.target {
            Some(to) => Ok((via.then([there])?, Self::here([target(to)?])?)),
            None => Ok((via.then([there, socks.over_a_socket()])?, Self::here([anywhere()?])?)),
        }
    }

    /// `-D`: a SOCKS server whose connections are made from there.
    pub(crate) fn of_dynamic(forward: &Dynamic, via: &Self, socks: &Socks) -> Result<(Self, Self)> {
        let here = match listen(&forward.listen)? {
            Hop::Tcp(tcp) => vec![socks.at(tcp.to().cloned())],
            socket => vec![socket, socks.over_a_socket()],
        };
        Ok((Self::here(here)?, via.then([anywhere()?])?))
    }

    /// `-W`: what to join the console to.
    pub(crate) fn of_stdio(forward: &Stdio, via: &Self) -> Result<Self> {
        via.then([target(&forward.target)?])
    }

    /// Its last hop, for people.
    pub(crate) fn destination(&self) -> String {
        format!("{:#}", self.last())
    }

    /// Whether something can be reached through it as from a machine.
    pub(crate) fn is_machine(&self) -> bool {
        matches!(self.last(), Hop::Ssh(_))
    }

    /// This address, and another one on the far side of it.
    pub(crate) fn and(&self, there: Self) -> Result<Self> {
        self.then(there.hops)
    }

    /// The session with the machine that this leads to.
    pub(crate) async fn session(&self, call: &Call<'_>) -> Result<Arc<Session>> {
        let ground = Ground::after(&self.hops, call).await?;
        ground.machine().cloned().ok_or_else(|| Error::new(Kind::Usage, "is no SSH server"))
    }

    fn here(hops: impl Into<Vec<Hop>>) -> Result<Self> {
        Self { hops: Vec::new() }.then(hops)
    }

    /// This address and more hops after it.
    pub(crate) fn then(&self, more: impl Into<Vec<Hop>>) -> Result<Self> {
        let longer = Self { hops: [self.hops.clone(), more.into()].concat() };
        longer.check_chain().map_err(|what| Error::new(Kind::Usage, what))?;
        Ok(longer)
    }
}

fn listen(at: &Listen) -> Result<Hop> {
    match at {
        Listen::Unix(path) => unix(path),
        Listen::Tcp { bind, port } => {
            let host = match bind {
                Bind::Loopback => "",
                Bind::All => "::",
                Bind::Host(host) => host,
            };
            Ok(tcp(host, *port))
        }
    }
}

/// As [`listen`], in the words of RFC 4254 section 7.1, where all addresses are the empty one.
fn far_listen(at: &Listen) -> Result<Hop> {
    match at {
        Listen::Tcp { bind: Bind::All, port } => Ok(tcp("*", *port)),
        other => listen(other),
    }
}

fn target(to: &Target) -> Result<Hop> {
    match to {
        Target::Unix(path) => unix(path),
        Target::Tcp { host, port } => Ok(tcp(host, *port)),
    }
}

fn tcp(host: &str, port: u16) -> Hop {
    Hop::Tcp(Tcp::at(HostPort { host: host.to_owned(), port }))
}

fn unix(path: &Path) -> Result<Hop> {
    let usable = path.to_str().ok_or_else(|| "a path that is not UTF-8".to_owned());
    let hop = usable.and_then(|path| Unix::parse("unix", path));
    hop.map(Hop::Unix).map_err(|what| Error::new(Kind::Usage, what))
}

fn anywhere() -> Result<Hop> {
    Tcp::parse("tcp", "").map(Hop::Tcp).map_err(|what| Error::new(Kind::Usage, what))
}
