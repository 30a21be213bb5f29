//! The frames of a WebSocket client (RFC 6455 section 5), as cheap as they can be: a load generator
//! whose own work shows in the figures measures itself.

use std::fmt;

use super::stamp;
use crate::duplex::Close;
use crate::endpoint::frame_head::{Head as FrameHead, mask};

/// What a frame is, by its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Of a message that is text, or of one that is not.
    pub(super) fn of_data(text: bool) -> Self {
        if text { Self::Text } else { Self::Binary }
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Appends a whole message as one masked frame.
pub(super) fn encode(opcode: Opcode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    FrameHead::new(opcode as u8, true, Some(key), payload.len()).write(out);
    let from = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[from..], key, 0);
}

/// A key for twice as many bytes, so that it is good for both orders of them.
#[inline]
fn twice(key: u32) -> u64 {
    u64::from(key) << 32 | u64::from(key)
}

/// A sheet of frames of which all is known but their keys and the stamps at their beginning: to fill
/// them in costs a third of what it costs to make them.
#[derive(Debug)]
pub(super) struct Blanks {
    sheet: Vec<u8>,
    /// The length of one.
    frame: usize,
    /// How much of it is before the payload.
    head: usize,
}

/// How large a sheet is, in bytes, unless it has one frame: it is to stay in the cache.
const SHEET: usize = 8 << 10;

impl Blanks {
    /// A longer payload is not worth the memory of a second one, in bytes.
    pub(super) const LONGEST: usize = 1 << 20;

    /// Frames of a payload, which begins with room for a stamp.
    pub(super) fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let mut sheet = Vec::new();
        FrameHead::new(opcode as u8, true, Some([0; 4]), payload.len()).write(&mut sheet);
        let head = sheet.len();
        sheet.extend_from_slice(payload);
        let frame = sheet.len();
        Self { sheet: sheet.repeat((SHEET / frame).max(1)), frame, head }
    }

    /// The length of a payload, in bytes.
    pub(super) fn payload(&self) -> usize {
        self.frame - self.head
    }

    /// Appends a frame for each stamp.
    pub(super) fn fill(
        &self,
        mut stamps: impl ExactSizeIterator<Item = [u8; stamp::LEN]>,
        keys: &mut fastrand::Rng,
        out: &mut Vec<u8>,
    ) {
        while stamps.len() > 0 {
            let from = out.len();
            let len = self.sheet.len().min(stamps.len() * self.frame);
            out.extend_from_slice(&self.sheet[..len]);
            for (frame, stamp) in out[from..].chunks_exact_mut(self.frame).zip(&mut stamps) {
                let key = keys.u32(..);
                let (head, payload) = frame.split_at_mut(self.head);
                *head.last_chunk_mut().expect("a head ends with its key") = key.to_ne_bytes();
                let (room, rest) = payload.split_first_chunk_mut().expect("there is room");
                let wide = u128::from(twice(key)) << 64 | u128::from(twice(key));
                *room = (u128::from_ne_bytes(stamp) ^ wide).to_ne_bytes();
                mask(rest, key.to_ne_bytes(), 0);
            }
        }
    }
}

/// Something that a server has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A whole message.
    Message {
        text: bool,
        payload: &'a [u8],
    },
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// Its Close, after which there is nothing.
    Close(Close),
}

/// A rule of RFC 6455 that the server has broken, and the code to close with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

const fn broken(what: &'static str) -> Violation {
    Violation { code: 1002, what }
}

/// Cuts what a server sends into messages. It holds nothing while a connection is idle.
pub(super) struct Reader {
    /// The beginning of a frame.
    tail: Vec<u8>,
    /// The frames of a message that is not whole yet, and what it is.
    message: Vec<u8>,
    opcode: Option<Opcode>,
    /// The longest message, in bytes.
    limit: usize,
    closed: bool,
}

/// The head of a frame.
struct Head {
    last: bool,
    opcode: Opcode,
    /// Of the head itself.
    len: usize,
    payload: usize,
}

impl Head {
    /// Reads the head of a frame, if it is there.
    fn read(data: &[u8], limit: usize) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = data else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(broken("a reserved bit is set"));
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(broken("an unknown kind of frame"))?;
        if second & 0x80 != 0 {
            return Err(broken("a server does not mask"));
        }
        let last = first & 0x80 != 0;
        let (len, payload) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (2, u64::from(short)),
        };
        if opcode.is_control() && (payload > 125 || !last) {
            return Err(broken("a control frame in pieces, or too long"));
        }
        match usize::try_from(payload) {
            Ok(payload) if payload <= limit => Ok(Some(Self { last, opcode, len, payload })),
            _ => Err(Violation { code: 1009, what: "a message longer than --max-message" }),
        }
    }
}

impl Reader {
    pub(super) fn new(limit: usize) -> Self {
        Self { tail: Vec::new(), message: Vec::new(), opcode: None, limit, closed: false }
    }

    /// Takes what has come, and hands on what is whole.
    ///
    /// # Errors
    /// The server does not keep to the rules.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        mut on: impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        if self.tail.is_empty() {
            let used = self.frames(data, &mut on)?;
            self.tail.extend_from_slice(&data[used..]);
            return Ok(());
        }
        self.tail.extend_from_slice(data);
        let mut tail = std::mem::take(&mut self.tail);
        let used = self.frames(&tail, &mut on)?;
        if used < tail.len() {
            tail.drain(..used);
            self.tail = tail;
        }
        Ok(())
    }

    /// Reads whole frames, and returns how much they were.
    fn frames(&mut self, data: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<usize, Violation> {
        let mut at = 0;
        while !self.closed {
            // Most messages are short, and come in one piece.
            if let [first @ (0x81 | 0x82), len @ 0..=125, rest @ ..] = &data[at..]
                && let Some(payload) = rest.get(..usize::from(*len))
                && payload.len() <= self.limit
                && self.opcode.is_none()
            {
                at += 2 + payload.len();
                on(Event::Message { text: *first == 0x81, payload });
                continue;
            }
            let Some(head) = Head::read(&data[at..], self.limit)? else { break };
            let from = at + head.len;
            let Some(payload) = data.get(from..from + head.payload) else { break };
            at = from + head.payload;
            match head.opcode {
                Opcode::Ping => on(Event::Ping(payload)),
                Opcode::Pong => on(Event::Pong(payload)),
                Opcode::Close => {
                    self.closed = true;
                    on(Event::Close(close(payload)?));
                }
                opcode => self.data(opcode, head.last, payload, on)?,
            }
        }
        // What comes after a Close is not for anybody.
        Ok(if self.closed { data.len() } else { at })
    }

    fn data(
        &mut self,
        opcode: Opcode,
        last: bool,
        payload: &[u8],
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let begun = self.opcode;
        let text = |opcode| opcode == Opcode::Text;
        match (begun, opcode) {
            (None, Opcode::Continuation) => return Err(broken("a continuation of no message")),
            (None, opcode) if last => {
                on(Event::Message { text: text(opcode), payload });
                return Ok(());
            }
            (None, opcode) => self.opcode = Some(opcode),
            (Some(_), Opcode::Continuation) => {}
            (Some(_), _) => return Err(broken("a new message inside another")),
        }
        if self.message.len() + payload.len() > self.limit {
            return Err(Violation { code: 1009, what: "a message longer than --max-message" });
        }
        self.message.extend_from_slice(payload);
        if last && let Some(opcode) = self.opcode.take() {
            on(Event::Message { text: text(opcode), payload: &self.message });
            self.message = Vec::new();
        }
        Ok(())
    }
}

fn close(payload: &[u8]) -> Result<Close, Violation> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(Close::new(Close::NO_CODE, "")),
            _ => Err(broken("half a close code")),
        };
    };
    let reason = std::str::from_utf8(reason).map_err(|_| broken("a reason that is not UTF-8"))?;
    Ok(Close::new(u16::from_be_bytes([*high, *low]), reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a server sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(len as u8),
            len @ 126..=0xffff => {
                out.push(126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    fn read(reader: &mut Reader, data: &[u8]) -> Result<Vec<String>, Violation> {
        let mut events = Vec::new();
        reader.feed(data, |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    fn whole(data: &[u8]) -> Result<Vec<String>, Violation> {
        read(&mut Reader::new(1 << 20), data)
    }

    #[test]
    fn rules_that_are_broken() {
        for (data, code) in [
            (frame(0xc1, b"x"), 1002),
            (frame(0x83, b"x"), 1002),
            (frame(0x80, b"x"), 1002),
            (frame(0x09, b"x"), 1002),
            (frame(0x89, &[0; 126]), 1002),
            (frame(0x88, b"x"), 1002),
            (frame(0x88, b"\x03\xe8\xff"), 1002),
            (vec![0x81, 0x81, 0, 0, 0, 0, 0], 1002),
            (frame(0x82, &[0; (1 << 20) + 1]), 1009),
            ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ] {
            assert_eq!(whole(&data).unwrap_err().code, code, "{:?}", &data[..data.len().min(9)]);
        }
    }

    #[test]
    fn nothing_is_read_after_a_close() {
        let data = [frame(0x88, b"\x03\xe8bye"), frame(0xff, b"x")].concat();
        let events = whole(&data).unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].contains("1000"), "{events:?}");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            messages in prop::collection::vec((0..70_000usize, 1..4usize, any::<bool>()), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut data = Vec::new();
            for (len, pieces, text) in messages {
                let payload: Vec<u8> = (0..len).map(|i| b'a' + (i % 26) as u8).collect();
                let piece = len / pieces;
                for i in 0..pieces {
                    let opcode = if i > 0 { 0 } else if text { 1 } else { 2 };
                    let last = if i + 1 == pieces { 0x80 } else { 0 };
                    let end = if i + 1 == pieces { len } else { (i + 1) * piece };
                    data.extend(frame(last | opcode, &payload[i * piece..end]));
                    data.extend(frame(0x89, b"?"));
                }
            }
            let want = whole(&data).unwrap();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::new(1 << 20);
            let mut got = Vec::new();
            for pair in cuts.windows(2) {
                got.extend(read(&mut reader, &data[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(got, want);
            prop_assert!(reader.tail.is_empty() && reader.tail.capacity() == 0);
        }

        #[test]
        fn a_frame_is_masked(payload in prop::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let mut out = Vec::new();
            encode(Opcode::Binary, &payload, mask, &mut out);
            let head = out.len() - payload.len();
            prop_assert_eq!(&out[head - 4..head], &mask);
            let back: Vec<u8> = out[head..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            prop_assert_eq!(back, payload);
        }

        #[test]
        fn what_is_filled_in_is_what_would_be_made(
            rest in prop::collection::vec(any::<u8>(), 0..70_000),
            stamps: Vec<[u8; stamp::LEN]>,
            seed: u64,
        ) {
            let mut payload = [&[0; stamp::LEN], &rest[..]].concat();
            let blanks = Blanks::new(Opcode::Binary, &payload);
            prop_assert_eq!(blanks.payload(), payload.len());
            let mut keys = fastrand::Rng::with_seed(seed);
            let mut made = Vec::new();
            for stamp in &stamps {
                payload[..stamp::LEN].copy_from_slice(stamp);
                encode(Opcode::Binary, &payload, keys.u32(..).to_ne_bytes(), &mut made);
            }
            let mut filled = Vec::new();
            blanks.fill(stamps.into_iter(), &mut fastrand::Rng::with_seed(seed), &mut filled);
            prop_assert!(filled == made);
        }
    }
}
