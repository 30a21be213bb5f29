//! Where the body of a message ends, and how it is cut into chunks (RFC 9112 sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};

use super::{Fields, Request, Response, malformed};
use crate::error::{Error, Kind, Result};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// By the number of its bytes; 0 where there is no body.
    Known(u64),
    /// It comes in chunks, the last of which is empty.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Length {
    /// The one of a request.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where it cannot be told.
    pub fn of_request(request: &Request) -> Result<Self> {
        Ok(told(&request.fields)?.unwrap_or(Self::Known(0)))
    }

    /// The one of an answer to a request with this method.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where it cannot be told.
    pub fn of_response(response: &Response, method: &str) -> Result<Self> {
        if method == "HEAD" || matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(Self::Known(0));
        }
        Ok(told(&response.fields)?.unwrap_or(Self::UntilClose))
    }
}

/// What the fields say. A head with both was refused when it was read.
fn told(fields: &Fields) -> Result<Option<Length>> {
    let mut codings = fields.all("Transfer-Encoding").peekable();
    if codings.peek().is_some() {
        return match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
                Ok(Some(Length::Chunked))
            }
            _ => Err(malformed("a transfer coding other than chunked")),
        };
    }
    let Some(length) = fields.get("Content-Length") else { return Ok(None) };
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse() {
        Ok(length) if digits => Ok(Some(Length::Known(length))),
        _ => Err(malformed("a Content-Length that is not a number")),
    }
}

/// The longest line of a size, with what extends it; and how much may follow the last chunk, in
/// bytes.
const LONGEST_LINE: usize = 4 << 10;
const LONGEST_TRAILER: usize = 16 << 10;

/// Takes a body out of what is read.
#[derive(Debug)]
pub struct Body(State);

#[derive(Debug)]
enum State {
    /// So many bytes are left.
    Left(u64),
    UntilClose,
    /// A line with the size of a chunk comes.
    Size,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The end of a line comes that closes a chunk.
    ChunkEnd,
    /// Lines come up to an empty one; so many bytes of them have come.
    Trailer(usize),
    Over,
}

impl Body {
    /// All of it is still to come.
    pub fn new(length: Length) -> Self {
        Self(match length {
            Length::Known(length) => State::Left(length),
            Length::Chunked => State::Size,
            Length::UntilClose => State::UntilClose,
        })
    }

    /// Whether its end has come.
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Over | State::Left(0))
    }

    /// Takes the next piece of content off the front of `buf`: none if more has to be read, or it
    /// is over. Fields after the last chunk are dropped (RFC 9110 section 6.5.1).
    ///
    /// # Errors
    /// [`Kind::Protocol`] where it is malformed.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>> {
        loop {
            match &mut self.0 {
                State::Left(left) => return Ok(piece(left, buf)),
                State::UntilClose => {
                    return Ok((!buf.is_empty()).then(|| buf.split().freeze()));
                }
                State::Size => {
                    let Some(line) = line(buf, LONGEST_LINE)? else { return Ok(None) };
                    self.0 = match size(&line)? {
                        0 => State::Trailer(0),
                        size => State::Chunk(size),
                    };
                }
                State::Chunk(0) => self.0 = State::ChunkEnd,
                State::Chunk(left) => return Ok(piece(left, buf)),
                State::ChunkEnd => {
                    let end = &buf[..buf.len().min(2)];
                    if !b"\r\n".starts_with(end) {
                        return Err(malformed("a chunk that is longer than it says"));
                    }
                    if end.len() < 2 {
                        return Ok(None);
                    }
                    buf.advance(2);
                    self.0 = State::Size;
                }
                State::Trailer(seen) => {
                    let Some(line) = line(buf, LONGEST_TRAILER - *seen)? else { return Ok(None) };
                    *seen += line.len() + 2;
                    if line.is_empty() {
                        self.0 = State::Over;
                    } else if *seen >= LONGEST_TRAILER {
                        return Err(malformed("too much after the last chunk"));
                    } else if !is_field(&line) {
                        return Err(malformed("no field after the last chunk"));
                    }
                }
                State::Over => return Ok(None),
            }
        }
    }

    /// Says that nothing more can be read.
    ///
    /// # Errors
    /// [`Kind::Lost`] if more had to come.
    pub fn end(&mut self) -> Result<()> {
        match self.0 {
            State::UntilClose => self.0 = State::Over,
            _ if self.is_over() => {}
            _ => return Err(Error::new(Kind::Lost, "connection lost inside an HTTP body")),
        }
        Ok(())
    }
}

fn piece(left: &mut u64, buf: &mut BytesMut) -> Option<Bytes> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= most as u64;
    (most > 0).then(|| buf.split_to(most).freeze())
}

/// Takes a line off the front, without its end.
fn line(buf: &mut BytesMut, most: usize) -> Result<Option<Bytes>> {
    let Some(end) = memchr::memchr2(b'\r', b'\n', buf) else {
        return match buf.len() > most {
            true => Err(malformed("a line of more than a chunk needs")),
            false => Ok(None),
        };
    };
    match &buf[end..buf.len().min(end + 2)] {
        b"\r\n" if end <= most => {
            let line = buf.split_to(end).freeze();
            buf.advance(2);
            Ok(Some(line))
        }
        b"\r" if end <= most => Ok(None),
        _ => Err(malformed("a line that does not end as HTTP's do")),
    }
}

/// Whether a line is a field to everybody, though all are dropped here.
fn is_field(line: &[u8]) -> bool {
    let token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = line.iter().take_while(token).count();
    let value = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    name > 0 && line.get(name) == Some(&b':') && line.iter().all(value)
}

/// The size that a line says. What extends it is passed over.
fn size(line: &[u8]) -> Result<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(digits);
    let ok = !digits.is_empty() && matches!(rest.first(), None | Some(b';'));
    str::from_utf8(digits)
        .ok()
        .filter(|_| ok && digits.len() <= 16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| malformed("a chunk without a size"))
}

/// Adds a chunk to what is to be written.
pub fn put_chunk(content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// What follows the last chunk.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and what is left, when it is fed in pieces of a size.
    fn fed(text: &[u8], length: Length, step: usize) -> Result<(Vec<u8>, Vec<u8>, bool)> {
        let (mut body, mut buf, mut content) = (Body::new(length), BytesMut::new(), Vec::new());
        for part in text.chunks(step) {
            buf.extend_from_slice(part);
            while let Some(piece) = body.next(&mut buf)? {
                content.extend_from_slice(&piece);
            }
        }
        Ok((content, buf.to_vec(), body.is_over()))
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let mut text = Vec::new();
        put_chunk(b"hello", &mut text);
        text.extend_from_slice(b"00A;a=\"b\"\r\n world 123\r\n");
        text.extend_from_slice(b"0\r\nTrailer: x\r\n\r\nGET");
        for step in 1..text.len() {
            let (content, rest, over) = fed(&text, Length::Chunked, step).unwrap();
            assert_eq!(content, b"hello world 123", "in pieces of {step}");
            assert_eq!((rest.as_slice(), over), (&b"GET"[..], true), "in pieces of {step}");
        }
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "5\nhello\r\n",
            "5 \r\nhello\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "5\rhello",
            "11111111111111111\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n A: b\r\n",
            "0\r\nA : b\r\n",
            "0\r\nA: \0\r\n",
            "0\r\nGET / HTTP/1.1\r\n",
        ] {
            for step in [1, text.len()] {
                let fed = fed(text.as_bytes(), Length::Chunked, step);
                assert!(fed.is_err(), "{text:?} in pieces of {step}");
            }
        }
        let long = "5;".to_owned() + &"x".repeat(LONGEST_LINE + 1);
        assert!(fed(long.as_bytes(), Length::Chunked, 1000).is_err());
        let long = "0\r\n".to_owned() + &"A: b\r\n".repeat(LONGEST_TRAILER / 6 + 1);
        assert!(fed(long.as_bytes(), Length::Chunked, 1000).is_err());
    }

    #[test]
    fn a_body_ends_where_it_says() {
        let (content, rest, over) = fed(b"helloGET", Length::Known(5), 3).unwrap();
        assert_eq!((content.as_slice(), rest.as_slice(), over), (&b"hello"[..], &b"GET"[..], true));
        assert!(Body::new(Length::Known(1)).end().is_err());
        assert!(Body::new(Length::Chunked).end().is_err());
        assert!(Body::new(Length::UntilClose).end().is_ok());
    }

    #[test]
    fn the_length_is_what_the_head_says() {
        let of = |fields: &str| {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            Length::of_request(&crate::http::parse_request(head.as_bytes()).unwrap().unwrap().0)
                .ok()
        };
        assert_eq!(of(""), Some(Length::Known(0)));
        assert_eq!(of("Content-Length: 12\r\n"), Some(Length::Known(12)));
        assert_eq!(of("Transfer-Encoding: Chunked\r\n"), Some(Length::Chunked));
        for fields in [
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length:\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert_eq!(of(fields), None, "{fields:?}");
        }
    }
}
