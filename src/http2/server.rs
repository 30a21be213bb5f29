//! A connection that brings requests.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};

use super::head::{request_from, response_to};
use super::stream::Stream;
use super::{CONNECTION_WINDOW, SEND_BUFFER, SMALL_FRAMES, STREAM_WINDOW, STREAMS, lost};
use crate::duplex::ByteStream;
use crate::error::Result;
use crate::http::{Request, Response};

/// A client's connection.
pub(crate) struct Server {
    connection: Connection<ByteStream, Bytes>,
    /// Held by each stream.
    streams: Arc<()>,
}

/// A request, and how to answer it.
pub(crate) struct Asked {
    /// What is asked; or what to answer where it could be read in two ways.
    pub(crate) request: Result<Request, Refusal>,
    pub(crate) reply: Reply,
}

/// Why a request is not looked at, as an HTTP answer.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) what: &'static str,
}

/// Where the answer to a request goes. A request that is not answered is refused.
pub(crate) struct Reply {
    send: SendResponse<Bytes>,
    body: RecvStream,
    held: Arc<()>,
}

impl Server {
    /// Reads the client's preface and tells it that WebSockets may come (RFC 8441 section 3). A
    /// request whose head is larger than `max_head` bytes is answered with 431.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) async fn begin(stream: ByteStream, max_head: usize) -> Result<Self> {
        let connection = Builder::new()
            .enable_connect_protocol()
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_FRAMES)
            .handshake(stream)
            .await
            .map_err(lost)?;
        Ok(Self { connection, streams: Arc::new(()) })
    }

    /// The next request; none when the connection is over. All streams stand still while nobody
    /// waits for it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) async fn next(&mut self) -> Result<Option<Asked>> {
        while let Some(accepted) = self.connection.accept().await {
            let (request, mut send) = accepted.map_err(lost)?;
            // A stream that its client has reset is none any more for the library, but we may still
            // be at it.
            if Arc::strong_count(&self.streams) > 2 * STREAMS as usize {
                send.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            let (parts, body) = request.into_parts();
            let request = request_from(parts, body.is_end_stream());
            let reply = Reply { send, body, held: self.streams.clone() };
            return Ok(Some(Asked { request, reply }));
        }
        Ok(None)
    }

    /// Whether no stream is open.
    pub(crate) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.streams) == 1
    }

    /// Takes no more requests; the connection is over when its streams are.
    pub(crate) fn leave(&mut self) {
        self.connection.graceful_shutdown();
    }
}

impl Reply {
    /// Sends the head of an answer that something follows, or of one that grants a WebSocket.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) fn open(mut self, head: &Response) -> Result<ByteStream> {
        let send = self.send.send_response(response_to(head), false).map_err(lost)?;
        Ok(ByteStream::other(Stream::new(send, self.body, self.held)))
    }

    /// Sends the head of an answer that is no more than that.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) fn end(mut self, head: &Response) -> Result<()> {
        self.send.send_response(response_to(head), true).map(drop).map_err(lost)
    }
}
