//! The header of the PROXY protocol, in which a proxy says for whom it makes a connection, before
//! all that the connection carries: version 1, a line, and version 2, which is binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Kind, Result};

/// The two forms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line.
    V1,
    /// Binary.
    V2,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err("v1 or v2".into()),
        }
    }
}

/// The two ends of the connection that another one is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// What it has connected to.
    pub local: SocketAddr,
}

/// What the beginning of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// So many bytes more are a part of it at least.
    More(usize),
    /// It is complete; there are no ends where a proxy speaks for itself, or does not know them.
    Complete(Option<Ends>),
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";

/// The longest line, with its end.
const LONGEST_LINE: usize = 107;
/// The most that may follow the fixed part of version 2; what is known is far less.
const LONGEST_REST: usize = 4 << 10;

/// Reads a header and not a byte more.
///
/// # Errors
/// [`Kind::Protocol`] where it is none; [`Kind::Lost`] if the stream ends inside it.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Ends>> {
    let mut header = Vec::new();
    loop {
        match parse(&header)? {
            Header::Complete(ends) => return Ok(ends),
            Header::More(more) => {
                let known = header.len();
                header.resize(known + more, 0);
                stream.read_exact(&mut header[known..]).await.map_err(Error::lost)?;
            }
        }
    }
}

/// Parses what has been read of a header.
///
/// # Errors
/// [`Kind::Protocol`] where it is none.
pub fn parse(header: &[u8]) -> Result<Header> {
    if !begins(header, SIGNATURE) && !begins(header, WORD) {
        return Err(wrong("no PROXY header"));
    }
    // Either has that many, and neither version can be told before.
    if header.len() < SIGNATURE.len() {
        return Ok(Header::More(SIGNATURE.len() - header.len()));
    }
    if begins(header, SIGNATURE) {
        return binary(header);
    }
    if !header.ends_with(b"\r\n") {
        return match header.len() {
            0..LONGEST_LINE => Ok(Header::More(1)),
            _ => Err(wrong("a PROXY header without an end")),
        };
    }
    let line = str::from_utf8(&header[WORD.len()..header.len() - 2]);
    let ends = line.ok().and_then(self::line).ok_or_else(|| wrong("a malformed PROXY header"))?;
    Ok(Header::Complete(ends))
}

/// Whether a header begins like this, as far as it is there.
fn begins(header: &[u8], start: &[u8]) -> bool {
    let len = header.len().min(start.len());
    header[..len] == start[..len]
}

/// What follows the first word; none if it is malformed.
fn line(text: &str) -> Option<Option<Ends>> {
    let parts: Vec<_> = text.split(' ').collect();
    match parts[..] {
        ["UNKNOWN", ..] => Some(None),
        [family @ ("TCP4" | "TCP6"), source, local, source_port, local_port] => {
            let ends = Ends {
                source: SocketAddr::new(source.parse().ok()?, port(source_port)?),
                local: SocketAddr::new(local.parse().ok()?, port(local_port)?),
            };
            let old = family == "TCP4";
            let fits = ends.source.is_ipv4() == old && ends.local.is_ipv4() == old;
            fits.then_some(Some(ends))
        }
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn binary(header: &[u8]) -> Result<Header> {
    let Some((fixed, rest)) = header.split_first_chunk::<16>() else {
        return Ok(Header::More(16 - header.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > LONGEST_REST {
        return Err(wrong("a PROXY header that is too long"));
    }
    match len.checked_sub(rest.len()) {
        Some(0) => {}
        Some(more) => return Ok(Header::More(more)),
        None => return Err(wrong("more than a PROXY header")),
    }
    let too_short = || wrong("a PROXY header that is too short");
    match (command, family) {
        (0x20, _) => Ok(Header::Complete(None)),
        (0x21, 0x11) => {
            let (ips, ports) = rest.split_at_checked(8).ok_or_else(too_short)?;
            let ip = |part: &[u8]| <[u8; 4]>::try_from(part).ok().map(|it| IpAddr::V4(it.into()));
            ends(ip(&ips[..4]), ip(&ips[4..]), ports).ok_or_else(too_short)
        }
        (0x21, 0x21) => {
            let (ips, ports) = rest.split_at_checked(32).ok_or_else(too_short)?;
            let ip = |part: &[u8]| <[u8; 16]>::try_from(part).ok().map(|it| IpAddr::V6(it.into()));
            ends(ip(&ips[..16]), ip(&ips[16..]), ports).ok_or_else(too_short)
        }
        // Unix sockets, datagrams, and what is yet to come.
        (0x21, _) => Ok(Header::Complete(None)),
        _ => Err(wrong("a PROXY header of another version")),
    }
}

/// Two addresses and what begins with their ports.
fn ends(source: Option<IpAddr>, local: Option<IpAddr>, ports: &[u8]) -> Option<Header> {
    let ([a, b, c, d], _) = ports.split_first_chunk()?;
    let source = SocketAddr::new(source?, u16::from_be_bytes([*a, *b]));
    let local = SocketAddr::new(local?, u16::from_be_bytes([*c, *d]));
    Some(Header::Complete(Some(Ends { source, local })))
}

/// The header for a connection with these ends, or one that is made for nobody.
pub fn write(version: Version, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(|Ends { source, local }| {
        let (from, to) = match (source.ip().to_canonical(), local.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V6(to)) => (from.to_ipv6_mapped().into(), to.into()),
            (IpAddr::V6(from), IpAddr::V4(to)) => (from.into(), to.to_ipv6_mapped().into()),
            both => both,
        };
        (from, to, source.port(), local.port())
    });
    match (version, ends) {
        (Version::V1, None) => b"PROXY UNKNOWN\r\n".into(),
        (Version::V1, Some((from, to, from_port, to_port))) => {
            let family = if from.is_ipv4() { 4 } else { 6 };
            format!("PROXY TCP{family} {from} {to} {from_port} {to_port}\r\n").into()
        }
        (Version::V2, None) => [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
        (Version::V2, Some((from, to, from_port, to_port))) => {
            let ports = [from_port.to_be_bytes(), to_port.to_be_bytes()].concat();
            match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    [SIGNATURE, &[0x21, 0x11, 0, 12], &from.octets(), &to.octets(), &ports].concat()
                }
                (from, to) => {
                    let (from, to) = (wide(from).octets(), wide(to).octets());
                    [SIGNATURE, &[0x21, 0x21, 0, 36], &from, &to, &ports].concat()
                }
            }
        }
    }
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Kind::Protocol(1002), what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, local: &str) -> Option<Ends> {
        Some(Ends { source: source.parse().unwrap(), local: local.parse().unwrap() })
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            ("PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n", ends("1.2.3.4:80", "5.6.7.8:443")),
            ("PROXY TCP6 ::1 2001:db8::1 0 65535\r\n", ends("[::1]:0", "[2001:db8::1]:65535")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ff ff 1 2\r\n", None),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), Header::Complete(expected), "{text}");
        }
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 443 \r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 80 443\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +80 443\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 65536\r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 80 443\r\n",
            "PROXY TCP4 ::1 ::1 80 443\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 80 443\r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 80 443\r\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let long = "PROXY UNKNOWN ".to_owned() + &"x".repeat(LONGEST_LINE);
        assert!(parse(long.as_bytes()).is_err());
    }

    #[test]
    fn what_is_binary() {
        let of = |command, family, rest: &[u8]| {
            let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
            parse(&[SIGNATURE, &[command, family], &len, rest].concat()).ok()
        };
        let with_more = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187, 4, 0, 1, 0];
        let expected = Some(Header::Complete(ends("1.2.3.4:80", "5.6.7.8:443")));
        assert_eq!(of(0x21, 0x11, &with_more), expected);
        assert_eq!(of(0x20, 0x11, &with_more), Some(Header::Complete(None)));
        assert_eq!(of(0x21, 0x31, &[0; 216]), Some(Header::Complete(None)));
        assert_eq!(of(0x21, 0x11, &with_more[..11]), None);
        assert_eq!(of(0x21, 0x21, &[0; 35]), None);
        assert_eq!(of(0x22, 0x11, &with_more), None);
        assert_eq!(of(0x11, 0x11, &with_more), None);
        assert_eq!(of(0x20, 0x00, &[0; LONGEST_REST + 1]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_more(
            source in any::<SocketAddr>(),
            local in any::<SocketAddr>(),
            some in any::<bool>(),
            version in prop_oneof![Just(Version::V1), Just(Version::V2)],
        ) {
            let ends = some.then_some(Ends { source, local });
            let header = write(version, ends);
            let mut stream = [&header[..], b"rest"].concat();
            let mut read = 0;
            let found = loop {
                match parse(&stream[..read]).unwrap() {
                    Header::More(more) => read += more,
                    Header::Complete(found) => break found,
                }
            };
            prop_assert_eq!(stream.split_off(read), b"rest");
            let plain = |it: SocketAddr| (it.ip().to_canonical(), it.port());
            let plain = |it: Option<Ends>| it.map(|it| (plain(it.source), plain(it.local)));
            prop_assert_eq!(plain(found), plain(ends));
        }

        #[test]
        fn nothing_panics(bytes in any::<Vec<u8>>(), version in any::<bool>()) {
            let start = if version { SIGNATURE } else { WORD };
            let _ = (parse(&bytes), parse(&[start, &bytes].concat()));
        }
    }
}
