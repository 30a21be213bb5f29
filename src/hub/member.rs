//! A seat in a room, as the far end of a join.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};

use super::room::Room;
use crate::duplex::{Close, Message, MessageIo};
use crate::error::{Error, Kind, Result};
use crate::report;

/// A seat in a room; it is given up when this is dropped.
pub(crate) struct Member {
    room: Arc<Room>,
    id: u64,
    closed: bool,
}

impl Member {
    pub(super) fn new(room: Arc<Room>, id: u64) -> Self {
        Self { room, id, closed: false }
    }

    /// Speaks to all that hear this seat, or to `message.to`; false where that one is not here.
    pub(crate) fn speak(&self, message: Message) -> bool {
        self.room.speak(self.id, message)
    }

    /// Who else is in the room, now and later.
    pub(crate) fn roster(&self) -> Roster {
        Roster(self.room.clone())
    }

    /// As the host, says nothing more and goes on hearing.
    pub(crate) fn fall_silent(&self) {
        self.room.fall_silent();
    }

    /// Shows somebody the door; false where nobody has that name.
    pub(crate) fn remove(&self, name: &str, close: Close) -> bool {
        self.room.remove(name, close)
    }
}

/// A look at who is in a room.
pub(crate) struct Roster(Arc<Room>);

impl Roster {
    /// The names of all but the host, in the order in which they came.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.0.names()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.room.leave(self.id);
    }
}

impl Stream for Member {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.closed {
            return Poll::Ready(None);
        }
        self.room.poll_hear(self.id, cx).map(|message| {
            let message = message?;
            self.closed = !message.is_data();
            Some(Ok(message))
        })
    }
}

impl Sink<Message> for Member {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let room = self.room.poll_room(self.id, cx);
        room.map_err(|close| Error::new(Kind::Closed(close.code), close.reason.as_str()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        if !message.is_data() {
            return Ok(());
        }
        let to = message.to.clone();
        if !self.speak(message)
            && let Some(to) = to
        {
            report::verbose(format_args!("a message for {to} was dropped: nobody has that name"));
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

impl MessageIo for Member {
    fn abort(&mut self, _: &Error) {}

    /// The seat is given up now: the other end may take its time over its own goodbye, and nobody
    /// is to wait for room in the queue of one who hears nothing any more.
    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.room.leave(self.id);
        Poll::Ready(Ok(()))
    }

    /// A room never ends by itself: who stops speaking leaves.
    fn endless(&self) -> bool {
        true
    }
}
