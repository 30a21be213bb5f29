//! Port forwards as OpenSSH writes them: `-L`, `-R`, `-D` and `-W`.
//!
//! Fields stand between colons. A field in brackets is taken as it is, a backslash takes the
//! meaning from the next character, and a field with a slash is the path of a Unix socket.

mod field;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::field::{Field, fields};

/// `-L`: listen here, connect from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where to listen on this side.
    pub listen: Listen,
    /// What the far side connects to.
    pub target: Target,
}

/// `-R`: listen there, connect from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where the far side listens.
    pub listen: Listen,
    /// What this side connects to; without it, whatever a SOCKS client of the far side asks for.
    pub target: Option<Target>,
}

/// `-D`: a SOCKS server here, whose connections are made from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// Where to listen on this side.
    pub listen: Listen,
}

/// `-W`: standard input and output to one place, which the far side connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stdio {
    /// What the far side connects to.
    pub target: Target,
}

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port; 0 is any free one.
    Tcp {
        /// On which addresses.
        bind: Bind,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// The addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Not written: loopback only.
    Loopback,
    /// Written empty or as `*`: all addresses.
    All,
    /// A host name or an address.
    Host(String),
}

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// A host name or an address, resolved by the side that connects.
        host: String,
        /// The port, not 0.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Local {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match listen_and_target(text)? {
            (listen, Some(target)) => Ok(Self { listen, target }),
            (_, None) => Err(format!(
                "`{text}` does not say what to connect to; it is written [BIND:]PORT:HOST:HOSTPORT"
            )),
        }
    }
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        listen_and_target(text).map(|(listen, target)| Self { listen, target })
    }
}

impl FromStr for Dynamic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match listen_and_target(text)? {
            (listen, None) => Ok(Self { listen }),
            (_, Some(target)) => {
                Err(format!("`{target}` is too much: the destination is up to the SOCKS client"))
            }
        }
    }
}

impl FromStr for Stdio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let target = match &fields(text)?[..] {
            [path] if path.is_path => Target::Unix(path.path()?),
            [host, port] if !host.is_path => target(host, port)?,
            _ => return Err(format!("`{text}` is not HOST:PORT or a path with a slash")),
        };
        Ok(Self { target })
    }
}

/// What `-L`, `-R` and `-D` have in common; which of them needs a target is theirs to say.
fn listen_and_target(text: &str) -> Result<(Listen, Option<Target>), String> {
    let paths = |at: &Field| Ok::<_, String>(Target::Unix(at.path()?));
    Ok(match &fields(text)?[..] {
        [path] if path.is_path => (Listen::Unix(path.path()?), None),
        [port] => (listen(None, port)?, None),
        [path, target] if path.is_path && target.is_path => {
            (Listen::Unix(path.path()?), Some(paths(target)?))
        }
        [path, rest] if path.is_path => {
            return Err(format!("`{}` is not HOST:PORT or a path with a slash", rest.text));
        }
        [port, path] if path.is_path => (listen(None, port)?, Some(paths(path)?)),
        // Rather than the complaint that a host is no port.
        [port, host] if port.port().is_ok() && host.port().is_err() => {
            return Err(format!("`{}` lacks the port to connect to", host.text));
        }
        [bind, port] => (listen(Some(bind), port)?, None),
        [path, host, port] if path.is_path => {
            (Listen::Unix(path.path()?), Some(target(host, port)?))
        }
        [bind, port, path] if path.is_path => (listen(Some(bind), port)?, Some(paths(path)?)),
        [port, host, hostport] => (listen(None, port)?, Some(target(host, hostport)?)),
        [bind, port, host, hostport] => (listen(Some(bind), port)?, Some(target(host, hostport)?)),
        _ => return Err(format!("`{text}` has too many colons; an IPv6 address needs brackets")),
    })
}

fn listen(bind: Option<&Field>, port: &Field) -> Result<Listen, String> {
    let bind = match bind {
        None => Bind::Loopback,
        Some(bind) if matches!(&*bind.text, "" | "*") => Bind::All,
        Some(bind) => Bind::Host(bind.host()?),
    };
    Ok(Listen::Tcp { bind, port: port.port()? })
}

fn target(host: &Field, port: &Field) -> Result<Target, String> {
    let host = host.host()?;
    match port.port()? {
        0 => Err(format!("`{host}:0`: nobody can connect to port 0")),
        port => Ok(Target::Tcp { host, port }),
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.listen, self.target)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{}:{target}", self.listen),
            None => self.listen.fmt(f),
        }
    }
}

impl fmt::Display for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listen.fmt(f)
    }
}

impl fmt::Display for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { bind: Bind::Loopback, port } => write!(f, "{port}"),
            Self::Tcp { bind: Bind::All, port } => write!(f, "*:{port}"),
            Self::Tcp { bind: Bind::Host(host), port } => write_host(f, host, *port),
            Self::Unix(path) => write_path(f, path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_host(f, host, *port),
            Self::Unix(path) => write_path(f, path),
        }
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    match host.contains(':') {
        true => write!(f, "[{host}]:{port}"),
        false => write!(f, "{host}:{port}"),
    }
}

/// Escapes what would end the field, begin one in brackets, or be skipped.
fn write_path(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    let path = path.display().to_string();
    for (i, c) in path.chars().enumerate() {
        if matches!(c, ':' | '\\') || (i == 0 && (c == '[' || c.is_whitespace())) {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
