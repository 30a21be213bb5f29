//! The backends on the terminal, live.

use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;

use super::Proxy;
use crate::cli::When;
use crate::report::live::Live;

/// How often the lines change.
const TICK: Duration = Duration::from_millis(500);

impl Proxy {
    /// Shows what there is to see for as long as this is awaited.
    pub(crate) async fn show(&self, when: When) {
        let Some(live) = Live::open(when) else { return pending().await };
        let mut before = self.opened_so_far();
        loop {
            let opened = self.opened_so_far();
            let rate = (opened - before) * 1000 / TICK.as_millis() as u64;
            before = opened;
            let metrics = &self.cx.metrics;
            let open = metrics.peers.get().saturating_sub(metrics.left.get());
            let mut lines = vec![format!("{open} WebSockets open, {rate}/s new, {opened} so far")];
            lines.extend(self.pool.backends().map(|backend| {
                let figures = &backend.figures;
                format!(
                    "  {}  {} live, {} WebSockets, {} requests, {} failures",
                    backend.name,
                    backend.live(),
                    figures.websockets.get(),
                    figures.requests.get(),
                    figures.failures.get()
                )
            }));
            live.show(&lines);
            sleep(TICK).await;
        }
    }

    fn opened_so_far(&self) -> u64 {
        self.opened.load(std::sync::atomic::Ordering::Relaxed)
    }
}
