//! Kinds of failures, by what was under way and what it came to.

use std::io;

use super::connection::End;
use super::tally::Cause;
use crate::error::{Error, Kind, plain};
use crate::trace::Phase;

/// Of a connection that could not be opened.
pub(super) fn connecting(error: &Error, phase: Option<Phase>) -> Cause {
    let (cause, status) = match error.kind() {
        Kind::Resolve => ("resolve", None),
        Kind::Refused => (refusal(error.what()), None),
        Kind::Tls => ("tls", None),
        Kind::Status(status) => ("status", Some(status)),
        Kind::Handshake => ("handshake", None),
        Kind::Timeout => ("timeout", None),
        Kind::Lost => ("lost", None),
        Kind::Protocol(_) => ("protocol", None),
        Kind::Auth => ("auth", None),
        _ => (refusal(error.what()), None),
    };
    let phase = phase.map_or("connect", Phase::name);
    Cause { phase: phase.to_owned(), cause: cause.to_owned(), status, code: None }
}

/// What the system says when it has no more of something.
fn refusal(what: &str) -> &'static str {
    if what.contains("too many open files") {
        "no-descriptors"
    } else if what.contains("cannot assign requested address") {
        "no-ports"
    } else if what.contains("no buffer space") || what.contains("cannot allocate memory") {
        "no-memory"
    } else if what.contains("refused") {
        "refused"
    } else if what.contains("unreachable") {
        "unreachable"
    } else {
        "other"
    }
}

/// Whether this machine had no more of something.
pub(super) fn is_exhaustion(cause: &Cause) -> bool {
    matches!(cause.cause.as_str(), "no-descriptors" | "no-ports" | "no-memory")
}

/// Of a connection that has ended before we wanted it to; None if we wanted it.
pub(super) fn running(end: End) -> Option<(Cause, String)> {
    let cause = |cause: &str, code| Cause {
        phase: "run".to_owned(),
        cause: cause.to_owned(),
        status: None,
        code,
    };
    Some(match end {
        End::Left => return None,
        End::Closed(close) => {
            (cause("closed", Some(close.code)), format!("closed by the server with {close}"))
        }
        End::Eof => (cause("ended", None), "ended without a Close".to_owned()),
        End::Lost(error) => {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionReset => "reset",
                io::ErrorKind::BrokenPipe => "broken-pipe",
                io::ErrorKind::TimedOut => "timeout",
                _ => "lost",
            };
            (cause(kind, None), plain(&error))
        }
        End::Broken { code, what } => (cause("protocol", Some(code)), what),
    })
}
