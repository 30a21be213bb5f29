//! The console of `serve`: S, who speaks to all peers and hears them all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::command::{self, Commands, Entry};
use super::show::{self, Show};
use super::terminal::{Input, Terminal};
use crate::cli::value;
use crate::context::Context;
use crate::duplex::{Body, ByteStream, Close, Message};
use crate::endpoint::Console;
use crate::error::{Error, Kind, Result};
use crate::framing::{Decoder, Framed, Framing, Typing};
use crate::hub::{Member, Roster};
use crate::report;

/// Joins this console to its peers until all of them have left (`over`). The end of the input is
/// not the end: peers go on being heard. To those that this console has dialled it is passed on.
///
/// # Errors
/// [`ClosedOutput`](crate::error::Kind::ClosedOutput) once nobody reads what is printed; an input
/// that is malformed or cannot be read.
pub async fn run(cx: &Arc<Context>, over: CancellationToken) -> Result<()> {
    let host = cx.hubs.host();
    match super::is_interactive(&cx.shared.join) {
        true => interactive(host, cx, over).await,
        false => piped(host, cx, over).await,
    }
}

/// How long the last words may take to be printed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// On pipes, everything is data: `@c2 text` addresses in lines, `to` does in JSON.
async fn piped(mut host: Member, cx: &Arc<Context>, over: CancellationToken) -> Result<()> {
    let join = &cx.shared.join;
    let framing = join.framing([Framing::Lines, Framing::Raw]);
    let decoder = Decoder::new(framing, join.typing(), join.max_message);
    let mut console = Framed::new(ByteStream::other(Console::new()), decoder);
    tokio::select! {
        outcome = converse(&mut host, &mut console, framing, cx.serve.is_none()) => return outcome,
        () = over.cancelled() => {}
    }
    let rest = host.next().now_or_never().flatten();
    let rest = print(rest, &mut host, &mut console, framing);
    tokio::time::timeout(LAST_WORDS, rest).await.unwrap_or(Ok(()))
}

async fn converse(
    host: &mut Member,
    console: &mut Framed,
    framing: Framing,
    is_client: bool,
) -> Result<()> {
    let mut ended = false;
    loop {
        tokio::select! {
            heard = host.next() => print(heard, host, console, framing).await?,
            line = console.next(), if !ended => match line {
                // A slip of whoever types is no reason to send everybody home.
                Some(Err(slip)) if !is_client && is_of_one_message(&slip) => {
                    report::warn(format_args!("{slip}; it is skipped"));
                }
                Some(message) if framing == Framing::Lines => {
                    speak(host, addressed(message?)).await?;
                }
                Some(message) => speak(host, message?).await?,
                None => {
                    ended = true;
                    if is_client {
                        host.fall_silent();
                    }
                }
            }
        }
    }
}

/// Whether what comes after it in the input can be read all the same: a line was not an envelope, or
/// not the text it had to be.
fn is_of_one_message(error: &Error) -> bool {
    matches!(error.kind(), Kind::Usage | Kind::Protocol(1007))
}

/// Prints a message and those that wait behind it, in as few writes as they fit into.
async fn print(
    mut heard: Option<Result<Message>>,
    host: &mut Member,
    console: &mut Framed,
    framing: Framing,
) -> Result<()> {
    while let Some(message) = heard {
        for message in printed(message?, framing) {
            console.feed(message).await?;
        }
        heard = host.next().now_or_never().flatten();
    }
    console.flush().await
}

/// With lines, the name of who speaks stands before each line, so that a line break in a message
/// forges no other speaker.
fn printed(message: Message, framing: Framing) -> Vec<Message> {
    let (Framing::Lines, Some(from)) = (framing, message.from.as_deref()) else {
        return vec![message];
    };
    let payload = message.payload();
    let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
    let marked = |line: &[u8]| Message::binary([from.as_bytes(), b": ", line].concat());
    payload.split(|&byte| byte == b'\n').map(marked).collect()
}

/// Takes the address off a line: `@c2 text` is for c2, `@@text` is `@text` for all.
fn addressed(mut message: Message) -> Message {
    let Body::Text(text) = &message.body else { return message };
    if let Some((name, rest)) = address(text) {
        message.to = Some(name.into());
        message.body = Body::Text(rest.into());
    } else if let Some(rest) = text.strip_prefix("@@") {
        message.body = Body::Text(format!("@{rest}").into());
    }
    message
}

fn address(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix('@').filter(|after| !after.starts_with('@'))?;
    let (name, rest) = after.split_once(' ').unwrap_or((after, ""));
    (!name.is_empty()).then_some((name, rest))
}

/// Speaks to the peers; waits for slow ones only where `--slow block` says so. A Close is for one
/// of them.
async fn speak(host: &mut Member, message: Message) -> Result<()> {
    if let Body::Close(close) = message.body {
        match message.to {
            Some(name) => remove(host, &name, close),
            None => report::warn(format_args!(
                "a close needs the name of who is to leave, as in {}",
                r#"{"to":"c1","type":"close","code":1000}"#
            )),
        }
    } else if message.is_data() {
        poll_fn(|cx| host.poll_ready_unpin(cx)).await?;
        let to = message.to.clone();
        if !host.speak(message)
            && let Some(to) = to
        {
            report::warn(format_args!("nobody is called {to}"));
        }
    }
    Ok(())
}

fn remove(host: &Member, name: &str, close: Close) {
    if !host.remove(name, close) {
        report::warn(format_args!("nobody is called {name}"));
    }
}

/// On a terminal, with an editor.
async fn interactive(mut host: Member, cx: &Arc<Context>, over: CancellationToken) -> Result<()> {
    let roster = host.roster();
    let mut terminal = Terminal::open(Box::new(move |line| complete(line, &roster)))?;
    let show = Show::default();
    loop {
        tokio::select! {
            heard = host.next() => {
                let Some(message) = heard else { return Ok(()) };
                poll_fn(|cx| terminal.poll_room(cx)).await;
                if let Some(text) = show.received(&message?) {
                    terminal.print(&text);
                }
            }
            input = poll_fn(|cx| terminal.poll_input(cx)) => match input {
                Some(Input::Line(line)) => enter(&line, &mut host, &terminal, cx).await?,
                Some(Input::End) if cx.serve.is_none() => host.fall_silent(),
                Some(Input::End) => terminal.print(&show::note("Ctrl-C or /quit ends the server")),
                None => return Ok(()),
            },
            () = over.cancelled() => break,
        }
    }
    while let Some(message) = host.next().now_or_never().flatten() {
        if let Some(text) = show.received(&message?) {
            terminal.print(&text);
        }
    }
    Ok(())
}

async fn enter(
    line: &str,
    host: &mut Member,
    terminal: &Terminal,
    cx: &Arc<Context>,
) -> Result<()> {
    match command::parse(line) {
        Ok(Entry::Say(text)) => {
            let mut message = addressed(Message::text(text));
            if cx.shared.join.typing() == Typing::Binary {
                message.body = Body::Binary(Bytes::copy_from_slice(message.payload()));
            }
            speak(host, message).await?;
        }
        Ok(Entry::Command(Host::Binary(data))) => speak(host, Message::binary(data)).await?,
        Ok(Entry::Command(Host::Who)) => {
            let names = host.roster().names();
            let names = if names.is_empty() { "nobody is here".into() } else { names.join(" ") };
            terminal.print(&show::note(&names));
        }
        // 1008 keeps a client that reconnects by itself away.
        Ok(Entry::Command(Host::Kick(name))) => remove(host, &name, Close::new(1008, "removed")),
        Ok(Entry::Command(Host::Quit)) => cx.stop.cancel(),
        Ok(Entry::Help) => terminal.print(&format!(
            "@NAME TEXT              send TEXT to NAME alone, @@TEXT sends @TEXT\n{}",
            command::help::<Host>()
        )),
        Err(why) => terminal.print(&show::note(&why)),
    }
    Ok(())
}

/// The commands of this console.
#[derive(Debug, PartialEq)]
pub(super) enum Host {
    Who,
    Kick(String),
    Binary(Bytes),
    Quit,
}

impl Commands for Host {
    const TABLE: &'static [(&'static str, &'static str, &'static str)] = &[
        ("who", "", "list the peers"),
        ("kick", "NAME", "close with 1008"),
        ("binary", "HEX", "send a binary message"),
        ("quit", "", "end the server"),
    ];

    fn parse(name: &str, args: &str) -> Result<Self, String> {
        Ok(match name {
            "who" => Self::Who,
            "kick" if args.is_empty() => return Err("whom?".to_owned()),
            "kick" => Self::Kick(args.trim_start_matches('@').to_owned()),
            "binary" => Self::Binary(value::hex(args)?),
            _ => Self::Quit,
        })
    }
}

/// Completes commands, and names after an `@`.
fn complete(line: &str, roster: &Roster) -> (usize, Vec<String>) {
    let Some(begun) = line.strip_prefix('@') else { return command::complete::<Host>(line) };
    let names = roster.names();
    let fitting = names.iter().filter(|name| name.starts_with(begun));
    (0, fitting.map(|name| format!("@{name} ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_off() {
        let parts = |line: &str| {
            let message = addressed(Message::text(line));
            let to = message.to.as_deref().map(str::to_owned);
            (to, String::from_utf8(message.payload().to_vec()).unwrap())
        };
        let to = |name: &str, text: &str| (Some(name.to_owned()), text.to_owned());
        assert_eq!(parts("@c2 hi  there"), to("c2", "hi  there"));
        assert_eq!(parts("@c2"), to("c2", ""));
        for (line, text) in [("hi @c2", "hi @c2"), ("@@c2 hi", "@c2 hi"), ("@ x", "@ x"), ("", "")]
        {
            assert_eq!(parts(line), (None, text.to_owned()), "{line}");
        }
    }

    #[test]
    fn no_line_of_a_message_is_without_its_speaker() {
        let mut message = Message::text("one\nc2: two\n");
        message.from = Some("c1".into());
        let lines = printed(message.clone(), Framing::Lines);
        let lines: Vec<&[u8]> = lines.iter().map(Message::payload).collect();
        assert_eq!(lines, [&b"c1: one"[..], b"c1: c2: two"]);
        assert_eq!(printed(message.clone(), Framing::Json), [message]);
    }
}
