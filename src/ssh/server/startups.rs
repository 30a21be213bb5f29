//! How many clients may be logging in at once, and how often those of one address may fail to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::accept::Peer;
use crate::cli::SshServerArgs;
use crate::cli::value::Startups as Limits;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::network::Network;

/// How long it takes until a failure is forgotten. A load balancer that looks whether we are there
/// comes less often.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// How many addresses are remembered.
const MOST_SOURCES: usize = 16 << 10;

/// Those who are logging in.
pub(super) struct Startups {
    limits: Limits,
    most_per_source: usize,
    most_failures: u32,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, Source>>,
}

/// An address, or the network of one.
#[derive(Debug)]
struct Source {
    /// How many are logging in.
    count: usize,
    /// When the last failure is forgotten, each in its turn.
    clean: Instant,
}

/// One of those who are logging in. Unless it does, it has failed.
#[derive(Debug)]
pub(super) struct Startup {
    shared: Arc<Shared>,
    source: Option<IpAddr>,
    failed: bool,
}

impl Startups {
    pub(super) fn new(args: &SshServerArgs) -> Self {
        Self {
            limits: args.max_startups,
            most_per_source: args.max_startups_per_source,
            most_failures: args.max_failures_per_source,
            shared: Arc::default(),
        }
    }

    /// One more, unless there are too many. Between few and many the dice decide, so that nobody
    /// keeps all others out by holding all places.
    ///
    /// # Errors
    /// Of what there is too much.
    pub(super) fn enter(&self, peer: &Peer) -> Result<Startup> {
        let source = source(peer);
        if let Some(source) = source {
            self.check(source)?;
        }
        let others = self.shared.count.fetch_add(1, Ordering::Relaxed);
        let mut startup = Startup { shared: self.shared.clone(), source, failed: false };
        if fastrand::usize(..100) < self.limits.refused(others) {
            return Err(refused("too many are logging in", "--max-startups"));
        }
        startup.failed = true;
        Ok(startup)
    }

    /// Counts one more of an address, unless it has too many or has failed too often.
    fn check(&self, source: IpAddr) -> Result<()> {
        let mut sources = lock(&self.shared.sources);
        let now = Instant::now();
        let known = sources.entry(source).or_insert(Source { count: 0, clean: now });
        if known.count >= self.most_per_source {
            let what = "too many are logging in from this address";
            return Err(refused(what, "--max-startups-per-source"));
        }
        if known.clean.saturating_duration_since(now) > FORGOTTEN * (self.most_failures - 1) {
            let what = "too many logins from this address have failed";
            return Err(refused(what, "--max-failures-per-source"));
        }
        known.count += 1;
        Ok(())
    }
}

fn refused(what: &str, flag: &str) -> Error {
    Error::new(Kind::Refused, what).hint(format_args!("see {flag}"))
}

/// What a connection is counted for: its address, or the network that one customer has in IPv6.
/// None inside a WebSocket, where a proxy in front makes all clients come from one address, and for
/// what comes from no network.
fn source(peer: &Peer) -> Option<IpAddr> {
    if peer.request.is_some() {
        return None;
    }
    let address: SocketAddr = peer.address.parse().ok()?;
    Some(Network::of_customer(address.ip()).first())
}

impl Startup {
    /// It has logged in.
    pub(super) fn succeed(mut self) {
        self.failed = false;
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.shared.count.fetch_sub(1, Ordering::Relaxed);
        let Some(source) = self.source else { return };
        let mut sources = lock(&self.shared.sources);
        let now = Instant::now();
        if let Some(known) = sources.get_mut(&source) {
            known.count -= 1;
            if self.failed {
                known.clean = known.clean.max(now) + FORGOTTEN;
            }
        }
        // Those who have nothing to be remembered for, and where there are too many, all the others.
        if sources.len() > MOST_SOURCES {
            sources.retain(|_, it| it.count > 0 || it.clean > now);
        }
        if sources.len() > MOST_SOURCES {
            sources.retain(|_, it| it.count > 0);
        }
    }
}

impl Limits {
    /// How likely the next is refused where there are so many, in percent (sshd_config(5),
    /// MaxStartups).
    fn refused(self, others: usize) -> usize {
        match others {
            _ if others >= self.full => 100,
            _ if others < self.start => 0,
            _ => self.rate + (100 - self.rate) * (others - self.start) / (self.full - self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_let_in_many_are_not_and_in_between_it_rises() {
        let limits: Limits = "10:30:100".parse().unwrap();
        let refused = [0, 9, 10, 55, 99, 100, 1000].map(|others| limits.refused(others));
        assert_eq!(refused, [0, 0, 30, 65, 99, 100, 100]);
    }

    #[test]
    fn sources_are_addresses_and_networks() {
        let of = |address: &str| {
            source(&Peer { address: address.to_owned(), ..Peer::default() })
                .map(|source| source.to_string())
        };
        assert_eq!(of("10.0.0.1:99").unwrap(), "10.0.0.1");
        assert_eq!(of("[::ffff:10.0.0.1]:99").unwrap(), "10.0.0.1");
        assert_eq!(of("[2001:db8:1:2:3:4:5:6]:99").unwrap(), "2001:db8:1:2::");
        assert_eq!(of("unix:/run/x[uid=0]"), None);
    }

    #[test]
    fn not_everybody_is_remembered_for_ever() {
        let startups = Startups {
            limits: "100".parse().unwrap(),
            most_per_source: 1,
            most_failures: 1,
            shared: Arc::default(),
        };
        for number in 0..=MOST_SOURCES as u32 {
            let address = format!("{}:1", std::net::Ipv4Addr::from_bits(number));
            drop(startups.enter(&Peer { address, ..Peer::default() }).unwrap());
        }
        assert!(lock(&startups.shared.sources).len() <= MOST_SOURCES);
    }
}
