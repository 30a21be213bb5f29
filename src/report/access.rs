//! The access log: a line for every peer that has left, and for every plain HTTP answer.

use std::time::Duration;

use serde::Serialize;

use super::{json, line, printable};
use crate::accept::Peer;
use crate::cli::LogFormat;
use crate::error::Result;
use crate::relay::Ended;

/// A peer that has left.
#[derive(Serialize)]
struct Left<'a> {
    event: &'static str,
    peer: &'a str,
    name: Option<&'a str>,
    listener: Option<&'a str>,
    path: Option<&'a str>,
    /// Where the peer of a proxy listener wanted to go.
    asked: Option<String>,
    status: Option<u16>,
    bytes_in: u64,
    messages_in: u64,
    bytes_out: u64,
    messages_out: u64,
    close: Option<u16>,
    reason: Option<&'a str>,
    error: Option<String>,
    seconds: f64,
}

/// A plain HTTP request that was answered.
#[derive(Serialize)]
struct Answered<'a> {
    event: &'static str,
    peer: &'a str,
    name: Option<&'a str>,
    listener: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    status: u16,
    bytes_out: u64,
}

/// Logs a peer that has left.
pub fn access(format: Option<LogFormat>, peer: &Peer, outcome: &Result<Ended>, duration: Duration) {
    let Some(format) = format else { return };
    let close = outcome.as_ref().ok().and_then(|ended| ended.close.as_ref());
    let counts = peer.moved;
    let left = Left {
        event: "left",
        peer: &peer.address,
        name: peer.name.as_deref(),
        listener: peer.listener.as_deref(),
        path: peer.request.as_ref().map(|request| request.path()),
        asked: peer.asked.as_ref().map(ToString::to_string),
        status: peer.request.as_ref().map(|_| 101),
        bytes_in: counts.received.bytes,
        messages_in: counts.received.messages,
        bytes_out: counts.sent.bytes,
        messages_out: counts.sent.messages,
        close: close.map(|close| close.code),
        reason: close.map(|close| close.reason.as_str()),
        error: outcome.as_ref().err().map(ToString::to_string),
        seconds: duration.as_secs_f64(),
    };
    match format {
        LogFormat::Json => json(&left),
        LogFormat::Text => line(format_args!(
            "{} {} {} in {}B/{} out {}B/{} close {} {:.3}s{}",
            printable(left.peer),
            printable(left.path.or(left.asked.as_deref()).unwrap_or("-")),
            left.status.map_or("-".to_owned(), |status| status.to_string()),
            left.bytes_in,
            left.messages_in,
            left.bytes_out,
            left.messages_out,
            left.close.map_or("-".to_owned(), |code| code.to_string()),
            left.seconds,
            left.error.map_or(String::new(), |error| format!(" ({})", printable(&error))),
        )),
    }
}

/// Logs a plain HTTP answer.
pub fn request(
    format: Option<LogFormat>,
    peer: &Peer,
    method: &str,
    path: &str,
    status: u16,
    bytes: u64,
) {
    match format {
        None => {}
        Some(LogFormat::Json) => json(&Answered {
            event: "request",
            peer: &peer.address,
            name: peer.name.as_deref(),
            listener: peer.listener.as_deref(),
            method,
            path,
            status,
            bytes_out: bytes,
        }),
        Some(LogFormat::Text) => line(format_args!(
            "{} {} {} {status} out {bytes}B",
            printable(&peer.address),
            printable(method),
            printable(path),
        )),
    }
}
