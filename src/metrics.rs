//! Figures for `/metrics`, in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::relay::Counts;

/// What one process of `serve` has counted since it began.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Peers that arrived at a listener.
    pub handshakes: Counter,
    /// Peers whose handshake failed.
    pub refused: Counter,
    /// Peers that were joined to a target.
    pub peers: Counter,
    /// Peers that have left again.
    pub left: Counter,
    /// Messages from peers to targets.
    pub messages_in: Counter,
    /// Messages from targets to peers.
    pub messages_out: Counter,
    /// Bytes from peers to targets.
    pub bytes_in: Counter,
    /// Bytes from targets to peers.
    pub bytes_out: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// Adds what one join has moved.
    pub fn count(&self, counts: &Counts) {
        self.messages_in.add(counts.received.messages);
        self.messages_out.add(counts.sent.messages);
        self.bytes_in.add(counts.received.bytes);
        self.bytes_out.add(counts.sent.bytes);
    }

    /// The page, Prometheus text format 0.0.4.
    pub fn page(&self) -> String {
        let mut out = String::new();
        let live = self.peers.get().saturating_sub(self.left.get());
        let rows = [
            ("towline_peers", "gauge", "Peers joined to a target now", live),
            ("towline_handshakes_total", "counter", "Peers that arrived", self.handshakes.get()),
            (
                "towline_refused_total",
                "counter",
                "Peers whose handshake failed",
                self.refused.get(),
            ),
            ("towline_peers_total", "counter", "Peers joined to a target", self.peers.get()),
            ("towline_messages_in_total", "counter", "Messages from peers", self.messages_in.get()),
            ("towline_messages_out_total", "counter", "Messages to peers", self.messages_out.get()),
            ("towline_bytes_in_total", "counter", "Bytes from peers", self.bytes_in.get()),
            ("towline_bytes_out_total", "counter", "Bytes to peers", self.bytes_out.get()),
        ];
        for (name, kind, help, value) in rows {
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}");
        }
        out
    }
}
