//! A connection, whatever it came from: a stream of bytes or a stream of messages.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::Shape;
/// A reference-counted `str`, checked once where it enters.
pub use crate::endpoint::Text;
use crate::error::{Error, Result};
#[cfg(target_os = "linux")]
use crate::reactor::Socket;

mod voiced;
mod watched;

pub(crate) use voiced::{mute, voiced};
pub(crate) use watched::{Watch, Watched};

/// What every endpoint becomes once it is connected.
pub enum Duplex {
    /// Bytes without boundaries.
    Bytes(ByteStream),
    /// Messages that stay whole.
    Messages(MessageStream),
}

impl Duplex {
    /// What this deals in.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Bytes(_) => Shape::Bytes,
            Self::Messages(_) => Shape::Messages,
        }
    }
}

/// A byte stream. Kernel sockets keep their own variants so that `relay` can see them and splice;
/// everything else is boxed once per connection.
pub enum ByteStream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// A socket of a task that runs on a thread of tunnels.
    #[cfg(target_os = "linux")]
    Watched(Socket),
    /// Anything else.
    Other(Box<dyn Io>),
}

/// What an [`Io`] that stands on another stream says of itself: the same as that, which is in a field.
macro_rules! as_below {
    ($field:ident) => {
        fn abort(&mut self, why: &$crate::error::Error) {
            self.$field.abort(why);
        }

        fn poll_finish(
            &mut self,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<$crate::error::Result<()>> {
            self.$field.poll_finish(cx)
        }

        fn poll_left(
            &mut self,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<$crate::error::Result<$crate::duplex::Close>> {
            self.$field.poll_left(cx)
        }

        fn poll_deaf(
            &mut self,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<$crate::error::Error> {
            self.$field.poll_deaf(cx)
        }

        fn check(&mut self, cx: &mut ::std::task::Context<'_>) -> $crate::error::Result<()> {
            self.$field.check(cx)
        }

        fn endless(&self) -> bool {
            self.$field.endless()
        }
    };
}

pub(crate) use as_below;

/// A stream of whole messages, boxed once per connection.
pub type MessageStream = Box<dyn MessageIo>;

/// A byte stream that is not a kernel socket.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Ends the connection such that the far side sees a failure, not an end of data.
    fn abort(&mut self, _why: &Error) {}

    /// Completes the goodbye after both directions have ended: a Close handshake, a child's exit.
    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// After the read side has ended: ready when the peer leaves altogether, so that what it has
    /// asked for has no reader any more. Nothing else would look at what it sends.
    fn poll_left(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Close>> {
        Poll::Pending
    }

    /// Ready, with what to end the join with, when nobody hears any more what is written here. A
    /// write would find out as well, but there may be nothing to write for a long time.
    fn poll_deaf(&mut self, _cx: &mut Context<'_>) -> Poll<Error> {
        Poll::Pending
    }

    /// Asked now and then while the read side waits for somebody else, or has ended: whether the
    /// connection has failed, which reading would tell otherwise.
    fn check(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    /// True where the read side never ends by itself (a terminal, `</dev/null`), so that a join
    /// is over as soon as the other side has ended.
    fn endless(&self) -> bool {
        false
    }

    /// What has gone through on the wire, where that is not what has gone through here.
    fn wire(&self) -> Option<Wire> {
        None
    }
}

/// How much has gone through, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// What was read.
    pub read: u64,
    /// What was written.
    pub written: u64,
}

/// A stream of messages in both directions, kept in one piece: no lock between the halves, and
/// one task a connection.
///
/// As a `Stream` it ends with `None` when the peer's direction has ended. A [`Body::Close`]
/// ends both directions. As a `Sink`, `poll_close` ends our direction only, where
/// [`MessageIo::half_closes`]; otherwise it is a Close 1000.
pub trait MessageIo:
    Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Send + Unpin
{
    /// Whether our direction can end while the peer's goes on.
    fn half_closes(&self) -> bool {
        true
    }

    /// Whether pings are answered here and so are nobody else's business.
    fn answers_pings(&self) -> bool {
        false
    }

    /// Ends the connection such that the far side sees a failure, not an end of data.
    fn abort(&mut self, why: &Error);

    /// Completes the goodbye; what the peer still says meanwhile is discarded.
    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// See [`Io::poll_left`].
    fn poll_left(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Close>> {
        Poll::Pending
    }

    /// See [`Io::check`].
    fn check(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    /// See [`Io::endless`].
    fn endless(&self) -> bool {
        false
    }
}

/// One message, with who said it and to whom where that is known (a hub knows).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What was said.
    pub body: Body,
    /// The peer it came from.
    pub from: Option<Arc<str>>,
    /// The one peer it is for.
    pub to: Option<Arc<str>>,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text, valid UTF-8.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
    /// A WebSocket Ping; the Pong is sent by the endpoint itself.
    Ping(Bytes),
    /// A WebSocket Pong.
    Pong(Bytes),
    /// The end of both directions.
    Close(Close),
}

/// A WebSocket Close: code 1005 (RFC 6455 section 7.1.5) stands for a Close without a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The status code, RFC 6455 section 7.4.
    pub code: u16,
    /// Why, at most [`Close::LONGEST_REASON`] bytes on the wire.
    pub reason: Text,
}

impl Close {
    /// The code of a Close frame that carries none. Never sent.
    pub const NO_CODE: u16 = 1005;

    /// The longest reason that fits into a control message beside the code, in bytes.
    pub const LONGEST_REASON: usize = Message::LONGEST_CONTROL - 2;

    /// How long a peer may take to answer our Close.
    pub const PATIENCE: Duration = Duration::from_secs(2);

    /// A Close with a reason, cut to what fits into a control frame.
    pub fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(Self::LONGEST_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: Text::from(&reason[..end]) }
    }

    /// Whether a code may go over the wire (RFC 6455 section 7.4).
    pub fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether this is the ordinary end: 1000, or no code at all.
    pub fn is_clean(&self) -> bool {
        matches!(self.code, 1000 | Self::NO_CODE)
    }
}

/// As it stands after "closed with": the code and the reason.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Self::NO_CODE => f.write_str("no code"),
            code if self.reason.is_empty() => write!(f, "{code}"),
            code => write!(f, "{code} {}", self.reason),
        }
    }
}

impl From<&Error> for Close {
    fn from(why: &Error) -> Self {
        Self::new(why.kind().close_code(), why.what())
    }
}

impl Message {
    /// The longest payload of a control message, in bytes (RFC 6455 section 5.5).
    pub const LONGEST_CONTROL: usize = 125;

    /// A text message.
    pub fn text(text: impl Into<Text>) -> Self {
        Body::Text(text.into()).into()
    }

    /// A binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Body::Binary(data.into()).into()
    }

    /// A Close.
    pub fn close(code: u16, reason: &str) -> Self {
        Body::Close(Close::new(code, reason)).into()
    }

    /// Whether this is text or binary, not a control message.
    pub fn is_data(&self) -> bool {
        matches!(self.body, Body::Text(_) | Body::Binary(_))
    }

    /// The bytes of the payload; for a Close, of its reason.
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(data) | Body::Ping(data) | Body::Pong(data) => data,
            Body::Close(close) => close.reason.as_bytes(),
        }
    }

    /// The same, without a copy.
    pub fn into_payload(self) -> Bytes {
        match self.body {
            Body::Text(text) => text.into(),
            Body::Binary(data) | Body::Ping(data) | Body::Pong(data) => data,
            Body::Close(close) => close.reason.into(),
        }
    }
}

impl From<Body> for Message {
    fn from(body: Body) -> Self {
        Self { body, from: None, to: None }
    }
}

impl ByteStream {
    /// Boxes a stream that is not a kernel socket.
    pub fn other(io: impl Io + 'static) -> Self {
        Self::Other(Box::new(io))
    }

    /// The kernel's socket, if it is one.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(tcp) => Some(tcp.as_fd()),
            Self::Unix(unix) => Some(unix.as_fd()),
            #[cfg(target_os = "linux")]
            Self::Watched(socket) => Some(socket.as_fd()),
            Self::Other(_) => None,
        }
    }

    /// Ends the connection such that the far side sees a failure: TCP sends a reset.
    pub fn abort(&mut self, why: &Error) {
        match self {
            // The reset is sent when the socket is dropped, in place of a FIN.
            Self::Tcp(tcp) => drop(tcp.set_zero_linger()),
            Self::Unix(_) => {}
            #[cfg(target_os = "linux")]
            Self::Watched(socket) => socket.set_zero_linger(),
            Self::Other(io) => io.abort(why),
        }
    }

    /// Ends our direction and reads on for a moment, so that the peer sees our last word.
    pub async fn hang_up(&mut self, patience: Duration) {
        // Whatever goes wrong here, it is out.
        let _ = tokio::time::timeout(patience, self.shutdown()).await;
        self.discard().await;
    }

    /// Reads and forgets what the peer still sends after our last word, for a moment. A socket that
    /// is closed with unread data makes the kernel send a reset, which can overtake that word.
    pub async fn discard(&mut self) {
        const MOMENT: Duration = Duration::from_secs(1);
        // Not part of the task, which would be the larger by it from its beginning.
        let mut scratch = vec![0; 4096];
        let all = async { while matches!(self.read(&mut scratch).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(MOMENT, all).await;
    }

    /// See [`Io::poll_finish`].
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Other(io) => io.poll_finish(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// See [`Io::poll_left`].
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Close>> {
        match self {
            Self::Other(io) => io.poll_left(cx),
            _ => Poll::Pending,
        }
    }

    /// See [`Io::poll_deaf`].
    pub fn poll_deaf(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self {
            Self::Other(io) => io.poll_deaf(cx),
            _ => Poll::Pending,
        }
    }

    /// See [`Io::check`].
    pub fn check(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // The kernel notes a reset also where nobody reads.
        let noted = match self {
            Self::Tcp(tcp) => tcp.take_error(),
            Self::Unix(unix) => unix.take_error(),
            #[cfg(target_os = "linux")]
            Self::Watched(socket) => socket.take_error(),
            Self::Other(io) => return io.check(cx),
        };
        match noted {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(Error::lost(error)),
        }
    }

    /// See [`Io::endless`].
    pub fn endless(&self) -> bool {
        match self {
            Self::Other(io) => io.endless(),
            _ => false,
        }
    }
}

macro_rules! each {
    ($stream:expr, $it:ident => $body:expr) => {
        match $stream.get_mut() {
            ByteStream::Tcp(it) => {
                let $it = Pin::new(it);
                $body
            }
            ByteStream::Unix(it) => {
                let $it = Pin::new(it);
                $body
            }
            #[cfg(target_os = "linux")]
            ByteStream::Watched(it) => {
                let $it = Pin::new(it);
                $body
            }
            ByteStream::Other(it) => {
                let $it = Pin::new(it);
                $body
            }
        }
    };
}

impl AsyncRead for ByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, it => it.poll_read(cx, buf))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, it => it.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, it => it.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, it => it.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, it => it.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(it) => it.is_write_vectored(),
            Self::Unix(it) => it.is_write_vectored(),
            #[cfg(target_os = "linux")]
            Self::Watched(_) => false,
            Self::Other(it) => it.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let close = Close::new(1011, &"é".repeat(100));
        assert_eq!(close.reason.len(), 122);
        assert!(close.reason.chars().all(|c| c == 'é'));
    }
}
