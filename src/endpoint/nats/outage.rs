//! Says once that a server is away and once that it is back, however many peers have a connection
//! to it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::feed::messages;
use crate::report;

/// The servers that are away.
#[derive(Default)]
pub(crate) struct Outages(Mutex<HashMap<String, Outage>>);

#[derive(Default)]
struct Outage {
    /// How many sessions wait for it.
    sessions: usize,
    /// How many messages may not have reached it.
    lost: u64,
}

impl Outages {
    /// A session has lost its connection.
    pub(super) fn begin(&self, server: &str) {
        let mut servers = self.servers();
        let outage = servers.entry(server.to_owned()).or_default();
        outage.sessions += 1;
        if outage.sessions == 1 && outage.lost == 0 {
            report::warn(format_args!("{server}: connection lost; it is tried again"));
        }
    }

    /// A session has a connection again, or has left without one. `lost` of its messages may not
    /// have reached the server.
    pub(super) fn end(&self, server: &str, lost: u64, again: bool) {
        let mut servers = self.servers();
        let Some(outage) = servers.get_mut(server) else { return };
        outage.sessions -= 1;
        outage.lost += lost;
        if outage.sessions > 0 {
            return;
        }
        let lost = outage.lost;
        servers.remove(server);
        match lost {
            0 if again => report::warn(format_args!("{server}: connected again")),
            0 => {}
            lost => report::warn(format_args!(
                "{server}: {}{} that had been under way may be lost",
                if again { "connected again; " } else { "" },
                messages(lost),
            )),
        }
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<String, Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
