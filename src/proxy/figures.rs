//! What the proxy counts, and the page of it for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use super::Proxy;
use super::routes::Placed;
use crate::lock::lock;
use crate::metrics::Counter;
use crate::relay::Counts;

/// What a backend has done.
#[derive(Default)]
pub(super) struct Figures {
    /// WebSockets that were opened.
    pub(super) websockets: Counter,
    /// Plain requests that were answered.
    pub(super) requests: Counter,
    /// Requests of both kinds that it did not answer, or not as it should.
    pub(super) failures: Counter,
    /// How long it took to open a WebSocket, its connection included.
    pub(super) handshakes: Histogram,
}

/// How many times something took how long.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [Counter; BOUNDS.len()],
    count: Counter,
    micros: Counter,
}

/// The upper bounds of the buckets, in milliseconds.
const BOUNDS: [u32; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

impl Histogram {
    pub(super) fn add(&self, took: Duration) {
        let fits = |bound: &u32| took <= Duration::from_millis(u64::from(*bound));
        if let Some(at) = BOUNDS.iter().position(fits) {
            self.buckets[at].add(1);
        }
        self.count.add(1);
        self.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

/// The answers that were ours and no backend's, by their status.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<u16, u64>>);

impl Refusals {
    pub(super) fn add(&self, status: u16) {
        *lock(&self.0).entry(status).or_default() += 1;
    }
}

impl Proxy {
    /// The page, Prometheus text format 0.0.4.
    pub(super) fn page(&self) -> String {
        let mut out = self.cx.metrics.page();
        // What the log says of a WebSocket comes when it is over; these grow while it is open.
        let Counts { received, sent } = self.tunnels.figures().moved;
        for (name, help, value) in [
            ("received_bytes", "Bytes from clients in WebSockets, frames and all", received.bytes),
            ("received_messages", "Messages from clients in WebSockets", received.messages),
            ("sent_bytes", "Bytes to clients in WebSockets, frames and all", sent.bytes),
            ("sent_messages", "Messages to clients in WebSockets", sent.messages),
        ] {
            let name = format!("towline_websocket_{name}_total");
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} counter\n{name} {value}");
        }
        let backends = self.routes.backends();
        let mut table = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> u64| {
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
            for (i, backend) in backends.iter().enumerate() {
                let _ = writeln!(out, "{name}{{{}}} {}", labels(backend), value(i));
            }
        };
        table(
            "towline_backend_live",
            "gauge",
            "Requests and WebSockets that a backend has now",
            &|i| backends[i].live() as u64,
        );
        table("towline_backend_websockets_total", "counter", "WebSockets opened", &|i| {
            backends[i].figures.websockets.get()
        });
        table("towline_backend_requests_total", "counter", "Plain requests answered", &|i| {
            backends[i].figures.requests.get()
        });
        table(
            "towline_backend_failures_total",
            "counter",
            "Requests that were not answered as they should",
            &|i| backends[i].figures.failures.get(),
        );
        let name = "towline_backend_handshake_seconds";
        let _ = writeln!(
            out,
            "# HELP {name} How long a backend took to open a WebSocket.\n# TYPE {name} histogram"
        );
        for backend in &backends {
            let (labels, times) = (labels(backend), &backend.figures.handshakes);
            let mut so_far = 0;
            for (bound, bucket) in BOUNDS.iter().zip(&times.buckets) {
                so_far += bucket.get();
                let bound = f64::from(*bound) / 1e3;
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {so_far}");
            }
            let (count, sum) = (times.count.get(), times.micros.get() as f64 / 1e6);
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
        }
        let name = "towline_refusals_total";
        let _ = writeln!(
            out,
            "# HELP {name} Requests answered by the proxy itself.\n# TYPE {name} counter"
        );
        for (status, count) in lock(&self.refusals.0).iter() {
            let _ = writeln!(out, "{name}{{status=\"{status}\"}} {count}");
        }
        out
    }
}

/// What tells a backend from the others: a server can be one of several routes.
fn labels(backend: &Placed) -> String {
    let label = |name: &str, value: &str| format!("{name}=\"{}\"", quoted(value));
    let route = backend.route.iter().map(|route| label("route", route));
    let labels: Vec<_> = [label("backend", &backend.name)].into_iter().chain(route).collect();
    labels.join(",")
}

/// As it stands in the value of a label.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_holds_them() {
        let times = Histogram::default();
        for millis in [0, 1, 2, 3, 6000] {
            times.add(Duration::from_millis(millis));
        }
        let buckets: Vec<_> = times.buckets.iter().take(4).map(Counter::get).collect();
        assert_eq!((buckets, times.count.get()), (vec![2, 1, 1, 0], 5));
        assert_eq!(times.micros.get(), 6_006_000);
    }
}
