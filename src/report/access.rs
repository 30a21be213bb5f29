//! The access log: a line for every peer that has left, for every plain HTTP answer, and for what
//! went through a proxy.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{json, line, printable};
use crate::accept::Peer;
use crate::cli::LogFormat;
use crate::error::Result;
use crate::relay::{Counts, Ended};

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
        status: peer.request.as_ref().map(|it| if it.is_extended_connect() { 200 } else { 101 }),
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

/// What went through a proxy. A WebSocket has two lines, one when it opens and one when it is over.
#[derive(Serialize)]
pub(crate) struct Passed<'a> {
    pub(crate) event: PassedEvent,
    /// The same for both lines of a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    pub(crate) client: &'a str,
    pub(crate) backend: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<&'a str>,
    pub(crate) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// What was moved, unless that is still to come.
    #[serde(flatten)]
    pub(crate) moved: Option<Moved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close: Option<u16>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<&'static str>,
    /// How it ended, if not by a Close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    pub(crate) seconds: f64,
}

/// What a line of the log is about.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PassedEvent {
    Open,
    Close,
    Request,
}

/// Towards the backend and back.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Moved {
    pub(crate) bytes_in: u64,
    pub(crate) messages_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) messages_out: u64,
}

impl From<&Counts> for Moved {
    fn from(counts: &Counts) -> Self {
        Self {
            bytes_in: counts.received.bytes,
            messages_in: counts.received.messages,
            bytes_out: counts.sent.bytes,
            messages_out: counts.sent.messages,
        }
    }
}

/// Logs what went through a proxy.
pub(crate) fn passed(format: Option<LogFormat>, passed: &Passed<'_>) {
    match format {
        None => {}
        Some(LogFormat::Json) => json(passed),
        Some(LogFormat::Text) => line(format_args!("{passed}")),
    }
}

impl fmt::Display for Passed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", printable(self.client), printable(self.backend))?;
        if let Some(method) = self.method {
            write!(f, " {}", printable(method))?;
        }
        write!(f, " {}", printable(self.path))?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        match (self.event, &self.moved) {
            (PassedEvent::Request, Some(moved)) => {
                write!(f, " in {}B out {}B", moved.bytes_in, moved.bytes_out)?;
            }
            (_, Some(moved)) => write!(
                f,
                " in {}B/{} out {}B/{}",
                moved.bytes_in, moved.messages_in, moved.bytes_out, moved.messages_out
            )?,
            (_, None) => f.write_str(" open")?,
        }
        if let Some(code) = self.close {
            write!(f, " close {code}")?;
        }
        if let Some(by) = self.by {
            write!(f, " by {by}")?;
        }
        write!(f, " {:.3}s", self.seconds)?;
        match self.error {
            Some(error) => write!(f, " ({})", printable(error)),
            None => Ok(()),
        }
    }
}
