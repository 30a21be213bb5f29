//! The messages of a connection whose answers have not come yet, in the order of their numbers.

use std::collections::VecDeque;

/// Numbers begin at 0 and have no gaps, so that a place in the queue stands for a number.
#[derive(Default)]
pub(super) struct Pending {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// The number of the first message that the system has not taken.
    unsent: u64,
    /// The number after the highest that was answered.
    answered: u64,
    /// Messages without an answer.
    waiting: usize,
    /// Those that were given up lie below this number.
    given_up: u64,
}

/// A message that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was due, in nanoseconds.
    pub(super) intended: u64,
    /// When the system took it, or, before that, when it was made.
    pub(super) sent: u64,
}

/// So many entries keep their room when none is left.
const KEPT: usize = 64;

/// Stands for the time of a message that has its answer.
const ANSWERED: u64 = u64::MAX;

impl Entry {
    fn is_answered(&self) -> bool {
        self.sent == ANSWERED
    }
}

/// What an answer is one to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To this message; an earlier one may still wait.
    First { entry: Entry, reordered: bool },
    /// To one that has had its answer.
    Duplicate,
    /// To one that was given up.
    Late,
    /// To nothing that was ever sent.
    Unknown,
}

impl Pending {
    /// The number that the next message has.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// So many messages were made.
    pub(super) fn push(&mut self, intended: u64, now: u64, count: usize) {
        self.entries.extend(std::iter::repeat_n(Entry { intended, sent: now }, count));
        self.waiting += count;
    }

    /// How many messages wait for their answers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many messages the system has not taken yet.
    pub(super) fn unsent(&self) -> u64 {
        self.next() - self.unsent
    }

    /// The number of the oldest message without an answer.
    pub(super) fn oldest(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    /// The system has taken the next `count` messages.
    pub(super) fn sent(&mut self, count: u64, now: u64) {
        let upto = self.unsent + count;
        let at = |number: u64| number.saturating_sub(self.first) as usize;
        for entry in self.entries.range_mut(at(self.unsent)..at(upto)) {
            if !entry.is_answered() {
                entry.sent = now;
            }
        }
        self.unsent = upto;
    }

    /// An answer has come to the message of a number.
    #[inline]
    pub(super) fn answer(&mut self, number: u64) -> Answer {
        let Some(at) = number.checked_sub(self.first) else {
            return if number < self.given_up { Answer::Late } else { Answer::Duplicate };
        };
        let Some(entry) = self.entries.get_mut(at as usize) else { return Answer::Unknown };
        if entry.is_answered() {
            return Answer::Duplicate;
        }
        let found = *entry;
        entry.sent = ANSWERED;
        let reordered = number < self.answered;
        self.answered = self.answered.max(number + 1);
        self.waiting -= 1;
        // Only what is answered first makes way.
        if at == 0 {
            self.make_way();
        }
        Answer::First { entry: found, reordered }
    }

    /// Forgets the answered messages before the oldest without an answer.
    #[inline]
    fn make_way(&mut self) {
        while self.entries.pop_front_if(|entry| entry.is_answered()).is_some() {
            self.first += 1;
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = VecDeque::new();
        }
    }

    /// No answer is waited for any more. Those that have none are handed on.
    pub(super) fn give_up(&mut self, mut each: impl FnMut(Entry)) {
        self.first = self.next();
        self.given_up = self.first;
        self.unsent = self.first;
        self.waiting = 0;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().filter(|entry| !entry.is_answered()).for_each(&mut each);
    }

    /// Messages that the system has not taken will never be sent: the connection is gone.
    pub(super) fn take_back(&mut self, mut each: impl FnMut(Entry)) {
        let unsent = self.unsent().min(self.entries.len() as u64) as usize;
        let from = self.entries.len() - unsent;
        for entry in self.entries.drain(from..).filter(|entry| !entry.is_answered()) {
            self.waiting -= 1;
            each(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(count: u64) -> Pending {
        let mut pending = Pending::default();
        for i in 0..count {
            assert_eq!(pending.next(), i);
            pending.push(i * 10, i * 10 + 1, 1);
        }
        pending
    }

    #[test]
    fn answers_in_any_order() {
        let mut pending = pending(4);
        pending.sent(4, 100);
        let mut answer = |number| match pending.answer(number) {
            Answer::First { entry, reordered } => (entry.intended, entry.sent, reordered),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(0), (0, 100, false));
        assert_eq!(answer(2), (20, 100, false));
        assert_eq!(answer(1), (10, 100, true));
        assert_eq!(pending.answer(2), Answer::Duplicate);
        assert_eq!(pending.answer(9), Answer::Unknown);
        assert_eq!((pending.waiting(), pending.oldest()), (1, Some(3)));
    }

    #[test]
    fn what_was_given_up_comes_late() {
        let mut pending = pending(3);
        pending.answer(1);
        let mut lost = Vec::new();
        pending.give_up(|entry| lost.push(entry.intended));
        assert_eq!(lost, [0, 20]);
        assert_eq!(pending.answer(2), Answer::Late);
        assert_eq!((pending.next(), pending.waiting(), pending.unsent()), (3, 0, 0));
    }

    #[test]
    fn what_was_never_sent_is_taken_back() {
        let mut pending = pending(3);
        pending.sent(1, 100);
        assert_eq!((pending.entries[0].sent, pending.unsent()), (100, 2));
        let mut back = Vec::new();
        pending.take_back(|entry| back.push(entry.intended));
        assert_eq!((back, pending.waiting()), (vec![10, 20], 1));
    }
}
