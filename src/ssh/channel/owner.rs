//! The task that owns a channel.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::{ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::{Out, Role};
use crate::duplex::Close;
use crate::endpoint::pass_on_lines;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::ssh::{Company, Share, WINDOW};

/// How much may wait for a reader that has the session to itself, in bytes. Beyond it the session
/// is not read, so that the peer has to wait, too; unless a write of ours waits for the peer.
pub(in crate::ssh) const ENOUGH: usize = 1 << 20;

/// How much may wait for a reader in any case, in bytes. Several windows: russh gives the peer leave
/// to send more as soon as it has received something, whether anybody reads that or not.
const TOO_MUCH: usize = 32 << 20;

/// How often a message more is taken where a write of ours waits: the peer's leave to go on may be
/// behind it. A peer that has next to no leave itself must not be kept busy by that.
const TICK: Duration = Duration::from_millis(5);

/// How long other channels wait for a reader that is behind by [`TOO_MUCH`] to take a window of it.
/// One that takes longer is closed.
const MOMENT: Duration = Duration::from_secs(2);

/// How long channels that may be about to open wait for it to take anything.
const STALL: Duration = Duration::from_secs(10);

/// How long a command may take to say how it ended, after its output has ended.
const EXIT: Duration = Duration::from_secs(1);

/// The task of a channel.
pub(super) struct Owner {
    pub(super) inbox: Arc<Inbox>,
    pub(super) role: Role,
    pub(super) who: String,
    pub(super) share: Share,
    pub(super) closed: CancellationToken,
    /// Whether a write waits for the peer.
    pub(super) writing: watch::Sender<bool>,
    /// Where the lines of the far side's stderr are put together.
    pub(super) complaints: Mutex<Option<DuplexStream>>,
}

impl Owner {
    pub(super) async fn run<S>(
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
                // The side that says Close first keeps the channel in russh's books.
                let leads = self.role == Role::Forward && self.share.leads();
                let patience = if leads { Duration::ZERO } else { Close::PATIENCE };
                let _ = tokio::time::timeout(patience, hear).await;
            }
        }
        outbox.close();
        self.close(&writes).await;
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
                    None => pending().await,
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

    /// Waits where too much waits for the reader. What comes for others waits meanwhile, so the
    /// reader has to be quicker the surer it is that there are any.
    ///
    /// # Errors
    /// The channel has to be given up.
    async fn wait_for_room(&self) -> Result<(), ()> {
        let size = || self.inbox.state().size.bytes;
        if size() <= ENOUGH {
            return Ok(());
        }
        let since = Instant::now();
        let mut company = self.share.company();
        let mut writes = self.writing.subscribe();
        let mut waited = false;
        loop {
            let Company { channels, expects } = *company.borrow_and_update();
            let writing = *writes.borrow_and_update();
            // How much may wait here, and how long whoever is behind it waits.
            let (most, patience) = match channels {
                2.. if waited => (TOO_MUCH - WINDOW as usize, Some(MOMENT)),
                2.. => (TOO_MUCH, Some(MOMENT)),
                _ if expects => (TOO_MUCH, Some(STALL)),
                _ if writing && size() <= TOO_MUCH => (ENOUGH, Some(TICK)),
                _ => (ENOUGH, None),
            };
            if size() <= most {
                return Ok(());
            }
            let late = async {
                match patience {
                    Some(patience) => sleep_until(since + patience).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.inbox.room.notified() => {}
                _ = company.changed() => {}
                _ = writes.changed() => {}
                () = self.closed.cancelled() => return Err(()),
                () = late => match most {
                    ENOUGH => return Ok(()),
                    _ => break,
                },
            }
            waited = true;
        }
        let what = format!(
            "{} MiB were waiting to be read, and others wait for the SSH session",
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
            self.close(writes).await;
        }
    }

    /// Says Close, if neither side has yet.
    async fn close<S>(&self, writes: &ChannelWriteHalf<S>)
    where
        S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
    {
        if !self.closed.is_cancelled() {
            self.share.close_first();
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
