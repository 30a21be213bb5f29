//! A WebSocket that is open: who has it, and what the log says of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::backend::Share;
use super::front::Front;
use super::quotas::Place;
use super::{Proxy, Run};
use crate::cli::LogFormat;
use crate::endpoint::Side;
use crate::error::plain;
use crate::http::Request;
use crate::relay::Counts;
use crate::relay::tunnel::{End, Owner};
use crate::report::access::{self, Passed, PassedEvent};

/// A WebSocket, for as long as it is open, and for what is said of it.
pub(super) struct Visit {
    /// Not the proxy: that would keep the backends of flags that hold no more.
    run: Arc<Run>,
    log: Option<LogFormat>,
    id: u64,
    client: Box<str>,
    path: Box<str>,
    pub(super) share: Share,
    began: Instant,
}

impl Visit {
    /// Says that it is open.
    pub(super) fn new(
        front: &Front,
        request: &Request,
        share: Share,
        began: Instant,
        proxy: &Arc<Proxy>,
    ) -> Self {
        proxy.cx.metrics.peers.add(1);
        let id = proxy.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let (client, path) = (front.peer.address.as_str().into(), front.path(request).into());
        let (run, log) = (proxy.run.clone(), proxy.args.server.access_log);
        let visit = Self { run, log, id, client, path, share, began };
        let passed = Passed {
            host: request.fields.get("Host"),
            status: Some(101),
            ..visit.passed(PassedEvent::Open)
        };
        access::passed(log, &passed);
        visit
    }

    /// Says that it is over.
    pub(super) fn over(
        &self,
        moved: &Counts,
        close: Option<u16>,
        by: Option<Side>,
        error: Option<&str>,
    ) {
        let metrics = &self.run.cx.metrics;
        metrics.count(moved);
        metrics.left.add(1);
        let (moved, by) = (Some(moved.into()), by.map(who));
        let passed = Passed { moved, close, by, error, ..self.passed(PassedEvent::Close) };
        access::passed(self.log, &passed);
    }

    fn passed(&self, event: PassedEvent) -> Passed<'_> {
        Passed {
            event,
            id: Some(self.id),
            client: &self.client,
            backend: &self.share.name,
            host: None,
            method: None,
            path: &self.path,
            status: None,
            moved: None,
            close: None,
            by: None,
            error: None,
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

/// One that goes through a tunnel.
pub(super) struct Open {
    visit: Visit,
    _place: Place,
    _token: TaskTrackerToken,
}

impl Open {
    pub(super) fn new(visit: Visit, place: Place) -> Self {
        let token = visit.run.cx.peers.token();
        Self { visit, _place: place, _token: token }
    }
}

impl Owner for Open {
    fn ended(self: Box<Self>, counts: &Counts, end: End) {
        let (close, by, error) = match end {
            End::Closed { by, code } => (Some(code), Some(by), None),
            End::Gone(side) => (None, Some(side), Some("gone without a Close".to_owned())),
            End::Lost(side, error) => (None, Some(side), Some(plain(&error))),
            End::Idle => (None, None, Some("idle".to_owned())),
            End::Closing(code) => (Some(code), None, None),
            End::Protocol(side, code, what) => (Some(code), Some(side), Some(what.to_owned())),
        };
        self.visit.over(counts, close, by, error.as_deref());
    }
}

/// Who is at this side of a proxy, for the log.
pub(super) fn who(side: Side) -> &'static str {
    match side {
        Side::Near => "client",
        Side::Far => "backend",
    }
}
