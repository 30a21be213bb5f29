//! `echo:[PREFIX]` says back what it is told: bytes as bytes, messages as messages of their type.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{Call, Footing, Ground, Scheme, Shape, Text};
use crate::cli::EchoArgs;
use crate::duplex::{Body, ByteStream, Duplex, Io, Message, MessageIo};
use crate::error::{Error, Result};

/// A mirror.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Echo {
    prefix: String,
}

impl Scheme for Echo {
    const NAMES: &'static [&'static str] = &["echo"];
    const USAGE: &'static str = "echo:[PREFIX]";
    const HELP: &'static str = "says back what it is told, after PREFIX";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const SHAPE: Shape = Shape::Either;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { prefix: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        let answers = &call.cx.echo;
        let plain =
            self.prefix.is_empty() && answers.reply.is_empty() && answers.close_after.is_none();
        Ok(match call.near {
            Shape::Bytes if plain && answers.delay.is_zero() => {
                Duplex::Bytes(ByteStream::other(Loop::default()))
            }
            _ => {
                let mut mirror = Mirror::new(&self.prefix, answers);
                mirror.looked_at = call.peer.is_some();
                Duplex::Messages(Box::new(mirror))
            }
        })
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "echo:{}", self.prefix)
    }
}

/// How many bytes wait to be said back before the other side has to wait.
const BACKLOG: usize = 64 << 10;

/// Bytes back.
#[derive(Default)]
struct Loop {
    buffer: BytesMut,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl AsyncRead for Loop {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = self.buffer.len().min(buf.remaining());
        buf.put_slice(&self.buffer[..len]);
        self.buffer.advance(len);
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Loop {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = BACKLOG.saturating_sub(self.buffer.len()).min(buf.len());
        if room == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.buffer.extend_from_slice(&buf[..room]);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Io for Loop {}

/// Messages back.
struct Mirror {
    prefix: Option<Text>,
    answers: Option<Box<Answers>>,
    queue: VecDeque<Message>,
    queued: usize,
    ended: bool,
    /// Whether it is the target of a peer: a join looks for an answer after all that it passes on,
    /// and would be woken for nothing by each message.
    looked_at: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What makes a mirror a mock server.
struct Answers {
    args: EchoArgs,
    answered: u64,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Mirror {
    fn new(prefix: &str, args: &EchoArgs) -> Self {
        let mock = !args.reply.is_empty() || args.close_after.is_some() || !args.delay.is_zero();
        let answers = || Box::new(Answers { args: args.clone(), answered: 0, pause: None });
        Self {
            prefix: (!prefix.is_empty()).then(|| prefix.into()),
            answers: mock.then(answers),
            queue: VecDeque::new(),
            queued: 0,
            ended: false,
            looked_at: false,
            reader: None,
            writer: None,
        }
    }
}

impl Stream for Mirror {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(answers) = &mut this.answers {
            if let Some(spec) = &answers.args.close_after
                && answers.answered >= spec.after
            {
                return Poll::Ready(Some(Ok(Message::close(spec.code, &spec.reason))));
            }
            if !this.queue.is_empty() && !answers.args.delay.is_zero() {
                let delay = answers.args.delay;
                let pause = answers.pause.get_or_insert_with(|| Box::pin(sleep(delay)));
                ready!(pause.as_mut().poll(cx));
                answers.pause = None;
            }
        }
        let Some(message) = this.queue.pop_front() else {
            if this.ended {
                return Poll::Ready(None);
            }
            this.reader = (!this.looked_at).then(|| cx.waker().clone());
            return Poll::Pending;
        };
        this.queued -= weight(&message);
        if let Some(writer) = this.writer.take() {
            writer.wake();
        }
        let mut body = message.body;
        if let Some(answers) = &mut this.answers {
            if let Some(reply) = answers.reply() {
                body = fill(reply, body);
            }
            answers.answered += 1;
        }
        Poll::Ready(Some(Ok(prefixed(this.prefix.as_ref(), body).into())))
    }
}

/// The room that a message takes, which is some even if it is empty.
fn weight(message: &Message) -> usize {
    size_of::<Message>() + message.payload().len()
}

impl Answers {
    /// The replies take turns.
    fn reply(&self) -> Option<&str> {
        let replies = &self.args.reply;
        let turn = usize::try_from(self.answered).unwrap_or_default().checked_rem(replies.len())?;
        replies.get(turn).map(String::as_str)
    }
}

fn fill(reply: &str, body: Body) -> Body {
    match body {
        Body::Text(text) => Body::Text(reply.replace("{}", &text).into()),
        Body::Binary(data) => {
            Body::Text(reply.replace("{}", &String::from_utf8_lossy(&data)).into())
        }
        other => other,
    }
}

fn prefixed(prefix: Option<&Text>, body: Body) -> Body {
    let Some(prefix) = prefix else { return body };
    match body {
        Body::Text(text) => Body::Text([prefix.as_str(), &text].concat().into()),
        Body::Binary(data) => Body::Binary([prefix.as_bytes(), &data].concat().into()),
        other => other,
    }
}

impl Sink<Message> for Mirror {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.queued < BACKLOG {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<()> {
        // A Ping has been answered where it arrived; only data is said back.
        if message.is_data() {
            self.queued += weight(&message);
            self.queue.push_back(message);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.ended = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl MessageIo for Mirror {
    fn abort(&mut self, _: &Error) {
        self.ended = true;
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt};

    use super::*;

    #[test]
    fn a_peer_that_does_not_listen_fills_no_memory() {
        for text in ["", "x"] {
            let mut mirror = Mirror::new("", &EchoArgs::default());
            let taken = (0..BACKLOG).take_while(|_| {
                let sent = mirror.feed(Message::text(text)).now_or_never();
                sent.is_some()
            });
            assert!(taken.count() < BACKLOG, "{text:?}");
        }
    }
}
