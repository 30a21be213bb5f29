//! A server that requests are passed on to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::AsyncReadExt;

use super::figures::Figures;
use crate::accept::Peer;
use crate::context::Context;
use crate::duplex::ByteStream;
use crate::endpoint::{Call, Endpoint, Shape, Side, in_connect_time};
use crate::error::Result;
use crate::lock::lock;
use crate::trace::Trace;

/// One backend.
pub(super) struct Backend {
    pub(super) endpoint: Arc<Endpoint>,
    /// Its address, for people.
    pub(super) name: String,
    pub(super) weight: usize,
    pub(super) figures: Figures,
    /// Requests and WebSockets that it has now.
    live: AtomicUsize,
    /// Connections that wait for another request, the latest last.
    idle: Mutex<Vec<(ByteStream, Instant)>>,
}

/// One request or WebSocket of a backend, which counts as long as this lives.
pub(super) struct Share(Arc<Backend>);

/// A connection to a backend, and what was read too early.
pub(super) struct Back {
    pub(super) stream: ByteStream,
    pub(super) buf: BytesMut,
}

impl Backend {
    pub(super) fn new(endpoint: Endpoint, weight: usize) -> Arc<Self> {
        let name = format!("{endpoint:#}");
        let (live, idle) = (AtomicUsize::new(0), Mutex::default());
        let (endpoint, figures) = (Arc::new(endpoint), Figures::default());
        Arc::new(Self { endpoint, name, weight, figures, live, idle })
    }

    /// Requests and WebSockets that it has now.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        self.live.fetch_add(1, Ordering::Relaxed);
        Share(self.clone())
    }

    /// A new connection on behalf of a client.
    pub(super) async fn dial(&self, peer: &Peer, cx: &Arc<Context>) -> Result<Back> {
        let trace = Trace::default();
        let (near, side) = (Shape::Bytes, Side::Far);
        let call = Call { cx, near, side, peer: Some(peer), trace: &trace };
        let patience = cx.shared.dial.connect_timeout;
        let opening = self.endpoint.open_web(&call);
        let stream = in_connect_time(&call, patience, &self.name, opening).await?;
        Ok(Back { stream, buf: BytesMut::new() })
    }

    /// A connection that is open already, if there is one that is still good.
    pub(super) fn reuse(&self, patience: Duration) -> Option<Back> {
        loop {
            let (mut stream, since) = lock(&self.idle).pop()?;
            // What comes without a request is no answer, and an end of stream is an end.
            let quiet = stream.read(&mut [0]).now_or_never().is_none();
            if quiet && since.elapsed() < patience {
                return Some(Back { stream, buf: BytesMut::new() });
            }
        }
    }

    /// Keeps a connection for the next request, if there are not so many already.
    pub(super) fn keep(&self, back: Back, patience: Duration, most: usize) {
        let mut idle = lock(&self.idle);
        idle.retain(|(_, since)| since.elapsed() < patience);
        if idle.len() < most {
            idle.push((back.stream, Instant::now()));
        }
    }
}

impl std::ops::Deref for Share {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
