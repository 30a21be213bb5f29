//! Lists of addresses, networks and patterns: `from=` and a certificate's source-address.

use std::net::IpAddr;
use std::str::FromStr;

use crate::network::Network;
use crate::ssh::pattern;

/// `10.0.0.0/8,!10.1.2.3,192.168.*`: an element behind `!` outweighs the others.
#[derive(Clone, Debug)]
pub(super) struct Addresses(Vec<Element>);

#[derive(Clone, Debug)]
struct Element {
    negated: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Network(Network),
    Pattern(String),
}

impl Addresses {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut found = false;
        for Element { negated, what } in &self.0 {
            let matches = match what {
                What::Network(network) => network.contains(address),
                What::Pattern(text) => pattern::matches(text, &address.to_string()),
            };
            match (matches, negated) {
                (true, true) => return false,
                (true, false) => found = true,
                (false, _) => {}
            }
        }
        found
    }

    /// Networks only, as certificates have them.
    pub(super) fn networks(text: &str) -> Result<Self, String> {
        let addresses: Self = text.parse()?;
        let plain = |it: &Element| !it.negated && matches!(it.what, What::Network(..));
        match addresses.0.iter().all(plain) {
            true => Ok(addresses),
            false => Err(format!("`{text}` is not a list of networks")),
        }
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|element| Element::parse(element.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Element {
    fn parse(text: &str) -> Result<Self, String> {
        let (negated, text) = match text.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let is_network = text.contains('/') || text.parse::<IpAddr>().is_ok();
        let what = match is_network {
            _ if text.is_empty() => return Err("an address is empty".into()),
            true => What::Network(text.parse()?),
            false => What::Pattern(text.to_lowercase()),
        };
        Ok(Self { negated, what })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        list.parse::<Addresses>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn networks_patterns_and_exceptions() {
        for (list, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8,!10.1.2.0/24", "10.1.2.3", false),
            ("!10.1.2.3,*", "10.1.2.4", true),
            ("!10.1.2.3", "10.1.2.4", false),
            ("192.168.*", "192.168.0.1", true),
            ("192.168.0.?", "192.168.0.10", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("fe80::/10,::1", "::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("*.example.com", "127.0.0.1", false),
        ] {
            assert_eq!(contains(list, address), expected, "{list} {address}");
        }
    }

    #[test]
    fn bad_lists_are_refused() {
        for list in ["", "a,", "10.0.0.0/33", "10.1.2.3/8", "::/129", "x/8", "10.0.0.0/-1"] {
            assert!(list.parse::<Addresses>().is_err(), "{list:?}");
        }
        assert!(Addresses::networks("10.0.0.0/8,::1").is_ok());
        assert!(
            Addresses::networks("!10.0.0.0/8").is_err() && Addresses::networks("10.*").is_err()
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), address in any::<IpAddr>()) {
            if let Ok(list) = text.parse::<Addresses>() {
                list.contains(address);
            }
        }
    }
}
