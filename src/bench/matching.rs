//! Which message an answer is one to.

use std::str::FromStr;

use memchr::memmem;
use serde_json::Value;

use super::pending::Pending;
use super::stamp::{self, Stamp};

/// How an answer is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// By the stamp of its message, wherever it stands in the answer.
    Stamp,
    /// By the order: each answer is to the oldest message without one.
    #[default]
    Order,
    /// By the sequence number at a JSON pointer (RFC 6901).
    Json(String),
}

impl Matching {
    /// Its name in reports.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stamp => "stamp".into(),
            Self::Order => "order".into(),
            Self::Json(pointer) => format!("json:{pointer}"),
        }
    }
}

impl FromStr for Matching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("stamp", "") => Ok(Self::Stamp),
            ("order", "") => Ok(Self::Order),
            ("json", pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                Ok(Self::Json(pointer.to_owned()))
            }
            ("json", _) => Err("a JSON pointer begins with a slash, as json:/id".into()),
            _ => Err("one of stamp, order, json:/POINTER".into()),
        }
    }
}

/// Finds the numbers of the messages that answers are to.
#[derive(Default)]
pub(super) struct Finder {
    /// Where the last answer had its stamp. A server that says something of its own before what it
    /// was told mostly says the same again.
    at: usize,
}

impl Finder {
    /// The number of the message to which `answer` is one; None if it is to none of these.
    #[inline]
    pub(super) fn find(
        &mut self,
        how: &Matching,
        connection: u32,
        pending: &Pending,
        answer: &[u8],
    ) -> Option<u64> {
        match how {
            Matching::Order => pending.oldest(),
            Matching::Stamp => {
                // Most answers are to the oldest message. To know its stamp again takes less than to
                // read one.
                let oldest = pending.oldest().unwrap_or_default();
                let stamp = Stamp { connection, sequence: oldest }.to_hex();
                let at = answer.get(self.at..).and_then(|answer| answer.first_chunk());
                if at == Some(&stamp) {
                    return Some(oldest);
                }
                self.search(connection, &stamp, answer)
            }
            Matching::Json(pointer) => number(pointer, answer),
        }
    }

    /// Reads a stamp where the last one stood, or looks for it.
    #[inline(never)] // So that what finds most answers stays small.
    fn search(&mut self, connection: u32, like: &[u8], answer: &[u8]) -> Option<u64> {
        let read = |at: usize| {
            let stamp = Stamp::read(answer.get(at..)?)?;
            (stamp.connection == connection).then_some(stamp.sequence)
        };
        if let Some(sequence) = read(self.at) {
            return Some(sequence);
        }
        // All stamps of a connection begin with the same digits.
        let mut places = memmem::find_iter(answer, &like[..5]);
        let (at, sequence) = places.find_map(|at| Some((at, read(at)?)))?;
        self.at = at;
        Some(sequence)
    }
}

/// The number at a JSON pointer.
fn number(pointer: &str, answer: &[u8]) -> Option<u64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    match answer.pointer(pointer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What is known of the messages of one publisher, as one subscriber has them.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// The number after the highest that has come.
    next: u64,
    /// Which of the 64 before it have come, the highest first.
    before: u64,
}

/// What a message is to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    /// New, though a later one was here before.
    Reordered,
    Duplicate,
}

impl Seen {
    /// Takes down that a message has come. What comes more than 64 messages late counts as new.
    pub(super) fn add(&mut self, number: u64) -> Novelty {
        if number >= self.next {
            let ahead = number + 1 - self.next;
            self.before = if ahead >= 64 { 0 } else { self.before << ahead };
            self.before |= 1;
            self.next = number + 1;
            return Novelty::New;
        }
        let behind = self.next - 1 - number;
        let Some(bit) = u32::try_from(behind).ok().and_then(|behind| 1u64.checked_shl(behind))
        else {
            return Novelty::Reordered;
        };
        match self.before & bit {
            0 => {
                self.before |= bit;
                Novelty::Reordered
            }
            _ => Novelty::Duplicate,
        }
    }
}

/// The stamp and the time of a message that somebody else has sent, wherever they stand in it.
pub(super) fn published(at: &mut usize, message: &[u8]) -> Option<(Stamp, u64)> {
    let read = |at: usize| {
        let time = stamp::value(message.get(at + stamp::LEN..)?)?;
        Some((Stamp::read(&message[at..])?, time))
    };
    if let Some(found) = read(*at) {
        return Some(found);
    }
    let places = 0..message.len().saturating_sub(2 * stamp::LEN - 1);
    let (found_at, found) = places.into_iter().find_map(|at| Some((at, read(at)?)))?;
    *at = found_at;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(count: u64) -> Pending {
        let mut pending = Pending::default();
        (0..count).for_each(|i| pending.push(i, i, 1));
        pending
    }

    #[test]
    fn a_stamp_is_found_wherever_it_stands() {
        let mut finder = Finder::default();
        let pending = pending(3);
        let mut find = |connection, answer: &str| {
            finder.find(&Matching::Stamp, connection, &pending, answer.as_bytes())
        };
        let stamp = |connection, sequence| {
            String::from_utf8(Stamp { connection, sequence }.to_hex().to_vec()).unwrap()
        };
        assert_eq!(find(7, &stamp(7, 0)), Some(0));
        assert_eq!(find(7, &format!("Server received from client: {}", stamp(7, 2))), Some(2));
        assert_eq!(find(7, &format!("Server received from client: {}", stamp(7, 1))), Some(1));
        assert_eq!(find(7, &stamp(7, 1)), Some(1));
        assert_eq!(find(7, &stamp(8, 1)), None);
        assert_eq!(find(7, "nothing"), None);
    }

    #[test]
    fn a_number_is_found_in_json() {
        let how = "json:/result/id".parse().unwrap();
        let find = |answer: &str| Finder::default().find(&how, 0, &pending(1), answer.as_bytes());
        assert_eq!(find(r#"{"result":{"id":5}}"#), Some(5));
        assert_eq!(find(r#"{"result":{"id":"6"}}"#), Some(6));
        assert_eq!(find(r#"{"id":5}"#), None);
        assert_eq!(find("{"), None);
        assert!("json:id".parse::<Matching>().is_err());
    }

    #[test]
    fn what_came_before_is_remembered() {
        let mut seen = Seen::default();
        let mut add = |number| seen.add(number);
        assert_eq!([add(0), add(1), add(3), add(2)].map(|it| it as u8), [0, 0, 0, 1]);
        assert_eq!([add(3), add(2), add(0), add(4)].map(|it| it as u8), [2, 2, 2, 0]);
        assert_eq!([add(200), add(137), add(137), add(136)].map(|it| it as u8), [0, 1, 2, 1]);
    }

    #[test]
    fn what_was_published_is_found() {
        let stamp = Stamp { connection: 1, sequence: 2 };
        let said = [b"chat: ".as_slice(), &stamp.to_hex(), &stamp::hex(99), b"."].concat();
        let mut at = 0;
        assert_eq!(published(&mut at, &said), Some((stamp, 99)));
        assert_eq!(at, 6);
        assert_eq!(published(&mut at, b"hello"), None);
    }
}
