//! What a message is compared with: text, bytes or JSON.

use bytes::Bytes;
use regex::bytes::Regex;
use serde_json::Value;

use super::template::{Captures, Template};
use crate::cli::value::hex;

/// What a message has to be like. Text patterns look at the payload, whatever its type.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Contains this text.
    Contains(Template),
    /// Is this text.
    Exact(Template),
    /// Has a match of this regular expression.
    Regex(Template),
    /// Contains these bytes.
    ContainsBytes(Bytes),
    /// Is these bytes.
    ExactBytes(Bytes),
    /// Is JSON and holds this, in whole or at a pointer (RFC 6901).
    Json {
        /// Where to look; the whole message if empty.
        pointer: String,
        /// What must be there; anything will do if this is nothing.
        want: Option<Value>,
    },
}

impl Pattern {
    /// Parses `text` (contains), `=text` (is) or `~regex`.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        let pattern = match (text.strip_prefix('='), text.strip_prefix('~')) {
            (Some(exact), _) => Self::Exact(Template::parse(exact)),
            (_, Some(regex)) => Self::Regex(Template::parse(regex)),
            _ => Self::Contains(Template::parse(text)),
        };
        // What will be captured is text, so that any word tells whether the expression is sound.
        let word = |name: &str| (name.to_owned(), "x".to_owned());
        let captures = pattern.names().iter().map(|name| word(name)).collect();
        pattern.matcher(&captures)?;
        Ok(pattern)
    }

    /// Parses JSON (a subset of the message), `/pointer=value` or `/pointer` (present).
    pub(super) fn json(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            let (pointer, want) = match text.split_once('=') {
                // A value that is not JSON is a string that needs no quotes.
                Some((pointer, value)) => (
                    pointer,
                    Some(serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))),
                ),
                None => (text, None),
            };
            return Ok(Self::Json { pointer: pointer.to_owned(), want });
        }
        let want = serde_json::from_str(text)
            .map_err(|error| format!("neither JSON nor /pointer=value: {error}"))?;
        Ok(Self::Json { pointer: String::new(), want: Some(want) })
    }

    /// Parses hexadecimal digits (is) or `~` and such digits (contains).
    pub(super) fn bytes(text: &str) -> Result<Self, String> {
        match text.strip_prefix('~') {
            Some(part) => hex(part).map(Self::ContainsBytes),
            None => hex(text).map(Self::ExactBytes),
        }
    }

    /// The captured values it needs.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Contains(text) | Self::Exact(text) | Self::Regex(text) => {
                text.names().map(str::to_owned).collect()
            }
            Self::Json { want: Some(want), .. } => names_in(want),
            Self::Json { .. } | Self::ContainsBytes(_) | Self::ExactBytes(_) => Vec::new(),
        }
    }

    /// Gets ready to match, with what has been captured by now.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub(super) fn matcher(&self, captures: &Captures) -> Result<Matcher, String> {
        let regex = |regex: &str| Regex::new(regex).map_err(|error| last_line(&error));
        Ok(match self {
            Self::Contains(text) => Matcher::Find(regex(&regex::escape(&text.fill(captures)))?),
            Self::Exact(text) => Matcher::Exact(text.fill(captures).into()),
            Self::Regex(text) => Matcher::Find(regex(&text.fill_with(captures, regex::escape))?),
            Self::ContainsBytes(bytes) => {
                let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                Matcher::Find(regex(&format!("(?-u){escaped}"))?)
            }
            Self::ExactBytes(bytes) => Matcher::Exact(bytes.clone()),
            Self::Json { pointer, want } => Matcher::Json {
                pointer: pointer.clone(),
                want: want.clone(),
                captures: captures.clone(),
            },
        })
    }
}

/// A pattern with its captured values filled in.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Find(Regex),
    Exact(Bytes),
    Json { pointer: String, want: Option<Value>, captures: Captures },
}

impl Matcher {
    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        match self {
            Self::Find(regex) => regex.is_match(payload),
            Self::Exact(bytes) => bytes == payload,
            Self::Json { pointer, want, captures } => {
                let Ok(message) = serde_json::from_slice::<Value>(payload) else { return false };
                let Some(got) = message.pointer(pointer) else { return false };
                want.as_ref().is_none_or(|want| is_subset(want, got, captures))
            }
        }
    }
}

/// A value as the text that stands for it where it was captured: a string without its quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether all of `want` is found in `got`: objects may have more members, arrays may not have
/// more elements.
fn is_subset(want: &Value, got: &Value, captures: &Captures) -> bool {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => want
            .iter()
            .all(|(key, want)| got.get(key).is_some_and(|got| is_subset(want, got, captures))),
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len()
                && want.iter().zip(got).all(|(want, got)| is_subset(want, got, captures))
        }
        // 1 and 1.0 are one number, but large integers are not compared as floats.
        (Value::Number(want), Value::Number(got)) if want.is_f64() || got.is_f64() => {
            want.as_f64() == got.as_f64()
        }
        (Value::String(want), got) => {
            let want = Template::parse(want);
            match want.only_name().and_then(|name| captures.get(name)) {
                // A captured value is compared as text, so that a captured 7 is 7 and "7".
                Some(captured) => *captured == plain(got),
                None => got.as_str() == Some(&want.fill(captures)),
            }
        }
        _ => want == got,
    }
}

fn names_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => Template::parse(text).names().map(str::to_owned).collect(),
        Value::Array(elements) => elements.iter().flat_map(names_in).collect(),
        Value::Object(members) => members.values().flat_map(names_in).collect(),
        _ => Vec::new(),
    }
}

/// A regex error draws the expression over several lines; the last one says what is wrong.
pub(super) fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.trim_end().lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: Result<Pattern, String>, payload: impl AsRef<[u8]>) -> bool {
        let captures = Captures::from([("id".into(), "7".into()), ("dot".into(), ".".into())]);
        pattern.unwrap().matcher(&captures).unwrap().matches(payload.as_ref())
    }

    #[test]
    fn text_patterns() {
        for (pattern, hits, misses) in [
            ("pong", &["pong", "a pong b"][..], &["PONG", ""][..]),
            ("", &["", "anything"], &[]),
            ("=pong", &["pong"], &["pong\n", "a pong"]),
            ("=", &[""], &["x"]),
            ("~^p.ng$", &["pong", "ping"], &["a pong"]),
            ("a.b", &["a.b"], &["axb"]),
            ("=n${id}", &["n7"], &["n${id}"]),
            ("~^a${dot}b", &["a.b"], &["axb"]),
        ] {
            for hit in hits {
                assert!(matches(Pattern::text(pattern), hit), "{pattern:?} in {hit:?}");
            }
            for miss in misses {
                assert!(!matches(Pattern::text(pattern), miss), "{pattern:?} in {miss:?}");
            }
        }
        assert!(matches(Pattern::text("b"), b"\xff\x00b"));
        assert_eq!(Pattern::text("~(").unwrap_err(), "unclosed group");
    }

    #[test]
    fn json_patterns() {
        let ack = r#"{"type":"ack","id":7,"tags":["a",{"b":1,"c":2}],"big":9007199254740993}"#;
        for pattern in [
            r#"{"type":"ack"}"#,
            r#"{"id":7.0,"tags":["a",{"b":1}]}"#,
            r#"{"id":"${id}"}"#,
            "{}",
            "/type=ack",
            r#"/type="ack""#,
            "/id=7",
            "/id=${id}",
            r#"/tags/1={"c":2}"#,
            "/tags/0",
        ] {
            assert!(matches(Pattern::json(pattern), ack), "{pattern}");
        }
        for pattern in [
            r#"{"type":"nack"}"#,
            r#"{"tags":["a"]}"#,
            r#"{"big":9007199254740992}"#,
            "[]",
            "/id=8",
            r#"/id="7""#,
            "/none",
            "/type=${id}",
        ] {
            assert!(!matches(Pattern::json(pattern), ack), "{pattern}");
        }
        assert!(!matches(Pattern::json("{}"), "not JSON"));
        assert!(Pattern::json("{").is_err());
    }

    #[test]
    fn byte_patterns() {
        assert!(matches(Pattern::bytes("00 01:fF"), [0, 1, 255]));
        assert!(!matches(Pattern::bytes("00"), [0, 1]));
        assert!(matches(Pattern::bytes("~01FF"), [0, 1, 255]));
        assert!(!matches(Pattern::bytes("~c3a9"), [0xc3]));
        assert!(matches(Pattern::bytes(""), []));
        for text in ["0", "0g", "é", "0x00"] {
            assert!(Pattern::bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_contains_and_is_itself(text in "[^=~$].{0,20}", around in "\\PC{0,5}") {
            prop_assume!(!text.contains("${"));
            let inside = format!("{around}{text}{around}");
            prop_assert!(matches(Pattern::text(&text), inside));
            let exact = format!("={text}");
            prop_assert!(matches(Pattern::text(&exact), &text));
        }

        #[test]
        fn bytes_contain_and_are_themselves(bytes: Vec<u8>) {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert!(matches(Pattern::bytes(&digits), &bytes));
            let inside = [&b"\n"[..], &bytes].concat();
            let part = format!("~{digits}");
            prop_assert!(matches(Pattern::bytes(&part), inside));
        }
    }
}
