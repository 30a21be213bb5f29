//! What a WebSocket listener says over plain HTTP, and who may upgrade.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::accept::Peer;
use crate::cli::HttpArgs;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::http::Request;

mod answer;
mod auth;
mod files;
mod host;
mod origin;
mod page;
mod routes;

pub(crate) use answer::Answer;
pub(crate) use host::normal as normal_host;
pub(crate) use origin::Origins;

use auth::Auth;
use files::Files;
use host::Hosts;
use routes::Routes;

/// What to do with a request.
pub(crate) enum Verdict {
    /// Go on with the WebSocket handshake; `peer.target` is set if a route chose one.
    Upgrade,
    /// Send this answer.
    Answer(Answer),
}

/// Decides about a request that came to a WebSocket listener for the path `listener` (empty: any
/// path).
pub(crate) async fn decide(
    request: &Request,
    listener: &str,
    peer: &mut Peer,
    cx: &Context,
) -> Verdict {
    match &cx.serve {
        Some(serve) => match serve.site.admit(request, listener, peer, cx).await {
            Ok(()) => Verdict::Upgrade,
            Err(answer) => Verdict::Answer(answer),
        },
        None => Verdict::Upgrade,
    }
}

/// The HTTP side of the WebSocket listeners of one run.
pub(crate) struct Site {
    /// Where peers are joined to, unless a route says otherwise.
    target: Arc<Endpoint>,
    routes: Routes,
    origins: Origins,
    hosts: Hosts,
    auth: Auth,
    files: Option<Files>,
    /// Whether to serve the test page, if the user said so.
    page: Option<bool>,
    /// Whether to answer `/healthz` and `/metrics`.
    status: bool,
}

impl Site {
    /// From the flags, and the names of the hosts to listen on.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for an unreadable file, a malformed Origin, a path routed
    /// twice.
    pub(crate) fn new(http: &HttpArgs, names: &[String], target: Arc<Endpoint>) -> Result<Self> {
        Ok(Self {
            target,
            routes: Routes::new(&http.route)?,
            origins: Origins::new(&http.allow_origin)?,
            hosts: Hosts::new(&http.allow_host, names)?,
            auth: Auth::new(http.basic_auth.as_deref(), http.bearer_auth.as_deref())?,
            files: http.files.as_deref().map(Files::new).transpose()?,
            page: (http.page || http.no_page).then_some(http.page),
            status: !http.no_status,
        })
    }

    /// The target of a route that a peer asks for by its name alone, as SSH clients do: with or
    /// without the slash.
    pub(crate) fn route(&self, name: &str) -> Option<&Arc<Endpoint>> {
        let name = name.trim().trim_start_matches('/');
        self.routes.find(format!("/{name}").as_bytes())
    }

    /// Whether a Host is one that nobody else can have made up.
    pub(crate) fn is_known_as(&self, host: &str) -> bool {
        self.hosts.knows(host)
    }

    /// Lets a WebSocket go on; everything else is answered.
    async fn admit(
        &self,
        request: &Request,
        listener: &str,
        peer: &mut Peer,
        cx: &Context,
    ) -> Result<(), Answer> {
        check(request)?;
        let path = decoded(request.path());
        let reads = matches!(request.method.as_str(), "GET" | "HEAD") && !request.is_websocket();
        // Before the login, since those who watch whether it is alive have no password.
        if reads && self.status && *path == *b"/healthz" && !self.routes.has(&path) {
            return Err(Answer::text(200, "OK", "ok\n"));
        }
        self.auth.check(request, peer)?;
        if request.is_websocket() {
            return self.upgrade(request, &path, listener, peer);
        }
        Err(match reads {
            true => self.get(request, &path, listener, peer, cx).await,
            false => Answer::text(405, "Method Not Allowed", "only GET and HEAD are answered\n")
                .with("Allow", "GET, HEAD"),
        })
    }

    /// Chooses the target of a WebSocket.
    fn upgrade(
        &self,
        request: &Request,
        path: &[u8],
        listener: &str,
        peer: &mut Peer,
    ) -> Result<(), Answer> {
        let route = self.routes.find(path);
        if route.is_none() && !takes_all(listener) && *decoded(listener) != *path {
            return Err(self.not_found(request, listener, peer));
        }
        let target = route.unwrap_or(&self.target);
        self.origins.check(request, target, self.is_rebound(request, peer), peer.tls)?;
        peer.target = route.cloned();
        Ok(())
    }

    /// Answers a plain GET or HEAD.
    async fn get(
        &self,
        request: &Request,
        path: &[u8],
        listener: &str,
        peer: &Peer,
        cx: &Context,
    ) -> Answer {
        if self.routes.has(path) {
            return upgrade_required(request, peer);
        }
        let metrics = self.status && path == b"/metrics";
        if (metrics || self.files.is_some()) && !self.auth.asks() && self.is_rebound(request, peer)
        {
            return misdirected(request);
        }
        if metrics {
            return Answer::metrics(cx.metrics.page());
        }
        if path == b"/" && self.shows_page(peer) {
            return page::answer(self.paths(listener));
        }
        if let Some(files) = &self.files
            && let Some(answer) = files.get(request, path).await
        {
            return answer;
        }
        let only_websockets = self.files.is_none() && self.routes.is_empty();
        let is_websocket = self.routes.find(path).is_some()
            || *decoded(listener) == *path
            || (takes_all(listener) && only_websockets);
        match is_websocket {
            true => upgrade_required(request, peer),
            false => self.not_found(request, listener, peer),
        }
    }

    /// Whether a request may be that of a foreign site whose name was made to resolve to us.
    fn is_rebound(&self, request: &Request, peer: &Peer) -> bool {
        let host = request.fields.get("Host").unwrap_or_default();
        is_loopback(&peer.local) && !self.hosts.knows(host) && !self.origins.name(host)
    }

    /// By default where it helps and harms nobody: `echo:`, reached from this machine.
    fn shows_page(&self, peer: &Peer) -> bool {
        let default = || self.target.is_echo() && self.files.is_none() && is_loopback(&peer.local);
        self.page.unwrap_or_else(default)
    }

    /// The paths of the WebSockets, as written.
    fn paths<'a>(&'a self, listener: &'a str) -> impl Iterator<Item = &'a str> {
        let listener = if listener.is_empty() { "/" } else { listener };
        std::iter::once(listener).chain(self.routes.paths().filter(move |path| *path != listener))
    }

    fn not_found(&self, request: &Request, listener: &str, peer: &Peer) -> Answer {
        let mut body = format!("nothing is at {}; WebSockets are at\n", request.path());
        for path in self.paths(listener) {
            body += &format!("  {}\n", url(request, path, peer));
        }
        Answer::text(404, "Not Found", body)
    }
}

/// Refuses what could be read in two ways.
fn check(request: &Request) -> Result<(), Answer> {
    let bad = |why: &str| Err(Answer::text(400, "Bad Request", format!("{why}\n")).closing());
    if request.fields.all("Host").count() != 1 {
        return bad("one Host header is needed");
    }
    if !request.target.starts_with('/') && request.method != "OPTIONS" {
        return bad("the request target starts with a slash");
    }
    // Nothing here reads a body, and what is not read would be taken for the next request.
    if request.has_body() && matches!(request.method.as_str(), "GET" | "HEAD") {
        return bad("a request body is not accepted");
    }
    Ok(())
}

fn misdirected(request: &Request) -> Answer {
    let host = request.fields.get("Host").unwrap_or_default();
    let name = shlex::try_quote(host.split(':').next().unwrap_or_default()).unwrap_or_default();
    let body = format!(
        "this server is not known as {host}\n\
         hint: towline serve --allow-host {name} lets it be called that\n"
    );
    Answer::text(421, "Misdirected Request", body)
}

fn upgrade_required(request: &Request, peer: &Peer) -> Answer {
    let url = url(request, request.path(), peer);
    // The path comes from whoever made the link; it must not become a command in a shell.
    let url = shlex::try_quote(&url).unwrap_or_default();
    let body = format!("this is a WebSocket server; try: towline connect {url}\n");
    Answer::text(426, "Upgrade Required", body).with("Upgrade", "websocket")
}

fn url(request: &Request, path: &str, peer: &Peer) -> String {
    let scheme = if peer.tls { "wss" } else { "ws" };
    format!("{scheme}://{}{path}", request.fields.get("Host").unwrap_or("localhost"))
}

/// Paths are compared as the bytes they stand for.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    percent_decode_str(path).into()
}

fn takes_all(listener: &str) -> bool {
    matches!(listener, "" | "/")
}

fn is_loopback(local: &str) -> bool {
    local.parse::<SocketAddr>().is_ok_and(|it| it.ip().to_canonical().is_loopback())
}
