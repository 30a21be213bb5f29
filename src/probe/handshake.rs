//! What is asserted of the handshakes, from what the trace has found out.

use time::OffsetDateTime;

use super::codes::Codes;
use super::pattern::Pattern;
use super::template::Captures;
use crate::cli::value::token;
use crate::http::Response;
use crate::trace::{Facts, TlsFacts};

/// One assertion.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Status(Codes),
    Header(String, Option<Pattern>),
    NoHeader(String),
    Subprotocol(Option<String>),
    Extension(Option<String>),
    CertDays(u32),
    Tls { minor: u8, or_later: bool },
}

impl Check {
    pub(super) fn status(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Status)
    }

    pub(super) fn header(text: &str) -> Result<Self, String> {
        let (name, pattern) = match text.split_once(':') {
            Some((name, pattern)) => (name, Some(Pattern::text(pattern.trim())?)),
            None => (text, None),
        };
        Ok(Self::Header(token(name.trim())?, pattern))
    }

    pub(super) fn no_header(text: &str) -> Result<Self, String> {
        token(text).map(Self::NoHeader)
    }

    pub(super) fn subprotocol(text: &str) -> Result<Self, String> {
        name_or_none(text).map(Self::Subprotocol)
    }

    pub(super) fn extension(text: &str) -> Result<Self, String> {
        name_or_none(text).map(Self::Extension)
    }

    pub(super) fn cert_days(text: &str) -> Result<Self, String> {
        text.parse().map(Self::CertDays).map_err(|_| "a number of days is needed".into())
    }

    pub(super) fn tls(text: &str) -> Result<Self, String> {
        let (or_later, version) = match text.strip_prefix(">=") {
            Some(version) => (true, version),
            None => (false, text),
        };
        match version {
            "1.2" => Ok(Self::Tls { minor: 2, or_later }),
            "1.3" => Ok(Self::Tls { minor: 3, or_later }),
            _ => Err("1.2, 1.3, or >=1.2".into()),
        }
    }

    /// Whether this can hold of an HTTP answer that refuses the WebSocket.
    pub(super) fn allows(&self, status: u16) -> bool {
        matches!(self, Self::Status(codes) if codes.contain(status))
    }

    /// Holds this against the facts.
    ///
    /// # Errors
    /// How they differ.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), String> {
        match self {
            Self::Status(codes) => {
                let status = response(facts)?.status;
                met(codes.contain(status), || format!("the answer was HTTP {status}"))
            }
            Self::Header(name, pattern) => header(response(facts)?, name, pattern.as_ref()),
            Self::NoHeader(name) => match response(facts)?.fields.get(name) {
                None => Ok(()),
                Some(value) => Err(format!("the answer has {name}: {value}")),
            },
            Self::Subprotocol(want) => {
                // What the answer says, be it in order or not.
                let granted = response(facts)?.fields.list("Sec-WebSocket-Protocol").next();
                met(want.as_deref() == granted, || match granted {
                    Some(granted) => format!("{granted} was granted"),
                    None => "none was granted".into(),
                })
            }
            Self::Extension(want) => extension(response(facts)?, want.as_deref()),
            Self::CertDays(days) => cert_days(tls(facts)?, *days, OffsetDateTime::now_utc()),
            Self::Tls { minor, or_later } => {
                let version = &tls(facts)?.version;
                let got = version.rsplit('.').next().and_then(|minor| minor.parse::<u8>().ok());
                let ok = got.is_some_and(|got| got == *minor || *or_later && got > *minor);
                met(ok, || format!("the session is {version}"))
            }
        }
    }
}

fn name_or_none(text: &str) -> Result<Option<String>, String> {
    match text {
        "none" => Ok(None),
        _ => token(text).map(Some),
    }
}

fn met(ok: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if ok { Ok(()) } else { Err(otherwise()) }
}

fn response(facts: &Facts) -> Result<&Response, String> {
    facts.response.as_ref().ok_or_else(|| "there was no WebSocket handshake".into())
}

fn tls(facts: &Facts) -> Result<&TlsFacts, String> {
    facts.tls.as_ref().ok_or_else(|| "there was no TLS handshake".into())
}

fn header(response: &Response, name: &str, pattern: Option<&Pattern>) -> Result<(), String> {
    let values: Vec<&str> = response.fields.all(name).collect();
    if values.is_empty() {
        return Err(format!("the answer has no {name}"));
    }
    let Some(pattern) = pattern else { return Ok(()) };
    let captures = Captures::new();
    let matcher = pattern.matcher(&captures)?;
    let ok = values.iter().any(|value| matcher.matches(value.as_bytes()));
    met(ok, || format!("the answer has {name}: {}", values.join(", ")))
}

fn extension(response: &Response, want: Option<&str>) -> Result<(), String> {
    let granted: Vec<&str> = response.fields.list("Sec-WebSocket-Extensions").collect();
    let name = |extension: &&str| extension.split(';').next().unwrap_or_default().trim().to_owned();
    let ok = match want {
        Some(want) => granted.iter().map(name).any(|name| name.eq_ignore_ascii_case(want)),
        None => granted.is_empty(),
    };
    met(ok, || match granted.is_empty() {
        true => "none was granted".into(),
        false => format!("{} was granted", granted.join(", ")),
    })
}

fn cert_days(tls: &TlsFacts, days: u32, now: OffsetDateTime) -> Result<(), String> {
    let end = tls.not_after.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let end = end.ok_or("the end of the certificate is not known")?;
    let left = end - now;
    met(left >= time::Duration::days(days.into()), || match left.whole_days() {
        _ if left.is_negative() => format!("the certificate ended on {}", end.date()),
        1 => format!("the certificate ends in 1 day, on {}", end.date()),
        left => format!("the certificate ends in {left} days, on {}", end.date()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let response = Response::new(101, "Switching Protocols")
            .with("X-Served-By", "a")
            .with("x-served-by", "edge-7")
            .with("Sec-WebSocket-Protocol", "chat")
            .with(
                "Sec-WebSocket-Extensions",
                "foo, permessage-deflate; server_no_context_takeover",
            );
        let tls = TlsFacts {
            version: "TLSv1.3".into(),
            cipher: String::new(),
            alpn: None,
            sni: "localhost".into(),
            not_after: Some(1_800_000_000),
        };
        Facts { response: Some(response), tls: Some(tls), ..Facts::default() }
    }

    type Parse = fn(&str) -> Result<Check, String>;

    #[test]
    fn assertions_on_the_handshakes() {
        let facts = facts();
        for (parse, text, differs) in [
            (Check::status as Parse, "101", None),
            (Check::status, "4xx", Some("the answer was HTTP 101")),
            (Check::header, "x-served-by", None),
            (Check::header, "X-Served-By: ~^edge-[0-9]$", None),
            (Check::header, "X-Served-By: =b", Some("the answer has X-Served-By: a, edge-7")),
            (Check::header, "Server", Some("the answer has no Server")),
            (Check::no_header, "Server", None),
            (Check::no_header, "X-Served-By", Some("the answer has X-Served-By: a")),
            (Check::subprotocol, "chat", None),
            (Check::subprotocol, "none", Some("chat was granted")),
            (Check::extension, "permessage-deflate", None),
            (
                Check::extension,
                "bar",
                Some("foo, permessage-deflate; server_no_context_takeover was granted"),
            ),
            (Check::tls, "1.3", None),
            (Check::tls, ">=1.2", None),
            (Check::tls, "1.2", Some("the session is TLSv1.3")),
        ] {
            let check = parse(text).unwrap();
            assert_eq!(check.check(&facts).err().as_deref(), differs, "{text}");
            let nothing = check.check(&Facts::default()).unwrap_err();
            assert!(nothing.starts_with("there was no "), "{text}: {nothing}");
        }
        for (parse, text) in [
            (Check::header as Parse, "a b: c"),
            (Check::header, "a: ~("),
            (Check::no_header, "a:"),
            (Check::cert_days, "-1"),
            (Check::tls, "1.1"),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_until_a_certificate_ends() {
        let tls = facts().tls.unwrap();
        let end = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let day = time::Duration::DAY;
        assert_eq!(cert_days(&tls, 14, end - 14 * day), Ok(()));
        for (before, says) in [
            (13 * day, "the certificate ends in 13 days, on 2027-01-15"),
            (day, "the certificate ends in 1 day, on 2027-01-15"),
            (-day, "the certificate ended on 2027-01-15"),
        ] {
            assert_eq!(cert_days(&tls, 14, end - before), Err(says.to_owned()));
        }
    }
}
