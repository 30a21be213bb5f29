//! What we send: plain frames of messages that shrink become compressed ones, all else stays as it
//! is.

use super::super::head::{self, Head, Part};
use super::codec::Compressor;
use crate::error::Result;

/// How much is compressed at once, in bytes: a message that is longer is sent in several frames,
/// and what the peer says meanwhile is heard.
pub(super) const PIECE: usize = 256 << 10;

/// How much of a message is compressed to see whether it shrinks, in bytes.
const SAMPLE: usize = 64 << 10;

/// How much is gathered before it is written, in bytes.
const ENOUGH: usize = 64 << 10;

/// One direction of a connection.
pub(super) struct Outbound {
    /// `None` compresses nothing.
    compressor: Option<Compressor>,
    state: State,
    message: Message,
    /// The beginning of a head.
    head: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    /// Before the head of a frame.
    Head,
    /// In a frame that stays as it is, of which so much is to come.
    Pass(u64),
    /// In the payload of a frame that becomes one or several compressed ones.
    Payload {
        head: Head,
        /// How much is to come, in bytes.
        left: u64,
    },
}

/// The message that is under way.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    None,
    Plain,
    /// Whether it will be compressed is decided when its beginning has been.
    Undecided,
    Compressed,
}

impl Outbound {
    pub(super) fn new(compressor: Option<Compressor>) -> Self {
        Self { compressor, state: State::Head, message: Message::None, head: Vec::new() }
    }

    /// How many of the next bytes stay as they are, and need not be gathered.
    pub(super) fn passes(&self) -> u64 {
        match self.state {
            State::Pass(left) => left,
            _ => 0,
        }
    }

    /// Says that so many bytes were sent as they are.
    pub(super) fn passed(&mut self, len: usize) {
        if let State::Pass(left) = &mut self.state {
            *left -= len as u64;
            if *left == 0 {
                self.state = State::Head;
            }
        }
    }

    /// Takes of `data` what it can without holding much, appends to `out` what is to be sent of it,
    /// and returns how much it has taken; what it leaves is to be passed on or given again.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::error::Kind::Local): there are no random numbers to mask with.
    pub(super) fn take(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut taken = 0;
        let mut budget = PIECE;
        while taken < data.len() && out.len() < ENOUGH && budget > 0 {
            let rest = &data[taken..];
            taken += match self.state {
                State::Head => self.begin(rest, out),
                State::Pass(left) => {
                    let len = fitting(left, rest.len());
                    if len >= ENOUGH && taken > 0 {
                        break;
                    }
                    out.extend_from_slice(&rest[..len]);
                    self.passed(len);
                    len
                }
                State::Payload { head, left } => {
                    let most = if self.message == Message::Undecided { SAMPLE } else { budget };
                    let len = fitting(left, rest.len()).min(most);
                    budget = budget.saturating_sub(len);
                    self.payload(head, left, &rest[..len], out)?;
                    len
                }
            };
            // There is nothing to wait for in a frame without a payload.
            if let State::Payload { head, left: 0 } = self.state {
                self.payload(head, 0, &[], out)?;
            }
        }
        Ok(taken)
    }

    /// Looks at the head of a frame, once it has come as a whole.
    fn begin(&mut self, data: &[u8], out: &mut Vec<u8>) -> usize {
        let before = self.head.len();
        let found = match before {
            0 => Head::parse(data),
            _ => {
                self.head.extend_from_slice(&data[..data.len().min(head::LONGEST - before)]);
                Head::parse(&self.head)
            }
        };
        let Some((head, len)) = found else {
            if before == 0 {
                self.head.extend_from_slice(data);
            }
            return data.len();
        };
        self.head = Vec::new();
        let shortest = self.compressor.as_ref().map(Compressor::shortest);
        let shrinks = shortest.is_some_and(|shortest| !head.is_last() || head.len >= shortest);
        self.message = match (head.part(), self.message) {
            (Part::Start { .. }, _) if shrinks => Message::Undecided,
            (Part::Start { .. }, _) => Message::Plain,
            (Part::Continuation | Part::Other, it) => it,
        };
        let compresses = matches!(self.message, Message::Undecided | Message::Compressed);
        if compresses && head.part() != Part::Other {
            self.state = State::Payload { head, left: head.len };
        } else {
            self.pass(head, out);
        }
        len - before
    }

    /// Leaves a frame as it is.
    fn pass(&mut self, head: Head, out: &mut Vec<u8>) {
        head.write(out);
        self.state = if head.len > 0 { State::Pass(head.len) } else { State::Head };
    }

    /// Compresses a piece of a payload of which `left` bytes were to come.
    fn payload(&mut self, head: Head, left: u64, piece: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let Some(compressor) = &mut self.compressor else { return Ok(()) };
        let at = head.len - left;
        let left = left - piece.len() as u64;
        let last = head.is_last() && left == 0;
        let mut data = match head.key {
            None => compressor.compress(piece, last),
            Some(key) => {
                let mut bare = piece.to_vec();
                head::mask(&mut bare, key, at);
                compressor.compress(&bare, last)
            }
        };
        if self.message == Message::Undecided && data.len() >= piece.len() {
            compressor.forget();
            self.message = Message::Plain;
            self.pass(head, out);
            out.extend_from_slice(piece);
            self.passed(piece.len());
            return Ok(());
        }
        // A key masks one frame only (RFC 6455 section 5.3); the first one takes that which is there.
        let key = match head.key {
            Some(key) if at == 0 => Some(key),
            Some(_) => Some(head::key()?),
            None => None,
        };
        let opcode = if at == 0 { head.opcode() } else { 0 };
        let sent = Head::new(opcode, last, key, data.len());
        match self.message {
            Message::Undecided => sent.compressed().write(out),
            _ => sent.write(out),
        }
        if let Some(key) = key {
            head::mask(&mut data, key, 0);
        }
        out.extend_from_slice(&data);
        self.state = if left > 0 { State::Payload { head, left } } else { State::Head };
        self.message = if last { Message::None } else { Message::Compressed };
        if last {
            compressor.end();
        }
        Ok(())
    }
}

fn fitting(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}
