//! One SSH channel as a byte stream.
//!
//! russh hands what arrives for all channels of a session over one by one, and waits where a
//! channel does not take its share; and it leaves a writer waiting for ever whose channel or
//! session has gone. So every channel has a task that owns it. The task always takes what arrives,
//! gives up a write as soon as nobody waits for it any more, and tells an end from a loss.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use russh::{ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, PollSender};

use super::{Load, Share, Waiting};
use crate::duplex::{Close, Io};
use crate::endpoint::pass_on_lines;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;

/// How much may wait for a reader that has the session to itself, in bytes. Beyond it the session
/// is not read, so that the peer has to wait, too; unless a write of ours waits for the peer, whose
/// leave to go on may be behind all this.
pub(super) const ENOUGH: usize = 1 << 20;

/// How much may wait for a reader in any case, in bytes. Beyond it a channel that shares the session
/// is closed: others must not wait for it, nor memory grow with it. More than a window, so that a
/// server has the time to close that.
const TOO_MUCH: usize = 32 << 20;

/// The longest piece of one write, in bytes. russh cuts it into packets.
const PIECE: usize = 64 << 10;

/// How long a command may take to say how it ended, after its output has ended.
const EXIT: Duration = Duration::from_secs(1);

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

/// What has arrived for a channel and is not read yet.
struct Inbox {
    state: Mutex<State>,
    /// Something was taken out.
    room: Notify,
    /// What is still to be said to a forward does not matter any more.
    reset: CancellationToken,
}

struct State {
    waiting: VecDeque<Bytes>,
    size: Waiting,
    /// How the peer's direction has ended.
    end: Option<Result<()>>,
    /// How the command on the far side has ended.
    exit: Option<Result<()>>,
    /// How our end has, once it has; what was said before is said first.
    finish: Option<Result<()>>,
    /// Whether the peer has closed the channel, or is gone.
    closed: bool,
    reader: Option<Waker>,
    /// Who waits for the channel to be closed.
    watcher: Option<Waker>,
}

impl Inbox {
    fn new(load: &Load) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            size: load.waiting(),
            end: None,
            exit: None,
            finish: None,
            closed: false,
            reader: None,
            watcher: None,
        };
        Self { state: Mutex::new(state), room: Notify::new(), reset: CancellationToken::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state and wakes whoever may wait for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let wakers = [state.reader.take(), state.watcher.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn put(&self, bytes: Bytes) {
        self.change(|state| {
            state.add(bytes);
        });
    }

    fn end(&self, how: Result<()>) {
        self.change(|state| {
            state.end.get_or_insert(how);
        });
    }
}

impl State {
    fn add(&mut self, bytes: Bytes) {
        self.size.set(self.size.bytes + bytes.len());
        self.waiting.push_back(bytes);
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.size.set(0);
    }
}

/// The task of a channel.
struct Owner {
    inbox: Arc<Inbox>,
    role: Role,
    who: String,
    share: Share,
    closed: CancellationToken,
    /// Whether a write waits for the peer.
    writing: watch::Sender<bool>,
    /// Where the lines of the far side's stderr are put together.
    complaints: Mutex<Option<DuplexStream>>,
}

impl Owner {
    async fn run<S>(
        self,
        mut reads: ChannelReadHalf,
        writes: ChannelWriteHalf<S>,
        mut outbox: mpsc::Receiver<Out>,
    ) where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        let hear = self.hear(&mut reads);
        let say = self.say(&writes, &mut outbox);
        let mut hear = pin!(hear);
        tokio::select! {
            // All that arrived counts, even where our own last words could not be said any more.
            () = &mut hear => {}
            () = say => {
                // The side that says Close first would keep the channel in russh's books.
                let _ = tokio::time::timeout(Close::PATIENCE, hear).await;
            }
        }
        outbox.close();
        if !self.closed.is_cancelled() {
            let _ = writes.close().await;
        }
        self.inbox.change(|state| {
            state.closed = true;
            let lost = || Error::new(Kind::Lost, "the SSH session was lost");
            state.end.get_or_insert_with(|| Err(lost()));
        });
    }

    /// Takes what arrives until the channel is closed or the session is lost.
    async fn hear(&self, reads: &mut ChannelReadHalf) {
        let mut exit_by = None;
        loop {
            let late = async {
                match exit_by {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                message = reads.wait() => message,
                () = late => {
                    exit_by = None;
                    self.inbox.end(Ok(()));
                    continue;
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    self.inbox.put(data);
                    if self.wait_for_room().await.is_err() {
                        return;
                    }
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.complain(&data).await,
                Some(ChannelMsg::Eof) if self.role == Role::Command => {
                    exit_by = Some(Instant::now() + EXIT);
                }
                Some(ChannelMsg::Eof) => self.inbox.end(Ok(())),
                Some(ChannelMsg::ExitStatus { exit_status: 0 }) => self.exited(Ok(())),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    self.exited(Err(Error::exit(exit_status)));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    let what = format!("ended by signal {}", name(&signal_name));
                    self.exited(Err(Error::new(Kind::Local, what)));
                }
                Some(ChannelMsg::Close) => {
                    self.closed.cancel();
                    let exit = self.inbox.state().exit.clone();
                    return self.inbox.end(exit.unwrap_or(Ok(())));
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn exited(&self, how: Result<()>) {
        self.inbox.change(|state| {
            state.exit.get_or_insert(how);
        });
    }

    /// Waits where too much waits for the reader.
    ///
    /// # Errors
    /// The channel has to be given up.
    async fn wait_for_room(&self) -> Result<(), ()> {
        let size = || self.inbox.state().size.bytes;
        let mut channels = self.share.others();
        let mut writing = self.writing.subscribe();
        while *channels.borrow_and_update() == 1 {
            let most = if *writing.borrow_and_update() { TOO_MUCH } else { ENOUGH };
            if size() <= most {
                break;
            }
            tokio::select! {
                () = self.inbox.room.notified() => {}
                _ = channels.changed() => {}
                _ = writing.changed() => {}
                () = self.closed.cancelled() => return Err(()),
            }
        }
        if size() <= TOO_MUCH {
            return Ok(());
        }
        let what = format!(
            "{} MiB were waiting to be read, and other channels share the SSH session",
            TOO_MUCH >> 20
        );
        self.inbox.change(|state| {
            state.forget();
            state.end = Some(Err(Error::new(Kind::Lost, what)));
        });
        Err(())
    }

    /// Does what is asked of the channel, until there is nothing more to ask.
    async fn say<S>(&self, writes: &ChannelWriteHalf<S>, outbox: &mut mpsc::Receiver<Out>)
    where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        let mut ended = tokio::select! {
            ended = self.pass_on(writes, outbox) => ended,
            // What was said before the failure still counts, if the peer takes it.
            () = async {
                self.inbox.reset.cancelled().await;
                sleep(Close::PATIENCE).await;
            } => false,
        };
        let finish = self.inbox.state().finish.clone();
        match finish {
            Some(how) if self.role == Role::User => {
                self.tell(how, writes).await;
                // A client that reads its own terminal never closes first.
                ended = false;
            }
            Some(Ok(())) if !ended => ended = writes.eof().await.is_ok(),
            _ => {}
        }
        // Without an end on both sides this is an abort, and the peer is told at once.
        if !ended || self.inbox.state().end.is_none() {
            let _ = writes.close().await;
            self.closed.cancel();
        }
    }

    /// Says what is in the outbox, to its end; true if our direction has ended with it.
    async fn pass_on<S>(
        &self,
        writes: &ChannelWriteHalf<S>,
        outbox: &mut mpsc::Receiver<Out>,
    ) -> bool
    where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        let mut ended = false;
        while let Some(word) = outbox.recv().await {
            let said = match word {
                Out::Data(bytes) => {
                    self.writing.send_replace(true);
                    let said = writes.data_bytes(bytes).await;
                    self.writing.send_replace(false);
                    said
                }
                Out::End => {
                    ended = true;
                    // The user of a command is told how it went before anything else.
                    match self.role {
                        Role::User => Ok(()),
                        Role::Forward | Role::Command => writes.eof().await,
                    }
                }
                Out::Resize(size) => writes.window_change(size.columns, size.rows, 0, 0).await,
            };
            if said.is_err() {
                return false;
            }
        }
        ended
    }

    /// Tells the user of a command how it went: as a program does, which says why on stderr.
    async fn tell<S>(&self, how: Result<()>, writes: &ChannelWriteHalf<S>)
    where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        let status = match &how {
            Ok(()) => 0,
            Err(why) => match why.exit_status() {
                Some(status) => status,
                None => {
                    let line = format!("{}\r\n", why.what());
                    let _ = writes.extended_data_bytes(1, line.into_bytes()).await;
                    1
                }
            },
        };
        let _ = writes.eof().await;
        let _ = writes.exit_status(status).await;
    }

    /// Passes on what the far side says on its stderr.
    async fn complain(&self, data: &[u8]) {
        const LONGEST: usize = 8 << 10;
        let mut pipe = lock(&self.complaints).take();
        let pipe_end = pipe.get_or_insert_with(|| {
            let (ours, theirs) = tokio::io::duplex(LONGEST);
            tokio::spawn(pass_on_lines(theirs, self.who.clone()));
            ours
        });
        let _ = pipe_end.write_all(data).await;
        *lock(&self.complaints) = pipe;
    }
}

fn name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
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
}
