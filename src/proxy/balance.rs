//! Which backend is next.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::backend::{Back, Backend, Share};
use super::client::Client;
use super::head;
use super::health::Door;
use super::health::check::{self, Check};
use crate::accept::Peer;
use crate::cli::BalancingArgs;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind};
use crate::http::Request;
use crate::lock::lock;
use crate::site::Answer;

pub(super) mod hash;
mod names;
pub(super) mod policy;

/// Backends that do the same.
pub(super) struct Pool {
    args: BalancingArgs,
    cx: Arc<Context>,
    /// Replaced as a whole when names get other addresses.
    backends: RwLock<Arc<[Arc<Backend>]>>,
    /// The latest turn that was taken.
    clock: AtomicU64,
    /// Told of every place that becomes free.
    freed: Arc<Notify>,
    /// Held while backends come, go or are left out, such that never two leave at once and leave
    /// nobody.
    changing: Mutex<()>,
    /// Whether another pool has come in its place; then it lives as long as requests that it has.
    over: AtomicBool,
}

/// The backends that one request is offered to, one after the other.
pub(super) struct Attempts<'a> {
    pool: &'a Pool,
    /// By what the request asks for a certain one.
    wish: Option<u64>,
    /// Whether it does no harm if two get it.
    pub(super) repeatable: bool,
    tried: Vec<Arc<Backend>>,
    /// Whether this one shows if the backend is there again.
    trial: bool,
    failure: Option<Error>,
}

/// What there is for a request.
enum Pick {
    One(Share),
    /// Those that are there have all they may have.
    Busy,
    Nobody,
}

impl Pool {
    /// Backends and their weights. Their names are looked up, and they are checked, for as long as
    /// the pool lives. Those that were in the pool `before` are the same ones still.
    pub(super) fn new(
        backends: impl IntoIterator<Item = (Endpoint, usize)>,
        args: &BalancingArgs,
        cx: &Arc<Context>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let freed = before.map_or_else(Arc::default, |it| it.freed.clone());
        let mut left = before.map_or_else(Vec::new, |it| it.backends().to_vec());
        let (mut all, mut written) = (Vec::new(), Vec::new());
        for (endpoint, weight) in backends {
            let mut same = take(&mut left, &endpoint);
            same.iter().for_each(|it| it.set_weight(weight));
            if same.is_empty() {
                same.push(Backend::new(Arc::new(endpoint), None, weight, freed.clone()));
            }
            written.push(same[0].clone());
            all.append(&mut same);
        }
        let backends: Arc<[_]> = all.into();
        let pool = Arc::new(Self {
            args: args.clone(),
            cx: cx.clone(),
            backends: RwLock::new(backends.clone()),
            clock: AtomicU64::new(before.map_or(0, |it| it.clock.load(Relaxed))),
            freed,
            changing: Mutex::default(),
            over: AtomicBool::new(false),
        });
        backends.iter().for_each(|it| pool.watch(it));
        written.iter().for_each(|it| names::follow(it, &pool));
        pool
    }

    /// For a request of this client.
    pub(super) fn attempts(&self, request: &Request, client: &Client) -> Attempts<'_> {
        const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
        Attempts {
            pool: self,
            wish: self.args.balance.wish(request, client),
            repeatable: IDEMPOTENT.contains(&request.method.as_str()) && !request.has_body(),
            tried: Vec::new(),
            trial: false,
            failure: None,
        }
    }

    /// Whether a backend is still one of these.
    pub(super) fn has(&self, backend: &Arc<Backend>) -> bool {
        !self.is_over() && is_one_of(backend, self.backends().iter())
    }

    /// Ends its checks and its looking up of names.
    pub(super) fn retire(&self) {
        self.over.store(true, Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Sends the backend of this name nothing more, or again what would be its; what it has goes on.
    /// None if nobody has the name, or else what its tunnels are known by.
    pub(super) fn set_draining(&self, name: &str, draining: bool) -> Option<u32> {
        let backends = self.backends();
        let backend = backends.iter().find(|it| plain_name(&it.name) == plain_name(name))?;
        backend.health.set_draining(draining);
        Some(backend.tag())
    }

    /// The backends that there are now.
    pub(super) fn backends(&self) -> Arc<[Arc<Backend>]> {
        self.backends.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks a backend from now on, if there is something to check.
    fn watch(self: &Arc<Self>, backend: &Arc<Backend>) {
        let args = self.args.checks.clone();
        let Some(mut check) = args.health.clone().filter(|_| backend.endpoint.is_socket()) else {
            return backend.health.forget_checks();
        };
        if !backend.endpoint.is_web() {
            check = Check::Tcp;
        }
        let (pool, cx) = (Arc::downgrade(self), self.cx.clone());
        tokio::spawn(check::watch(check, args, backend.clone(), pool, cx));
    }

    /// Whether one that is left out would leave others.
    fn others_are_in(&self, backend: &Backend) -> bool {
        self.backends().iter().any(|it| !std::ptr::eq(&**it, backend) && it.health.is_in())
    }
}

impl Attempts<'_> {
    /// The next backend, once it has a place; none if the request has been offered often enough.
    pub(super) async fn next(&mut self) -> Option<Share> {
        if self.tried.len() > self.pool.args.retries {
            return None;
        }
        let pool = self.pool;
        let picking = async {
            loop {
                // Before it is looked whether there is a place, so that none is missed.
                let freed = pool.freed.notified();
                match self.pick() {
                    Pick::One(share) => return Some(share),
                    Pick::Busy => freed.await,
                    Pick::Nobody => return None,
                }
            }
        };
        timeout(pool.args.queue_timeout, picking).await.unwrap_or_default()
    }

    fn pick(&mut self) -> Pick {
        let args = &self.pool.args;
        let most = args.max_per_backend.unwrap_or(usize::MAX);
        let backends = self.pool.backends();
        let (mut open, mut cold, mut ajar) = (Vec::new(), Vec::new(), Vec::new());
        let mut busy = false;
        for backend in backends.iter().filter(|it| !is_one_of(it, self.tried.iter())) {
            match backend.health.door(args.slow_start) {
                Door::Shut => {}
                _ if backend.live() >= most => busy = true,
                Door::Ajar => ajar.push(backend),
                // Those who have been there before are used to it.
                Door::Open(warmth)
                    if self.wish != Some(backend.id) && fastrand::f64() >= warmth =>
                {
                    cold.push(backend);
                }
                Door::Open(_) => open.push(backend),
            }
        }
        let open = if open.is_empty() { cold } else { open };
        // Where one may still be away is shown by a request that others can answer, too.
        if !self.repeatable && !open.is_empty() {
            ajar.clear();
        }
        let (balance, all) = (&args.balance, [&open[..], &ajar].concat());
        let first = balance.favourite(self.wish, &all).or(ajar.first().copied());
        self.trial = first.is_some_and(|it| it.health.claim(args));
        let first = first.filter(|it| self.trial || it.health.is_in());
        let second = || balance.favourite(self.wish, &open).or_else(|| balance.best(&open));
        match first.or_else(second) {
            Some(backend) => {
                backend.take_turn(&self.pool.clock);
                // Another request may just have got the last place.
                backend.share(most).map_or_else(|| self.pick(), Pick::One)
            }
            None if busy => Pick::Busy,
            None => Pick::Nobody,
        }
    }

    /// Connects to a backend; none if it cannot be reached.
    pub(super) async fn dial(&mut self, share: &Share, peer: &Peer) -> Option<Back> {
        match share.dial(Some(peer), &self.pool.cx).await {
            Ok(back) => Some(back),
            Err(error) => {
                self.unreachable(share, error);
                None
            }
        }
    }

    /// A backend cannot be connected to.
    pub(super) fn unreachable(&mut self, share: &Share, error: Error) {
        self.count(share, error, true);
    }

    /// A backend has answered with this status, though it may say that what is behind it is away.
    pub(super) fn answered(&mut self, share: &Share, status: u16) {
        match status {
            502..=504 => {
                let what = format_args!("HTTP {status}");
                self.count(share, Error::new(Kind::Status(status), what), false);
            }
            _ => share.health.succeeded(self.trial),
        }
    }

    /// A backend has not answered as it should.
    pub(super) fn failed(&mut self, share: &Share, error: Error) {
        self.count(share, error, false);
    }

    /// The last one that is left is left out only where nobody could be served anyway.
    fn count(&mut self, share: &Share, error: Error, unreachable: bool) {
        let _changing = lock(&self.pool.changing);
        let others = self.pool.others_are_in(share);
        share.figures.failures.add(1);
        share.health.failed(&error, self.trial, others, unreachable, &self.pool.args);
        self.tried.push(share.backend().clone());
        self.failure = Some(error);
    }

    /// What to say where nobody has answered.
    pub(super) fn answer(&self) -> Answer {
        head::unanswered(self.failure.as_ref())
    }

    /// What has a client come back to this backend, if something has to.
    pub(super) fn cookie(&self, share: &Share, client: &Client) -> Option<String> {
        self.pool.args.balance.cookie(self.wish, share, client.is_secure())
    }
}

/// Takes out the backends at the addresses of one that is written so.
fn take(from: &mut Vec<Arc<Backend>>, endpoint: &Endpoint) -> Vec<Arc<Backend>> {
    let same = from.iter().map(|it| it.endpoint.clone()).find(|it| **it == *endpoint);
    from.extract_if(.., |it| same.as_ref().is_some_and(|same| Arc::ptr_eq(same, &it.endpoint)))
        .collect()
}

/// A name, the same whether it is written with `http:` or with `ws:`.
fn plain_name(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("http") {
        Some(rest) => format!("ws{rest}").into(),
        None => name.into(),
    }
}

fn is_one_of<'a>(one: &Arc<Backend>, mut all: impl Iterator<Item = &'a Arc<Backend>>) -> bool {
    all.any(|it| Arc::ptr_eq(it, one))
}
