//! The ports and sockets that clients have us listen on, and who they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::lock::lock;
use crate::ssh::Forward;

/// Who has which.
#[derive(Default)]
pub(super) struct Ports(Mutex<HashMap<Forward, Held>>);

#[derive(Clone)]
struct Held {
    identity: Arc<str>,
    /// Cancelled to give it up.
    release: CancellationToken,
    /// Cancelled when it is free again.
    free: CancellationToken,
}

/// A port or socket while it is listened on.
pub(super) struct Port {
    pub(super) release: CancellationToken,
    free: CancellationToken,
}

impl Ports {
    /// Takes one away from a former session of the same client, and waits until it is free.
    pub(super) async fn take_over(&self, at: &Forward, identity: &str) {
        let held = {
            let held = lock(&self.0);
            held.get(at).filter(|held| *held.identity == *identity).cloned()
        };
        if let Some(held) = held {
            held.release.cancel();
            held.free.cancelled().await;
        }
    }

    /// Writes down whose it is.
    pub(super) fn hold(&self, at: Forward, identity: Arc<str>, release: CancellationToken) -> Port {
        let free = CancellationToken::new();
        let held = Held { identity, release: release.clone(), free: free.clone() };
        let mut all = lock(&self.0);
        all.retain(|_, held| !held.free.is_cancelled());
        all.insert(at, held);
        Port { release, free }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.free.cancel();
    }
}
