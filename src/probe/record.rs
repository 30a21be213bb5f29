//! `--report json`: what was found, as one JSON object.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::session::{Session, Stage};
use super::tap::By;
use crate::endpoint::deflate::Terms;
use crate::error::{Error, Kind, Result};
use crate::relay::Count;
use crate::trace::{Facts, Phase, TlsFacts};

/// The object, in the order in which it is written. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    ok: bool,
    exit: u8,
    /// How far the run came: a phase of connecting, `handshake` (the checks) or `session`.
    phase: &'static str,
    error: Option<String>,
    url: String,
    peer: Option<String>,
    http: Option<Http>,
    subprotocol: Option<String>,
    extensions: Vec<String>,
    compression: Option<Compression>,
    tls: Option<Tls>,
    ms: Times,
    sent: Moved,
    received: Moved,
    close: Option<Closed>,
    failed_step: Option<FailedStep>,
}

#[derive(Debug, Serialize)]
struct Http {
    status: u16,
    /// Names in lower case; values of one name are joined with commas.
    headers: BTreeMap<String, String>,
    body_head: Option<String>,
}

/// In the words of RFC 7692.
#[derive(Debug, Serialize)]
struct Compression {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
}

#[derive(Debug, Serialize)]
struct Tls {
    version: String,
    cipher: String,
    alpn: Option<String>,
    sni: String,
    not_after: Option<String>,
}

/// In milliseconds.
#[derive(Debug, Serialize)]
struct Times {
    dns: Option<f64>,
    tcp: Option<f64>,
    proxy: Option<f64>,
    tls: Option<f64>,
    upgrade: Option<f64>,
    /// From the end of the handshakes.
    first_message: Option<f64>,
    total: f64,
}

#[derive(Debug, Serialize)]
struct Moved {
    messages: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Closed {
    /// Null if it carried none.
    code: Option<u16>,
    reason: String,
    by: &'static str,
}

/// What was not met.
#[derive(Debug, Serialize)]
struct FailedStep {
    /// Its place among the steps, from 1; null for what is no step.
    n: Option<usize>,
    flag: String,
    want: String,
    within_ms: Option<f64>,
    /// The last messages received, shortened.
    last: Vec<String>,
}

impl Record {
    pub(super) fn new(session: &Session<'_>, error: Option<&Error>, facts: &Facts) -> Self {
        let exit = error.map_or(0, |error| error.kind().exit_code());
        let tally = session.tally.get().clone();
        let phase = match session.stage {
            Stage::Connecting => facts.latest.map_or("connect", Phase::name),
            Stage::Handshake => "handshake",
            Stage::Step(_) | Stage::Count | Stage::Played => "session",
        };
        let response = facts.response.as_ref();
        let extensions = response.iter().flat_map(|it| it.fields.list("Sec-WebSocket-Extensions"));
        let spent = |phase| facts.phases.iter().find(|(it, _)| *it == phase).map(|(_, it)| ms(*it));
        Self {
            ok: exit == 0,
            exit,
            phase,
            error: error.filter(|_| exit != 0).map(|error| format!("{error}")),
            url: session.target.clone(),
            peer: facts.peer.clone(),
            http: Http::of(facts),
            subprotocol: facts.subprotocol.clone(),
            extensions: extensions.map(str::to_owned).collect(),
            compression: facts.compression.map(Compression::of),
            tls: facts.tls.as_ref().map(Tls::of),
            ms: Times {
                dns: spent(Phase::Dns),
                tcp: spent(Phase::Tcp),
                proxy: spent(Phase::Proxy),
                tls: spent(Phase::Tls),
                upgrade: spent(Phase::Upgrade),
                first_message: tally.first.map(ms),
                total: ms(session.started.elapsed()),
            },
            sent: tally.sent.into(),
            received: tally.received.into(),
            close: tally.close.as_ref().map(|(close, by)| Closed {
                code: (close.code != crate::duplex::Close::NO_CODE).then_some(close.code),
                reason: close.reason.as_str().to_owned(),
                by: match by {
                    By::Us => "us",
                    By::Peer => "peer",
                },
            }),
            failed_step: (exit != 0)
                .then(|| FailedStep::of(session, tally.last.iter().cloned().collect()))
                .flatten(),
        }
    }

    /// The object on one line.
    pub(super) fn to_line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::new(Kind::Local, error))
    }
}

impl Http {
    fn of(facts: &Facts) -> Option<Self> {
        let response = facts.response.as_ref()?;
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in response.fields.iter() {
            let values = headers.entry(name.to_ascii_lowercase()).or_default();
            if !values.is_empty() {
                values.push_str(", ");
            }
            values.push_str(value);
        }
        let body_head = (!facts.body.is_empty()).then(|| facts.body.clone());
        Some(Self { status: response.status, headers, body_head })
    }
}

impl Compression {
    fn of(Terms { server, client }: Terms) -> Self {
        Self {
            server_no_context_takeover: !server.kept,
            client_no_context_takeover: !client.kept,
            server_max_window_bits: server.bits,
            client_max_window_bits: client.bits,
        }
    }
}

impl Tls {
    fn of(tls: &TlsFacts) -> Self {
        let end =
            tls.not_after.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Self {
            version: tls.version.clone(),
            cipher: tls.cipher.clone(),
            alpn: tls.alpn.clone(),
            sni: tls.sni.clone(),
            not_after: end.and_then(|end| end.format(&Rfc3339).ok()),
        }
    }
}

impl FailedStep {
    fn of(session: &Session<'_>, last: Vec<String>) -> Option<Self> {
        let script = session.script;
        let rejected = session.tally.get().rejected;
        let failed = |n, (flag, want): (&str, &str), within| Self {
            n,
            flag: format!("--{flag}"),
            want: want.to_owned(),
            within_ms: within,
            last,
        };
        if let Some(at) = rejected {
            let (written, _) = &script.rejects[at];
            return Some(failed(None, written.parts(), None));
        }
        match session.stage {
            Stage::Handshake => {
                let (at, _) = session.failed_check()?;
                Some(failed(None, script.checks[at].0.parts(), None))
            }
            Stage::Step(at) => {
                let step = &script.steps[at];
                let waits = step.action.expects().then(|| ms(step.within));
                Some(failed(Some(at + 1), step.written.parts(), waits))
            }
            Stage::Count => {
                let count = script.options.count.unwrap_or_default().to_string();
                Some(failed(None, ("count", &count), script.within.map(ms)))
            }
            Stage::Connecting | Stage::Played => None,
        }
    }
}

impl From<Count> for Moved {
    fn from(count: Count) -> Self {
        Self { messages: count.messages, bytes: count.bytes }
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
