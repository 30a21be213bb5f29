//! By which names a loopback listener is known.
//!
//! A foreign site can make its name resolve to 127.0.0.1 and then reads what is served there as its
//! own ("DNS rebinding"). Its Host is the foreign name, and that is what gives it away.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Kind, Result};

/// The names of `--allow-host` and of the addresses to listen on.
pub(super) struct Hosts {
    any: bool,
    names: Vec<String>,
}

impl Hosts {
    pub(super) fn new(allowed: &[String], listeners: &[String]) -> Result<Self> {
        for name in allowed {
            if name.is_empty() || name.contains(['/', ':', '@', ' ']) {
                let what = format!("--allow-host: `{name}` is not a host name");
                return Err(Error::new(Kind::Usage, what).hint("write it without scheme and port"));
            }
        }
        let names = allowed.iter().chain(listeners).map(|name| normal(name)).collect();
        Ok(Self { any: allowed.iter().any(|name| name == "*"), names })
    }

    /// Whether a Host, with or without a port, is one of ours. Nobody can make an IP address
    /// resolve to another.
    pub(super) fn knows(&self, host: &str) -> bool {
        if let Some(v6) = host.strip_prefix('[') {
            return v6.split(']').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
        }
        let name = normal(host.split(':').next().unwrap_or_default());
        self.any
            || name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<Ipv4Addr>().is_ok()
            || self.names.contains(&name)
    }
}

/// In lower case, without the dot of the root.
pub(crate) fn normal(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(allowed: &[&str]) -> Result<Hosts> {
        let allowed: Vec<_> = allowed.iter().map(|&it| it.to_owned()).collect();
        Hosts::new(&allowed, &["devbox".to_owned()])
    }

    #[test]
    fn names_of_this_machine() {
        let ours = hosts(&["Chat.example."]).unwrap();
        for host in [
            "localhost",
            "LOCALHOST:80",
            "a.localhost",
            "localhost.",
            "127.0.0.1:8010",
            "10.0.0.1",
            "[::1]:80",
            "chat.EXAMPLE:443",
            "devbox:1",
        ] {
            assert!(ours.knows(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a.chat.example",
            "[chat.example]",
            "[",
        ] {
            assert!(!ours.knows(host), "{host}");
        }
        assert!(hosts(&["*"]).unwrap().knows("evil.example"));
    }

    #[test]
    fn a_name_is_no_url() {
        for name in ["https://a", "a:80", "", "a/b"] {
            assert_eq!(hosts(&[name]).err().unwrap().kind(), Kind::Usage, "{name}");
        }
    }
}
