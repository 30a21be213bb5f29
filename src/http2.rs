//! HTTP/2 (RFC 9113), in both roles. Only this file and its folder name the library that speaks it.
//!
//! What is asked and answered is said in the types of `http.rs`, and a stream is a byte stream, so
//! that nobody else has to know by which version of HTTP something came. An extended CONNECT for a
//! WebSocket (RFC 8441) is read as the upgrade that it stands for, a GET with `Upgrade: websocket`,
//! and such an upgrade is sent as an extended CONNECT; only the key is missing, which has no use.
//!
//! The library bounds what a peer can have us do: streams that are reset before they were accepted
//! (20) or because of errors (1024), CONTINUATION frames (as many as the header list can take),
//! frames without content (100), and the overhead of small ones ([`SMALL_FRAMES`]).

use std::io;

use crate::error::{Error, Kind};

mod client;
mod gateway;
mod head;
mod pool;
mod server;
mod stream;

pub(crate) use pool::Connections;
pub(crate) use server::{Asked, Reply, Server};

/// Whether this is how a client begins that knows before it connects that HTTP/2 is spoken (RFC 9113
/// section 3.3): enough of it that no parser of HTTP/1.1 takes it for a request.
pub(crate) fn is_preface(words: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let len = words.len().min(PREFACE.len());
    len > b"PRI * HTTP/".len() && words[..len] == PREFACE[..len]
}

/// How many streams a client may have open on a connection.
const STREAMS: u32 = 128;

/// How much a peer may send on a stream that nobody reads from, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;

/// All streams can stall with a full window each, and the next one is heard all the same.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// How much it may cost to keep small frames that nobody has read, in bytes beside their content.
/// WebSockets have many of those, so it is more than the library takes for enough; streams that
/// stall join theirs.
const SMALL_FRAMES: usize = CONNECTION_WINDOW as usize;

/// How much that was said is not sent yet, in bytes a stream.
const SEND_BUFFER: usize = 64 << 10;

/// What the library says went wrong.
fn lost(error: ::h2::Error) -> Error {
    let whose = match (error.is_go_away(), error.is_remote()) {
        (true, true) => "the peer has ended the HTTP/2 connection",
        (true, false) => "the peer broke HTTP/2",
        (false, true) => "the peer has reset the HTTP/2 stream",
        (false, false) => "the HTTP/2 stream has failed",
    };
    let what = match error.reason() {
        Some(reason) => format!("connection lost: {whose}: {}", name(reason)),
        None => format!("connection lost: {whose}: {error}"),
    };
    match error.into_io() {
        // The library's word for a connection that has ended before its streams.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Error::new(Kind::Lost, "connection lost: it ended before the HTTP/2 stream did")
        }
        Some(error) => Error::lost(error),
        None => Error::new(Kind::Lost, what),
    }
}

/// The name of an error code, as the RFC writes it.
fn name(reason: ::h2::Reason) -> String {
    format!("{reason:?}")
}
