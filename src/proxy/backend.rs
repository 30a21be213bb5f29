//! A server that requests are passed on to.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

use super::balance::hash;
use super::figures::Figures;
use super::health::Health;
use crate::accept::Peer;
use crate::context::Context;
use crate::duplex::ByteStream;
use crate::endpoint::{Call, Endpoint, Shape, Side, in_connect_time};
use crate::error::Result;
use crate::lock::lock;
use crate::trace::Trace;

/// One backend: a server at one place.
pub(super) struct Backend {
    pub(super) endpoint: Arc<Endpoint>,
    /// The address to go to, if it is one of several that its name has.
    pub(super) at: Option<SocketAddr>,
    /// Its address, for people.
    pub(super) name: Arc<str>,
    /// What it is called where its address is nobody's business.
    pub(super) id: u64,
    weight: AtomicUsize,
    pub(super) figures: Figures,
    pub(super) health: Health,
    /// Requests and WebSockets that it has now.
    live: AtomicUsize,
    /// When it is to be next, where all are to be equal; see [`Backend::take_turn`].
    turn: AtomicU64,
    /// Told of every place that becomes free.
    freed: Arc<Notify>,
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
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        at: Option<SocketAddr>,
        weight: usize,
        freed: Arc<Notify>,
    ) -> Arc<Self> {
        let name: Arc<str> = match at {
            Some(at) => format!("{endpoint:#}@{}", at.ip()).into(),
            None => format!("{endpoint:#}").into(),
        };
        Arc::new(Self {
            id: hash::of(name.as_bytes()),
            figures: Figures::default(),
            health: Health::new(name.clone()),
            endpoint,
            at,
            name,
            weight: AtomicUsize::new(weight),
            live: AtomicUsize::new(0),
            turn: AtomicU64::new(0),
            freed,
            idle: Mutex::default(),
        })
    }

    /// Its share of all that there is to do.
    pub(super) fn weight(&self) -> usize {
        self.weight.load(Relaxed)
    }

    pub(super) fn set_weight(&self, weight: usize) {
        self.weight.store(weight, Relaxed);
    }

    /// Requests and WebSockets that it has now.
    pub(super) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// What its tunnels are known by.
    pub(super) fn tag(&self) -> u32 {
        self.id as u32
    }

    /// Compares what two have to do, each for its weight, without dividing.
    pub(super) fn load(&self, other: &Self) -> Ordering {
        (self.live() * other.weight()).cmp(&(other.live() * self.weight()))
    }

    /// One more request or WebSocket, if it has fewer than `most`.
    pub(super) fn share(self: &Arc<Self>, most: usize) -> Option<Share> {
        let more = |live| (live < most).then_some(live + 1);
        self.live.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Share(self.clone()))
    }

    /// The backend with the least turn is next.
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// Moves its turn on, by the less the greater its weight is. `clock` is the latest turn that was
    /// taken: one that comes late begins there, so that it has nothing to catch up with.
    pub(super) fn take_turn(&self, clock: &AtomicU64) {
        // Weights are up to 1000, and must still differ when divided by.
        const ROUND: u64 = 1 << 20;
        let now = clock.fetch_max(self.turn(), Relaxed).max(self.turn());
        self.turn.store(now + ROUND / self.weight() as u64, Relaxed);
    }

    /// A new connection, on behalf of a client if there is one.
    pub(super) async fn dial(&self, peer: Option<&Peer>, cx: &Arc<Context>) -> Result<Back> {
        let trace = Trace::default();
        let call = Call { cx, near: Shape::Bytes, side: Side::Far, peer, trace: &trace };
        let patience = cx.shared.dial.connect_timeout;
        // By itself it is larger than all else that a client's task holds, and soon over.
        let opening = Box::pin(self.endpoint.open_web(self.at, &call));
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

impl Share {
    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.0
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
        self.0.live.fetch_sub(1, Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Backends of these weights, where nobody is.
    pub(in crate::proxy) fn backends(weights: &[usize]) -> Vec<Arc<Backend>> {
        let backend = |(i, weight): (usize, &usize)| {
            let endpoint = Endpoint::parse_web(&format!("http://192.0.2.{i}")).unwrap();
            Backend::new(Arc::new(endpoint), None, *weight, Arc::default())
        };
        weights.iter().enumerate().map(backend).collect()
    }
}
