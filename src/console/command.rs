//! What is entered at a console: text, or a command after a slash.

use std::fmt::Write;

use crate::cli::value;
use crate::duplex::{Body, Message};

/// A line, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Entry<C> {
    /// Say this.
    Say(String),
    /// Do this.
    Command(C),
    /// List the commands.
    Help,
}

/// The commands of one kind of console.
pub(super) trait Commands: Sized {
    /// Name, arguments and meaning, in the order of `/help`.
    const TABLE: &'static [(&'static str, &'static str, &'static str)];

    /// Parses a command of the table; `Err` says what is wrong with its arguments.
    fn parse(name: &str, args: &str) -> Result<Self, String>;
}

/// Understands a line. A second slash at its start makes it text.
pub(super) fn parse<C: Commands>(line: &str) -> Result<Entry<C>, String> {
    let Some(command) = line.strip_prefix('/') else { return Ok(Entry::Say(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Entry::Say(command.to_owned()));
    }
    let (name, args) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    if name == HELP.0 {
        return Ok(Entry::Help);
    }
    if !C::TABLE.iter().any(|(known, ..)| *known == name) {
        return Err(format!("no command is called /{name}; /help lists them, //… sends a slash"));
    }
    C::parse(name, args.trim()).map(Entry::Command).map_err(|why| format!("/{name}: {why}"))
}

const HELP: (&str, &str, &str) = ("help", "", "list the commands");

/// All that can be entered after a slash, and what it does.
pub(super) fn listed<C: Commands>() -> impl Iterator<Item = (String, &'static str)> {
    let commands = C::TABLE.iter().chain([&HELP]);
    let commands = commands
        .map(|(name, args, meaning)| (format!("/{name} {args}").trim_end().to_owned(), *meaning));
    commands.chain([("//TEXT".to_owned(), "send /TEXT")])
}

/// The text of `/help`.
pub(super) fn help<C: Commands>() -> String {
    let mut out = String::new();
    for (command, meaning) in listed::<C>() {
        let _ = writeln!(out, "{command:<24} {meaning}");
    }
    out
}

/// Completes the name of a command.
pub(super) fn complete<C: Commands>(line: &str) -> (usize, Vec<String>) {
    let Some(begun) = line.strip_prefix('/') else { return (0, Vec::new()) };
    let names = C::TABLE.iter().chain([&HELP]).filter(|(name, ..)| name.starts_with(begun));
    (0, names.map(|(name, args, _)| slashed(name, args)).collect())
}

fn slashed(name: &str, args: &str) -> String {
    let space = if args.is_empty() { "" } else { " " };
    format!("/{name}{space}")
}

/// The commands of `connect`: each is a message.
#[derive(Debug, PartialEq)]
pub(super) struct Client(pub(super) Message);

impl Commands for Client {
    const TABLE: &'static [(&'static str, &'static str, &'static str)] = &[
        ("ping", "[DATA]", "send a Ping"),
        ("binary", "HEX", "send a binary message"),
        ("close", "[CODE [REASON]]", "send a Close [default: 1000]"),
        ("quit", "", "close with 1000, as Ctrl-D does"),
    ];

    fn parse(name: &str, args: &str) -> Result<Self, String> {
        Ok(Self(match name {
            "ping" => Body::Ping(value::control(args)?).into(),
            "binary" => Message::binary(value::hex(args)?),
            "close" => close(args)?,
            _ => Message::close(1000, ""),
        }))
    }
}

fn close(args: &str) -> Result<Message, String> {
    if args.is_empty() {
        return Ok(Message::close(1000, ""));
    }
    let (code, reason) = args.split_once(char::is_whitespace).unwrap_or((args, ""));
    let (code, reason) = value::close(code, Some(reason.trim()))?;
    Ok(Message::close(code, &reason))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sent(line: &str) -> Message {
        match parse::<Client>(line) {
            Ok(Entry::Command(Client(message))) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_text_unless_it_starts_with_one_slash() {
        for (line, text) in [("hi", "hi"), ("", ""), ("//etc", "/etc"), ("a /ping", "a /ping")] {
            assert_eq!(parse::<Client>(line), Ok(Entry::Say(text.to_owned())));
        }
        assert_eq!(parse::<Client>("/help"), Ok(Entry::Help));
        assert!(parse::<Client>("/etc/passwd").unwrap_err().contains("/etc/passwd"));
    }

    #[test]
    fn commands_are_messages() {
        assert_eq!(sent("/ping"), Body::Ping(Bytes::new()).into());
        assert_eq!(sent("/ping  a b"), Body::Ping(Bytes::from_static(b"a b")).into());
        assert_eq!(sent("/binary dead BE ef"), Message::binary(vec![0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(sent("/close"), Message::close(1000, ""));
        assert_eq!(sent("/close 4001 over quota"), Message::close(4001, "over quota"));
        assert_eq!(sent("/quit"), Message::close(1000, ""));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let long = format!("/close 1000 {}", "x".repeat(124));
        let ping = format!("/ping {}", "x".repeat(126));
        for line in ["/binary 123", "/binary xy", "/close x", "/close 1005", &long, &ping] {
            assert!(parse::<Client>(line).is_err(), "{line}");
        }
    }

    #[test]
    fn names_are_completed() {
        assert_eq!(complete::<Client>("/cl"), (0, vec!["/close ".to_owned()]));
        assert_eq!(complete::<Client>("/").1.len(), Client::TABLE.len() + 1);
        assert!(complete::<Client>("cl").1.is_empty());
    }
}
