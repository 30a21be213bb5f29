//! What `--admin` serves: figures, the state of the backends, and the word to drain.

use bytes::BytesMut;
use serde::Serialize;

use super::health::State;
use super::routes::Placed;
use super::{Current, Proxy};
use crate::accept::{Incoming, in_time};
use crate::http::{self, Request};
use crate::report;
use crate::site::Answer;

/// Serves one connection.
pub(super) async fn serve(incoming: Incoming, current: &Current) {
    let Incoming { address, ready, handshake } = incoming;
    let (mut stream, peer) = match ready.await {
        Ok((duplex, peer)) => (duplex.into_bytes(), peer),
        Err(error) => return report::verbose(format_args!("{address}: {error}")),
    };
    handshake.leave();
    let mut buf = BytesMut::new();
    loop {
        let proxy = current.now();
        let max = proxy.args.proxying.max_header;
        let request = http::read_request(&mut stream, &mut buf, max);
        let Ok(Some(request)) = in_time(&proxy.cx, request).await else { return };
        let answer = current.now().administer(&request);
        if !matches!(answer.send(Some(&request), &peer, &mut stream, &proxy.cx).await, Ok(true)) {
            return;
        }
    }
}

/// What is told of a backend.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    state: State,
    weight: usize,
    live: usize,
    websockets: u64,
    requests: u64,
    failures: u64,
    last_error: Option<String>,
}

impl<'a> Told<'a> {
    fn of(backend: &'a Placed) -> Self {
        Self {
            name: &backend.name,
            route: backend.route.as_deref(),
            state: backend.health.state(),
            weight: backend.weight(),
            live: backend.live(),
            websockets: backend.figures.websockets.get(),
            requests: backend.figures.requests.get(),
            failures: backend.figures.failures.get(),
            last_error: backend.health.last_error(),
        }
    }
}

impl Proxy {
    fn administer(&self, request: &Request) -> Answer {
        let host = request.fields.get("Host").unwrap_or_default();
        // A page of some web site can have a browser send requests here, too.
        if !self.cx.serve.as_ref().is_some_and(|serve| serve.site.is_known_as(host))
            || (request.method != "GET" && request.fields.get("Origin").is_some())
        {
            return Answer::text(403, "Forbidden", "not for web pages\n").closing();
        }
        match (request.method.as_str(), request.path()) {
            ("GET" | "HEAD", "/healthz") => Answer::text(200, "OK", "ok\n"),
            ("GET" | "HEAD", "/metrics") => Answer::metrics(self.page()),
            ("GET" | "HEAD", "/backends") => {
                let backends = self.routes.backends();
                let all: Vec<_> = backends.iter().map(Told::of).collect();
                Answer::json(&all)
            }
            ("POST", "/drain") => {
                self.cx.stop.cancel();
                Answer::text(202, "Accepted", "draining\n").closing()
            }
            ("POST", "/backends/drain") => self.set_draining(request, true),
            ("POST", "/backends/restore") => self.set_draining(request, false),
            (_, "/healthz" | "/metrics" | "/backends") => {
                Answer::text(405, "Method Not Allowed", "GET this\n")
            }
            (_, "/drain" | "/backends/drain" | "/backends/restore") => {
                Answer::text(405, "Method Not Allowed", "POST this\n")
            }
            _ => {
                let paths =
                    "/healthz /metrics /backends /backends/drain /backends/restore /drain\n";
                Answer::text(404, "Not Found", paths)
            }
        }
    }

    /// Closes the WebSockets of a backend. Those who come again are sent to others.
    pub(super) fn drain_tunnels(&self, tag: u32) {
        self.tunnels.drain(Some(tag), 1012, self.args.server.drain);
    }

    /// Drains one backend, or restores it, in all routes.
    fn set_draining(&self, request: &Request, draining: bool) -> Answer {
        let name = request.parameter("name").unwrap_or_default();
        let tags = self.routes.set_draining(&name, draining);
        if tags.is_empty() {
            return Answer::text(404, "Not Found", "no backend has this ?name=\n");
        }
        if !draining {
            return Answer::text(200, "OK", "restored\n");
        }
        tags.into_iter().for_each(|tag| self.drain_tunnels(tag));
        Answer::text(202, "Accepted", "draining\n")
    }
}
