//! What a WebSocket listener says over plain HTTP, and who may upgrade.

use std::sync::Arc;

use bytes::Bytes;

use crate::accept::Peer;
use crate::context::Context;
use crate::http::{Request, Response};

/// What to do with a request.
pub(crate) enum Verdict {
    /// Go on with the WebSocket handshake; `peer.target` is set if a route chose one.
    Upgrade,
    /// Send this answer (head and body). The connection stays open for the next request if
    /// `keep_alive`.
    Answer { response: Bytes, keep_alive: bool },
}

/// Decides about a request that came to a WebSocket listener for `path` (empty: any path).
pub(crate) async fn decide(
    request: &Request,
    _path: &str,
    _peer: &mut Peer,
    _cx: &Arc<Context>,
) -> Verdict {
    if request.is_websocket() {
        return Verdict::Upgrade;
    }
    let body = b"this is a WebSocket server\n";
    let response = Response::new(426, "Upgrade Required")
        .with("Upgrade", "websocket")
        .with("Connection", "close");
    Verdict::Answer {
        response: response.with_body("text/plain; charset=utf-8", body),
        keep_alive: false,
    }
}
