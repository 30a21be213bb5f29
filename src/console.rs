//! The console of a person: a line editor at the bottom of the screen, messages above it.
//!
//! It is used where stdin and stdout are both a terminal, by `connect` (`Console`) and by the
//! target `-` of `serve` ([`run`]); anything else is bytes and goes through `endpoint/stdio.rs`.
//! Besides `report.rs`, this module alone writes to the terminal, because an editor that is being
//! typed into cannot be written past.

use std::io::IsTerminal;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};

use crate::cli::{ConsoleArgs, JoinArgs};
use crate::duplex::{Body, Message, MessageIo};
use crate::error::{Error, Result};
use crate::framing::{Framing, Typing};

mod ask;
mod command;
mod host;
mod raw;
mod show;
mod terminal;

pub(crate) use ask::{ask, can_ask, within};
use command::{Client, Entry};
pub use host::run;
pub(crate) use raw::Raw;
use show::Show;
use terminal::{Input, Terminal};

/// What can be entered after a slash at the console of `connect`, and what it does.
pub(crate) fn client_commands() -> impl Iterator<Item = (String, &'static str)> {
    command::listed::<Client>()
}

/// The same for the console of `serve`.
pub(crate) fn host_commands() -> impl Iterator<Item = (String, &'static str)> {
    command::listed::<host::Host>()
}

/// Whether a person is at both ends, asks for nothing but lines, and has a terminal that can do
/// what an editor needs.
pub fn is_interactive(join: &JoinArgs) -> bool {
    let lines = matches!(join.frame, None | Some(Framing::Lines));
    let capable = !matches!(std::env::var("TERM").as_deref(), Ok("dumb" | "cons25" | "emacs"));
    lines && capable && is_terminal()
}

/// Whether a person is at both ends.
pub(crate) fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// The console as the near end of `connect`.
pub(crate) struct Console {
    terminal: Terminal,
    show: Show,
    typing: Typing,
    half_closes: bool,
    ended: bool,
}

impl Console {
    /// Opens the editor. Where the far end `half_closes`, Ctrl-D ends our direction only.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(crate) fn open(args: &ConsoleArgs, typing: Typing, half_closes: bool) -> Result<Self> {
        let terminal = Terminal::open(Box::new(command::complete::<Client>))?;
        let show =
            Show { pretty: args.pretty, timestamps: args.timestamps, control: args.show_control };
        Ok(Self { terminal, show, typing, half_closes, ended: false })
    }
}

/// A line as the type that `--text` and `--binary` ask for.
fn typed(text: String, typing: Typing) -> Message {
    match typing {
        Typing::Binary => Message::binary(text),
        Typing::Auto | Typing::Text => Message::text(text),
    }
}

impl Stream for Console {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.ended {
            let line = match ready!(this.terminal.poll_input(cx)) {
                Some(Input::Line(line)) => line,
                Some(Input::End) | None => {
                    this.ended = true;
                    // A person who is done does not wait for late replies.
                    let close = (!this.half_closes).then(|| Ok(Message::close(1000, "")));
                    return Poll::Ready(close);
                }
            };
            match command::parse::<Client>(&line) {
                Ok(Entry::Say(text)) => return Poll::Ready(Some(Ok(typed(text, this.typing)))),
                Ok(Entry::Command(Client(message))) => {
                    this.ended = matches!(message.body, Body::Close(_));
                    return Poll::Ready(Some(Ok(message)));
                }
                Ok(Entry::Help) => this.terminal.print(&command::help::<Client>()),
                Err(why) => this.terminal.print(&show::note(&why)),
            }
        }
        Poll::Ready(None)
    }
}

impl Sink<Message> for Console {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.terminal.poll_room(cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        if let Some(text) = self.show.received(&message) {
            self.terminal.print(&text);
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl MessageIo for Console {
    fn abort(&mut self, _: &Error) {}

    fn endless(&self) -> bool {
        true
    }
}
