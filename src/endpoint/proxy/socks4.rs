//! SOCKS version 4 with its extension 4a, by which a name can be asked for: the server's part.
//!
//! Every read is exact: what follows the request stays in the socket.

use std::net::Ipv4Addr;

use tokio::io::AsyncReadExt;

use super::listening::{Outcome, last_words};
use super::socks5::{name, read};
use super::{Login, lost};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};

pub(super) const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const BIND: u8 = 2;

const GRANTED: u8 = 0x5a;
/// Rejected or failed. The other codes are about identd (RFC 1413), which nobody asks here.
const REJECTED: u8 = 0x5b;

/// Reads the request of a peer after its first byte, up to the answer that [`outcome`] gives.
pub(super) async fn answer(stream: &mut ByteStream, login: Option<&Login>) -> Result<HostPort> {
    let [command, port @ .., a, b, c, d] = read::<7>(stream).await.map_err(lost)?;
    let _user = string(stream).await?;
    // 0.0.0.x announces a name, unless x is 0 too.
    let host = match [a, b, c, d] {
        [0, 0, 0, 1..=255] => name(string(stream).await?),
        octets => Ipv4Addr::from(octets).to_string(),
    };
    let (kind, why) = match command {
        _ if login.is_some() => (Kind::Auth, "a login is asked for, which SOCKS4 does not have"),
        CONNECT if !host.is_empty() => {
            return Ok(HostPort { host, port: u16::from_be_bytes(port) });
        }
        CONNECT => (Kind::Handshake, "an impossible host name"),
        BIND => (Kind::Handshake, "asks for BIND; this proxy knows CONNECT only"),
        _ => (Kind::Handshake, "a command that is not CONNECT"),
    };
    last_words(stream, &reply(REJECTED)).await;
    Err(Error::new(kind, why))
}

/// Bytes up to a zero.
async fn string(stream: &mut ByteStream) -> Result<Vec<u8>> {
    const MOST: usize = 255;
    let mut bytes = Vec::new();
    loop {
        match stream.read_u8().await.map_err(lost)? {
            0 => return Ok(bytes),
            byte if bytes.len() < MOST => bytes.push(byte),
            _ => {
                last_words(stream, &reply(REJECTED)).await;
                return Err(Error::new(Kind::Handshake, "a name of more than 255 bytes"));
            }
        }
    }
}

/// The answer to a request, once it is known what came of it.
pub(super) fn outcome(outcome: Outcome<'_>) -> Vec<u8> {
    let code = match outcome {
        Outcome::Connected => GRANTED,
        Outcome::Forbidden | Outcome::Failed(_) => REJECTED,
    };
    reply(code).to_vec()
}

fn reply(code: u8) -> [u8; 8] {
    [0, code, 0, 0, 0, 0, 0, 0]
}
