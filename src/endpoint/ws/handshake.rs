//! What the two heads of a WebSocket handshake have to say (RFC 6455 section 4), for both ends and
//! for who stands between them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::error::{Error, Kind, Result};
use crate::http::{Refusal, Request, Response};

/// Checks a request (section 4.2.1) and returns its key.
///
/// # Errors
/// What to answer it.
pub(crate) fn key(request: &Request) -> Result<&str, Refusal> {
    let bad = |what| Err(Refusal { status: 400, reason: "Bad Request", what });
    let fields = &request.fields;
    if request.method != "GET" {
        return Err(Refusal {
            status: 405,
            reason: "Method Not Allowed",
            what: "a WebSocket begins with GET",
        });
    }
    if fields.all("Host").count() != 1 {
        return bad("a WebSocket request has one Host");
    }
    if !fields.has("Connection", "Upgrade") {
        return bad("a WebSocket request has `Connection: Upgrade`");
    }
    if request.has_body() {
        return bad("a WebSocket request has no body");
    }
    version(request)?;
    let mut keys = fields.all("Sec-WebSocket-Key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(key),
        _ => bad("a WebSocket request has one Sec-WebSocket-Key, 16 bytes in base64"),
    }
}

/// Checks a request that came as an extended CONNECT (RFC 8441 section 5): what is left of an
/// upgrade without a connection of its own.
///
/// # Errors
/// What to answer it.
pub(crate) fn version(request: &Request) -> Result<(), Refusal> {
    match request.fields.all("Sec-WebSocket-Version").eq(["13"]) {
        true => Ok(()),
        false => Err(Refusal {
            status: 426,
            reason: "Upgrade Required",
            what: "only version 13 of WebSocket is spoken here",
        }),
    }
}

fn is_key(key: &str) -> bool {
    STANDARD.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// Makes an upgrade of HTTP/1.1 of a request that came as an extended CONNECT.
pub(crate) fn upgrade(request: &mut Request) {
    request.fields.push("Connection", "Upgrade");
    request.fields.push("Sec-WebSocket-Key", generate_key());
}

/// The Sec-WebSocket-Accept that belongs to a key.
pub(crate) fn accept(key: &str) -> String {
    // RFC 6455 section 4.2.2 item 5.4.
    let both = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes()))
}

/// Checks whether a 101 is sound (section 4.1).
///
/// # Errors
/// [`Kind::Handshake`].
pub(crate) fn check(response: &Response, key: &str) -> Result<()> {
    let bad = |what: &str| Err(Error::new(Kind::Handshake, what));
    let fields = &response.fields;
    let mut protocols = fields.list("Upgrade").map(|it| it.eq_ignore_ascii_case("websocket"));
    let one = protocols.next() == Some(true) && protocols.next().is_none();
    if !one || !fields.has("Connection", "Upgrade") {
        return bad("a 101 that does not upgrade to websocket");
    }
    let mut given = fields.all("Sec-WebSocket-Accept");
    match (given.next(), given.next()) {
        (Some(given), None) if given == accept(key) => Ok(()),
        (Some(_), None) => bad("the Sec-WebSocket-Accept does not match the key"),
        (Some(_), Some(_)) => bad("a 101 with two Sec-WebSocket-Accept"),
        (None, _) => bad("a 101 without Sec-WebSocket-Accept"),
    }
}
