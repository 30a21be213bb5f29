//! Bytes on their way to the system, and the messages that they are.

use std::collections::VecDeque;

/// What a connection has to send.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How much of `bytes` the system has taken.
    taken: usize,
    /// How much it has taken in all, in bytes.
    total: u64,
    messages: VecDeque<Outgoing>,
    /// How many messages these are.
    waiting: usize,
}

/// Messages of which the system has not taken the last byte.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    /// What the system will have taken in all by then, in bytes.
    end: u64,
    /// When it was due, in nanoseconds.
    pub(super) intended: u64,
    /// When it was made.
    pub(super) made: u64,
    /// How long they are without the frames around them.
    pub(super) payload: usize,
    /// How many messages these are; what is due and made together goes out together.
    pub(super) count: u64,
}

/// So much memory is kept by a connection that has nothing to send, in bytes.
const KEPT: usize = 16 << 10;

impl Outbox {
    /// What is to be sent next.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Where more is put.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many messages the system has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What was put there since the last time is so many messages, of so much payload together.
    pub(super) fn push(&mut self, intended: u64, made: u64, count: usize, payload: usize) {
        let end = self.total + (self.bytes.len() - self.taken) as u64;
        self.waiting += count;
        let count = count as u64;
        if let Some(last) = self.messages.back_mut()
            && (last.intended, last.made) == (intended, made)
        {
            last.end = end;
            last.payload += payload;
            last.count += count;
            return;
        }
        self.messages.push_back(Outgoing { end, intended, made, payload, count });
    }

    /// The system has taken so much; the messages that are sent by that are handed on.
    pub(super) fn take(&mut self, bytes: usize, mut each: impl FnMut(Outgoing)) -> u64 {
        self.taken += bytes;
        self.total += bytes as u64;
        let mut count = 0;
        while let Some(message) = self.messages.pop_front_if(|it| it.end <= self.total) {
            each(message);
            count += message.count;
        }
        self.waiting -= count as usize;
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_with_its_last_byte() {
        let mut outbox = Outbox::default();
        for (text, intended) in [("abc", 1), ("de", 2), ("f", 3)] {
            outbox.end().extend(text.as_bytes());
            outbox.push(intended, 0, 1, text.len());
        }
        let mut sent = Vec::new();
        for (bytes, left) in [(2, "cdef"), (2, "ef"), (2, "")] {
            outbox.take(bytes, |message| sent.push(message.intended));
            sent.push(0);
            assert_eq!(outbox.bytes(), left.as_bytes());
        }
        assert_eq!(sent, [0, 1, 0, 2, 3, 0]);
    }
}
