//! `proxy`: listeners for HTTP, and the backends behind them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::serve::announce;
use super::serve::flags::handshake;
use crate::accept::{Listener, accept_for};
use crate::cli::value::Backend;
use crate::cli::{ProxyArgs, SharedArgs};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::proxy::Current;
use crate::report;
use crate::signal::Signals;
use crate::site::Origins;
use crate::threads::cores;
use crate::tls::Tls;

mod reload;

use reload::Reloading;

/// Passes requests on until stopped.
///
/// # Errors
/// An address that cannot listen, a listener that cannot be bound, or SIGINT.
pub async fn run(args: ProxyArgs) -> Result<()> {
    let cx = prepared(&args).map_err(|error| match &args.routing.config {
        Some(file) => error.at(file.display()),
        None => error,
    })?;
    if let (true, Some(file)) = (args.routing.check, &args.routing.config) {
        report::note(format_args!("{} is fine", file.display()));
        return Ok(());
    }
    let mut signals = Signals::listen()?;
    let reloading = Reloading::of(&args)?;
    let proxies = args.clients.proxy_protocol;
    let mut open = Vec::new();
    for listener in args.listening() {
        open.push(listener.endpoint.listen_web(proxies, &cx).await?);
    }
    let public = open.len();
    let plain: Vec<_> = open.iter().map(|it| it.address.starts_with("http://")).collect();
    let secure = open.iter().find_map(Listener::https_port).unwrap_or(443);
    for address in &args.clients.redirect_http {
        open.push(address.endpoint.listen_web(proxies, &cx).await?);
    }
    let admin = match &args.sight.admin {
        Some(at) => Some(at.listen_web_1(&cx).await?),
        None => None,
    };
    if let Some(admin) = &admin {
        report::note(format_args!("figures at {}/metrics", admin.address));
    }
    let (server, status, all) = (args.server.clone(), args.sight.status, open.len());
    let proxy = Current::new(args, cx.clone())?;
    announce(&server, &open);
    open.extend(admin);
    let proxying = async {
        let takes = proxy.clone();
        let (done, accepted) = oneshot::channel();
        let accepting = accept_for(open, cx.clone(), move |listener, peer, place| match listener {
            it if it < public => takes.take(peer, place, plain[it]),
            it if it < all => takes.redirect(peer, place, secure),
            _ => takes.take_admin(peer, place),
        });
        proxy.run(Box::pin(async { drop(done.send(accepting.await)) }));
        let reloading = async {
            match reloading {
                Some(reloading) => reloading.run(&proxy, &cx).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => accepted.unwrap_or(Ok(())),
            () = proxy.drain() => Ok(()),
            () = proxy.show(status) => Ok(()),
            () = reloading => Ok(()),
        }
    };
    match signals.run(&cx.stop, cx.until_ended(proxying)).await {
        (Some(Kind::Interrupted), Ok(())) => Err(Error::new(Kind::Interrupted, "interrupted")),
        (_, outcome) => outcome,
    }
}

/// What all connections share, once it is clear that the flags make sense.
fn prepared(args: &ProxyArgs) -> Result<Arc<Context>> {
    check(args)?;
    let cx = Context::for_proxy(args)?;
    check_tls(args, &cx.tls)?;
    Ok(Arc::new(cx))
}

/// Reads the files of TLS, and refuses those that nobody would be shown.
fn check_tls(args: &ProxyArgs, tls: &Tls) -> Result<()> {
    match args.all_backends().any(|it| it.endpoint.is_tls()) {
        true => tls.check_client()?,
        false => tls.check_no_client()?,
    }
    match args.listening().any(|it| it.endpoint.is_tls()) {
        true => tls.check_server(),
        false => tls.check_no_server(),
    }
}

/// Checks the addresses before anything is opened.
fn check(args: &ProxyArgs) -> Result<()> {
    let wrong = |what: &str, hint: &str| Err(Error::new(Kind::Usage, what).hint(hint));
    for listener in args.listening() {
        listener.endpoint.check_listen_web()?;
        if listener.weight.is_some() {
            let hint = "the first address is where to listen, the others are backends";
            return wrong("where to listen has no weight", hint);
        }
    }
    if args.listening().next().is_none() {
        return wrong("there is nowhere to listen", "the first address says where, or --listen");
    }
    if args.all_backends().next().is_none() {
        return wrong("there is no backend", "it follows the address to listen on");
    }
    if args.server.inetd {
        return Err(Error::new(Kind::Usage, "--inetd is for `towline serve`"));
    }
    if args.shared.ws.http2 {
        let hint = "backends are asked over HTTP/1.1; clients may come over HTTP/2";
        return wrong("--http2 is for `towline connect`", hint);
    }
    // Checks of backends open WebSockets, but nothing else here does.
    if let (Some(flag), None) = (handshake(&args.shared.ws), &args.balancing.checks.health) {
        let what = format!("{flag} needs a WebSocket to connect to");
        return wrong(&what, "--set-header is about requests that go through");
    }
    for listener in &args.clients.redirect_http {
        listener.endpoint.check_listen_web()?;
        if listener.endpoint.is_tls() || !args.listening().any(|it| it.endpoint.is_tls()) {
            let error = Error::new(Kind::Usage, "--redirect-http is from http: to https:");
            return Err(error.hint("towline proxy https://:443 BACKEND --redirect-http :80"));
        }
    }
    Origins::new(&args.clients.allow_origin)?;
    let routes = &args.routing.route;
    for (i, route) in routes.iter().enumerate() {
        if routes[..i].iter().any(|earlier| earlier.is_for_the_same(route)) {
            let what = format!("--route has two for the same requests: `{route}`");
            return Err(Error::new(Kind::Usage, what));
        }
    }
    args.all_backends().try_for_each(|backend| backend.endpoint.check_connect())
}

impl ProxyArgs {
    /// Where to listen.
    fn listening(&self) -> impl Iterator<Item = &Backend> {
        self.addresses.iter().take(1).chain(&self.proxying.listen)
    }

    /// The backends of no route.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.addresses.iter().skip(1).chain(&self.routing.backend)
    }

    /// The backends of all routes and of none.
    fn all_backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends().chain(self.routing.route.iter().flat_map(|route| &route.backends))
    }

    /// With what cannot change while connections share it.
    fn with_start_of(mut self, start: &Self) -> Self {
        self.proxying.listen.clone_from(&start.proxying.listen);
        self.proxying.threads = start.proxying.threads;
        self.clients.redirect_http.clone_from(&start.clients.redirect_http);
        self.clients.proxy_protocol = start.clients.proxy_protocol;
        self.clients.send_proxy = start.clients.send_proxy;
        self.server.clone_from(&start.server);
        let tls = self.shared.tls;
        self.shared = SharedArgs { tls, ..start.shared.clone() };
        self
    }

    /// How many threads do what. Few are better than many: what has to wait for a thread is done
    /// together with what came meanwhile.
    pub fn threads(&self) -> Threads {
        let all = self.proxying.threads.unwrap_or_else(cores);
        let most = (all - 1).max(1);
        let is_tls = |it: &Backend| it.endpoint.is_tls();
        match (self.listening().any(is_tls), self.listening().all(is_tls)) {
            (false, _) => Threads { tasks: 1, tunnels: most },
            (true, true) => Threads { tasks: most, tunnels: 1 },
            (true, false) => Threads { tasks: (all / 2).max(1), tunnels: all.div_ceil(2) },
        }
    }
}

/// How many threads do what.
pub struct Threads {
    /// Clients that come over TLS, and checks of backends.
    pub tasks: usize,
    /// Plain connections of clients, and what becomes of them.
    pub tunnels: usize,
}
