//! What the server's flags let clients connect to and listen on: ports and Unix sockets.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use super::authorized_keys::Permit;
use super::pattern;

/// Ports, or Unix sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `HOST:PORT`.
    Port(Permit),
    /// `/PATH` or `unix:/PATH`, in which `*` and `?` stand for parts of one name.
    Socket(String),
}

impl Reach {
    /// Whether a port that was asked for is among them.
    pub(super) fn has_port(&self, host: &str, port: u16) -> bool {
        matches!(self, Self::Port(permit) if permit.allows(host, port))
    }

    /// Whether a socket that was asked for is among them. Paths are compared, not resolved, so none
    /// may lead upwards.
    pub(super) fn has_socket(&self, path: &str) -> bool {
        let Self::Socket(pattern) = self else { return false };
        let (Some(pattern), Some(names)) = (names(pattern), names(path)) else { return false };
        let mut pairs = pattern.iter().zip(&names);
        pattern.len() == names.len() && pairs.all(|(pattern, name)| pattern::matches(pattern, name))
    }
}

/// The names in an absolute path; None for one that is not, or that leads upwards.
fn names(path: &str) -> Option<Vec<&str>> {
    let mut components = Path::new(path).components();
    if components.next() != Some(Component::RootDir) {
        return None;
    }
    components
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect()
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:");
        match path.unwrap_or(text) {
            path if names(path).is_some_and(|names| !names.is_empty()) => {
                Ok(Self::Socket(path.to_owned()))
            }
            _ if path.is_some() || text.starts_with('/') => {
                Err(format!("`{text}` is not the whole path of a socket"))
            }
            _ => text.parse().map(Self::Port),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(permit) => permit.fmt(f),
            Self::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_stars() {
        for (reach, path, expected) in [
            ("/run/a.sock", "/run/a.sock", true),
            ("unix:/run/a.sock", "//run/./a.sock", true),
            ("/run/*.sock", "/run/b.sock", true),
            ("/run/*.sock", "/run/b/c.sock", false),
            ("/run/*/c.sock", "/run/b/c.sock", true),
            ("/run/*/c.sock", "/run/../c.sock", false),
            ("/run/*", "/run", false),
            ("/run/*", "run/a", false),
            ("/run/*", "@a", false),
            ("*:*", "/run/a.sock", false),
            ("*", "/a", false),
        ] {
            let reach: Reach = reach.parse().unwrap();
            assert_eq!(reach.has_socket(path), expected, "{reach} {path}");
            assert_eq!(reach.to_string().parse(), Ok(reach));
        }
        for text in ["unix:", "unix:run/a", "unix:*:1", "/", "/run/../a", "unix:@a"] {
            assert!(text.parse::<Reach>().is_err(), "{text}");
        }
    }
}
