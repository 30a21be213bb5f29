//! SOCKS version 5 (RFC 1928) with user name and password (RFC 1929), both parts of it.
//!
//! Every read is exact: what follows the handshake stays in the socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt;

use super::listening::{Outcome, last_words, say};
use super::{Login, Refusal, lost};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};

pub(super) const VERSION: u8 = 5;
/// The version of the login inside.
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;

const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

const GRANTED: u8 = 0;
const FAILURE: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const NETWORK_UNREACHABLE: u8 = 3;
const HOST_UNREACHABLE: u8 = 4;
const CONNECTION_REFUSED: u8 = 5;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

/// Asks the proxy at the other end of `stream` to connect it to `to`.
pub(super) async fn ask(
    stream: &mut ByteStream,
    to: &HostPort,
    login: Option<&Login>,
) -> Result<(), Refusal> {
    let to = address(to).map_err(Refusal::Proxy)?;
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, WITH_LOGIN] } else { &[NO_LOGIN] };
    say(stream, &prefixed(&[VERSION], methods)).await?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(wrong(format!("not a SOCKS5 proxy (its first byte is {version:#04x})")));
    }
    match (method, login) {
        (NO_LOGIN, _) => {}
        (WITH_LOGIN, Some(login)) => log_in(stream, login).await?,
        (NO_METHOD, None) => return Err(Refusal::Login("the proxy asks for a login".into())),
        (NO_METHOD, Some(_)) => {
            return Err(Refusal::Login("the proxy takes no user name and password".into()));
        }
        _ => return Err(wrong(format!("the proxy chose method {method}, which was not offered"))),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    request.extend(to);
    say(stream, &request).await?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(wrong(format!("an answer of SOCKS version {version}")));
    }
    if reply != GRANTED {
        return Err(Refusal::Target(words(reply)));
    }
    // Where the proxy's own end of the connection is: of no use, but it has to be read.
    match host(stream, kind).await? {
        Some(_) => Ok(()),
        None => Err(wrong(format!("an answer with an address of type {kind}"))),
    }
}

async fn log_in(stream: &mut ByteStream, login: &Login) -> Result<(), Refusal> {
    let mut message = prefixed(&[LOGIN_VERSION], login.user.as_bytes());
    message.extend(prefixed(&[], login.password.as_bytes()));
    say(stream, &message).await?;
    let [_, status] = read(stream).await?;
    if status != 0 {
        return Err(Refusal::Login("the proxy refused the user name or the password".into()));
    }
    Ok(())
}

/// `head`, then `body` with its length in one byte before it.
fn prefixed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len()).expect("checked where it was parsed");
    [head, &[len], body].concat()
}

/// A place as it stands in requests. A name goes as a name, to be resolved by the proxy.
fn address(to: &HostPort) -> Result<Vec<u8>> {
    let mut out = match to.host.parse() {
        Ok(IpAddr::V4(ip)) => [&[IPV4], &ip.octets()[..]].concat(),
        Ok(IpAddr::V6(ip)) => [&[IPV6], &ip.octets()[..]].concat(),
        Err(_) if to.host.len() <= 255 => prefixed(&[NAME], to.host.as_bytes()),
        Err(_) => return Err(Error::new(Kind::Usage, "SOCKS5 takes names of at most 255 bytes")),
    };
    out.extend(to.port.to_be_bytes());
    Ok(out)
}

/// The rest of an address; none if it is of an unknown type. A name that is no name is empty.
async fn host(stream: &mut ByteStream, kind: u8) -> std::io::Result<Option<HostPort>> {
    let host = match kind {
        IPV4 => Ipv4Addr::from(read::<4>(stream).await?).to_string(),
        IPV6 => Ipv6Addr::from(read::<16>(stream).await?).to_string(),
        NAME => name(string(stream).await?),
        _ => return Ok(None),
    };
    let port = u16::from_be_bytes(read(stream).await?);
    Ok(Some(HostPort { host, port }))
}

/// What stands in a request as a name; empty if it is none.
pub(super) fn name(bytes: Vec<u8>) -> String {
    let name = String::from_utf8(bytes).unwrap_or_default();
    let plain = HostPort::parse(&name, Some(0)).is_ok_and(|to| to.host == name);
    if plain || name.parse::<IpAddr>().is_ok() { name } else { String::new() }
}

pub(super) async fn read<const N: usize>(stream: &mut ByteStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Bytes behind their length in one byte.
async fn string(stream: &mut ByteStream) -> std::io::Result<Vec<u8>> {
    let [len] = read(stream).await?;
    let mut bytes = vec![0; len.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn wrong(what: String) -> Refusal {
    Refusal::Proxy(Error::new(Kind::Handshake, what))
}

/// RFC 1928 section 6.
fn words(reply: u8) -> String {
    let words = match reply {
        FAILURE => "general failure",
        NOT_ALLOWED => "connection not allowed",
        NETWORK_UNREACHABLE => "network is unreachable",
        HOST_UNREACHABLE => "host is unreachable",
        CONNECTION_REFUSED => "connection refused",
        6 => "the time to live is over",
        NO_SUCH_COMMAND => "command not supported",
        NO_SUCH_ADDRESS => "address type not supported",
        code => return format!("failure {code:#04x}"),
    };
    words.to_owned()
}

/// Reads the request of a peer after its first byte, up to the answer that [`outcome`] gives.
pub(super) async fn answer(stream: &mut ByteStream, login: Option<&Login>) -> Result<HostPort> {
    let methods = string(stream).await.map_err(lost)?;
    let method = if login.is_some() { WITH_LOGIN } else { NO_LOGIN };
    if !methods.contains(&method) {
        last_words(stream, &[VERSION, NO_METHOD]).await;
        return Err(match login {
            Some(_) => Error::new(Kind::Auth, "the peer does not log in"),
            None => Error::new(Kind::Handshake, "the peer insists on logging in"),
        });
    }
    say(stream, &[VERSION, method]).await.map_err(lost)?;
    if let Some(login) = login {
        admit(stream, login).await?;
    }
    let [_, command, _, kind] = read(stream).await.map_err(lost)?;
    let (code, why) = match host(stream, kind).await.map_err(lost)? {
        _ if command != CONNECT => (NO_SUCH_COMMAND, foreign_command(command)),
        Some(to) if !to.host.is_empty() => return Ok(to),
        Some(_) => (FAILURE, "an impossible host name".to_owned()),
        None => (NO_SUCH_ADDRESS, format!("an address of type {kind}")),
    };
    last_words(stream, &reply(code)).await;
    Err(Error::new(Kind::Handshake, why))
}

fn foreign_command(command: u8) -> String {
    let name = match command {
        2 => "BIND",
        3 => "UDP ASSOCIATE",
        _ => return format!("command {command}, not CONNECT"),
    };
    format!("asks for {name}; this proxy knows CONNECT only")
}

/// What a client of another protocol understands.
pub(super) fn foreign(first: u8) -> &'static [u8] {
    match first {
        // Request rejected or failed; SOCKS4 has no better word for it.
        4 => &[0, 0x5b, 0, 0, 0, 0, 0, 0],
        b'A'..=b'Z' => {
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n\
            this is a SOCKS5 proxy\n"
        }
        _ => &[],
    }
}

async fn admit(stream: &mut ByteStream, login: &Login) -> Result<()> {
    let [_version] = read(stream).await.map_err(lost)?;
    let user = string(stream).await.map_err(lost)?;
    let password = string(stream).await.map_err(lost)?;
    if !login.admits(&user, &password) {
        last_words(stream, &[LOGIN_VERSION, 1]).await;
        return Err(Error::new(Kind::Auth, "wrong user name or password"));
    }
    say(stream, &[LOGIN_VERSION, 0]).await.map_err(lost)
}

/// The answer to a request, once it is known what came of it.
pub(super) fn outcome(outcome: Outcome<'_>) -> Vec<u8> {
    let code = match outcome {
        Outcome::Connected => GRANTED,
        Outcome::Forbidden => NOT_ALLOWED,
        Outcome::Failed(error) => match error.kind() {
            Kind::Refused if error.what().contains("network is unreachable") => NETWORK_UNREACHABLE,
            Kind::Refused if error.what().contains("no route to host") => HOST_UNREACHABLE,
            Kind::Refused => CONNECTION_REFUSED,
            Kind::Resolve | Kind::Timeout => HOST_UNREACHABLE,
            _ => FAILURE,
        },
    };
    reply(code).to_vec()
}

/// An answer that does not tell our end of the connection, as OpenSSH's does not.
fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_as_names_and_addresses_as_addresses() {
        let address = |host: &str| address(&HostPort { host: host.into(), port: 443 });
        assert_eq!(address("db").unwrap(), b"\x03\x02db\x01\xbb");
        assert_eq!(address("10.0.0.1").unwrap(), b"\x01\x0a\x00\x00\x01\x01\xbb");
        let v6 = address("::1").unwrap();
        assert_eq!((v6[0], v6[16], v6.len()), (IPV6, 1, 19));
        assert!(address(&"x".repeat(256)).is_err());
    }

    #[test]
    fn failures_keep_their_meaning() {
        let code = |kind, what: &str| outcome(Outcome::Failed(&Error::new(kind, what)))[1];
        assert_eq!(code(Kind::Refused, "connection refused"), 5);
        assert_eq!(code(Kind::Refused, "network is unreachable"), 3);
        assert_eq!(code(Kind::Resolve, "cannot resolve `x`"), 4);
        assert_eq!(code(Kind::Timeout, "no connection within 10s"), 4);
        assert_eq!(code(Kind::Tls, "bad certificate"), 1);
        assert_eq!(outcome(Outcome::Connected)[1], 0);
    }
}
