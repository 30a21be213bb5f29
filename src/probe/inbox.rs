//! What has arrived and no step has seen.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::duplex::Message;

/// Messages and Pongs that wait for a step.
#[derive(Default)]
pub(super) struct Inbox {
    messages: VecDeque<Message>,
    /// How many bytes the messages take.
    held: usize,
    pub(super) pongs: VecDeque<Bytes>,
}

impl Inbox {
    /// How many bytes may wait before a `--sleep` leaves the rest with the peer.
    const ENOUGH: usize = 64 << 20;

    pub(super) fn push(&mut self, message: Message) {
        self.held += held(&message);
        self.messages.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.held -= held(&message);
        Some(message)
    }

    pub(super) fn is_full(&self) -> bool {
        self.held >= Self::ENOUGH
    }
}

/// What a message takes; an empty one is not free either.
fn held(message: &Message) -> usize {
    size_of::<Message>() + message.payload().len()
}
