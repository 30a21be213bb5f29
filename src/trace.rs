//! What is found out while connecting: how long each phase took, which one it is in, and what the
//! peer's handshakes said. A probe asserts on it, a timeout names its phase, a report prints it.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::endpoint::deflate::Terms;
use crate::http::Response;
use crate::lock::lock;

/// Filled while one chain connects.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Facts>);

/// What is known so far.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The time spent in each phase, in the order they were first entered; several hops add up.
    pub phases: Vec<(Phase, Duration)>,
    /// The phase entered last.
    pub latest: Option<Phase>,
    /// The last hop's address, once a socket is connected.
    pub peer: Option<String>,
    /// The answer to the last WebSocket handshake.
    pub response: Option<Response>,
    /// The first bytes of its body, if it was not 101.
    pub body: String,
    /// The subprotocol that was granted.
    pub subprotocol: Option<String>,
    /// What was agreed on about compression, if anything was.
    pub compression: Option<Terms>,
    /// Why a sound 101 was not good enough, if it was not.
    pub unmet: Option<Term>,
    /// The last TLS session.
    pub tls: Option<TlsFacts>,
}

/// What the two ends of a WebSocket handshake have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The subprotocol.
    Subprotocol,
    /// The extensions.
    Extension,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// As `TLSv1.3`.
    pub version: String,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// The name that was asked for.
    pub sni: String,
    /// When the peer's certificate ends, in seconds since 1970.
    pub not_after: Option<i64>,
}

/// The phases of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution.
    Dns,
    /// The TCP or Unix connect.
    Tcp,
    /// Asking a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket handshake.
    Upgrade,
    /// The SSH handshake.
    Ssh,
    /// Logging in by SSH.
    Login,
    /// Waiting for an SSH server to open a channel.
    Forward,
}

impl Phase {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Ssh => "ssh",
            Self::Login => "login",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "resolving the name",
            Self::Tcp => "connecting",
            Self::Proxy => "waiting for the proxy",
            Self::Tls => "waiting for the TLS handshake",
            Self::Upgrade => "waiting for the WebSocket handshake",
            Self::Ssh => "waiting for the SSH handshake",
            Self::Login => "logging in",
            Self::Forward => "waiting for the SSH server to connect",
        })
    }
}

impl Trace {
    /// Spends the time until the guard is dropped in `phase`.
    pub fn enter(&self, phase: Phase) -> Guard<'_> {
        self.facts().latest = Some(phase);
        Guard { trace: self, phase, since: Instant::now() }
    }

    /// The facts, to read or to add to.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.0)
    }
}

/// Time is spent in a phase while this lives.
pub struct Guard<'a> {
    trace: &'a Trace,
    phase: Phase,
    since: Instant,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let spent = self.since.elapsed();
        let mut facts = self.trace.facts();
        match facts.phases.iter_mut().find(|(phase, _)| *phase == self.phase) {
            Some((_, total)) => *total += spent,
            None => facts.phases.push((self.phase, spent)),
        }
    }
}
