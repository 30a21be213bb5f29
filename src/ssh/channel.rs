//! One SSH channel as a byte stream.
//!
//! russh hands what arrives for all channels of a session over one by one, and waits where a
//! channel does not take its share; and it leaves a writer waiting for ever whose channel or
//! session has gone. So every channel has a task that owns it. The task always takes what arrives,
//! gives up a write as soon as nobody waits for it any more, and tells an end from a loss.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::{ChannelId, ChannelMsg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, PollSender};

use super::Load;
use crate::duplex::{Close, Io};
use crate::error::{Error, Result};

mod inbox;
mod owner;

use inbox::Inbox;
pub(super) use owner::ENOUGH;
use owner::Owner;

/// The longest piece of one write, in bytes. russh cuts it into packets.
const PIECE: usize = 64 << 10;

/// What is at the other end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A connection that the peer forwards.
    Forward,
    /// A command that the peer runs for us.
    Command,
    /// The user of a command, which is us.
    User,
}

/// An open channel.
pub(crate) struct Channel {
    role: Role,
    inbox: Arc<Inbox>,
    outbox: PollSender<Out>,
    said_end: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

/// What the owner is asked to do.
enum Out {
    Data(Bytes),
    /// Our direction has ended.
    End,
    Resize(Size),
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

/// A terminal, as the programs on it see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// As in the variable TERM.
    pub(crate) kind: String,
    pub(crate) size: Size,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { kind: "xterm".to_owned(), size: Size { columns: 80, rows: 24 } }
    }
}

/// Asks the owner of a channel for what is not data.
#[derive(Clone)]
pub(crate) struct Remote(mpsc::WeakSender<Out>);

impl Remote {
    /// Tells the far side the size of our terminal.
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) async fn resize(&self, size: Size) -> Result<(), ()> {
        let sender = self.0.upgrade().ok_or(())?;
        sender.send(Out::Resize(size)).await.map_err(drop)
    }
}

impl Channel {
    /// Gives a channel to a task of its own.
    pub(super) fn new<S>(channel: russh::Channel<S>, role: Role, who: &str, load: &Load) -> Self
    where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        let (sender, outbox) = mpsc::channel(4);
        let inbox = Arc::new(Inbox::new(load));
        let (reads, writes) = channel.split();
        let owner = Owner {
            inbox: inbox.clone(),
            role,
            who: who.to_owned(),
            share: load.share(),
            closed: CancellationToken::new(),
            writing: watch::Sender::new(false),
            complaints: Mutex::default(),
        };
        tokio::spawn(owner.run(reads, writes, outbox));
        Self { role, inbox, outbox: PollSender::new(sender), said_end: false, patience: None }
    }

    /// What can be asked of the far side besides reading and writing.
    pub(crate) fn remote(&self) -> Option<Remote> {
        self.outbox.get_ref().map(|sender| Remote(sender.downgrade()))
    }

    /// Says how our end has ended, if it has not said so before.
    fn finish(&mut self, how: Result<()>) {
        let failed = how.is_err();
        self.inbox.state().finish.get_or_insert(how);
        if failed && self.role != Role::User {
            self.inbox.reset.cancel();
        }
        self.outbox.close();
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.inbox.state();
        let mut taken = 0;
        while let Some(first) = state.waiting.front_mut() {
            let fits = first.len().min(buf.remaining());
            if fits == 0 {
                break;
            }
            buf.put_slice(&first[..fits]);
            first.advance(fits);
            if first.is_empty() {
                state.waiting.pop_front();
            }
            taken += fits;
        }
        if taken > 0 || buf.remaining() == 0 {
            let left = state.size.bytes - taken;
            state.size.set(left);
            drop(state);
            self.inbox.room.notify_one();
            return Poll::Ready(Ok(()));
        }
        match &state.end {
            Some(end) => Poll::Ready(end.clone().map_err(Into::into)),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.outbox.poll_reserve(cx)).map_err(|_| closed())?;
        let piece = &buf[..buf.len().min(PIECE)];
        let sent = self.outbox.send_item(Out::Data(Bytes::copy_from_slice(piece)));
        Poll::Ready(sent.map(|()| piece.len()).map_err(|_| closed()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_end {
            // A channel that is closed has ended, too.
            if ready!(self.outbox.poll_reserve(cx)).is_ok() {
                let _ = self.outbox.send_item(Out::End);
            }
            self.said_end = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Io for Channel {
    fn abort(&mut self, why: &Error) {
        self.said_end = true;
        self.finish(Err(why.clone()));
    }

    /// Waits for the peer's Close, which says that it has got everything; or for how its command
    /// has ended.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.finish(Ok(()));
        let mut state = self.inbox.state();
        if state.closed {
            return Poll::Ready(state.exit.clone().unwrap_or(Ok(())));
        }
        state.watcher = Some(cx.waker().clone());
        // What nobody reads must not keep the session from being read.
        state.forget();
        drop(state);
        self.inbox.room.notify_one();
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(Close::PATIENCE)));
        patience.as_mut().poll(cx).map(Ok)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        let mut state = self.inbox.state();
        if state.closed {
            let exit = state.exit.clone().unwrap_or(Ok(()));
            return Poll::Ready(exit.map(|()| Close::new(1000, "")));
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }
    fn check(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.inbox.state().end.clone().unwrap_or(Ok(()))
    }
}
