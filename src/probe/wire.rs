//! The two ends while a script is played: what arrives is shown at once and kept for the step
//! that waits for it; what the near end says is sent on when the script has nothing more to say.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::end::End;
use super::inbox::Inbox;
use crate::duplex::{Body, Message, MessageStream};
use crate::error::{Error, Kind, Result};

/// How many messages of the input are sent on before others have their turn.
const TURN: usize = 64;

pub(super) struct Wire<'a> {
    near: &'a mut MessageStream,
    far: &'a mut MessageStream,
    /// Whether what the near end says is sent on; a script's own words come first.
    pub(super) input: bool,
    said: Said,
    hearing: Hearing,
    /// Whether a near end that no longer listens is no reason to stop.
    deaf_is_fine: bool,
    sending: Sending,
    inbox: Inbox,
    end: Option<End>,
}

/// What the near end has said.
enum Said {
    Nothing,
    Something,
    /// All that it had to say.
    All,
}

/// How the near end hears.
enum Hearing {
    /// It has got all that was handed to it.
    All,
    /// What was handed to it is to be flushed.
    Behind,
    /// It is gone.
    Nothing,
}

/// What the far end is owed.
enum Sending {
    Nothing,
    Message(Message),
    /// A flush.
    Flush,
    /// The end of our direction.
    End,
    /// Nothing more: it can be sent nothing.
    Broken,
}

/// What a step that waits gets.
pub(super) enum Waited<T> {
    Got(T),
    Ended(End),
    TimedOut,
}

impl<'a> Wire<'a> {
    pub(super) fn new(
        near: &'a mut MessageStream,
        far: &'a mut MessageStream,
        deaf_is_fine: bool,
    ) -> Self {
        Self {
            near,
            far,
            input: false,
            said: Said::Nothing,
            hearing: Hearing::All,
            deaf_is_fine,
            sending: Sending::Nothing,
            inbox: Inbox::default(),
            end: None,
        }
    }

    /// How the far end has ended, if it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next message that no step has seen.
    pub(super) async fn message(&mut self, until: Option<Instant>) -> Result<Waited<Message>> {
        self.wait(until, |wire| wire.inbox.pop()).await
    }

    /// The next Pong that no step has seen.
    pub(super) async fn pong(&mut self, until: Option<Instant>) -> Result<Waited<Bytes>> {
        self.wait(until, |wire| wire.inbox.pongs.pop_front()).await
    }

    /// Waits until `find` does, the far end ends or time is up. What had arrived by then counts.
    async fn wait<T>(
        &mut self,
        until: Option<Instant>,
        mut find: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Waited<T>> {
        loop {
            if let Some(found) = find(self) {
                return Ok(Waited::Got(found));
            }
            if let Some(end) = &self.end {
                return Ok(Waited::Ended(end.clone()));
            }
            if !self.pull(until).await? {
                return Ok(Waited::TimedOut);
            }
        }
    }

    /// Whether so much waits for a step that no more is to be taken in.
    pub(super) fn is_full(&self) -> bool {
        self.inbox.is_full()
    }

    /// Forgets what no step has seen, when no step is left to see it.
    pub(super) fn forget(&mut self) {
        self.inbox = Inbox::default();
    }

    /// Waits for one thing to arrive; false if time is up. Not to be called after the end.
    pub(super) async fn pull(&mut self, until: Option<Instant>) -> Result<bool> {
        let turn = poll_fn(|cx| self.poll_turn(cx));
        let said = match until {
            None => turn.await,
            Some(until) => match timeout_at(until, turn).await {
                Ok(said) => said,
                Err(_) => return Ok(false),
            },
        };
        match said {
            Ok(said) => self.take(said).await?,
            Err(error) => return Err(self.last_words(error).await),
        }
        Ok(true)
    }

    /// Sends a message. What arrives meanwhile is taken in, or two ends that both wait for the
    /// other to read would wait for ever.
    pub(super) async fn send(&mut self, message: Message) -> Result<()> {
        self.flush().await?;
        self.sending = Sending::Message(message);
        self.flush().await
    }

    /// Whether our direction can end alone.
    pub(super) fn half_closes(&self) -> bool {
        self.far.half_closes()
    }

    /// Ends our direction.
    pub(super) async fn end_output(&mut self) -> Result<()> {
        self.flush().await?;
        self.sending = Sending::End;
        self.flush().await
    }

    /// Writes out what is waiting to be sent.
    async fn flush(&mut self) -> Result<()> {
        loop {
            let said = poll_fn(|cx| {
                if self.poll_output(cx)?.is_ready() {
                    return Poll::Ready(Ok(None));
                }
                match self.end {
                    None => self.poll_far(cx).map_ok(Some),
                    Some(_) => Poll::Pending,
                }
            });
            match said.await {
                Ok(None) => return Ok(()),
                Ok(Some(said)) => self.take(said).await?,
                Err(error) => return Err(self.last_words(error).await),
            }
        }
    }

    /// Writes out what both ends have yet to get.
    pub(super) async fn settle(&mut self) -> Result<()> {
        self.flush().await?;
        self.shown().await
    }

    /// Writes out what the near end has yet to get.
    pub(super) async fn shown(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_shown(cx)).await
    }

    /// Ends the connection politely, as far as the peer plays along.
    pub(super) async fn goodbye(&mut self, closing: bool) {
        // Our Close has been sent: what is still on its way counts until the peer's.
        while closing && self.end.is_none() {
            if self.pull(None).await.is_err() {
                return;
            }
        }
        if self.far.close().await.is_ok() {
            // The script has its result; how the goodbye goes does not change it.
            let _ = poll_fn(|cx| self.far.poll_finish(cx)).await;
        }
    }

    /// Says that the run was stopped from outside.
    pub(super) fn abort(&mut self, why: &Error) {
        self.far.abort(why);
        self.sending = Sending::Flush;
    }

    /// A peer that closes while we write makes the write fail; why it closed says more.
    async fn last_words(&mut self, error: Error) -> Error {
        if !matches!(self.sending, Sending::Broken) {
            return error;
        }
        while self.end.is_none() {
            let said = poll_fn(|cx| match self.poll_far(cx) {
                Poll::Ready(Ok(said)) => Poll::Ready(Some(said)),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
            });
            let Some(said) = said.await else { return error };
            if let Err(error) = self.take(said).await {
                return error;
            }
        }
        self.end.as_ref().map_or(error, End::error)
    }

    async fn take(&mut self, said: Option<Message>) -> Result<()> {
        let Some(message) = said else {
            if self.end.is_none() {
                self.end = Some(End::Eof);
            }
            return Ok(());
        };
        self.show(&message).await?;
        match message.body {
            Body::Text(_) | Body::Binary(_) => self.inbox.push(message),
            Body::Pong(data) => self.inbox.pongs.push_back(data),
            Body::Close(close) => self.end = Some(End::Closed(close)),
            Body::Ping(_) => {}
        }
        Ok(())
    }

    /// Hands a message to the near end; it is written out when nothing more is there to read.
    async fn show(&mut self, message: &Message) -> Result<()> {
        if matches!(self.hearing, Hearing::Nothing) {
            return Ok(());
        }
        self.hearing = Hearing::Behind;
        let shown = self.near.feed(message.clone()).await;
        self.heard(shown)
    }

    fn heard(&mut self, shown: Result<()>) -> Result<()> {
        match shown {
            Err(error) if error.kind() == Kind::ClosedOutput && self.deaf_is_fine => {
                self.hearing = Hearing::Nothing;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// What the far end says next. Meanwhile the input is sent on, and what was said is written
    /// out.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        for turn in 0.. {
            if let Poll::Ready(said) = self.poll_far(cx) {
                return Poll::Ready(said);
            }
            if turn == TURN {
                cx.waker().wake_by_ref();
                break;
            }
            if self.poll_send(cx)?.is_pending() || self.poll_input(cx)?.is_pending() {
                break;
            }
        }
        // Neither is waited for here: what is to come may be what makes room for it.
        let _ = (self.poll_output(cx)?, self.poll_shown(cx)?);
        Poll::Pending
    }

    /// Ready when the input has said something that is to be sent on.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.input || matches!(self.said, Said::All) {
            return Poll::Pending;
        }
        match ready!(self.near.poll_next_unpin(cx)).transpose()? {
            Some(message) => {
                self.said = Said::Something;
                self.sending = Sending::Message(message);
                Poll::Ready(Ok(()))
            }
            None => {
                // An input that never said a word has no end to pass on.
                if matches!(self.said, Said::Something) && self.far.half_closes() {
                    self.sending = Sending::End;
                }
                self.said = Said::All;
                Poll::Pending
            }
        }
    }

    /// What the far end says; a lost connection is one way to end.
    fn poll_far(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        match ready!(self.far.poll_next_unpin(cx)) {
            Some(Err(error)) if error.kind() == Kind::Lost => {
                self.end = Some(End::Lost(error));
                Poll::Ready(Ok(None))
            }
            said => Poll::Ready(said.transpose()),
        }
    }

    /// Ready when all that was to be sent is written out.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send(cx))?;
        let written = match self.sending {
            Sending::Flush => ready!(self.far.poll_flush_unpin(cx)),
            Sending::End => ready!(self.far.poll_close_unpin(cx)),
            Sending::Nothing | Sending::Message(_) | Sending::Broken => return Poll::Ready(Ok(())),
        };
        Poll::Ready(self.sent(written, Sending::Nothing))
    }

    /// Ready when another message can be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Sending::Message(message) = &self.sending else { return Poll::Ready(Ok(())) };
        let room = ready!(self.far.poll_ready_unpin(cx));
        let taken = room.and_then(|()| self.far.start_send_unpin(message.clone()));
        Poll::Ready(self.sent(taken, Sending::Flush))
    }

    /// Goes on to `next` if the far end could be written to.
    fn sent(&mut self, outcome: Result<()>, next: Sending) -> Result<()> {
        self.sending = if outcome.is_ok() { next } else { Sending::Broken };
        outcome
    }

    /// Ready when the near end has got all that it was shown.
    fn poll_shown(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if matches!(self.hearing, Hearing::Behind) {
            let shown = ready!(self.near.poll_flush_unpin(cx));
            self.hearing = Hearing::All;
            self.heard(shown)?;
        }
        Poll::Ready(Ok(()))
    }
}
