//! Names: each address of a backend's name is a backend of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, Weak};

use tokio::time::sleep;

use super::Pool;
use crate::endpoint::HostPort;
use crate::error::plain;
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
    let mut known = true;
    loop {
        let found = name.resolve().await;
        let Some(pool) = pool.upgrade() else { return };
        match found {
            Ok(found) if !found.is_empty() => {
                known = true;
                pool.settle(&written, places(found));
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
    /// more, and keeps what it has.
    fn settle(self: &Arc<Self>, written: &Arc<Backend>, mut places: BTreeSet<Option<SocketAddr>>) {
        let before = self.backends();
        let is_of_name = |it: &Arc<Backend>| Arc::ptr_eq(&it.endpoint, &written.endpoint);
        let mut after = Vec::new();
        for backend in before.iter() {
            if !is_of_name(backend) || places.remove(&backend.at) {
                after.push(backend.clone());
            } else if !Arc::ptr_eq(backend, written) {
                report::note(format_args!("{} has gone from its name", backend.name));
            }
        }
        let (kept, was_written) = (after.len(), before.iter().any(|it| Arc::ptr_eq(it, written)));
        for place in places {
            let (endpoint, weight) = (written.endpoint.clone(), written.weight);
            let backend = Backend::new(endpoint, place, weight, self.freed.clone());
            // At first nobody is warm.
            if !was_written {
                backend.health.begin_cold();
                report::note(format_args!("{} has come to its name", backend.name));
            }
            after.push(backend);
        }
        let after: Arc<[_]> = after.into();
        *self.backends.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        after[kept..].iter().for_each(|it| self.watch(it));
    }
}
