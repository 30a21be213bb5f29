//! How a byte stream is cut into messages, and messages are written as bytes.
//!
//! One unit in is one message, one message is one unit out: nothing is split, merged or rewritten
//! because of a buffer's size. A unit over the limit is an error, never a cut.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use memchr::memchr;

use crate::cli::JoinArgs;
use crate::duplex::{ByteStream, Duplex, Message, MessageStream, Text};
use crate::error::{Error, Kind, Result};
use crate::report;

mod envelope;
mod framed;
mod unframed;

pub use envelope::{Clock, Direction, Envelope};
pub use framed::Framed;
pub use unframed::as_bytes;

/// Where one message ends and the next begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Framing {
    /// One line is one message; the newline is not part of it
    Lines,
    /// A zero byte ends each message
    Nul,
    /// All of the input is one message
    Whole,
    /// An empty line separates messages
    Blank,
    /// A 32 bit big-endian length stands before each message
    Len,
    /// One JSON object a line, lossless: types, control messages, names, times
    Json,
    /// No boundaries: what one read returns is one message, of 64 KiB at the most
    #[default]
    Raw,
}

impl JoinArgs {
    /// The framing of a join: the one asked for, or lines if either end has lines by nature.
    pub fn framing(&self, ends: [Framing; 2]) -> Framing {
        let natural = ends.into_iter().find(|framing| *framing != Framing::Raw);
        self.frame.or(natural).unwrap_or_default()
    }

    /// The type that units of bytes are sent as.
    pub fn typing(&self) -> Typing {
        match (self.text, self.binary) {
            (true, _) => Typing::Text,
            (_, true) => Typing::Binary,
            _ => Typing::Auto,
        }
    }
}

/// Which WebSocket type a unit of bytes is sent as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Typing {
    /// Text where the framing is textual and the bytes are UTF-8, binary otherwise.
    #[default]
    Auto,
    /// Always text; bytes that are not UTF-8 are an error.
    Text,
    /// Always binary.
    Binary,
}

/// The longest message that is made where there are no boundaries, in bytes: one that every peer takes.
const LONGEST_RAW: usize = 64 << 10;

/// How much of a separator, which is up to four bytes, may be here without the rest.
const PART_OF_SEPARATOR: usize = 3;

/// Cuts bytes into messages.
#[derive(Clone, Debug)]
pub struct Decoder {
    framing: Framing,
    typing: Typing,
    max: usize,
    /// How much of the buffer is known to hold no separator, so that a long unit that arrives in
    /// small pieces is scanned once.
    scanned: usize,
    units: u64,
    warned: bool,
}

impl Decoder {
    /// A decoder for units of at most `max` bytes.
    pub fn new(framing: Framing, typing: Typing, max: usize) -> Self {
        Self { framing, typing, max, scanned: 0, units: 0, warned: false }
    }

    /// Takes the next message off the front of `buf`, if one is complete. At the end of the input
    /// (`eof`) what is left is the last message.
    ///
    /// # Errors
    /// A unit over the limit, a malformed JSON envelope, or text that is not UTF-8.
    pub fn decode(&mut self, buf: &mut BytesMut, eof: bool) -> Result<Option<Message>> {
        loop {
            let unit = match self.framing {
                Framing::Lines | Framing::Json => self.until(buf, eof, line_end),
                Framing::Nul => self.until(buf, eof, nul_end),
                Framing::Blank => {
                    let leading = buf.iter().take_while(|&&b| b == b'\n' || b == b'\r').count();
                    buf.advance(leading);
                    self.scanned = self.scanned.saturating_sub(leading);
                    self.until(buf, eof, blank_end).map(trim_newline)
                }
                Framing::Whole if eof && self.units == 0 => Some(buf.split().freeze()),
                Framing::Whole => None,
                Framing::Len => length_prefixed(buf, eof, self.max)?,
                Framing::Raw => self.raw(buf, eof),
            };
            let Some(unit) = unit else {
                // A frame's own length was checked before it is waited for.
                let waiting = if self.framing == Framing::Len { 0 } else { buf.len() };
                self.check(waiting.saturating_sub(PART_OF_SEPARATOR))?;
                return Ok(None);
            };
            self.check(unit.len())?;
            self.units += 1;
            if self.framing != Framing::Json {
                return self.typed(unit).map(Some);
            }
            if !unit.trim_ascii().is_empty() {
                let message = Envelope::parse(&unit).and_then(Envelope::into_message);
                let message = message.map_err(|why| {
                    Error::new(Kind::Usage, format!("line {} of the input: {why}", self.units))
                        .hint("--frame json takes one object a line, such as {\"type\":\"text\",\"data\":\"hi\"}")
                })?;
                if message.is_data() {
                    check_against(self.max, message.payload().len())?;
                }
                return Ok(Some(message));
            }
        }
    }

    /// Checks the length of a unit, which in an envelope is longer than its payload.
    fn check(&self, len: usize) -> Result<()> {
        let longest = match self.framing {
            Framing::Json => Envelope::longest(self.max),
            _ => self.max,
        };
        check_against(longest, len)
    }

    fn until(&mut self, buf: &mut BytesMut, eof: bool, end: FindEnd) -> Option<Bytes> {
        match end(buf, self.scanned) {
            Some((len, separator)) => {
                self.scanned = 0;
                let unit = buf.split_to(len).freeze();
                buf.advance(separator);
                Some(unit)
            }
            None if eof && !buf.is_empty() => {
                self.scanned = 0;
                Some(buf.split().freeze())
            }
            None => {
                self.scanned = buf.len().saturating_sub(PART_OF_SEPARATOR);
                None
            }
        }
    }

    fn raw(&self, buf: &mut BytesMut, eof: bool) -> Option<Bytes> {
        let mut len = buf.len().min(self.max).min(LONGEST_RAW);
        if self.typing == Typing::Text && !eof {
            // A character may be cut by the end of a read; its rest comes with the next one.
            if let Err(error) = std::str::from_utf8(&buf[..len])
                && error.error_len().is_none()
            {
                len = error.valid_up_to();
            }
        }
        (len > 0).then(|| buf.split_to(len).freeze())
    }

    fn typed(&mut self, unit: Bytes) -> Result<Message> {
        let textual = !matches!(self.framing, Framing::Len | Framing::Raw);
        if self.typing == Typing::Binary || (self.typing == Typing::Auto && !textual) {
            return Ok(Message::binary(unit));
        }
        match Text::try_from(unit.clone()) {
            Ok(text) => Ok(Message::text(text)),
            Err(_) if self.typing == Typing::Auto => {
                if !self.warned {
                    self.warned = true;
                    report::warn(format_args!(
                        "message {} of the input is not UTF-8 and is sent as binary (--binary sends all so)",
                        self.units
                    ));
                }
                Ok(Message::binary(unit))
            }
            Err(_) => {
                let what = format!("message {} of the input is not UTF-8", self.units);
                Err(Error::new(Kind::Protocol(1007), what).hint("send it with --binary"))
            }
        }
    }
}

/// Where a unit ends, and how long the separator after it is. The search begins at an offset.
type FindEnd = fn(&[u8], usize) -> Option<(usize, usize)>;

fn line_end(buf: &[u8], from: usize) -> Option<(usize, usize)> {
    let at = from + memchr(b'\n', &buf[from..])?;
    Some(if at > 0 && buf[at - 1] == b'\r' { (at - 1, 2) } else { (at, 1) })
}

fn nul_end(buf: &[u8], from: usize) -> Option<(usize, usize)> {
    Some((from + memchr(0, &buf[from..])?, 1))
}

fn blank_end(buf: &[u8], mut from: usize) -> Option<(usize, usize)> {
    loop {
        let at = from + memchr(b'\n', &buf[from..])?;
        match &buf[at + 1..] {
            [b'\n', ..] => return Some((at, 2)),
            [b'\r', b'\n', ..] => return Some((at, 3)),
            _ => from = at + 1,
        }
    }
}

fn check_against(longest: usize, len: usize) -> Result<()> {
    if len <= longest {
        return Ok(());
    }
    let what = format!("a message of more than {longest} bytes in the input");
    Err(Error::new(Kind::Protocol(1009), what)
        .hint("raise --max-message, or cut the input with another --frame"))
}

fn trim_newline(mut unit: Bytes) -> Bytes {
    for end in [b'\n', b'\r'] {
        if unit.last() == Some(&end) {
            unit.truncate(unit.len() - 1);
        }
    }
    unit
}

fn length_prefixed(buf: &mut BytesMut, eof: bool, max: usize) -> Result<Option<Bytes>> {
    let cut = || Error::new(Kind::Lost, "the input ended inside a message (--frame len)");
    let Some(prefix) = buf.first_chunk::<4>() else {
        return if eof && !buf.is_empty() { Err(cut()) } else { Ok(None) };
    };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > max {
        let what = format!("a message of {len} bytes in the input, over the limit of {max}");
        return Err(Error::new(Kind::Protocol(1009), what).hint("raise --max-message"));
    }
    if buf.len() < 4 + len {
        return if eof { Err(cut()) } else { Ok(None) };
    }
    buf.advance(4);
    Ok(Some(buf.split_to(len).freeze()))
}

/// Writes messages as bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    framing: Framing,
    clock: Clock,
    warned: bool,
}

impl Encoder {
    /// An encoder; the times of the JSON envelope start now.
    pub fn new(framing: Framing) -> Self {
        Self { framing, clock: Clock::start(), warned: false }
    }

    /// Whether data is written as it is, with nothing before or after it.
    fn is_bare(&self) -> bool {
        matches!(self.framing, Framing::Raw | Framing::Whole)
    }

    /// Appends a message to `out`. Control messages are written by the JSON framing alone.
    ///
    /// # Errors
    /// A message too long for its length prefix.
    pub fn encode(&mut self, message: &Message, out: &mut BytesMut) -> Result<()> {
        if self.framing == Framing::Json {
            Envelope::of(message, self.clock.now(), None).write(out);
            return Ok(());
        }
        if !message.is_data() {
            return Ok(());
        }
        let data = message.payload();
        match self.framing {
            Framing::Lines => {
                if memchr(b'\n', data.strip_suffix(b"\n").unwrap_or(data)).is_some() {
                    self.warn_once("a message with newlines inside was written as several lines");
                }
                out.put_slice(data);
                if data.last() != Some(&b'\n') {
                    out.put_u8(b'\n');
                }
            }
            Framing::Nul => {
                if memchr(0, data).is_some() {
                    self.warn_once("a message with a zero byte inside was written as several");
                }
                out.put_slice(data);
                out.put_u8(0);
            }
            Framing::Blank => {
                out.put_slice(data);
                out.put_slice(b"\n\n");
            }
            Framing::Len => {
                let len = u32::try_from(data.len()).map_err(|_| {
                    Error::new(
                        Kind::Protocol(1009),
                        "a message over 4 GiB does not fit --frame len",
                    )
                })?;
                out.put_u32(len);
                out.put_slice(data);
            }
            Framing::Whole | Framing::Raw | Framing::Json => out.put_slice(data),
        }
        Ok(())
    }

    fn warn_once(&mut self, what: &str) {
        if !self.warned {
            self.warned = true;
            report::warn(format_args!("{what}; --frame json keeps the boundary"));
        }
    }
}

impl Duplex {
    /// Its messages; bytes are framed.
    pub fn into_messages(self, decoder: &Decoder) -> MessageStream {
        match self {
            Self::Messages(messages) => messages,
            Self::Bytes(bytes) => Box::new(Framed::new(bytes, decoder.clone())),
        }
    }

    /// Its bytes; messages are seen as bytes.
    pub fn into_bytes(self) -> ByteStream {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Messages(messages) => as_bytes(messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_for_the_payload_of_an_envelope() {
        let decode = |payload: &str| {
            let line = format!("{{\"type\":\"text\",\"data\":\"{payload}\"}}\n");
            let mut decoder = Decoder::new(Framing::Json, Typing::Auto, 8);
            decoder.decode(&mut BytesMut::from(&*line), false)
        };
        assert_eq!(decode("12345678").unwrap(), Some(Message::text("12345678")));
        // However it is written.
        let escaped = "\\u0031".repeat(8);
        assert_eq!(decode(&escaped).unwrap(), Some(Message::text("11111111")));
        let error = decode("123456789").unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol(1009), "{error}");
        // A line without an end is not waited for for ever.
        let mut endless = BytesMut::from(&*vec![b'x'; Envelope::longest(8) + 4]);
        assert!(Decoder::new(Framing::Json, Typing::Auto, 8).decode(&mut endless, false).is_err());
    }

    #[test]
    fn where_there_are_no_boundaries_messages_are_not_longer_than_a_peer_takes() {
        let lengths = |max| {
            let mut decoder = Decoder::new(Framing::Raw, Typing::Auto, max);
            let mut buf = BytesMut::from(&*vec![b'x'; 150_000]);
            let next = || decoder.decode(&mut buf, false).unwrap();
            std::iter::from_fn(next).map(|it| it.payload().len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(1 << 20), [65_536, 65_536, 18_928]);
        assert_eq!(lengths(100_000 / 2), [50_000; 3]);
    }

    #[test]
    fn a_message_of_exactly_the_limit_may_arrive_with_half_a_separator() {
        for (framing, pieces) in [
            (Framing::Lines, ["abcd\r", "\n"]),
            (Framing::Blank, ["abcd\n", "\n"]),
            (Framing::Blank, ["abcd\r\n\r", "\n"]),
        ] {
            let mut decoder = Decoder::new(framing, Typing::Auto, 4);
            let mut buf = BytesMut::from(pieces[0]);
            assert_eq!(decoder.decode(&mut buf, false).unwrap(), None, "{pieces:?}");
            buf.extend_from_slice(pieces[1].as_bytes());
            let message = decoder.decode(&mut buf, false).unwrap();
            assert_eq!(message, Some(Message::text("abcd")), "{pieces:?}");
            buf.extend_from_slice(b"abcde");
            assert!(decoder.decode(&mut buf, true).is_err(), "{pieces:?}");
        }
    }
}
