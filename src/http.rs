//! HTTP/1.1 heads (RFC 9112), as far as an upgrade, a CONNECT and a small answer need them.
//!
//! Strict where leniency would let two parties read one head differently: a bare LF, white space
//! before a colon, a folded line, two lengths or a length beside a transfer coding are refused.

use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, Kind, Result};

pub mod body;
pub mod forwarded;

/// The most header fields a head may have.
pub(crate) const MAX_FIELDS: usize = 100;

/// How many fields a head mostly gets on its way through, and how long they are.
const MORE: usize = 8;
const MORE_TEXT: usize = 256;

/// White space in a head.
const SPACE: [char; 2] = [' ', '\t'];

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether it is of HTTP/1.0, where a connection ends with its answer.
    pub is_old: bool,
    /// The method, as sent.
    pub method: String,
    /// The request target, as sent.
    pub target: String,
    /// The header fields.
    pub fields: Fields,
}

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Whether it is of HTTP/1.0, where a connection ends with its answer.
    pub is_old: bool,
    /// The status code.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: String,
    /// The header fields.
    pub fields: Fields,
}

/// Why a request is not looked at any further, as an answer to it.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) what: &'static str,
}

/// Header fields in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// All names and values, end to end, so that a head is no heap of small allocations.
    text: String,
    fields: Vec<Field>,
}

/// Where the text of a field is.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
    /// What was sent, where that is no UTF-8.
    raw: Option<Box<[u8]>>,
}

impl Fields {
    /// The value of the first field of that name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields of that name; what is no UTF-8 in them is seen as U+FFFD.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The elements of all comma-separated lists of that name.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(|v| v.split(',')).map(trim).filter(|v| !v.is_empty())
    }

    /// Whether a list of that name has an element, whatever its case.
    pub fn has(&self, name: &str, element: &str) -> bool {
        self.list(name).any(|it| it.eq_ignore_ascii_case(element))
    }

    /// Adds a field.
    pub fn push(&mut self, name: &str, value: impl AsRef<str>) {
        let (name, value) = (self.keep(name), self.keep(value.as_ref()));
        self.fields.push(Field { name, value, raw: None });
    }

    /// A copy of the fields whose name is wanted, with room for more.
    pub fn filtered(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut text = String::with_capacity(self.text.len() + MORE_TEXT);
        text.push_str(&self.text);
        let mut fields = Vec::with_capacity(self.fields.len() + MORE);
        fields.extend(self.fields.iter().filter(|it| wanted(&text[it.name.clone()])).cloned());
        Self { text, fields }
    }

    /// Removes all fields of that name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|it| !it.eq_ignore_ascii_case(name));
    }

    /// Removes the fields whose name is not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let Self { text, fields } = self;
        fields.retain(|field| wanted(&text[field.name.clone()]));
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|it| (&self.text[it.name.clone()], &self.text[it.value.clone()]))
    }

    /// All fields as they are sent.
    pub(crate) fn iter_sent(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let raw = self.fields.iter().map(|it| it.raw.as_deref());
        self.iter().zip(raw).map(|((name, value), raw)| (name, raw.unwrap_or(value.as_bytes())))
    }

    /// Adds a field as it was sent.
    pub(crate) fn push_sent(&mut self, name: &str, value: &[u8]) {
        match str::from_utf8(value) {
            Ok(text) => self.push(name, text),
            Err(_) => {
                let (name, text) = (self.keep(name), self.keep(&String::from_utf8_lossy(value)));
                self.fields.push(Field { name, value: text, raw: Some(value.into()) });
            }
        }
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The head that begins with a line of these words.
    fn below(&self, line: [&str; 3]) -> Vec<u8> {
        let line = line.map(str::as_bytes).join(&b" "[..]);
        let mut head = Vec::with_capacity(line.len() + 4 + self.text.len() + 4 * self.fields.len());
        head.extend_from_slice(&line);
        head.extend_from_slice(b"\r\n");
        for (name, value) in self.iter_sent() {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let raw = self.fields.iter().map(|it| &it.raw);
        self.iter().eq(other.iter()) && raw.eq(other.fields.iter().map(|it| &it.raw))
    }
}

impl Eq for Fields {}

/// The path of a target, without the query.
pub(crate) fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

impl Request {
    /// The path of the target, without the query.
    pub fn path(&self) -> &str {
        path(&self.target)
    }

    /// The query of the target, without its question mark.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The decoded value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// Whether something comes after the head.
    pub fn has_body(&self) -> bool {
        self.fields.get("Transfer-Encoding").is_some()
            || self.fields.get("Content-Length").is_some_and(|len| len != "0")
    }

    /// Whether this asks for a WebSocket (RFC 6455 section 4.2.1).
    pub fn is_websocket(&self) -> bool {
        !self.is_old && self.fields.has("Upgrade", "websocket")
    }

    /// Whether a request for a WebSocket came as an extended CONNECT (RFC 8441), which is read as
    /// the upgrade that it stands for, but has no use for a key.
    pub fn is_extended_connect(&self) -> bool {
        self.is_websocket() && self.fields.get("Sec-WebSocket-Key").is_none()
    }

    /// The head as it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.fields.below([&self.method, &self.target, version(self.is_old)])
    }
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn version(is_old: bool) -> &'static str {
    if is_old { "HTTP/1.0" } else { "HTTP/1.1" }
}

impl Response {
    /// A response without fields.
    pub fn new(status: u16, reason: &str) -> Self {
        Self { is_old: false, status, reason: reason.to_owned(), fields: Fields::default() }
    }

    /// Whether another answer to the same request follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// The head as it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let status = itoa::Buffer::new().format(self.status).to_owned();
        self.fields.below([version(self.is_old), &status, &self.reason])
    }
}

/// What an `Authorization` holds, if it is of this scheme (RFC 9110 section 11.4).
pub fn credentials<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = authorization.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// The `USER:PASSWORD` that an `Authorization` holds, if it is of the basic scheme (RFC 7617).
pub fn basic(authorization: &str) -> Option<Vec<u8>> {
    STANDARD.decode(credentials(authorization, "Basic")?).ok()
}

/// Reads a request head of HTTP/1.1; none if the stream ended before its first byte. `buf` holds what was read
/// before, and afterwards what follows the head.
///
/// # Errors
/// [`Kind::Protocol`] for a head that is malformed or larger than `max`; [`Kind::Lost`] if the
/// stream ends inside it.
pub async fn read_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
    max: usize,
) -> Result<Option<Request>> {
    match read_any_request(stream, buf, max).await? {
        Some(request) if request.is_old => Err(malformed("an HTTP/1.0 request; 1.1 is needed")),
        request => Ok(request),
    }
}

/// As [`read_request`], but of HTTP/1.0 as well.
///
/// # Errors
/// As [`read_request`].
pub async fn read_any_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
    max: usize,
) -> Result<Option<Request>> {
    read_head(stream, buf, max, parse_request).await
}

/// Reads a response head, passing over 1xx answers other than 101; otherwise as [`read_request`].
///
/// # Errors
/// As [`read_request`].
pub async fn read_response<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
    max: usize,
) -> Result<Option<Response>> {
    loop {
        match read_any_response(stream, buf, max).await? {
            Some(interim) if interim.is_interim() => {}
            head => return Ok(head),
        }
    }
}

/// As [`read_response`], but answers that another one follows are returned as well.
///
/// # Errors
/// As [`read_request`].
pub async fn read_any_response<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut BytesMut,
    max: usize,
) -> Result<Option<Response>> {
    read_head(stream, buf, max, parse_response).await
}

async fn read_head<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    buf: &mut BytesMut,
    max: usize,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>>,
) -> Result<Option<T>> {
    loop {
        // A head that is not complete may still be wrong already (TLS, SSH, noise).
        if !buf.is_empty()
            && let Some((head, len)) = parse(buf)?
            && len <= max
        {
            buf.advance(len);
            return Ok(Some(head));
        }
        if buf.len() > max {
            return Err(malformed(format!("an HTTP head of more than {max} bytes")));
        }
        buf.reserve(1024);
        if stream.read_buf(buf).await.map_err(Error::lost)? == 0 {
            return match buf.is_empty() {
                true => Ok(None),
                false => Err(Error::new(Kind::Lost, "connection lost inside an HTTP head")),
            };
        }
    }
}

/// Parses a request head, if `buf` holds all of it: the head and its length.
///
/// # Errors
/// [`Kind::Protocol`] if it is malformed.
pub fn parse_request(buf: &[u8]) -> Result<Option<(Request, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request
        .parse(buf)
        .map_err(|error| malformed(format!("malformed HTTP request: {error}")))?
    {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(len) => {
            let head = Request {
                is_old: request.version == Some(0),
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                fields: collect(&buf[..len], request.headers)?,
            };
            Ok(Some((head, len)))
        }
    }
}

/// Parses a response head, if `buf` holds all of it: the head and its length.
///
/// # Errors
/// [`Kind::Protocol`] if it is malformed.
pub fn parse_response(buf: &[u8]) -> Result<Option<(Response, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(buf).map_err(|error| malformed(format!("not an HTTP answer: {error}")))? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(len) => {
            // RFC 9110 section 15: the first digit is the class, and there is no class 0.
            let status = response.code.unwrap_or_default();
            if status < 100 {
                return Err(malformed(format!("not an HTTP answer: status {status:03}")));
            }
            let head = Response {
                is_old: response.version == Some(0),
                status,
                reason: response.reason.unwrap_or_default().to_owned(),
                fields: collect(&buf[..len], response.headers)?,
            };
            Ok(Some((head, len)))
        }
    }
}

fn collect(head: &[u8], parsed: &[httparse::Header<'_>]) -> Result<Fields> {
    if memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Err(malformed("an HTTP head with a bare newline"));
    }
    let mut fields = Fields {
        text: String::with_capacity(head.len()),
        fields: Vec::with_capacity(parsed.len() + MORE),
    };
    for field in parsed {
        fields.push_sent(field.name, trimmed(field.value));
    }
    let lengths = fields.all("Content-Length").count();
    if lengths > 1 || (lengths == 1 && fields.get("Transfer-Encoding").is_some()) {
        return Err(malformed("an HTTP head with two lengths"));
    }
    Ok(fields)
}

/// Without the white space around it, of which HTTP knows two characters only.
fn trim(value: &str) -> &str {
    value.trim_matches(SPACE)
}

pub(crate) fn trimmed(value: &[u8]) -> &[u8] {
    let space = |byte: &u8| SPACE.contains(&char::from(*byte));
    let start = value.iter().position(|byte| !space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn malformed(what: impl fmt::Display) -> Error {
    Error::new(Kind::Protocol(1002), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_up_to_its_end() {
        let text =
            b"GET /a?b=c%20d HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        let (request, len) = parse_request(text).unwrap().unwrap();
        assert_eq!(&text[len..], b"rest");
        assert_eq!((request.path(), request.parameter("b").as_deref()), ("/a", Some("c d")));
        assert!(request.fields.has("connection", "upgrade"));
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "A : b\r\n",
            "A: b\r\n c\r\n",
            "A: b\n",
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert!(parse_request(head.as_bytes()).is_err(), "{fields:?}");
        }
        assert!(parse_request(b"GET / HTTP/1.2\r\n\r\n").is_err());
        assert!(parse_response(b"HTTP/1.1 060 \r\n\r\n").is_err());
    }
}
