//! Port forwards as pairs of addresses: each is a listener and a target.
//!
//! `-L` listens here and connects from there, `-R` the other way round, `-D` leaves the target to
//! what a SOCKS client asks for. So `tunnel` has nothing to do that `serve` cannot.

use std::path::Path;
use std::sync::Arc;

use crate::endpoint::proxy::Proxy;
use crate::endpoint::tcp::{HostPort, Tcp};
use crate::endpoint::unix::Unix;
use crate::endpoint::{Call, Endpoint, Ground, Hop, Scheme};
use crate::error::{Error, Kind, Result};
use crate::ssh::Session;
use crate::ssh::forward::{Bind, Dynamic, Listen, Local, Remote, Stdio, Target};

impl Endpoint {
    /// `-L`: what to listen on, and what to join peers to.
    pub(crate) fn of_local(forward: &Local, via: &Self) -> Result<(Self, Self)> {
        Ok((Self::here([listen(&forward.listen)?])?, via.then([target(&forward.target)?])?))
    }

    /// `-R`: the same from the other side.
    pub(crate) fn of_remote(forward: &Remote, via: &Self) -> Result<(Self, Self)> {
        let there = far_listen(&forward.listen)?;
        match &forward.target {
            Some(to) => Ok((via.then([there])?, Self::here([target(to)?])?)),
            None => Ok((via.then([there, socks()?])?, Self::here([anywhere()?])?)),
        }
    }

    /// `-D`: a SOCKS server whose connections are made from there.
    pub(crate) fn of_dynamic(forward: &Dynamic, via: &Self) -> Result<(Self, Self)> {
        Ok((Self::here([listen(&forward.listen)?, socks()?])?, via.then([anywhere()?])?))
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

fn socks() -> Result<Hop> {
    let hop = Proxy::parse("socks5", "//:0");
    hop.map(Hop::Proxy).map_err(|what| Error::new(Kind::Usage, what))
}

fn anywhere() -> Result<Hop> {
    Tcp::parse("tcp", "").map(Hop::Tcp).map_err(|what| Error::new(Kind::Usage, what))
}
