//! Names: each address of a backend's name is a backend of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, Weak};

use tokio::time::sleep;

use super::Pool;
use crate::endpoint::HostPort;
use crate::error::plain;
use crate::lock::lock;
use crate::proxy::backend::Backend;
use crate::report;

/// Looks up the name of a backend, if it has one, for as long as its pool lives.
pub(super) fn follow(backend: &Arc<Backend>, pool: &Arc<Pool>) {
    if let Some(name) = backend.endpoint.name() {
        tokio::spawn(keep(name, backend.clone(), Arc::downgrade(pool)));
    }
}

/// `written` stands for the name until its addresses are known.
async fn keep(name: HostPort, written: Arc<Backend>, pool: Weak<Pool>) {
    let (mut first, mut known) = (true, true);
    loop {
        let found = name.resolve().await;
        let Some(pool) = pool.upgrade().filter(|pool| !pool.is_over()) else { return };
        match found {
            Ok(found) if !found.is_empty() => {
                let all: Vec<_> = found.iter().map(|it| it.ip().to_string()).collect();
                pool.settle(&written, places(found), first);
                if first {
                    report::verbose(format_args!("{} is {}", name.host, all.join(", ")));
                }
                (first, known) = (false, true);
            }
            // Those that are known are good until others are.
            outcome if std::mem::replace(&mut known, false) => {
                let none = || io::Error::other("it has no address");
                let error = outcome.err().unwrap_or_else(none);
                report::warn(format_args!("cannot resolve `{}`: {}", name.host, plain(&error)));
            }
            _ => {}
        }
        let interval = pool.args.resolve_interval;
        drop(pool);
        sleep(interval).await;
    }
}

/// The places that stand for the addresses of a name. The two loopback addresses are one place, of
/// which often only one listens; it is left to dialling to find out which.
fn places(found: Vec<SocketAddr>) -> BTreeSet<Option<SocketAddr>> {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let place = |it: SocketAddr| (!loopback.contains(&it.ip())).then_some(it);
    found.into_iter().map(place).collect()
}

impl Pool {
    /// Has the backends of a name be those at these places. One whose place has gone gets nothing
    /// more, and keeps what it has. At `first` nobody comes or goes, and nobody is cold.
    fn settle(
        self: &Arc<Self>,
        written: &Backend,
        mut places: BTreeSet<Option<SocketAddr>>,
        first: bool,
    ) {
        let _changing = lock(&self.changing);
        let stays = |it: &Arc<Backend>| {
            !Arc::ptr_eq(&it.endpoint, &written.endpoint) || places.remove(&it.at)
        };
        let (mut after, gone): (Vec<_>, Vec<_>) = self.backends().iter().cloned().partition(stays);
        let come = places.into_iter().map(|place| {
            let (endpoint, weight) = (written.endpoint.clone(), written.weight());
            Backend::new(endpoint, place, weight, self.freed.clone())
        });
        let come: Vec<_> = come.collect();
        if !first {
            come.iter().for_each(|it| it.health.begin_cold());
        }
        after.extend_from_slice(&come);
        *self.backends.write().unwrap_or_else(PoisonError::into_inner) = after.into();
        come.iter().for_each(|it| self.watch(it));
        for (them, what) in [(come, "come to"), (gone, "gone from")] {
            for it in them.iter().filter(|_| !first) {
                report::note(format_args!("{} has {what} its name", it.name));
            }
        }
    }
}
