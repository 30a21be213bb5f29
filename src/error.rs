//! One error type. Its kind decides the exit code; nothing else does.

use std::fmt;
use std::io;

use crate::duplex::Close;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, at which hop, and what to do about it.
///
/// Displayed as one lower-case line, `HOP: WHAT`; the hint is a line of its own and is printed
/// by whoever reports the error.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    hop: Option<String>,
    what: String,
    hint: Option<String>,
    exit_status: Option<u32>,
}

/// The kinds of failure that a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An expectation was not met.
    Expectation,
    /// A flag, an address or a file named by the user is unusable.
    Usage,
    /// A host name could not be resolved.
    Resolve,
    /// A connection or a bind was refused, or the place is unreachable.
    Refused,
    /// TLS failed.
    Tls,
    /// An HTTP answer other than 101, with its status.
    Status(u16),
    /// The WebSocket handshake was answered wrongly.
    Handshake,
    /// The time for connecting, or for the whole run, is over.
    Timeout,
    /// An expected message did not come in time.
    NoMessage,
    /// The peer closed early or with a code other than 1000; 1005 stands for no code.
    Closed(u16),
    /// The connection was lost without a Close.
    Lost,
    /// The peer broke the protocol, sent bad UTF-8 or too large a message.
    Protocol(u16),
    /// Authentication or a host key was refused.
    Auth,
    /// Local input or output failed, or a child process did.
    Local,
    /// The reader of standard output went away, which is a clean end.
    ClosedOutput,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// A measurement could not be made, by `bench`.
    Failed,
    /// What was measured is not what it has to be, by `bench`.
    Gate,
    /// What was measured cannot be believed, or is too little to judge by.
    Invalid,
}

impl Kind {
    /// The exit codes in the order of the table in `--help` and towline-addresses(7).
    pub const TABLE: &[(u8, &str)] = &[
        (0, "all expectations met, or a clean end"),
        (1, "an expectation was not met"),
        (2, "usage, bad address, unreadable file"),
        (3, "name resolution"),
        (4, "connect or bind refused"),
        (5, "TLS"),
        (6, "HTTP answer other than 101"),
        (7, "bad handshake, subprotocol not granted"),
        (8, "timeout while connecting, or --timeout"),
        (9, "an expected message did not come in time"),
        (10, "peer closed early or with another code than 1000"),
        (11, "connection lost without a Close"),
        (12, "protocol error, bad UTF-8, message too big"),
        (13, "SSH or proxy authentication, host key"),
        (14, "local I/O, a child that failed"),
        (130, "SIGINT, after a Close 1001"),
        (143, "SIGTERM, after a Close 1001"),
    ];

    /// The exit codes of `bench`, whose 1, 3 and 4 mean something else.
    pub const BENCH_TABLE: &[(u8, &str)] = &[
        (0, "measured, and every gate passed"),
        (1, "nothing could be measured"),
        (2, "usage, bad address, unreadable file"),
        (3, "a gate failed, or there is a regression"),
        (4, "not to be believed: client limited, too few samples for a gate"),
        (130, "SIGINT, after the report of what was measured until then"),
        (143, "SIGTERM, likewise"),
    ];

    /// The process exit code, one row of [`Kind::TABLE`] or of [`Kind::BENCH_TABLE`].
    pub fn exit_code(self) -> u8 {
        match self {
            Self::ClosedOutput => 0,
            Self::Expectation | Self::Failed => 1,
            Self::Usage => 2,
            Self::Resolve | Self::Gate => 3,
            Self::Refused | Self::Invalid => 4,
            Self::Tls => 5,
            Self::Status(_) => 6,
            Self::Handshake => 7,
            Self::Timeout => 8,
            Self::NoMessage => 9,
            Self::Closed(_) => 10,
            Self::Lost => 11,
            Self::Protocol(_) => 12,
            Self::Auth => 13,
            Self::Local => 14,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The Close code that tells a WebSocket peer about a failure on the other side of a join.
    ///
    /// RFC 6455 section 7.4.1: 1001 going away, 1011 unexpected condition. 1005, 1006 and 1015
    /// never go over the wire.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Interrupted | Self::Terminated | Self::Timeout => 1001,
            Self::ClosedOutput => 1000,
            // A hub that shows a peer the door says why.
            Self::Closed(code @ (1008 | 1013)) => code,
            _ => 1011,
        }
    }
}

impl Error {
    /// An error of a kind; `what` is lower case, without a full stop.
    pub fn new(kind: Kind, what: impl fmt::Display) -> Self {
        let what = what.to_string();
        Self(Box::new(Inner { kind, hop: None, what, hint: None, exit_status: None }))
    }

    /// A program that was joined has ended with this status.
    pub fn exit(status: u32) -> Self {
        let mut error = Self::new(Kind::Local, format_args!("exit {status}"));
        error.0.exit_status = Some(status);
        error
    }

    /// A local I/O error, or the towline error that travelled inside it.
    pub fn io(error: io::Error) -> Self {
        Self::from_io(error, Kind::Local)
    }

    /// A connection that failed, or the towline error that travelled inside its I/O error.
    pub fn lost(error: io::Error) -> Self {
        Self::from_io(error, Kind::Lost)
    }

    /// An I/O error of a kind, or the towline error that travelled inside it.
    pub fn from_io(error: io::Error, kind: Kind) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::new(kind, plain(&error)),
        }
    }

    /// The peer closed, with another code than 1000.
    pub fn closed(close: &Close) -> Self {
        Self::new(Kind::Closed(close.code), format!("closed by the peer with {close}"))
    }

    /// The same failure, told by `bench`, whose exit codes do not tell why nothing was measured.
    #[must_use]
    pub fn of_bench(mut self) -> Self {
        let kind = &mut self.0.kind;
        let own = Kind::BENCH_TABLE.iter().any(|(code, _)| *code == kind.exit_code());
        if !own || matches!(kind, Kind::Expectation | Kind::Resolve | Kind::Refused) {
            *kind = Kind::Failed;
        }
        self
    }

    /// Names the hop that failed, unless a hop nearer to the failure has been named.
    #[must_use]
    pub fn at(mut self, hop: impl fmt::Display) -> Self {
        self.0.hop.get_or_insert_with(|| hop.to_string());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// The kind, from which the exit code follows.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What went wrong, without the hop: short enough for a Close reason.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The status of the program that failed, if it was one and had one.
    pub fn exit_status(&self) -> Option<u32> {
        self.0.exit_status
    }

    /// What the user can do about it, if we know.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.hop {
            Some(hop) => write!(f, "{hop}: {}", self.0.what),
            None => f.write_str(&self.0.what),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// An I/O error in lower case and without `(os error 111)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // An abbreviation at the start (`TLS …`) stays as it is.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_inside_an_io_error() {
        let error = Error::new(Kind::Closed(4001), "closed with 4001").at("ws://a/");
        let back = Error::io(io::Error::from(error));
        assert_eq!(back.kind(), Kind::Closed(4001));
        assert_eq!(back.at("tcp://b").to_string(), "ws://a/: closed with 4001");
    }

    #[test]
    fn system_errors_read_like_the_rest() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&error), "connection refused");
    }

    #[test]
    fn every_kind_has_a_row() {
        for kind in
            [Kind::Expectation, Kind::Usage, Kind::Status(404), Kind::Local, Kind::Terminated]
        {
            assert!(Kind::TABLE.iter().any(|(code, _)| *code == kind.exit_code()));
        }
        for kind in [Kind::Failed, Kind::Gate, Kind::Invalid, Kind::ClosedOutput] {
            assert!(Kind::BENCH_TABLE.iter().any(|(code, _)| *code == kind.exit_code()));
        }
    }

    #[test]
    fn failures_of_bench_have_codes_of_their_own() {
        let code = |kind| Error::new(kind, "x").of_bench().kind().exit_code();
        for kind in [Kind::Expectation, Kind::Resolve, Kind::Refused, Kind::Status(500)] {
            assert_eq!(code(kind), 1, "{kind:?}");
        }
        let own = [Kind::Usage, Kind::Gate, Kind::Invalid, Kind::Interrupted, Kind::ClosedOutput];
        assert_eq!(own.map(code), [2, 3, 4, 130, 0]);
    }
}
