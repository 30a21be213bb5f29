//! An HTTP answer on its way to a peer.

use std::fs::File;
use std::io::SeekFrom;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::accept::Peer;
use crate::context::Context;
use crate::duplex::ByteStream;
use crate::error::{Error, Kind, Result};
use crate::http::{Refusal, Request, Response};
use crate::http2::Reply;
use crate::report;

/// An answer other than 101.
pub(crate) struct Answer {
    head: Response,
    body: Body,
    closing: bool,
}

enum Body {
    Memory(Bytes),
    File { file: File, start: u64, len: u64 },
}

impl Answer {
    /// An answer that says `body` to a person.
    pub(crate) fn text(status: u16, reason: &str, body: impl Into<String>) -> Self {
        Self::new(status, reason, "text/plain; charset=utf-8", body.into())
    }

    /// What to say to a peer whose request could not be read, if it can be told anything.
    pub(crate) fn complaint(error: &Error, too_large: bool) -> Option<Self> {
        let (status, reason) = match error.kind() {
            // It is no fault of the peer's.
            Kind::Terminated => return None,
            Kind::Timeout => (408, "Request Timeout"),
            _ if too_large => (431, "Request Header Fields Too Large"),
            _ => (400, "Bad Request"),
        };
        Some(Self::text(status, reason, format!("{}\n", error.what())).closing())
    }

    /// The figures, in the Prometheus text format.
    pub(crate) fn metrics(page: String) -> Self {
        Self::new(200, "OK", "text/plain; version=0.0.4; charset=utf-8", page)
    }

    /// A record for programs.
    pub(crate) fn json(record: &impl Serialize) -> Self {
        let mut text = serde_json::to_string(record).unwrap_or_default();
        text.push('\n');
        Self::new(200, "OK", "application/json", text)
    }

    /// An answer of a kind of content.
    pub(super) fn new(status: u16, reason: &str, kind: &str, body: impl Into<Bytes>) -> Self {
        let head = Response::new(status, reason).with("Content-Type", kind);
        Self { head, body: Body::Memory(body.into()), closing: false }
    }

    /// `len` bytes of a file, from `start`.
    pub(super) fn file(head: Response, file: File, start: u64, len: u64) -> Self {
        Self { head, body: Body::File { file, start, len }, closing: false }
    }

    /// Adds a header field.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.head.fields.push(name, value);
        self
    }

    /// Makes it the last one of its connection.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.closing = true;
        self
    }

    /// Its status code.
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// What it says to a person, in one line.
    pub(crate) fn line(&self) -> &str {
        let Body::Memory(body) = &self.body else { return "" };
        str::from_utf8(body).ok().and_then(|body| body.lines().next()).unwrap_or_default()
    }

    /// Sends it and writes the line of the access log; `request` is none if the head could not be
    /// parsed. True if the connection may carry another request.
    ///
    /// # Errors
    /// [`Kind::Lost`] if the peer goes away or stops reading.
    pub(crate) async fn send(
        mut self,
        request: Option<&Request>,
        peer: &Peer,
        stream: &mut ByteStream,
        cx: &Context,
    ) -> Result<bool> {
        let Some(serve) = &cx.serve else { return Ok(false) };
        let keep = !self.closing && !cx.stop.is_cancelled() && request.is_some_and(may_keep);
        let (status, len) = (self.head.status, self.seal(keep));
        let head_only = request.is_some_and(is_head);
        let patience = serve.server.handshake_timeout;
        let sent = self.write(stream, head_only, patience).await;
        log(request, status, if head_only { 0 } else { len }, peer, cx);
        sent?;
        if !keep {
            stream.hang_up(patience).await;
        }
        Ok(keep)
    }

    /// Sends it over HTTP/2; else as [`Answer::send`].
    ///
    /// # Errors
    /// As [`Answer::send`].
    pub(crate) async fn reply(
        mut self,
        request: Option<&Request>,
        peer: &Peer,
        reply: Reply,
        cx: &Context,
    ) -> Result<()> {
        let Some(serve) = &cx.serve else { return Ok(()) };
        let (status, len) = (self.head.status, self.seal(true));
        let bytes = if request.is_some_and(is_head) { 0 } else { len };
        let patience = serve.server.handshake_timeout;
        let sent = match bytes {
            0 => reply.end(&self.head),
            _ => self.write_apart(reply, patience).await,
        };
        log(request, status, bytes, peer, cx);
        sent
    }

    /// Adds what every answer has, and returns the length of the body.
    fn seal(&mut self, keep: bool) -> u64 {
        let len = match &self.body {
            Body::Memory(body) => body.len() as u64,
            Body::File { len, .. } => *len,
        };
        let fields = &mut self.head.fields;
        fields.push("Date", httpdate::fmt_http_date(SystemTime::now()));
        fields.push("X-Content-Type-Options", "nosniff");
        // A 304 has no body, and its length would be that of the body it stands for.
        if self.head.status != 304 {
            fields.push("Content-Length", len.to_string());
        }
        let upgrade = fields.get("Upgrade").is_some();
        match (upgrade, keep) {
            (true, true) => fields.push("Connection", "upgrade"),
            (true, false) => fields.push("Connection", "upgrade, close"),
            (false, true) => {}
            (false, false) => fields.push("Connection", "close"),
        }
        len
    }

    async fn write(
        self,
        stream: &mut ByteStream,
        head_only: bool,
        patience: Duration,
    ) -> Result<()> {
        let mut first = self.head.to_bytes();
        if let (Body::Memory(body), false) = (&self.body, head_only) {
            first.extend_from_slice(body);
        }
        write_all(stream, &first, patience).await?;
        if let (Body::File { file, start, len }, false) = (self.body, head_only) {
            copy(file, start, len, stream, patience).await?;
        }
        Ok(())
    }

    async fn write_apart(self, reply: Reply, patience: Duration) -> Result<()> {
        let mut stream = reply.open(&self.head)?;
        match self.body {
            Body::Memory(body) => write_all(&mut stream, &body, patience).await?,
            Body::File { file, start, len } => {
                copy(file, start, len, &mut stream, patience).await?;
            }
        }
        stream.shutdown().await.map_err(Error::lost)
    }
}

impl From<Refusal> for Answer {
    fn from(why: Refusal) -> Self {
        Self::text(why.status, why.reason, format!("{}\n", why.what))
    }
}

/// Counts an answer and writes the line of the access log.
fn log(request: Option<&Request>, status: u16, bytes: u64, peer: &Peer, cx: &Context) {
    let (method, path) =
        request.map_or(("-", "-"), |request| (request.method.as_str(), request.path()));
    let format = cx.serve.as_ref().and_then(|serve| serve.server.access_log);
    report::request(format, peer, method, path, status, bytes);
    cx.metrics.requests.add(1);
}

fn is_head(request: &Request) -> bool {
    request.method == "HEAD"
}

fn may_keep(request: &Request) -> bool {
    !request.is_old && !request.has_body() && !request.fields.has("Connection", "close")
}

async fn copy(
    file: File,
    start: u64,
    mut len: u64,
    stream: &mut ByteStream,
    patience: Duration,
) -> Result<()> {
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(start)).await.map_err(Error::io)?;
    let mut chunk = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(64 << 10)];
    while len > 0 {
        let most = usize::try_from(len).unwrap_or(usize::MAX).min(chunk.len());
        let n = file.read(&mut chunk[..most]).await.map_err(Error::io)?;
        if n == 0 {
            return Err(Error::new(Kind::Local, "a file became shorter while it was sent"));
        }
        write_all(stream, &chunk[..n], patience).await?;
        len -= n as u64;
    }
    Ok(())
}

async fn write_all(stream: &mut ByteStream, mut data: &[u8], patience: Duration) -> Result<()> {
    while !data.is_empty() {
        let n = timeout(patience, stream.write(data))
            .await
            .map_err(|_| Error::new(Kind::Lost, "the peer does not read its HTTP answer"))?
            .map_err(Error::lost)?;
        if n == 0 {
            return Err(Error::new(Kind::Lost, "connection lost inside an HTTP answer"));
        }
        data = &data[n..];
    }
    stream.flush().await.map_err(Error::lost)
}
