//! A connection that brings requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::gateway::Gateway;
use super::head::{request_from, response_to};
use super::stream::Stream;
use super::{CONNECTION_WINDOW, SEND_BUFFER, SMALL_FRAMES, STREAM_WINDOW, STREAMS, lost};
use crate::duplex::ByteStream;
use crate::error::Result;
use crate::http::{Refusal, Request, Response};

/// A client's connection.
pub(crate) struct Server {
    connection: Connection<ByteStream, Bytes>,
    /// Held by each stream.
    streams: Arc<()>,
    /// No more requests are taken.
    leaving: bool,
}

/// A request, and how to answer it.
pub(crate) struct Asked {
    /// What is asked; or what to answer where it could be read in two ways.
    pub(crate) request: Result<Request, Refusal>,
    pub(crate) reply: Reply,
}

/// Where the answer to a request goes. A request that is not answered is refused.
pub(crate) struct Reply {
    send: SendResponse<Bytes>,
    body: RecvStream,
    held: Arc<()>,
}

/// How long a client may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

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
        Ok(Self { connection, streams: Arc::new(()), leaving: false })
    }

    /// The next request; none when the connection is over. All streams stand still while nobody
    /// waits for it. It takes its leave when it is to `stop`, or when there was no stream for as long
    /// as `patience`, and is over when its streams are.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) async fn next(
        &mut self,
        patience: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Asked>> {
        loop {
            let was_idle = self.is_idle();
            // Who does not answer a goodbye is left.
            let patience = if self.leaving { patience.min(GOODBYE) } else { patience };
            tokio::select! {
                next = self.accept() => return next,
                () = stop.cancelled(), if !self.leaving => self.leave(),
                () = sleep(patience) => match was_idle && self.is_idle() {
                    true if self.leaving => return Ok(None),
                    true => self.leave(),
                    false => {}
                },
            }
        }
    }

    async fn accept(&mut self) -> Result<Option<Asked>> {
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

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.streams) == 1
    }

    fn leave(&mut self) {
        self.leaving = true;
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

    /// A connection of HTTP/1.1 that brings `request`, which this is the answer to, and no other.
    pub(crate) fn into_connection(self, request: Request) -> ByteStream {
        ByteStream::other(Gateway::new(request, self.send, self.body, self.held))
    }

    /// Sends the head of an answer that is no more than that.
    ///
    /// # Errors
    /// [`crate::error::Kind::Lost`].
    pub(crate) fn end(mut self, head: &Response) -> Result<()> {
        self.send.send_response(response_to(head), true).map(drop).map_err(lost)
    }
}
