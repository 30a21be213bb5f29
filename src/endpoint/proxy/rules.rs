//! Where the clients of a proxy may go: `--allow`.
//!
//! What they ask for is looked at, not what a name resolves to, which only the far side knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};
use crate::network::Network;
use crate::ssh::pattern;

/// Everywhere where there are none, but for what has to be named; see [`is_sensitive`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules(Vec<Rule>);

/// `HOST:PORT`, where a port or a host may be `*`, a name may have some, and an address may have a
/// prefix length.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    host: Host,
    /// None for all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq)]
enum Host {
    Any,
    /// A pattern, lower case.
    Name(String),
    Network(Network),
}

/// A place as it was asked for.
struct Place<'a> {
    /// Lower case, without the dot that may end it.
    name: &'a str,
    address: Option<IpAddr>,
    port: u16,
}

impl Rules {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Self(rules.to_vec())
    }

    /// Checks that clients may go to a place.
    ///
    /// # Errors
    /// [`Kind::Refused`] if they may not.
    pub(super) fn check(&self, to: &HostPort) -> Result<()> {
        let name = to.host.trim_end_matches('.').to_lowercase();
        let place = Place { name: &name, address: address(&name), port: to.port };
        let sensitive = is_sensitive(&place);
        let named = self.0.iter().any(|rule| rule.covers(&place, sensitive));
        if named || (self.0.is_empty() && !sensitive) {
            return Ok(());
        }
        let why = match sensitive {
            true => "link-local and metadata addresses have to be named by --allow",
            false => "no --allow names it",
        };
        Err(Error::new(Kind::Refused, format!("{to} is not allowed: {why}")))
    }
}

impl Rule {
    /// Whether a place is meant; one that is sensitive only if it is named.
    fn covers(&self, place: &Place<'_>, sensitive: bool) -> bool {
        let host = match &self.host {
            Host::Any => !sensitive,
            Host::Name(name) if sensitive => name == place.name,
            Host::Name(name) => place.address.is_none() && pattern::matches(name, place.name),
            Host::Network(network) => {
                let named = !sensitive || is_link_local(network.first());
                named && place.address.is_some_and(|it| network.contains(it))
            }
        };
        host && self.port.is_none_or(|port| port == place.port)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(wrong)?,
            None => text.rsplit_once(':').filter(|(it, _)| !it.contains(':')).ok_or_else(wrong)?,
        };
        let port = match port {
            "*" => None,
            port => Some(port.parse().map_err(|_| wrong())?),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let network = match bits {
                Some(bits) => bits.parse().ok().and_then(|bits| Network::around(address, bits)),
                None => Some(Network::of(address)),
            };
            return network.map(Self::Network).ok_or_else(|| format!("`{text}` is not a network"));
        }
        if text.is_empty() || bits.is_some() {
            return Err(format!("`{text}` is not a host"));
        }
        // It would match names that begin with such labels, and no address.
        if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'*')) {
            return Err(format!("`{text}`: many addresses are written as 10.0.0.0/8"));
        }
        Ok(Self::Name(text.trim_end_matches('.').to_lowercase()))
    }
}

/// Whether it is where machines of a cloud get their credentials, or only a neighbour would be.
fn is_sensitive(place: &Place<'_>) -> bool {
    /// The metadata service of Amazon's cloud over IPv6.
    const EC2: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match place.address {
        Some(address) => is_link_local(address) || address == EC2,
        None => place.name == "metadata.google.internal",
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The address that a resolver would make of a host.
fn address(host: &str) -> Option<IpAddr> {
    let plain = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    plain.or_else(|| classful(host).map(IpAddr::V4))
}

/// The spellings of inet_aton(3): parts may be octal or hexadecimal, and the last one fills what
/// is left, so that 2852039166 is 169.254.169.254.
fn classful(host: &str) -> Option<Ipv4Addr> {
    let mut parts = host.split('.').map(|part| match part.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8),
        None => part.parse(),
    });
    let last = parts.next_back()?.ok()?;
    let (mut bits, mut left) = (0, u32::BITS);
    for part in parts {
        left = left.checked_sub(8).filter(|left| *left > 0)?;
        bits |= u32::from(u8::try_from(part.ok()?).ok()?) << left;
    }
    (left == u32::BITS || last >> left == 0).then(|| Ipv4Addr::from_bits(bits | last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(rules: &[&str], to: &str) -> bool {
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let (host, port) = to.rsplit_once(':').unwrap();
        Rules(rules).check(&HostPort { host: host.to_owned(), port: port.parse().unwrap() }).is_ok()
    }

    #[test]
    fn hosts_networks_and_ports() {
        for (rule, to, expected) in [
            ("db:5432", "DB.:5432", true),
            ("db:5432", "db:5433", false),
            ("db:*", "db:1", true),
            ("*:443", "anything:443", true),
            ("*:443", "10.0.0.1:443", true),
            ("*:443", "anything:80", false),
            ("*.corp.example:*", "a.b.corp.example:1", true),
            ("*.corp.example:*", "corp.example:1", false),
            ("1*.example:1", "10.0.0.1:1", false),
            ("10.0.0.0/8:22", "10.1.2.3:22", true),
            ("10.0.0.0/8:22", "::ffff:10.1.2.3:22", true),
            ("10.0.0.0/8:22", "0xa.1.2.3:22", true),
            ("10.0.0.0/8:22", "11.1.2.3:22", false),
            ("10.0.0.0/8:22", "10.example:22", false),
            ("0.0.0.0/0:*", "1.2.3.4:1", true),
            ("[2001:db8::/32]:80", "2001:db8::1:80", true),
            ("[::1]:80", "::1:80", true),
            ("[::1]:80", "::2:80", false),
        ] {
            assert_eq!(allows(&[rule], to), expected, "{rule} {to}");
        }
        assert!(allows(&["a:1", "b:2"], "b:2") && !allows(&["a:1", "b:2"], "a:2"));
        for text in ["", "db", "db:", ":80", "::1:80", "[::1]", "10.0.0.0/33:1", "db/8:1", "10.*:1"]
        {
            assert!(text.parse::<Rule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_sensitive_has_to_be_named() {
        let places = [
            "169.254.169.254:80",
            "169.254.169.254.:80",
            "::ffff:169.254.169.254:80",
            "2852039166:80",
            "0xA9FEa9fe:80",
            "0251.254.43518:80",
            "fe80::1:80",
            "fd00:ec2::254:80",
            "Metadata.Google.Internal.:80",
        ];
        for place in places {
            assert!(!allows(&[], place), "{place}");
            let broad = ["*:80", "0.0.0.0/0:*", "[::/0]:*", "*.internal:*", "169.0.0.0/8:*"];
            assert!(!allows(&broad, place), "{place}");
        }
        assert!(allows(&["169.254.169.254:80"], "2852039166:80"));
        assert!(allows(&["[fe80::/10]:*"], "fe80::1:80"));
        assert!(allows(&["metadata.google.internal:80"], "metadata.google.internal:80"));
        assert!(allows(&[], "example.com:80") && allows(&[], "127.0.0.1:80"));
    }

    #[test]
    fn numbers_are_addresses_and_names_are_not() {
        let classful = |text: &str| classful(text).map(|it| it.to_string());
        for (text, expected) in [
            ("127.1", Some("127.0.0.1")),
            ("1", Some("0.0.0.1")),
            ("4294967295", Some("255.255.255.255")),
            ("1.2.3.4", Some("1.2.3.4")),
            ("1.2.65535", Some("1.2.255.255")),
            ("1.2.65536", None),
            ("256.1", None),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("4294967296", None),
            ("08", None),
            ("", None),
            ("a.1", None),
        ] {
            assert_eq!(classful(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_number_is_one_address(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = address.octets();
            for text in [format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}"),
                format!("{a}.{b:#x}.0{c:o}.{d}"), format!("{a}.{}", bits & 0xff_ffff)] {
                prop_assert_eq!(classful(&text), Some(address), "{}", text);
            }
        }
    }
}
