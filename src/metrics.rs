//! Figures for `/metrics`, in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::relay::Counts;

/// What one process has counted since it began.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Peers that arrived at a listener.
    pub handshakes: Counter,
    /// Peers whose handshake failed; a visit over plain HTTP is none.
    pub refused: Counter,
    /// Peers that were joined to a target.
    pub peers: Counter,
    /// Peers that have left again.
    pub left: Counter,
    /// Plain HTTP requests that were answered.
    pub requests: Counter,
    /// Messages from peers to targets.
    pub messages_in: Counter,
    /// Messages from targets to peers.
    pub messages_out: Counter,
    /// Bytes from peers to targets.
    pub bytes_in: Counter,
    /// Bytes from targets to peers.
    pub bytes_out: Counter,
    /// Sessions that `tunnel` has opened, one after the other.
    pub sessions: Counter,
    /// Those that were lost.
    pub lost: Counter,
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
        let live = self.peers.get().saturating_sub(self.left.get());
        let totals = [
            ("handshakes", "Connections accepted", &self.handshakes),
            ("refused", "Connections whose handshake failed", &self.refused),
            ("peers", "Peers that were joined to a target", &self.peers),
            ("requests", "Plain HTTP requests answered", &self.requests),
            ("received_messages", "Messages from peers", &self.messages_in),
            ("sent_messages", "Messages to peers", &self.messages_out),
            ("received_bytes", "Bytes from peers", &self.bytes_in),
            ("sent_bytes", "Bytes to peers", &self.bytes_out),
        ];
        let mut out = format!(
            "# HELP towline_build_info The version of towline.\n\
             # TYPE towline_build_info gauge\n\
             towline_build_info{{version=\"{}\"}} 1\n\
             # HELP towline_peers Peers that are joined to a target now.\n\
             # TYPE towline_peers gauge\n\
             towline_peers {live}\n",
            env!("CARGO_PKG_VERSION"),
        );
        for (name, help, counter) in totals {
            let name = format!("towline_{name}_total");
            let value = counter.get();
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} counter\n{name} {value}");
        }
        if let Some(reconnects) = self.sessions.get().checked_sub(1) {
            let up = (reconnects + 1).saturating_sub(self.lost.get());
            let _ = write!(
                out,
                "# HELP towline_tunnel_up Whether there is a session now.\n\
                 # TYPE towline_tunnel_up gauge\n\
                 towline_tunnel_up {up}\n\
                 # HELP towline_tunnel_reconnects_total Sessions opened after one was lost.\n\
                 # TYPE towline_tunnel_reconnects_total counter\n\
                 towline_tunnel_reconnects_total {reconnects}\n"
            );
        }
        out
    }
}
