//! One connection: who it is from, since when it is known, and what it may do.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::access::{Proof, Sources};
use super::startups::Startup;
use super::{Server, address_of};
use crate::accept::{Handshake, Incoming, Peer};
use crate::context::Context;
use crate::duplex::ByteStream;
use crate::endpoint::{Endpoint, HostPort};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::lock::lock;
use crate::report;
use crate::ssh::Load;
use crate::ssh::authorized_keys::{Denied, Grant, Visitor};

/// How often it is looked whether a key still lets its sessions be here.
const LOOK: Duration = Duration::from_secs(1);

/// A connection, as all that is done for it shares it.
pub(super) struct Visit {
    pub(super) server: Arc<Server>,
    pub(super) cx: Arc<Context>,
    pub(super) load: Load,
    /// Cancelled to cut it.
    pub(super) over: CancellationToken,
    pub(super) address: String,
    pub(super) ip: IpAddr,
    local: String,
    listener: Option<Arc<str>>,
    tls: bool,
    handshake: Handshake,
    startup: Mutex<Option<Startup>>,
    login: OnceLock<Login>,
    logged_in: CancellationToken,
    /// The place among `--max-peers` that the connection has anyway: for its first session.
    place: Arc<Semaphore>,
}

/// Who has logged in, and how.
struct Login {
    user: String,
    proof: Proof,
    name: Arc<str>,
    identity: Arc<str>,
    /// What it may do, and which files say so.
    granted: Mutex<(Arc<Grant>, Sources)>,
}

impl Visit {
    pub(super) fn new(
        server: Arc<Server>,
        cx: Arc<Context>,
        peer: &Peer,
        startup: Startup,
    ) -> Self {
        Self {
            server,
            cx,
            load: Load::default(),
            over: CancellationToken::new(),
            address: peer.address.clone(),
            ip: address_of(peer),
            local: peer.local.clone(),
            listener: peer.listener.clone(),
            tls: peer.tls,
            handshake: peer.handshake.clone(),
            startup: Mutex::new(Some(startup)),
            login: OnceLock::new(),
            logged_in: CancellationToken::new(),
            place: Arc::new(Semaphore::new(1)),
        }
    }

    fn visitor<'a>(&self, user: &'a str) -> Visitor<'a> {
        Visitor { user, from: self.ip, now: SystemTime::now() }
    }

    /// Whether somebody who says to have a key is asked to prove it.
    pub(super) fn consider(&self, user: &str, key: &Proof) -> bool {
        let considered = self.server.access.sources(user).consider(key, self.visitor(user));
        if let Err(why) = &considered {
            self.refused(user, key, why);
        }
        considered.is_ok()
    }

    /// Lets in who has proved to have a key, if it may come in.
    pub(super) fn log_in(&self, user: &str, proof: Proof) -> bool {
        let sources = self.server.access.sources(user);
        let grant = match sources.admit(&proof, self.visitor(user)) {
            Ok(grant) => grant,
            Err(why) => {
                self.refused(user, &proof, &why);
                return false;
            }
        };
        let fingerprint = proof.fingerprint();
        report::verbose(format_args!(
            "{}: {} logs in with {fingerprint} ({})",
            self.address,
            report::cut(user, LONGEST_NAME),
            grant.place
        ));
        let name = grant.name.clone().unwrap_or_else(|| user.to_owned());
        let login = Login {
            user: user.to_owned(),
            identity: format!("{fingerprint} {name}").into(),
            name: name.into(),
            proof,
            granted: Mutex::new((Arc::new(grant), sources)),
        };
        self.login.set(login).is_ok()
    }

    fn refused(&self, user: &str, proof: &Proof, why: &Denied) {
        let (user, key) = (report::cut(user, LONGEST_NAME), proof.fingerprint());
        report::verbose(format_args!("{}: {user} may not log in with {key}: {why}", self.address));
    }

    /// The client has been told that it is logged in.
    pub(super) fn begun(&self) {
        self.handshake.leave();
        if let Some(startup) = lock(&self.startup).take() {
            startup.succeed();
        }
        self.logged_in.cancel();
    }

    /// Done where nobody has logged in.
    pub(super) async fn without_login(&self) {
        if self.logged_in.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// What it may do; nothing before the login.
    pub(super) fn grant(&self) -> Option<Arc<Grant>> {
        self.login.get().map(|login| lock(&login.granted).0.clone())
    }

    /// Who it has proved to be.
    pub(super) fn identity(&self) -> Option<&Arc<str>> {
        self.login.get().map(|login| &login.identity)
    }

    /// Whether a place to listen on is one under its own name, to be offered to other clients. A
    /// name with a dot could be taken for a host elsewhere.
    pub(super) fn may_offer(&self, at: &HostPort) -> bool {
        let own = |login: &Login| *login.name == *at.host && !at.host.contains(['.', ':', '*']);
        self.server.args.allow_peers
            && at.port != 0
            && at.host != "localhost"
            && self.login.get().is_some_and(own)
            && self.grant().is_some_and(|grant| grant.may_listen(&at.host, at.port))
    }

    /// Whether one more channel is one too many.
    pub(super) fn is_full(&self) -> bool {
        self.load.channels() >= self.server.args.max_channels || self.cx.stop.is_cancelled()
    }

    /// Joins a session to the target, or to that of the route that is asked for.
    ///
    /// # Errors
    /// There is no such route, or no room.
    pub(super) fn join(
        &self,
        stream: impl FnOnce(&Endpoint) -> ByteStream,
        words: Option<&str>,
    ) -> Result<()> {
        let (Some(serve), Some(login)) = (&self.cx.serve, self.login.get()) else {
            return Err(Error::new(Kind::Usage, "nobody is logged in"));
        };
        let target = match words {
            Some(words) => Some(serve.site.route(words).ok_or_else(|| {
                let words = report::cut(words, LONGEST_NAME);
                Error::new(Kind::Usage, format!("there is no route `{words}` here"))
            })?),
            None => None,
        };
        let place =
            self.place().ok_or_else(|| Error::new(Kind::Refused, "no more peers fit in"))?;
        let peer = Peer {
            address: self.address.clone(),
            local: self.local.clone(),
            listener: self.listener.clone(),
            name: Some(login.name.clone()),
            identity: Some(login.identity.clone()),
            framing: Framing::Lines,
            tls: self.tls,
            target: target.cloned(),
            ..Peer::default()
        };
        let stream = stream(target.unwrap_or(&serve.target));
        let incoming = Incoming::ready(stream, peer);
        self.cx.peers.join(incoming, place, &self.cx);
        Ok(())
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let own = self.place.clone().try_acquire_owned().ok();
        own.or_else(|| self.cx.peers.place())
    }

    /// Whether it may connect to a place through us.
    pub(super) fn may_open(&self, to: &HostPort) -> bool {
        let allowed = self.server.args.allow_open.iter().any(|it| it.has_port(&to.host, to.port));
        allowed && self.grant().is_some_and(|grant| grant.may_open(&to.host, to.port))
    }

    /// Whether it may have us listen on a place.
    pub(super) fn may_listen(&self, at: &HostPort) -> bool {
        // The names of loopback are one place.
        const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
        let names = match LOOPBACK.contains(&at.host.as_str()) {
            true => &LOOPBACK[..],
            false => &[at.host.as_str()],
        };
        let any = |allows: &dyn Fn(&str) -> bool| names.iter().any(|name| allows(name));
        let flags = &self.server.args.allow_listen;
        any(&|host| flags.iter().any(|it| it.has_port(host, at.port)))
            && self.grant().is_some_and(|grant| any(&|host| grant.may_listen(host, at.port)))
    }

    /// Whether it may connect to a Unix socket of this machine.
    pub(super) fn may_open_socket(&self, path: &str) -> bool {
        self.server.args.allow_open.iter().any(|it| it.has_socket(path))
            && self.grant().is_some_and(|grant| grant.may_open_sockets())
    }

    /// Whether it may have us listen on a Unix socket.
    pub(super) fn may_listen_on_socket(&self, path: &str) -> bool {
        self.server.args.allow_listen.iter().any(|it| it.has_socket(path))
            && self.grant().is_some_and(|grant| grant.may_listen_on_sockets())
    }

    /// Waits until the login is worth nothing any more, and says why.
    pub(super) async fn unwelcome(&self) -> Error {
        self.logged_in.cancelled().await;
        let Some(login) = self.login.get() else { return std::future::pending().await };
        let mut before = lock(&login.granted).1.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let (granted, read) = lock(&login.granted).clone();
            let expired = granted.expires.is_some_and(|expires| expires <= SystemTime::now());
            let now = self.server.access.sources(&login.user);
            // A file that is being written is left alone until it is the same for a while.
            let settled = std::mem::replace(&mut before, now.clone()).same(&now);
            if !expired && (!settled || now.same(&read)) {
                continue;
            }
            match now.admit(&login.proof, self.visitor(&login.user)) {
                Ok(grant) => *lock(&login.granted) = (Arc::new(grant), now),
                Err(why) => {
                    self.refused(&login.user, &login.proof, &why);
                    return Error::new(Kind::Auth, "the key may not log in any more");
                }
            }
        }
    }

    /// Waits until the run is to end and the sessions have.
    pub(super) async fn told_to_go(&self) {
        self.cx.stop.cancelled().await;
        tokio::select! {
            () = self.load.idle() => {}
            () = self.cx.kill.cancelled() => {}
        }
    }
}

/// How much of a name that somebody says is shown, in characters.
const LONGEST_NAME: usize = 64;
