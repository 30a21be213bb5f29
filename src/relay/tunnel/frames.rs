//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), without holding any.

use crate::duplex::{Close, Message};

/// What may still come of a header before its first byte: the longest one.
const START: u8 = 14;
/// The same before its second byte.
const SECOND: u8 = START - 1;
/// After a Close. Nothing that follows counts.
const CLOSED: u8 = u8::MAX;

// Bits of `Tracker::frame`.
const FINAL: u8 = 1;
const CONTROL: u8 = 1 << 1;
const CLOSE: u8 = 1 << 2;
const MASKED: u8 = 1 << 3;
/// A message has begun and not ended; control frames may stand between its frames.
const FRAGMENTED: u8 = 1 << 4;

/// Follows the frames of one direction through reads that end anywhere.
///
/// There are two of them for every open WebSocket, so it is packed by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// The length of the payload as far as the header has told it; then what is left of it.
    left: u64,
    /// The length of the message so far, up to 4 GiB. In a Close, how much of its code was seen.
    message: u32,
    /// Two bytes of the mask, then those of a Close's code.
    code: [u8; 2],
    /// What is still to come of the header: 0 in a payload.
    ahead: u8,
    frame: u8,
}

const _: () = assert!(size_of::<Tracker>() == 16);

/// What the bytes up to some point have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All bytes were taken, and no frame ends with them.
    Nothing,
    /// The end of a frame that ends no message.
    Frame,
    /// The end of a text or binary message.
    Message,
    /// The end of a Close.
    Close,
    /// A frame breaks the rules: what to close with.
    Wrong(u16, &'static str),
}

/// What is asked of a client's frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Whether anything but the length of messages is looked at.
    pub police: bool,
    /// Whether an extension was negotiated, which may use the reserved bits.
    pub extensions: bool,
    /// The longest message, in bytes on the wire. A message in several frames is counted up to 4 GiB.
    pub max_message: Option<u64>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { left: 0, message: 0, code: [0; 2], ahead: START, frame: 0 }
    }
}

impl Tracker {
    /// Takes bytes up to the next end of a frame, or all of them; says how many.
    pub fn feed(&mut self, bytes: &[u8], rules: &Rules) -> (usize, Found) {
        let mut at = 0;
        loop {
            if self.ahead == 0 && self.left == 0 {
                return (at, self.end_frame());
            }
            let Some(&byte) = bytes.get(at) else { return (at, Found::Nothing) };
            let wrong = match self.ahead {
                CLOSED => return (bytes.len(), Found::Nothing),
                0 => {
                    at += self.payload(&bytes[at..]);
                    continue;
                }
                START => self.first(byte, rules),
                SECOND => self.second(byte, rules),
                _ => self.further(byte, rules),
            };
            at += 1;
            if let Some((code, why)) = wrong {
                return (at, Found::Wrong(code, why));
            }
        }
    }

    /// Whether no frame has begun that has not ended.
    pub fn between_frames(&self) -> bool {
        matches!(self.ahead, START | CLOSED)
    }

    /// Whether no message has begun that has not ended, nor has a Close come.
    pub fn between_messages(&self) -> bool {
        self.ahead == START && self.frame & FRAGMENTED == 0
    }

    /// The code of the Close that has come: 1005 if it had none.
    pub fn closed(&self) -> Option<u16> {
        (self.ahead == CLOSED).then_some(u16::from_be_bytes(self.code))
    }

    /// How much of the payload that is under way is still to come.
    pub fn left(&self) -> u64 {
        if self.ahead == 0 { self.left } else { 0 }
    }

    /// Takes bytes of the payload of a data frame unseen, fewer than are left of it.
    pub fn skip(&mut self, len: u64) {
        debug_assert!(len < self.left());
        self.left -= len;
    }

    fn first(&mut self, byte: u8, rules: &Rules) -> Option<(u16, &'static str)> {
        let (last, opcode) = (byte & 0x80 != 0, byte & 0x0f);
        let open = self.frame & FRAGMENTED;
        self.frame = open | if last { FINAL } else { 0 };
        self.frame |= if opcode >= 8 { CONTROL } else { 0 };
        self.frame |= if opcode == 8 { CLOSE } else { 0 };
        self.ahead = SECOND;
        let why = match opcode {
            _ if !rules.police => return None,
            _ if byte & 0x70 != 0 && !rules.extensions => "reserved bits are set",
            3..=7 | 11.. => "an unknown kind of frame",
            8..=10 if !last => "a control frame in pieces",
            0 if open == 0 => "a continuation of nothing",
            1..=2 if open != 0 => "a message within another",
            _ => return None,
        };
        Some((1002, why))
    }

    fn second(&mut self, byte: u8, rules: &Rules) -> Option<(u16, &'static str)> {
        let (masked, len) = (byte & 0x80 != 0, byte & 0x7f);
        self.frame |= if masked { MASKED } else { 0 };
        let more = match len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        self.left = if more == 0 { len.into() } else { 0 };
        self.code = [0; 2];
        self.ahead = more + if masked { 4 } else { 0 };
        if rules.police && !masked {
            return Some((1002, "a frame without a mask"));
        }
        if rules.police && self.frame & CONTROL != 0 && usize::from(len) > Message::LONGEST_CONTROL
        {
            return Some((1002, "a control frame that is too long"));
        }
        if self.ahead == 0 { self.begin_payload(rules) } else { None }
    }

    /// The bytes of the length, then of the mask.
    fn further(&mut self, byte: u8, rules: &Rules) -> Option<(u16, &'static str)> {
        let mask = if self.frame & MASKED != 0 { 4 } else { 0 };
        if self.ahead > mask {
            self.left = self.left << 8 | u64::from(byte);
        } else if let Some(code) = self.code.get_mut(usize::from(4 - self.ahead)) {
            *code = byte;
        }
        self.ahead -= 1;
        if self.ahead == 0 { self.begin_payload(rules) } else { None }
    }

    fn begin_payload(&mut self, rules: &Rules) -> Option<(u16, &'static str)> {
        if self.frame & CONTROL != 0 {
            // Nothing comes after a Close, so its message is not missed.
            self.message = if self.frame & CLOSE != 0 { 0 } else { self.message };
            return None;
        }
        if rules.police && self.left >> 63 != 0 {
            return Some((1002, "a length that is none"));
        }
        let whole = self.left.saturating_add(self.message.into());
        self.message = whole.try_into().unwrap_or(u32::MAX);
        let too_long = rules.max_message.is_some_and(|most| whole > most);
        too_long.then_some((1009, "a message that is too long"))
    }

    /// Takes what belongs to the payload.
    fn payload(&mut self, bytes: &[u8]) -> usize {
        let len = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if self.frame & CLOSE != 0 {
            let seen = usize::try_from(self.message).unwrap_or(2);
            for (code, byte) in self.code.iter_mut().skip(seen).zip(&bytes[..len]) {
                *code ^= byte;
                self.message += 1;
            }
        }
        self.left -= len as u64;
        len
    }

    fn end_frame(&mut self) -> Found {
        self.ahead = START;
        if self.frame & CLOSE != 0 {
            if self.message < 2 {
                self.code = Close::NO_CODE.to_be_bytes();
            }
            self.ahead = CLOSED;
            return Found::Close;
        }
        if self.frame & CONTROL != 0 {
            return Found::Frame;
        }
        if self.frame & FINAL == 0 {
            self.frame |= FRAGMENTED;
            return Found::Frame;
        }
        self.frame &= !FRAGMENTED;
        self.message = 0;
        Found::Message
    }
}

/// A Close frame; a client's frames are masked.
pub(super) fn close(code: u16, masked: bool) -> Vec<u8> {
    control(8, &code.to_be_bytes(), masked)
}

/// A Ping frame without a payload.
pub(super) fn ping(masked: bool) -> Vec<u8> {
    control(9, &[], masked)
}

fn control(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, payload.len() as u8 | if masked { 0x80 } else { 0 }];
    let mask = if masked { fastrand::u32(..).to_be_bytes() } else { [0; 4] };
    if masked {
        frame.extend(mask);
    }
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests;
