//! What a user means by the name of an SSH server: an address, a way there, a login, the keys it
//! should show. The address comes first, then flags, then ssh_config.

use std::time::Duration;

use super::config::{Config, Host, Jump, Local, Proxy};
use super::{HostKeys, KEEPALIVE, KEEPALIVES, Login, Session};
use crate::cli::{HostKeyPolicy, SshArgs};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};
use crate::report;
use crate::trace::Trace;

/// Everything that has to be known to log in to a server.
pub(crate) struct Target {
    /// Where it is.
    pub(crate) at: HostPort,
    /// The way there, where the address says nothing of it.
    pub(crate) proxy: Proxy,
    /// How long the way there may take, if ssh_config says.
    pub(crate) patience: Option<Duration>,
    keys: HostKeys,
    login: Login,
    keepalive: Option<Keepalive>,
}

/// When a quiet server is asked for a sign of life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    pub(super) every: Duration,
    /// How many may go unanswered.
    pub(super) most: usize,
}

/// How many hosts can stand in each other's way.
const LONGEST_WAY: usize = 16;

/// ssh_config, as the flags want it read.
///
/// # Errors
/// [`Kind::Usage`], naming the file and the line.
pub(super) fn read_config(args: &SshArgs) -> Result<Config> {
    Config::load(args.ssh_config.as_deref(), Local::here())
}

impl Target {
    /// # Errors
    /// [`Kind::Usage`].
    pub(super) fn new(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        args: &SshArgs,
        config: &Config,
    ) -> Result<Self> {
        let name = if host.is_empty() { "localhost" } else { host };
        let host = config.for_host(name, user.or(args.login.as_deref()), port)?;
        host.warnings.iter().for_each(|warning| report::warn(format_args!("{warning}")));
        host.notes.iter().for_each(|note| report::verbose(format_args!("{note}")));
        if host.user.is_empty() {
            let error = Error::new(Kind::Usage, "no user name");
            return Err(error.hint("write ssh://USER@HOST, or --login USER"));
        }
        check_way(name, &host, config)?;
        Ok(Self {
            at: HostPort { host: host.hostname.clone(), port: host.port },
            proxy: host.proxy.clone(),
            patience: host.connect_timeout,
            keys: host_keys(&host, args),
            keepalive: keepalive(&host, args),
            login: login(name, host, args),
        })
    }

    /// Logs in over a stream that reaches the server.
    ///
    /// # Errors
    /// See [`Session::begin`].
    pub(crate) async fn log_in(self, stream: ByteStream, trace: &Trace) -> Result<Session> {
        Session::begin(stream, self.keys, &self.login, self.keepalive, trace).await
    }
}

fn host_keys(host: &Host, args: &SshArgs) -> HostKeys {
    let policy = args.host_key_policy.or(host.host_key_policy);
    let (name, port) = match &host.host_key_alias {
        Some(alias) => (alias.clone(), 22),
        None => (host.hostname.clone(), host.port),
    };
    HostKeys {
        name,
        port,
        files: match args.known_hosts.is_empty() {
            true => [&host.user_known_hosts[..], &host.global_known_hosts[..]].concat(),
            false => args.known_hosts.clone(),
        },
        policy: match policy {
            None | Some(HostKeyPolicy::Ask) if host.batch_mode => Some(HostKeyPolicy::Strict),
            policy => policy,
        },
        hash_names: host.hash_known_hosts,
    }
}

fn login(name: &str, host: Host, args: &SshArgs) -> Login {
    let written = host.identity_files_written.then_some(host.identity_files.as_slice());
    let identities = [args.identity.as_slice(), written.unwrap_or_default()].concat();
    let default_identities = identities.is_empty();
    Login {
        user: host.user,
        host: name.to_owned(),
        identities: if default_identities { host.identity_files } else { identities },
        default_identities,
        certificates: host.certificate_files,
        identities_only: host.identities_only,
        agent: host.identity_agent,
        passphrase_file: args.passphrase_file.clone(),
        password_file: args.password_file.clone(),
        batch: host.batch_mode,
    }
}

fn keepalive(host: &Host, args: &SshArgs) -> Option<Keepalive> {
    let every = args.ssh_keepalive.or(host.alive_interval).unwrap_or(KEEPALIVE);
    let most = match host.alive_interval {
        Some(_) => usize::try_from(host.alive_count_max).unwrap_or(usize::MAX),
        None => KEEPALIVES,
    };
    (!every.is_zero()).then_some(Keepalive { every, most })
}

/// Whether the way to a host ends: each host to jump through may have others before it.
fn check_way(name: &str, host: &Host, config: &Config) -> Result<()> {
    let first = |proxy: &Proxy| match proxy {
        Proxy::Jump(jumps) => jumps.first().cloned(),
        Proxy::Command(_) | Proxy::None => None,
    };
    let mut next = first(&host.proxy);
    for _ in 0..LONGEST_WAY {
        let Some(Jump { user, host, port }) = next else { return Ok(()) };
        next = first(&config.for_host(&host, user.as_deref(), port)?.proxy);
    }
    let what = format!("the ProxyJump of {name} leads round in a circle");
    Err(Error::new(Kind::Usage, what).hint("a host to jump through needs `ProxyJump none`"))
}
