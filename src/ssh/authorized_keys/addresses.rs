//! Lists of addresses, networks and patterns: `from=` and a certificate's source-address.

use std::net::IpAddr;
use std::str::FromStr;

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
    Network(IpAddr, u8),
    Pattern(String),
}

impl Addresses {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut found = false;
        for Element { negated, what } in &self.0 {
            let matches = match what {
                What::Network(network, bits) => is_within(address, *network, *bits),
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
        let what = match (text.parse::<IpAddr>(), text.split_once('/')) {
            _ if text.is_empty() => return Err("an address is empty".into()),
            (Ok(address), _) => {
                let address = address.to_canonical();
                What::Network(address, width(address))
            }
            (_, Some((network, bits))) => {
                let wrong = || format!("`{text}` is not a network");
                let network = network.parse().map_err(|_| wrong())?;
                let bits =
                    bits.parse().ok().filter(|&it| it <= width(network)).ok_or_else(wrong)?;
                // As OpenSSH: somebody who writes 10.1.2.3/8 may have meant something else.
                if masked(network, bits) != masked(network, width(network)) {
                    return Err(format!("`{text}` has bits outside its mask"));
                }
                What::Network(network, bits)
            }
            _ => What::Pattern(text.to_lowercase()),
        };
        Ok(Self { negated, what })
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    address.is_ipv4() == network.is_ipv4() && masked(address, bits) == masked(network, bits)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address of which all but the first bits are 0.
fn masked(address: IpAddr, bits: u8) -> u128 {
    let all = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    // Shifted by all its 128 bits, nothing is left.
    all & u128::MAX.checked_shl(u32::from(width(address) - bits)).unwrap_or(0)
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
        fn an_address_is_in_the_networks_around_it(bits in any::<u128>(), len in 0u8..=128) {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            let network = std::net::Ipv6Addr::from_bits(bits & mask);
            let address = IpAddr::V6(std::net::Ipv6Addr::from_bits(bits));
            prop_assume!(address.to_canonical().is_ipv6());
            let list: Addresses = format!("{network}/{len}").parse().unwrap();
            prop_assert!(list.contains(address));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), address in any::<IpAddr>()) {
            if let Ok(list) = text.parse::<Addresses>() {
                list.contains(address);
            }
        }
    }
}
