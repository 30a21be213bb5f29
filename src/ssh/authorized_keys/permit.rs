//! One place that may be connected to or listened on: `permitopen=` and `permitlisten=`.

use std::fmt;
use std::str::FromStr;

/// `HOST:PORT`, either of which may be `*`; a port alone is for all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The host, lower case; None for all. Names are compared, not resolved.
    host: Option<String>,
    /// The port; None for all.
    port: Option<u16>,
}

impl Permit {
    /// Whether a place that was asked for is this one.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let same = |permitted: &String| permitted.eq_ignore_ascii_case(host);
        self.host.as_ref().is_none_or(same) && self.port.is_none_or(|permitted| permitted == port)
    }

    /// Whether it is every place.
    pub fn is_all(&self) -> bool {
        self.host.is_none() && self.port.is_none()
    }
}

impl FromStr for Permit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(wrong)?,
            None => text.rsplit_once(':').unwrap_or(("*", text)),
        };
        let brackets = text.starts_with('[');
        let is_wrong =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '/');
        if host.is_empty() || host.contains(is_wrong) || (host.contains(':') && !brackets) {
            return Err(wrong());
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        Ok(Self {
            host: Some(host).filter(|it| *it != "*").map(str::to_lowercase),
            port: match port {
                "*" => None,
                port => Some(port.parse().ok().filter(|_| digits).ok_or_else(wrong)?),
            },
        })
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => f.write_str("*:")?,
            Some(host) if host.contains(':') => write!(f, "[{host}]:")?,
            Some(host) => write!(f, "{host}:")?,
        }
        match self.port {
            None => f.write_str("*"),
            Some(port) => write!(f, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_ports_and_stars() {
        for (permit, host, port, expected) in [
            ("db:5432", "DB", 5432, true),
            ("db:5432", "db", 5433, false),
            ("db:*", "db", 1, true),
            ("*:80", "anything", 80, true),
            ("80", "anything", 80, true),
            ("*", "anything", 1, true),
            ("[::1]:80", "::1", 80, true),
            ("db:0", "db", 80, false),
            ("*.a:80", "x.a", 80, false),
        ] {
            let permit: Permit = permit.parse().unwrap();
            assert_eq!(permit.allows(host, port), expected, "{permit} {host}:{port}");
        }
        for text in ["", "db", "db:", ":80", "::1:80", "[::1]", "db:+1", "a b:1", "db:65536"] {
            assert!(text.parse::<Permit>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_back(text in r"(\[[a-z:0-9]{0,5}\]|[a-zA-Z*.]{0,5})(:([0-9]{1,5}|\*))?") {
            if let Ok(permit) = text.parse::<Permit>() {
                prop_assert_eq!(permit.to_string().parse(), Ok(permit));
            }
        }
    }
}
