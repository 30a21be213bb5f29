//! One step of a script.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use regex::Regex;
use serde_json::Value;

use super::codes::Codes;
use super::pattern::{self, Pattern, last_line};
use super::template::{Template, is_name};
use crate::cli::value;
use crate::report::cut;

/// A step, and how it was written.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) written: Written,
    /// How long it may wait.
    pub(super) within: Duration,
    pub(super) action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Sends text.
    Send(Template),
    /// Sends bytes as a binary message.
    SendBytes(Bytes),
    /// Sends what a file holds.
    SendFile(Bytes),
    Ping(Bytes),
    Sleep(Duration),
    Expect(Pattern),
    /// Nothing may arrive for this long.
    ExpectNone(Duration),
    /// With this payload, if there is one.
    ExpectPong(Bytes),
    Close {
        code: u16,
        reason: String,
    },
    ExpectClose {
        codes: Codes,
        reason: Option<Pattern>,
    },
    /// Keeps a part of the message that the step before has matched.
    Capture {
        name: String,
        from: Source,
    },
}

/// Where a captured value is found.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// At a JSON pointer (RFC 6901).
    Pointer(String),
    /// The first group of a regular expression, or all of its match.
    Regex(Regex),
}

impl Action {
    pub(super) fn send(text: &str) -> Result<Self, String> {
        Ok(Self::Send(Template::parse(text)))
    }

    pub(super) fn send_bytes(text: &str) -> Result<Self, String> {
        let data = match text.strip_prefix('@') {
            Some(path) => read(path)?,
            None => value::hex(text)?,
        };
        Ok(Self::SendBytes(data))
    }

    pub(super) fn send_file(path: &str) -> Result<Self, String> {
        read(path).map(Self::SendFile)
    }

    pub(super) fn ping(text: &str) -> Result<Self, String> {
        value::control(text).map(Self::Ping)
    }

    pub(super) fn sleep(text: &str) -> Result<Self, String> {
        value::duration(text).map(Self::Sleep)
    }

    pub(super) fn expect(text: &str) -> Result<Self, String> {
        Pattern::text(text).map(Self::Expect)
    }

    pub(super) fn expect_json(text: &str) -> Result<Self, String> {
        Pattern::json(text).map(Self::Expect)
    }

    pub(super) fn expect_bytes(text: &str) -> Result<Self, String> {
        Pattern::bytes(text).map(Self::Expect)
    }

    pub(super) fn expect_none(text: &str) -> Result<Self, String> {
        value::duration(text).map(Self::ExpectNone)
    }

    pub(super) fn expect_pong(text: &str) -> Result<Self, String> {
        value::control(text).map(Self::ExpectPong)
    }

    pub(super) fn close(text: &str) -> Result<Self, String> {
        let (code, reason) = match text.split_once(':') {
            Some((code, reason)) => value::close(code, Some(reason))?,
            None if text.is_empty() => (1000, String::new()),
            None => value::close(text, None)?,
        };
        Ok(Self::Close { code, reason })
    }

    pub(super) fn expect_close(text: &str) -> Result<Self, String> {
        let (codes, reason) = match text.split_once(':') {
            Some((codes, reason)) => (codes, Some(Pattern::text(reason)?)),
            None => (text, None),
        };
        Ok(Self::ExpectClose { codes: codes.parse()?, reason })
    }

    pub(super) fn capture(text: &str) -> Result<Self, String> {
        let (name, from) =
            text.split_once('=').ok_or("a capture is NAME=/json/pointer or NAME=~regex")?;
        if !is_name(name) {
            return Err(format!("`{name}` is not a name: letters, digits and _ only"));
        }
        let from = match from.strip_prefix('~') {
            Some(regex) => Source::Regex(Regex::new(regex).map_err(|error| last_line(&error))?),
            None if from.is_empty() || from.starts_with('/') => Source::Pointer(from.to_owned()),
            None => return Err("what to capture is a /json/pointer or a ~regex".into()),
        };
        Ok(Self::Capture { name: name.to_owned(), from })
    }

    /// Whether this says something to the peer.
    pub(super) fn sends(&self) -> bool {
        matches!(
            self,
            Self::Send(_)
                | Self::SendBytes(_)
                | Self::SendFile(_)
                | Self::Ping(_)
                | Self::Close { .. }
        )
    }

    /// Whether this is met or not.
    pub(super) fn expects(&self) -> bool {
        matches!(
            self,
            Self::Expect(_) | Self::ExpectNone(_) | Self::ExpectPong(_) | Self::ExpectClose { .. }
        )
    }

    /// The captured values it needs.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Send(text) => text.names().map(str::to_owned).collect(),
            Self::Expect(pattern) | Self::ExpectClose { reason: Some(pattern), .. } => {
                pattern.names()
            }
            _ => Vec::new(),
        }
    }
}

impl Source {
    /// The value in a message.
    pub(super) fn find(&self, payload: &[u8]) -> Option<String> {
        match self {
            Self::Pointer(pointer) => {
                let message: Value = serde_json::from_slice(payload).ok()?;
                message.pointer(pointer).map(pattern::plain)
            }
            Self::Regex(regex) => {
                let found = regex.captures(str::from_utf8(payload).ok()?)?;
                found.get(1).or_else(|| found.get(0)).map(|group| group.as_str().to_owned())
            }
        }
    }
}

fn read(path: &str) -> Result<Bytes, String> {
    std::fs::read(path).map(Bytes::from).map_err(|error| crate::error::plain(&error))
}

/// A flag as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) flag: &'static str,
    pub(super) value: String,
}

impl Written {
    /// The flag without its dashes, and the value.
    pub(super) fn parts(&self) -> (&str, &str) {
        (self.flag, &self.value)
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.is_empty() {
            true => write!(f, "--{}", self.flag),
            false => write!(f, "--{} {}", self.flag, quoted(&self.value, '\'')),
        }
    }
}

/// The beginning of `text` between quotes, on one line.
pub(super) fn quoted(text: &str, quote: char) -> String {
    format!("{quote}{}{quote}", cut(text, 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_and_reasons() {
        for (text, want) in [
            ("", Some((1000, ""))),
            ("4001", Some((4001, ""))),
            ("4001:over:quota", Some((4001, "over:quota"))),
            ("1006", None),
            ("x", None),
        ] {
            let got = Action::close(text).ok();
            let got = got.as_ref().map(|action| match action {
                Action::Close { code, reason } => (*code, reason.as_str()),
                other => panic!("{other:?}"),
            });
            assert_eq!(got, want, "{text}");
        }
        assert!(Action::expect_close("4xxx:~^q").is_ok());
        assert!(Action::expect_close("4xxx:~(").is_err());
    }

    #[test]
    fn captures_find_their_value() {
        let find = |text: &str, payload: &str| match Action::capture(text).unwrap() {
            Action::Capture { from, .. } => from.find(payload.as_bytes()),
            other => panic!("{other:?}"),
        };
        for (text, payload, want) in [
            ("id=/id", r#"{"id":"a\"b"}"#, Some("a\"b")),
            ("id=/a/1", r#"{"a":[0,{"b":null}]}"#, Some(r#"{"b":null}"#)),
            ("all=", "[1]", Some("[1]")),
            ("id=/id", "no JSON", None),
            ("id=~id=(\\d+)", "id=42;", Some("42")),
            ("id=~\\d+", "id=42;", Some("42")),
            ("id=~\\d+", "id=", None),
        ] {
            assert_eq!(find(text, payload).as_deref(), want, "{text}");
        }
        for text in ["id", "1=/a", "=/a", "id=a", "id=~("] {
            assert!(Action::capture(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        let written = |value: &str| Written { flag: "send", value: value.into() }.to_string();
        assert_eq!(written(""), "--send");
        assert_eq!(written("a\nb\u{1b}[2J"), "--send 'a\\nb\\u{1b}[2J'");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
