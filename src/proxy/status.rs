//! The backends on the terminal, live.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::Current;
use crate::cli::When;
use crate::report::live::Live;

/// How often the lines change.
const TICK: Duration = Duration::from_millis(500);

impl Current {
    /// Shows what there is to see for as long as this is awaited.
    pub(crate) async fn show(&self, when: When) {
        let Some(live) = Live::open(when) else { return pending().await };
        let mut before = (0, 0);
        loop {
            let proxy = self.now();
            let figures = proxy.tunnels.figures();
            let opened = proxy.opened.load(Ordering::Relaxed);
            let messages = figures.moved.received.messages + figures.moved.sent.messages;
            let per_second =
                |now: u64, before: u64| (now - before) * 1000 / TICK.as_millis() as u64;
            let mut lines = vec![format!(
                "{} WebSockets open, {}/s new, {opened} so far, {} messages/s",
                figures.open,
                per_second(opened, before.0),
                per_second(messages, before.1)
            )];
            before = (opened, messages);
            let backends = proxy.routes.backends();
            lines.extend(backends.iter().map(|backend| {
                let figures = &backend.figures;
                format!(
                    "  {}  {}, {} live, {} WebSockets, {} requests, {} failures",
                    backend.name,
                    backend.health.state(),
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
}
