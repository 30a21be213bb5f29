//! Networks of IP addresses, as `10.0.0.0/8` or one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The addresses that begin with the same bits. An IPv4 address inside an IPv6 one is the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// A way by which those come who are believed: a network, or this machine's Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Everybody who can open the socket.
    Unix,
    /// Everybody there.
    Network(Network),
}

impl Network {
    /// The network of this size around an address; none if there is no such size.
    pub(crate) fn around(address: IpAddr, bits: u8) -> Option<Self> {
        let (address, bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(inner)) if bits >= 96 => (IpAddr::V4(inner), bits - 96),
            _ => (address, bits),
        };
        (bits <= width(address)).then(|| Self { first: masked(address, bits), bits })
    }

    /// The network of one address.
    pub(crate) fn of(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, bits: width(first) }
    }

    /// The addresses that one customer can take for itself: of IPv6, a /64.
    pub(crate) fn of_customer(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 64 };
        Self { first: masked(address, bits), bits }
    }

    /// Its first address.
    pub(crate) fn first(&self) -> IpAddr {
        self.first
    }

    /// Whether an address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// An address as text. Those of IPv4 are so many in a handshake, and so costly to format, that it
/// shows.
pub(crate) fn text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    // With room for a port.
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    for (i, octet) in address.octets().into_iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// An address and a port as text; else as [`text`].
pub(crate) fn socket_text(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { return address.to_string() };
    let mut text = text((*address.ip()).into());
    text.push(':');
    text.push_str(itoa::Buffer::new().format(address.port()));
    text
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network, as 10.0.0.0/8, nor an address");
        let Some((address, bits)) = text.split_once('/') else {
            return text.parse().map(Self::of).map_err(|_| wrong());
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let network = bits.parse().ok().and_then(|bits| Self::around(address, bits));
        let network = network.ok_or_else(wrong)?;
        // As OpenSSH: somebody who writes 10.1.2.3/8 may have meant something else.
        match network.first == address || network.first == address.to_canonical() {
            true => Ok(network),
            false => Err(format!("`{text}` has bits outside its mask")),
        }
    }
}

impl FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" { Ok(Self::Unix) } else { text.parse().map(Self::Network) }
    }
}

impl Trust {
    /// Whether one who comes from there is meant, none being a Unix socket.
    pub(crate) fn covers(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Unix, None) => true,
            (Self::Network(network), Some(address)) => network.contains(address),
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address of which all but the first bits are 0. Shifted by all its bits, nothing is left.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let rest = u32::from(width(address) - bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/33", "2001:db8:8000::", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network:?} {address}"
            );
        }
        for text in ["", "a", "10.0.0.0/33", "10.1.2.3/8", "::/129", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_unix_socket_is_in_no_network() {
        assert!("unix".parse::<Trust>().unwrap().covers(None));
        assert!(!"unix".parse::<Trust>().unwrap().covers("127.0.0.1".parse().ok()));
        assert!(!"0.0.0.0/0".parse::<Trust>().unwrap().covers(None));
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_networks_around_it(address in any::<IpAddr>(), bits in any::<u8>()) {
            // 0.0.0.0 to 255.255.255.255 are in ::/0 in one way of writing them, and not in the other.
            prop_assume!(address == address.to_canonical() || bits >= 96);
            if let Some(network) = Network::around(address, bits) {
                prop_assert!(network.contains(address) && network.contains(network.first()));
            }
            prop_assert!(Network::of(address).contains(address));
        }
    }
}
