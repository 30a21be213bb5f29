//! The far end of a join: what is written to it is published, what is read from it others said.
//!
//! The server echoes our own messages to us. That is how we know that they have reached it, since
//! it acknowledges nothing else; they are told from those of others by a header.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Client, HeaderMap, PublishErrorKind, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Nats;
use super::feed::messages;
use super::open::Link;
use crate::context::Context;
use crate::duplex::{Body, Message, MessageIo, Text};
use crate::error::{Error, Kind, Result};
use crate::{hub, report};

/// Who has published a message: the session, and its number in it.
const ID: &str = "Towline-Id";

/// The name of who said it, and of whom it is for.
const FROM: &str = "Towline-From";
const TO: &str = "Towline-To";

/// How long a server that is there may take to give back our messages.
const ECHO: Duration = Duration::from_secs(10);

/// One peer's connection to a server.
pub(super) struct Session {
    client: Client,
    link: Link,
    /// Where to publish; no place if the address has wildcards.
    subject: Result<Subject>,
    id: String,
    name: Option<Arc<str>>,
    /// While a flush waits: since which number of settled messages, and until when.
    patience: Option<(u64, Pin<Box<Sleep>>)>,
    closing: bool,
    ended: bool,
    _pump: AbortOnDropHandle<()>,
}

impl Session {
    pub(super) async fn subscribe(
        nats: &Nats,
        name: Option<String>,
        client: Client,
        link: Link,
        cx: &Context,
    ) -> Result<Self> {
        let subject = Subject::from(nats.subject.as_str());
        let gone = |error: String| Error::new(Kind::Lost, error);
        let heard = client.subscribe(subject.clone()).await;
        let heard = heard.map_err(|error| gone(error.to_string()))?;
        // What others say from now on is for us.
        client.flush().await.map_err(|error| gone(error.to_string()))?;
        report::verbose(format_args!("{}: subscribed to {}", link.server, nats.subject));
        let id = format!("{:016x}", fastrand::u64(..));
        let pump = pump(heard, link.clone(), id.clone(), cx.shared.join.max_message);
        Ok(Self {
            client,
            subject: if nats.has_wildcards() { Err(nats.only_heard()) } else { Ok(subject) },
            id,
            name: name.map(Arc::from),
            patience: None,
            closing: false,
            ended: false,
            _pump: AbortOnDropHandle::new(tokio::spawn(pump)),
            link,
        })
    }

    fn publish(&mut self, body: Bytes, from: Option<Arc<str>>, to: Option<Arc<str>>) -> Result<()> {
        let subject = self.subject.clone()?;
        let size = body.len();
        let number = self.link.feed.send(size);
        let mut headers = HeaderMap::new();
        headers.insert(ID, format!("{}.{number}", self.id));
        let from = from.or_else(|| self.name.clone());
        for (header, name) in [(FROM, from), (TO, to)] {
            if let Some(name) = name.and_then(|name| hub::plain(&name)) {
                headers.insert(header, name);
            }
        }
        let message =
            OutboundMessage { subject, reply: None, payload: body, headers: Some(headers) };
        let sent = self.client.start_send_unpin(message);
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                self.link.feed.unsend();
                let most = self.client.max_payload();
                let what = format!("a message of {size} bytes is more than the server takes ({most}, headers included)");
                Error::new(Kind::Protocol(1009), what)
            }
            _ => Error::new(Kind::Lost, error),
        })
    }

    /// Ready when all our messages have come back; fails if nothing moves for too long.
    fn poll_settled(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        let settled = self.link.feed.poll_settled(cx);
        if settled.is_ready() {
            self.patience = None;
            return settled;
        }
        // A server that is away is waited for.
        let Some(progress) = self.link.feed.progress() else {
            self.patience = None;
            return Poll::Pending;
        };
        let (since, timer) = self.patience.get_or_insert_with(|| (progress, Box::pin(sleep(ECHO))));
        if *since != progress {
            *since = progress;
            timer.as_mut().reset(Instant::now() + ECHO);
        }
        ready!(timer.as_mut().poll(cx));
        let what = format!("the server has not given back our messages for {ECHO:?}");
        Poll::Ready(Err(Error::new(Kind::Lost, what)))
    }
}

/// Sorts what comes: our own messages say that they have arrived, the others are for the reader.
async fn pump(mut heard: Subscriber, link: Link, id: String, max: usize) {
    let mut others = Others::default();
    while let Some(message) = heard.next().await {
        let header = |name| message.headers.as_ref()?.get(name).map(|value| value.as_str());
        let said = header(ID).and_then(|said| {
            let (who, number) = said.split_once('.')?;
            Some((who, number.parse().ok()?))
        });
        let missed = match said {
            Some((who, number)) if who == id => {
                link.feed.came_back(number);
                continue;
            }
            Some((who, number)) => others.missed(who, number),
            None => 0,
        };
        let size = message.payload.len();
        if size > max {
            let what = format!("a message of {size} bytes is larger than --max-message");
            return link.feed.fail(Error::new(Kind::Protocol(1009), what));
        }
        let name = |header_name| header(header_name).and_then(hub::plain).map(Arc::from);
        let (from, to) = (name(FROM), name(TO));
        let body = match Text::try_from(message.payload.clone()) {
            Ok(text) => Body::Text(text),
            Err(_) => Body::Binary(message.payload),
        };
        link.feed.heard(Message { body, from, to }, missed, &link.server);
    }
    link.feed.fail(Error::new(Kind::Lost, "the connection is closed"));
}

/// The latest number that each of the others has given to a message.
#[derive(Default)]
struct Others(HashMap<String, u64>);

impl Others {
    /// More are forgotten, and begin anew.
    const MOST: usize = 4096;

    /// How many messages are missing before this one.
    fn missed(&mut self, who: &str, number: u64) -> u64 {
        if let Some(latest) = self.0.get_mut(who) {
            let missed = number.saturating_sub(latest.saturating_add(1));
            *latest = number.max(*latest);
            return missed;
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(who.to_owned(), number);
        0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Link { server, feed, outages, .. } = &self.link;
        feed.say_losses(server);
        match feed.leave() {
            (lost, true) => outages.end(server, lost, false),
            (0, false) => {}
            (lost, false) => report::warn(format_args!(
                "{server}: {} may be lost: the server has not given back what we sent",
                messages(lost)
            )),
        }
    }
}

impl Stream for Session {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let heard = self.link.feed.poll_hear(cx);
        if let Poll::Ready(heard) = heard {
            self.ended = heard.is_err();
            return Poll::Ready(Some(heard));
        }
        // A server does not answer a Close, so it is answered for it.
        if self.closing && self.poll_settled(cx)?.is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Ok(Message::close(1000, ""))));
        }
        Poll::Pending
    }
}

impl Sink<Message> for Session {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Result<()>> {
        ready!(self.link.feed.poll_room(cx))?;
        self.client.poll_ready_unpin(cx).map_err(|error| Error::new(Kind::Lost, error))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        let Message { body, from, to } = message;
        match body {
            Body::Text(text) => self.publish(text.into(), from, to),
            Body::Binary(data) => self.publish(data, from, to),
            Body::Close(_) => {
                self.closing = true;
                Ok(())
            }
            Body::Ping(_) | Body::Pong(_) => Ok(()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Result<()>> {
        self.poll_settled(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Result<()>> {
        self.poll_settled(cx)
    }
}

impl MessageIo for Session {
    fn half_closes(&self) -> bool {
        false
    }

    fn abort(&mut self, _: &Error) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_for_each_of_the_others() {
        let mut others = Others::default();
        let said = [("a", 7), ("b", 1), ("a", 8), ("b", 2), ("a", 12), ("a", 12), ("b", 3)];
        let missed: Vec<_> = said.map(|(who, number)| others.missed(who, number)).into();
        assert_eq!(missed, [0, 0, 0, 0, 3, 0, 0]);
        assert_eq!(others.missed("a", u64::MAX), u64::MAX - 13);
        assert_eq!(others.missed("a", 1), 0);
    }
}
