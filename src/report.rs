//! The only file that prints. stderr carries everything said to a person, one line at a time;
//! stdout carries payload, which goes through `-` and not through here.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use serde::Serialize;

use crate::cli::{Announce, ReportArgs, When};
use crate::duplex::{Body, Message};
use crate::endpoint::Side;
use crate::error::{Error, Result};
use crate::lock::lock;

pub(crate) mod access;
pub(crate) mod live;

pub use access::{access, request};

static STYLE: OnceLock<Style> = OnceLock::new();

/// Takes lines in place of stderr, while a line editor has the terminal.
static DIVERSION: Mutex<Option<Diversion>> = Mutex::new(None);

/// Whether the terminal is in raw mode, where a line has to begin where lines begin.
static RAW: AtomicBool = AtomicBool::new(false);

/// Says whether the terminal is in raw mode now.
pub(crate) fn set_raw(raw: bool) {
    RAW.store(raw && io::stderr().is_terminal(), Ordering::Relaxed);
}

/// See [`divert`].
pub(crate) type Diversion = Box<dyn Fn(&str) + Send>;

/// Hands lines to an editor that prints them above what is being typed, until further notice. A
/// stderr that is not the terminal gets its lines in any case.
pub(crate) fn divert(to: Option<Diversion>) {
    let to = to.filter(|_| io::stderr().is_terminal());
    *lock(&DIVERSION) = to;
}

#[derive(Clone, Copy, Debug, Default)]
struct Style {
    verbose: u8,
    quiet: bool,
    color: bool,
    color_stdout: bool,
}

/// Takes the flags into account from here on.
pub fn init(args: &ReportArgs) {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let wanted = |terminal: bool| match args.color {
        When::Always => true,
        When::Never => false,
        When::Auto => terminal && !no_color,
    };
    let (color, color_stdout) =
        (wanted(io::stderr().is_terminal()), wanted(io::stdout().is_terminal()));
    let _ = STYLE.set(Style { verbose: args.verbose, quiet: args.quiet, color, color_stdout });
}

fn style() -> Style {
    STYLE.get().copied().unwrap_or_default()
}

/// Whether colours are wanted.
pub fn color() -> bool {
    style().color
}

/// Whether `--quiet` was given.
pub fn quiet() -> bool {
    style().quiet
}

/// Whether it is to be told what happens (`-v`).
pub fn is_verbose() -> bool {
    style().verbose > 0
}

/// Whether every message is to be logged (`-vv`).
pub fn logs_messages() -> bool {
    style().verbose > 1
}

/// A line on stderr. One write, so that lines of several tasks and processes do not mix; a closed
/// stderr is nobody's problem.
fn line(text: fmt::Arguments<'_>) {
    let mut line = text.to_string();
    line.push_str(if RAW.load(Ordering::Relaxed) { "\r\n" } else { "\n" });
    if let Some(print) = &*lock(&DIVERSION) {
        return print(&line);
    }
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

fn paint(code: &str, text: impl fmt::Display) -> String {
    if style().color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

/// Colours of what is printed on stdout.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ink(bool);

impl Ink {
    /// As stdout is to have them.
    pub fn stdout() -> Self {
        Self(style().color_stdout)
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn colored() -> Self {
        Self(true)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub(crate) fn alarm(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The error a run ends with, and what the user can do about it.
pub fn error(error: &Error) {
    line(format_args!("{} {}", paint("1;31", "towline:"), printable(&error.to_string())));
    if let Some(hint) = error.advice() {
        line(format_args!("{} {hint}", paint("1;36", "hint:")));
    }
}

/// Something the user should know, though the run goes on.
pub fn warn(what: fmt::Arguments<'_>) {
    if !style().quiet {
        line(format_args!("{} {}", paint("1;33", "towline:"), printable(&what.to_string())));
    }
}

/// Something the user asked to be told (a fingerprint, who joined).
pub fn note(what: fmt::Arguments<'_>) {
    if !style().quiet {
        line(format_args!("{}", printable(&what.to_string())));
    }
}

/// What happens, for `-v`.
pub fn verbose(what: fmt::Arguments<'_>) {
    if style().verbose > 0 {
        line(format_args!("{}", printable(&what.to_string())));
    }
}

/// A record for programs: JSON on one line, whatever `--quiet` says.
pub fn record(json: &str) {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match commands_terminal(c) {
            // All of them are in the Basic Multilingual Plane, so that one escape is enough.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    line(format_args!("{out}"));
}

/// A message of a join, seen from its near end.
pub fn message(who: &str, from: Side, message: &Message) {
    match from {
        Side::Near => received(who, message),
        Side::Far => sent(who, message),
    }
}

/// A message that `who` has said, shortened to a line.
pub fn received(who: &str, message: &Message) {
    line(format_args!("{}: received: {}", printable(who), shown(message)));
}

/// A message that `who` is told, shortened to a line.
pub fn sent(who: &str, message: &Message) {
    line(format_args!("{}: sent: {}", printable(who), shown(message)));
}

fn shown(message: &Message) -> String {
    match &message.body {
        Body::Text(text) => cut(text, 200),
        Body::Binary(data) => {
            let hex: Vec<_> = data.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            let rest = if data.len() > 32 { " ..." } else { "" };
            format!("({} bytes) {}{rest}", data.len(), hex.join(" "))
        }
        Body::Ping(_) => "(ping)".to_owned(),
        Body::Pong(_) => "(pong)".to_owned(),
        Body::Close(close) => format!("(close with {})", printable(&close.to_string())),
    }
}

/// A line of a child's stderr, told apart by who said it.
pub fn child(who: fmt::Arguments<'_>, text: &str) {
    line(format_args!("{}", paint("2", format_args!("[{who}] {}", printable(text)))));
}

/// The one line that says that a listener is ready. `--quiet` does not silence it, since scripts
/// wait for it.
pub fn listening(how: Announce, address: &str) {
    match how {
        Announce::Text => line(format_args!("listening on {address}")),
        Announce::Json => {
            let port = address.split(',').next().and_then(port);
            json(&Listening { event: "listening", address, port });
        }
    }
}

#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    address: &'a str,
    port: Option<u16>,
}

/// A record with its fields in the order of their declaration.
pub(crate) fn json(fields: &impl Serialize) {
    record(&serde_json::to_string(fields).unwrap_or_default());
}

fn port(address: &str) -> Option<u16> {
    let authority = address.split_once("://")?.1.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// Text that cannot move the cursor, clear the screen or forge a second line: what a peer says
/// must not command the terminal it is shown on.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            c if commands_terminal(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn commands_terminal(c: char) -> bool {
    // Bidirectional overrides and isolates reorder what stands around them.
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first characters of a text, [`printable`], and a mark if more followed.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// Prints what the user asked for (a completion script, a manual page, a measurement) on stdout.
pub fn page(text: &[u8]) -> Result<()> {
    io::stdout().lock().write_all(text).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Error::new(crate::error::Kind::ClosedOutput, "closed"),
        _ => Error::io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n\u{202e}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}");
    }

    #[test]
    fn the_port_of_an_address() {
        assert_eq!(port("ws://127.0.0.1:8010/a:1"), Some(8010));
        assert_eq!(port("ws://[::1]:80/"), Some(80));
        assert_eq!(port("unix:/tmp/x"), None);
    }
}
