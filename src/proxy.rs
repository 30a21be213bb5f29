//! `proxy`: passes HTTP requests and WebSockets on to backends, and balances between them.
//!
//! Heads are read and written by our own strict parser, on both sides. Bodies are framed anew. A
//! WebSocket is only heads, too: once its 101 has been checked, what is left of it is a tunnel that
//! knows of nothing but bytes and the bounds of frames (see `relay/tunnel.rs`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::OwnedSemaphorePermit;

use crate::accept::Incoming;
use crate::cli::ProxyArgs;
use crate::context::Context;
use crate::error::Result;
use crate::relay::tunnel::{Limits, Tunnels};
use crate::site::Origins;

mod admin;
mod backend;
mod balance;
mod client;
mod exchange;
mod figures;
mod front;
mod head;
mod health;
mod quotas;
pub mod route;
mod routes;
mod status;
mod upgrade;
mod visit;

use figures::Refusals;
use quotas::Quotas;
use routes::Routes;

pub use balance::policy::Policy;
pub use health::check::Check;

/// What all connections of one run share.
pub(crate) struct Proxy {
    cx: Arc<Context>,
    args: ProxyArgs,
    routes: Routes,
    tunnels: Tunnels,
    refusals: Refusals,
    quotas: Quotas,
    origins: Origins,
    /// How many WebSockets there have been.
    opened: AtomicU64,
}

impl Proxy {
    /// From the flags.
    ///
    /// # Errors
    /// The system refuses a thread, or what is allowed is no Origin.
    pub(crate) fn new(args: ProxyArgs, cx: Arc<Context>) -> Result<Arc<Self>> {
        let limits = Limits {
            idle: args.shared.join.idle_timeout,
            ping: args.shared.ws.ping,
            ping_timeout: args.shared.ws.ping_timeout,
            police: false,
            max_message: None,
        };
        let routes = Routes::new(&args, &cx);
        let tunnels = Tunnels::new(args.threads().tunnels, limits)?;
        let (refusals, opened) = (Refusals::default(), AtomicU64::new(0));
        let quotas = Quotas::new(&args.clients);
        let origins = Origins::new(&args.clients.allow_origin)?;
        Ok(Arc::new(Self { cx, args, routes, tunnels, refusals, quotas, origins, opened }))
    }

    /// Serves a client that has come.
    pub(crate) fn take(self: &Arc<Self>, incoming: Incoming, place: OwnedSemaphorePermit) {
        let proxy = self.clone();
        self.cx.peers.spawn(async move { front::serve(incoming, place, None, &proxy).await });
    }

    /// Sends a client that has come to this port of https:.
    pub(crate) fn redirect(
        self: &Arc<Self>,
        incoming: Incoming,
        place: OwnedSemaphorePermit,
        port: u16,
    ) {
        let proxy = self.clone();
        self.cx.peers.spawn(async move { front::serve(incoming, place, Some(port), &proxy).await });
    }

    /// Serves one who has come to `--admin`.
    pub(crate) fn take_admin(self: &Arc<Self>, incoming: Incoming, place: OwnedSemaphorePermit) {
        let proxy = self.clone();
        self.cx.peers.spawn(async move {
            admin::serve(incoming, &proxy).await;
            drop(place);
        });
    }

    /// When the run is to end, says goodbye in all WebSockets, and cuts off those that are left when
    /// the time to drain is over. Never ends by itself.
    pub(crate) async fn drain(&self) {
        self.cx.stop.cancelled().await;
        // The last ones have time to answer.
        self.tunnels.drain(None, 1001, self.args.server.drain / 5 * 4);
        self.cx.kill.cancelled().await;
        self.tunnels.abort();
        std::future::pending::<()>().await;
    }
}
