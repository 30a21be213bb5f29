//! What each step does.

use std::time::Duration;

use tokio::time::Instant;

use super::codes::Codes;
use super::end::End;
use super::pattern::Pattern;
use super::step::{Action, Step, quoted};
use super::tap::{Shared, shown};
use super::template::Captures;
use super::wire::{Waited, Wire};
use crate::duplex::{Body, Message};
use crate::endpoint::Text;
use crate::error::{Error, Kind, Result};
use crate::framing::Typing;

/// What the steps share.
pub(super) struct Play {
    strict: bool,
    typing: Typing,
    tally: Shared,
    captures: Captures,
    /// The message that the last `--expect` has matched.
    matched: Option<Message>,
}

impl Play {
    pub(super) fn new(strict: bool, typing: Typing, tally: Shared) -> Self {
        Self { strict, typing, tally, captures: Captures::new(), matched: None }
    }

    pub(super) async fn step(&mut self, step: &Step, wire: &mut Wire<'_>) -> Result<()> {
        let until = after(step.within);
        match &step.action {
            Action::Send(text) => send(self.text(text.fill(&self.captures)), wire).await,
            Action::SendBytes(data) => send(Message::binary(data.clone()), wire).await,
            Action::SendFile(data) => match Text::try_from(data.clone()) {
                Ok(text) => send(self.text(text), wire).await,
                Err(_) => send(Message::binary(data.clone()), wire).await,
            },
            Action::Ping(data) => send(Body::Ping(data.clone()).into(), wire).await,
            Action::Close { code, reason } => match wire.half_closes() {
                // Bytes have no Close; that we have ended says as much.
                true => wire.end_output().await,
                false => send(Message::close(*code, reason), wire).await,
            },
            Action::Sleep(time) => sleep(after(*time), wire).await,
            Action::Expect(pattern) => {
                let matched = self.expect(pattern, step.within, wire).await?;
                self.matched = Some(matched);
                Ok(())
            }
            Action::ExpectNone(time) => expect_none(after(*time), wire).await,
            Action::ExpectPong(data) => loop {
                match wire.pong(until).await? {
                    Waited::Got(pong) if data.is_empty() || pong == *data => return Ok(()),
                    Waited::Got(_) => {}
                    Waited::Ended(end) => return Err(end.error()),
                    Waited::TimedOut => return Err(self.late("no such Pong", step.within)),
                }
            },
            Action::ExpectClose { codes, reason } => {
                self.expect_close(codes, reason.as_ref(), step.within, wire).await
            }
            Action::Capture { name, from } => {
                let payload = self.matched.as_ref().map(Message::payload).unwrap_or_default();
                let Some(value) = from.find(payload) else {
                    let message = quoted(&String::from_utf8_lossy(payload), '"');
                    return Err(unmet(format!("not found in {message}")));
                };
                self.captures.insert(name.clone(), value);
                Ok(())
            }
        }
    }

    fn text(&self, text: impl Into<Text>) -> Message {
        match self.typing {
            Typing::Binary => Message::binary(text.into()),
            Typing::Auto | Typing::Text => Message::text(text),
        }
    }

    /// Waits for a message that matches; what does not is passed over, unless `--strict`.
    async fn expect(
        &self,
        pattern: &Pattern,
        within: Duration,
        wire: &mut Wire<'_>,
    ) -> Result<Message> {
        let matcher = pattern.matcher(&self.captures).map_err(unmet)?;
        let until = after(within);
        loop {
            match wire.message(until).await? {
                Waited::Got(message) if matcher.matches(message.payload()) => return Ok(message),
                Waited::Got(message) if self.strict => {
                    return Err(unmet(format!("the next message was {}", quote(&message))));
                }
                Waited::Got(_) => {}
                Waited::Ended(end) => return Err(end.error()),
                Waited::TimedOut => return Err(self.late("no matching message", within)),
            }
        }
    }

    async fn expect_close(
        &self,
        codes: &Codes,
        reason: Option<&Pattern>,
        within: Duration,
        wire: &mut Wire<'_>,
    ) -> Result<()> {
        let until = after(within);
        let end = loop {
            match wire.message(until).await? {
                Waited::Got(message) if self.strict => {
                    return Err(unmet(format!("the next message was {}", quote(&message))));
                }
                Waited::Got(_) => {}
                Waited::Ended(end) => break end,
                Waited::TimedOut => return Err(self.late("no Close", within)),
            }
        };
        if !codes.contain(end.code()) {
            return Err(match end {
                // That the connection was lost says more than that this is not the Close expected.
                End::Lost(_) => end.error(),
                _ => unmet(end.error().what()),
            });
        }
        let Some(pattern) = reason else { return Ok(()) };
        let matcher = pattern.matcher(&self.captures).map_err(unmet)?;
        match matcher.matches(end.reason().as_bytes()) {
            true => Ok(()),
            false => Err(unmet(format!("the reason was {}", quoted(end.reason(), '"')))),
        }
    }

    /// What was waited for has not come; the last message received may say why.
    fn late(&self, what: &str, within: Duration) -> Error {
        let tally = self.tally.get();
        let last = match tally.last.back() {
            Some(last) => format!("last received: {}", quoted(last, '"')),
            None => "nothing was received".to_owned(),
        };
        Error::new(Kind::NoMessage, format!("{what} within {within:?}; {last}"))
    }
}

async fn send(message: Message, wire: &mut Wire<'_>) -> Result<()> {
    match wire.end() {
        Some(end) => Err(end.error()),
        None => wire.send(message).await,
    }
}

/// Takes in what arrives meanwhile, unless that gets too much: then it is for the peer to wait. That
/// the peer closes is for a later step to find out.
async fn sleep(until: Option<Instant>, wire: &mut Wire<'_>) -> Result<()> {
    while wire.end().is_none() && !wire.is_full() {
        if !wire.pull(until).await? {
            return Ok(());
        }
    }
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
    Ok(())
}

async fn expect_none(until: Option<Instant>, wire: &mut Wire<'_>) -> Result<()> {
    match wire.message(until).await? {
        Waited::Got(message) => Err(unmet(format!("received {}", quote(&message)))),
        Waited::Ended(end) => Err(end.error()),
        Waited::TimedOut => Ok(()),
    }
}

/// A time from now; none if it is further away than a clock can say (`inf`).
pub(super) fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

fn unmet(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Expectation, what)
}

fn quote(message: &Message) -> String {
    quoted(&shown(message), '"')
}
