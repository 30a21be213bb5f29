//! A connection to a server, for WebSockets.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::TaskTracker;

use super::head::{request_to, response_from};
use super::stream::Stream;
use super::{CONNECTION_WINDOW, SEND_BUFFER, SMALL_FRAMES, STREAM_WINDOW, lost, name};
use crate::duplex::ByteStream;
use crate::error::{Error, Kind, Result};
use crate::http::{Request, Response};
use crate::lock::lock;

/// A server's connection. It is closed when this and all streams are gone.
pub(super) struct Client {
    send: SendRequest<Bytes>,
}

impl Client {
    /// Waits until the server has said whether it takes WebSockets. The connection is run by one of
    /// `tasks`.
    ///
    /// # Errors
    /// [`Kind::Handshake`] where the server speaks no HTTP/2, or takes no WebSockets over it.
    pub(super) async fn begin(stream: ByteStream, tasks: &TaskTracker) -> Result<Self> {
        let said = Said::default();
        let (send, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_FRAMES)
            .handshake::<_, Bytes>(Heard { stream, said: said.clone() })
            .await
            .map_err(lost)?;
        // Its SETTINGS are the first frame that a server sends, so they have come when the answer to
        // a PING has.
        let mut pings = connection.ping_pong().expect("nobody has taken it before");
        let pinged = pings.send_ping(Ping::opaque());
        let settled = poll_fn(|cx| {
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Err(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Some(error))),
                Poll::Pending if send.is_extended_connect_protocol_enabled() => {}
                Poll::Pending => ready!(pings.poll_pong(cx)).map(drop).map_err(Some)?,
            }
            Poll::Ready(Ok(()))
        });
        pinged.map_err(lost)?;
        settled.await.map_err(|error| said.explain(error))?;
        if !send.is_extended_connect_protocol_enabled() {
            let what = "the server takes no WebSockets over HTTP/2: it has not sent \
                        SETTINGS_ENABLE_CONNECT_PROTOCOL";
            return Err(Error::new(Kind::Handshake, what).hint(OVER_1));
        }
        tasks.spawn(async move {
            // What goes wrong shows in the streams.
            let _ = connection.await;
        });
        Ok(Self { send })
    }

    /// How many streams the server takes at once.
    pub(super) fn room(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Asks for a WebSocket: the answer, and what follows it.
    ///
    /// # Errors
    /// [`Kind::Lost`] where there is no answer.
    pub(super) async fn ask(
        self: Arc<Self>,
        request: &Request,
        secure: bool,
    ) -> Result<(Response, ByteStream)> {
        let head = request_to(request, secure)?;
        let mut send = self.send.clone().ready().await.map_err(unanswered)?;
        let (response, send) = send.send_request(head, false).map_err(unanswered)?;
        let (head, body) = response.await.map_err(unanswered)?.into_parts();
        let stream = Stream::new(send, body, self);
        Ok((response_from(&head), ByteStream::other(stream)))
    }
}

/// What to do where HTTP/2 does not work.
const OVER_1: &str = "leave out --http2 to connect over HTTP/1.1";

fn unanswered(error: h2::Error) -> Error {
    match error.reason() {
        Some(reason) if error.is_reset() && reason != Reason::REFUSED_STREAM => {
            let what = format!("the server has reset the stream in answer: {}", name(reason));
            Error::new(Kind::Handshake, what)
        }
        _ => lost(error),
    }
}

/// How a server has begun, so that one that does not speak HTTP/2 can be quoted.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// As much as an error quotes.
    const QUOTED: usize = 64;

    fn explain(&self, error: Option<h2::Error>) -> Error {
        let said = lock(&self.0);
        if said.starts_with(b"HTTP/") {
            let line = said.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let what = format!("the server does not speak HTTP/2; it says `{line}`");
            return Error::new(Kind::Handshake, what).hint(OVER_1);
        }
        match error {
            Some(error) if !error.is_io() && !error.is_remote() => {
                let what = "the server does not speak HTTP/2";
                Error::new(Kind::Handshake, what).hint(OVER_1)
            }
            Some(error) => lost(error),
            None => {
                Error::new(Kind::Lost, "the connection was closed in answer to HTTP/2").hint(OVER_1)
            }
        }
    }
}

struct Heard {
    stream: ByteStream,
    said: Said,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let mut said = lock(&self.said.0);
        let room = Said::QUOTED - said.len();
        said.extend(buf.filled()[before..].iter().take(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
