//! `proxy`: passes HTTP requests and WebSockets on to backends, and balances between them.
//!
//! Heads are read and written by our own strict parser, on both sides, also those that come over
//! HTTP/2 (see `http2/gateway.rs`). Bodies are framed anew. A WebSocket is only heads, too: once its
//! 101 has been checked, what is left of it is a tunnel that knows of nothing but bytes and the bounds
//! of frames (see `relay/tunnel.rs`).

use std::ops::Deref;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use crate::accept::Incoming;
use crate::cli::ProxyArgs;
use crate::context::Context;
use crate::error::Result;
use crate::lock::lock;
use crate::relay::tunnel::{Limits, Tunnels};
use crate::site::Origins;

mod admin;
mod backend;
mod balance;
mod client;
mod exchange;
mod figures;
mod front;
mod gone;
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

/// What one reading of the flags says. A request that has begun goes on with it.
pub(crate) struct Proxy {
    run: Arc<Run>,
    args: ProxyArgs,
    routes: Routes,
    quotas: Quotas,
    origins: Origins,
}

/// What holds for a whole run, however often its flags are read.
pub(crate) struct Run {
    cx: Arc<Context>,
    tunnels: Tunnels,
    refusals: Refusals,
    /// How many WebSockets there have been.
    opened: AtomicU64,
}

impl Deref for Proxy {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl Proxy {
    /// From the flags. What was there `before` hands on what it knows of backends and clients.
    fn new(args: ProxyArgs, run: Arc<Run>, before: Option<&Self>) -> Result<Arc<Self>> {
        let origins = Origins::new(&args.clients.allow_origin)?;
        let quotas = Quotas::new(&args.clients, before.map(|it| &it.quotas));
        let routes = Routes::new(&args, &run.cx, before.map(|it| &it.routes));
        Ok(Arc::new(Self { run, args, routes, quotas, origins }))
    }
}

/// A proxy whose flags can change.
pub(crate) struct Current(Mutex<Arc<Proxy>>);

impl Current {
    /// From the flags.
    ///
    /// # Errors
    /// The system refuses a thread, or what is allowed is no Origin.
    pub(crate) fn new(args: ProxyArgs, cx: Arc<Context>) -> Result<Arc<Self>> {
        let limits = Limits {
            idle: args.shared.join.idle_timeout,
            ping: args.shared.ws.ping,
            ping_timeout: args.shared.ws.ping_timeout,
            police: args.proxying.police,
            max_message: args.proxying.max_client_message.map(|most| most as u64),
        };
        let tunnels = Tunnels::new(args.threads().tunnels, limits)?;
        let (refusals, opened) = (Refusals::default(), AtomicU64::new(0));
        let run = Arc::new(Run { cx, tunnels, refusals, opened });
        Ok(Arc::new(Self(Mutex::new(Proxy::new(args, run, None)?))))
    }

    /// As it is now.
    fn now(&self) -> Arc<Proxy> {
        lock(&self.0).clone()
    }

    /// Takes other flags. What is connected stays as it is.
    ///
    /// # Errors
    /// What is allowed is no Origin.
    pub(crate) fn change(&self, args: ProxyArgs) -> Result<()> {
        let mut now = lock(&self.0);
        let new = Proxy::new(args, now.run.clone(), Some(&now))?;
        now.routes.retire();
        *now = new;
        Ok(())
    }

    /// Serves a client that has come.
    pub(crate) fn take(
        self: &Arc<Self>,
        incoming: Incoming,
        place: OwnedSemaphorePermit,
        plain: bool,
    ) {
        self.serve(incoming, place, None, plain);
    }

    /// Sends a client that has come to this port of https:.
    pub(crate) fn redirect(
        self: &Arc<Self>,
        incoming: Incoming,
        place: OwnedSemaphorePermit,
        port: u16,
    ) {
        self.serve(incoming, place, Some(port), true);
    }

    fn serve(
        self: &Arc<Self>,
        incoming: Incoming,
        place: OwnedSemaphorePermit,
        redirect: Option<u16>,
        plain: bool,
    ) {
        let current = self.clone();
        let serving = front::serve(incoming, place, redirect, current);
        let now = self.now();
        match plain {
            true => {
                let serving = now.cx.peers.track(serving);
                now.tunnels.run(Box::pin(serving));
            }
            false => now.cx.peers.spawn(serving),
        }
    }

    /// Serves one who has come to `--admin`.
    pub(crate) fn take_admin(self: &Arc<Self>, incoming: Incoming, place: OwnedSemaphorePermit) {
        let current = self.clone();
        self.now().cx.peers.spawn(async move {
            admin::serve(incoming, &current).await;
            drop(place);
        });
    }

    /// Runs what takes clients, on a thread that has nothing to be woken for to serve them.
    pub(crate) fn run(&self, task: BoxFuture<'static, ()>) {
        self.now().tunnels.run(task);
    }

    /// When the run is to end, says goodbye in all WebSockets, and cuts off those that are left when
    /// the time to drain is over. Never ends by itself.
    pub(crate) async fn drain(&self) {
        let run = self.now().run.clone();
        run.cx.stop.cancelled().await;
        // The last ones have time to answer.
        run.tunnels.drain(None, 1001, self.now().args.server.drain / 5 * 4);
        run.cx.kill.cancelled().await;
        run.tunnels.abort();
        std::future::pending::<()>().await;
    }
}
