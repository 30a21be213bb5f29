//! The embedded SSH server: who may come in, and what for.
//!
//! A connection is not a peer itself. Each session that a client opens in it is joined to the
//! target of `serve` like a peer of any other listener; forwards are joined to sockets of ours.
//! Nothing is run and nothing is opened but what flags and keys allow.

mod access;
mod connection;
mod cut;
mod forward;
mod host_key;
mod lines;
mod listening;
mod offers;
mod ports;
mod startups;
mod terminal;
mod visit;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::{Disconnect, MethodKind, MethodSet, Preferred, kex, server};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use self::access::Access;
use self::connection::Connection;
use self::cut::cuttable;
use self::offers::Offers;
use self::ports::Ports;
use self::startups::Startups;
use self::visit::Visit;
use super::auth::fingerprint;
use super::transport::Transport;
use super::{BACKLOG, KEEPALIVE, KEEPALIVES, PACKET, WINDOW};
use super::{failure, greeting, key_algorithms, no_limits, preferred};
use crate::accept::Peer;
use crate::cli::{SshArgs, SshServerArgs};
use crate::context::Context;
use crate::duplex::{ByteStream, Close};
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind, Result, plain};
use crate::report;

/// How long a refusal takes, whatever it is for: time tells nobody which users and keys there are.
const REFUSAL: Duration = Duration::from_millis(500);

/// What all connections to the server share.
pub(crate) struct Server {
    args: SshServerArgs,
    config: Arc<server::Config>,
    access: Access,
    banner: Option<String>,
    startups: Startups,
    ports: Ports,
    offers: Offers,
}

impl Server {
    /// The server, if one of `addresses` is an SSH listener, or may be one and somebody could log in.
    ///
    /// # Errors
    /// [`Kind::Usage`] where nobody could log in, or a file cannot be used.
    pub(crate) fn for_listeners(
        args: &SshServerArgs,
        shared: &SshArgs,
        addresses: &[Endpoint],
    ) -> Result<Option<Arc<Self>>> {
        let needed = addresses.iter().any(Endpoint::is_ssh);
        if !needed && !addresses.iter().any(Endpoint::is_any) {
            return Ok(None);
        }
        let access = Access::new(args)?;
        match (access.is_empty(), needed) {
            (true, true) => {
                return Err(Error::new(Kind::Usage, "nobody could log in by SSH")
                    .hint("see --authorized-keys, --authorized-keys-dir and --trusted-user-ca"));
            }
            // `any:` does without.
            (true, false) => return Ok(None),
            (false, _) => {}
        }
        let keys = match args.host_key.is_empty() {
            true => vec![host_key::own()?],
            false => {
                args.host_key.iter().map(|file| host_key::read(file)).collect::<Result<_>>()?
            }
        };
        for key in &keys {
            let key = key.public_key();
            report::note(format_args!("host key {} {}", key.algorithm(), fingerprint(key)));
        }
        let banner = args.banner.as_ref().map(|file| {
            std::fs::read_to_string(file).map_err(|error| {
                let what = format!("cannot read {}: {}", file.display(), plain(&error));
                Error::new(Kind::Usage, what).at("--banner")
            })
        });
        Ok(Some(Arc::new(Self {
            config: Arc::new(config(keys, args, shared)),
            access,
            banner: banner.transpose()?,
            startups: Startups::new(args),
            ports: Ports::default(),
            offers: Offers::default(),
            args: args.clone(),
        })))
    }

    /// Plays the server's part over a connection, to its end.
    ///
    /// # Errors
    /// Why nobody logged in, or the connection did not end well.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        stream: ByteStream,
        peer: &Peer,
        cx: &Arc<Context>,
    ) -> Result<()> {
        let login_by = Instant::now() + self.args.login_grace.min(YEAR);
        let startup = self.startups.enter(peer)?;
        let visit = Arc::new(Visit::new(self.clone(), cx.clone(), peer, startup));
        let cut = visit.over.clone().drop_guard();
        let (transport, _, drained) = Transport::new(cuttable(stream, &visit.over));
        let outcome = self.converse(transport, &visit, login_by).await;
        // What was said last is on its way before the connection is cut.
        let _ = timeout(Close::PATIENCE, drained.cancelled()).await;
        drop(cut);
        outcome
    }

    async fn converse(
        &self,
        transport: Transport,
        visit: &Arc<Visit>,
        login_by: Instant,
    ) -> Result<()> {
        let late = || {
            let grace = self.args.login_grace;
            Error::new(Kind::Timeout, format!("no login within {grace:?}"))
        };
        let handler = Connection::new(visit.clone());
        let begun = server::run_stream(self.config.clone(), transport, handler);
        let mut running =
            timeout_at(login_by, begun).await.map_err(|_| late())?.map_err(failure)?;
        let too_late = async {
            sleep_until(login_by).await;
            visit.without_login().await;
        };
        let error = tokio::select! {
            outcome = &mut running => return outcome.map_err(failure),
            () = too_late => late(),
            why = visit.unwelcome() => why,
            () = visit.told_to_go() => Error::new(Kind::Terminated, "going away"),
        };
        let goodbye = async {
            let why = error.what().to_owned();
            let session = running.handle();
            let _ = session.disconnect(Disconnect::ByApplication, why, String::new()).await;
            let _ = (&mut running).await;
        };
        let _ = timeout(Close::PATIENCE, goodbye).await;
        Err(error)
    }
}

/// How keys are agreed on: without those for which a stranger can make us work hard.
const EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Far enough; some clocks cannot count to for ever.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn config(keys: Vec<PrivateKey>, args: &SshServerArgs, shared: &SshArgs) -> server::Config {
    let keepalive = shared.ssh_keepalive.unwrap_or(KEEPALIVE);
    server::Config {
        server_id: greeting(),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REFUSAL,
        // The question which methods there are is not an attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        // But it is counted as one.
        max_auth_attempts: args.max_auth_tries.saturating_add(1),
        keys,
        limits: no_limits(),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: BACKLOG,
        event_buffer_size: BACKLOG,
        preferred: Preferred { kex: Cow::Borrowed(EXCHANGES), ..preferred(key_algorithms()) },
        inactivity_timeout: None,
        keepalive_interval: Some(keepalive).filter(|every| !every.is_zero()),
        keepalive_max: KEEPALIVES,
        ..server::Config::default()
    }
}

/// Where a peer comes from, for `from=` and the like. One that has no address is on this machine.
fn address_of(peer: &Peer) -> IpAddr {
    let address = peer.address.parse().map(|it: SocketAddr| it.ip().to_canonical());
    address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
