//! The two ends while a script is played: what arrives is shown at once and kept for the step
//! that waits for it; what the near end says is sent on when the script has nothing more to say.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::end::End;
use crate::duplex::{Body, Message, MessageStream};
use crate::error::{Error, Kind, Result};

pub(super) struct Wire<'a> {
    near: &'a mut MessageStream,
    far: &'a mut MessageStream,
    /// Whether what the near end says is sent on; a script's own words come first.
    pub(super) input: bool,
    /// Whether the near end still wants to hear.
    output: bool,
    /// Whether a near end that no longer listens is no reason to stop.
    deaf_is_fine: bool,
    /// Something was handed to the near end since the last flush.
    unshown: bool,
    outgoing: Option<Message>,
    /// Something was handed to the far end since the last flush.
    unflushed: bool,
    /// The input has said something.
    spoke: bool,
    /// The input has ended, and the far end is to be told.
    ending: bool,
    /// Nothing more can be sent.
    broken: bool,
    inbox: VecDeque<Message>,
    pongs: VecDeque<Bytes>,
    end: Option<End>,
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
            output: true,
            deaf_is_fine,
            unshown: false,
            outgoing: None,
            unflushed: false,
            spoke: false,
            ending: false,
            broken: false,
            inbox: VecDeque::new(),
            pongs: VecDeque::new(),
            end: None,
        }
    }

    /// How the far end has ended, if it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next message that no step has seen.
    pub(super) async fn message(&mut self, until: Option<Instant>) -> Result<Waited<Message>> {
        self.wait(until, |wire| wire.inbox.pop_front()).await
    }

    /// The next Pong that no step has seen.
    pub(super) async fn pong(&mut self, until: Option<Instant>) -> Result<Waited<Bytes>> {
        self.wait(until, |wire| wire.pongs.pop_front()).await
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

    /// Forgets what no step has seen, when no step is left to see it.
    pub(super) fn forget(&mut self) {
        self.inbox.clear();
        self.pongs.clear();
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
            Err(error) if self.broken => return Err(self.last_words(error).await),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Sends a message. What arrives meanwhile is taken in, or two ends that both wait for the
    /// other to read would wait for ever.
    pub(super) async fn send(&mut self, message: Message) -> Result<()> {
        self.flush().await?;
        self.outgoing = Some(message);
        self.flush().await
    }

    /// Whether our direction can end alone.
    pub(super) fn half_closes(&self) -> bool {
        self.far.half_closes()
    }

    /// Ends our direction.
    pub(super) async fn end_output(&mut self) -> Result<()> {
        self.ending = true;
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
                Err(error) if self.broken => return Err(self.last_words(error).await),
                Err(error) => return Err(error),
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
        self.unflushed = true;
    }

    /// A peer that closes while we write makes the write fail; why it closed says more.
    async fn last_words(&mut self, error: Error) -> Error {
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
            Body::Text(_) | Body::Binary(_) => self.inbox.push_back(message),
            Body::Pong(data) => self.pongs.push_back(data),
            Body::Close(close) => self.end = Some(End::Closed(close)),
            Body::Ping(_) => {}
        }
        Ok(())
    }

    /// Hands a message to the near end; it is written out when nothing more is there to read.
    async fn show(&mut self, message: &Message) -> Result<()> {
        if !self.output {
            return Ok(());
        }
        self.unshown = true;
        let shown = self.near.feed(message.clone()).await;
        self.heard(shown)
    }

    fn heard(&mut self, shown: Result<()>) -> Result<()> {
        match shown {
            Err(error) if error.kind() == Kind::ClosedOutput && self.deaf_is_fine => {
                (self.output, self.unshown) = (false, false);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// What the far end says next. Meanwhile the input is sent on, and what was said is written
    /// out.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            if let Poll::Ready(said) = self.poll_far(cx) {
                return Poll::Ready(said);
            }
            if self.poll_send(cx)?.is_pending() || !self.input {
                break;
            }
            match self.near.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => {
                    self.spoke = true;
                    self.outgoing = Some(message?);
                }
                Poll::Ready(None) => {
                    self.input = false;
                    // An input that never said a word has no end to pass on.
                    self.ending = self.spoke && self.far.half_closes();
                }
                Poll::Pending => break,
            }
        }
        // Neither is waited for here: what is to come may be what makes room for it.
        let _ = (self.poll_output(cx)?, self.poll_shown(cx)?);
        Poll::Pending
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
        if self.unflushed {
            let flushed = ready!(self.far.poll_flush_unpin(cx));
            self.sent(flushed)?;
            self.unflushed = false;
        }
        if self.ending {
            let ended = ready!(self.far.poll_close_unpin(cx));
            self.sent(ended)?;
            self.ending = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when another message can be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.outgoing.is_some() {
            let room = ready!(self.far.poll_ready_unpin(cx));
            self.sent(room)?;
        }
        if let Some(message) = self.outgoing.take() {
            let taken = self.far.start_send_unpin(message);
            self.sent(taken)?;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, outcome: Result<()>) -> Result<()> {
        self.broken |= outcome.is_err();
        outcome
    }

    /// Ready when the near end has got all that it was shown.
    fn poll_shown(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.unshown {
            let shown = ready!(self.near.poll_flush_unpin(cx));
            self.heard(shown)?;
            self.unshown = false;
        }
        Poll::Ready(Ok(()))
    }
}
