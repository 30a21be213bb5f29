//! How a message looks to a person.

use std::borrow::Cow;
use std::fmt::Write;

use serde::de::IgnoredAny;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::duplex::{Body, Message};
use crate::report;

/// How much of a binary message is shown.
const DUMPED: usize = 4096;

/// What is wanted besides the message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Show {
    pub(super) pretty: bool,
    pub(super) timestamps: bool,
    pub(super) control: bool,
}

impl Show {
    /// A received message: whose it is or a `<`, and its lines; none if it is not to be seen.
    pub(super) fn received(self, message: &Message) -> Option<String> {
        let who = match &message.from {
            Some(name) => format!("{name}: "),
            None => "< ".to_owned(),
        };
        let shown = match &message.body {
            Body::Text(text) => self.text(text),
            Body::Binary(data) => dump(data),
            Body::Ping(data) if self.control => control("ping", data),
            Body::Pong(data) if self.control => control("pong", data),
            Body::Ping(_) | Body::Pong(_) => return None,
            Body::Close(close) => {
                format!("closed by the peer with {}", report::printable(&close.to_string()))
            }
        };
        let code = if message.is_data() { "1;36" } else { "2" };
        let mark = format!("{}{}", self.time(), paint(code, &who));
        let indent = " ".repeat(if self.timestamps { 14 } else { 0 });
        let mut out = String::new();
        // Every line is marked: a line break in a message forges no second one.
        for (i, line) in shown.split('\n').enumerate() {
            match i {
                0 => out.push_str(&mark),
                _ => out.push_str(&format!("{indent}{}", paint(code, &who))),
            }
            out.push_str(line);
            out.push('\n');
        }
        Some(out)
    }

    fn text(self, text: &str) -> String {
        let text = if self.pretty { indented(text) } else { text.into() };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        lines.map(report::printable).collect::<Vec<_>>().join("\n")
    }

    fn time(self) -> String {
        if !self.timestamps {
            return String::new();
        }
        let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]Z ");
        let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
        paint("2", &now)
    }
}

/// A word from the console itself.
pub(super) fn note(text: &str) -> String {
    format!("{}\n", paint("2", &report::printable(text)))
}

fn paint(code: &str, text: &str) -> String {
    if report::color() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn control(name: &str, data: &[u8]) -> String {
    if data.is_empty() {
        return name.to_owned();
    }
    format!("{name} {}", report::printable(&String::from_utf8_lossy(data)))
}

/// Bytes as `hexdump -C` shows them.
fn dump(data: &[u8]) -> String {
    let mut out = format!("binary, {} bytes", data.len());
    for (i, row) in data[..data.len().min(DUMPED)].chunks(16).enumerate() {
        let mut hex = String::new();
        for (i, byte) in row.iter().enumerate() {
            let gap = if i == 8 { " " } else { "" };
            let _ = write!(hex, "{gap}{byte:02x} ");
        }
        let text: String =
            row.iter().map(|&b| if (b' '..=b'~').contains(&b) { b as char } else { '.' }).collect();
        let _ = write!(out, "\n{:08x}  {hex:<49} |{text}|", i * 16);
    }
    if data.len() > DUMPED {
        let _ = write!(out, "\n… {} bytes more", data.len() - DUMPED);
    }
    out
}

/// JSON with its members on lines of their own; anything else as it is. Only white space is
/// changed: numbers keep their digits, and members their order.
fn indented(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with(['{', '['])
        || serde_json::from_str::<IgnoredAny>(text).is_err()
    {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(show: Show, message: impl Into<Message>) -> String {
        show.received(&message.into()).unwrap_or_default()
    }

    #[test]
    fn every_line_is_marked_and_harmless() {
        let mut message = Message::text("one\x1b[2J\r\nc2: two\n");
        assert_eq!(shown(Show::default(), message.clone()), "< one\\u{1b}[2J\n< c2: two\n");
        message.from = Some("c1".into());
        assert_eq!(shown(Show::default(), message), "c1: one\\u{1b}[2J\nc1: c2: two\n");
        assert_eq!(shown(Show::default(), Message::text("")), "< \n");
    }

    #[test]
    fn control_messages_are_shown_on_request_and_a_close_always() {
        let quiet = Show::default();
        assert_eq!(shown(quiet, Body::Ping("x".into())), "");
        let control = Show { control: true, ..quiet };
        assert_eq!(shown(control, Body::Pong("x\n".into())), "< pong x\\n\n");
        let close = Message::close(4001, "over quota");
        assert_eq!(shown(quiet, close), "< closed by the peer with 4001 over quota\n");
        let close = Message::close(crate::duplex::Close::NO_CODE, "");
        assert_eq!(shown(quiet, close), "< closed by the peer with no code\n");
    }

    #[test]
    fn bytes_are_dumped() {
        let data: Vec<u8> = (0x3a..0x4b).collect();
        let want = "binary, 17 bytes\n\
            00000000  3a 3b 3c 3d 3e 3f 40 41  42 43 44 45 46 47 48 49  |:;<=>?@ABCDEFGHI|\n\
            00000010  4a                                                |J|";
        assert_eq!(dump(&data), want);
        assert!(dump(&[0; 5000]).ends_with("\n… 904 bytes more"));
    }

    #[test]
    fn json_is_indented_and_otherwise_kept() {
        let json = r#"{"b":1.00, "a":[ ],"n":12345678901234567890123,"s":"{\"x\": [,]}","l":[{"d":{}},2]}"#;
        let want = "{\n  \"b\": 1.00,\n  \"a\": [],\n  \"n\": 12345678901234567890123,\n  \
            \"s\": \"{\\\"x\\\": [,]}\",\n  \"l\": [\n    {\n      \"d\": {}\n    },\n    2\n  ]\n}";
        assert_eq!(indented(json), want);
        for other in ["{\"a\":", "plain, text", "12", "[1,]"] {
            assert_eq!(indented(other), other);
        }
    }
}
