//! What a user means by the name of an SSH server: an address, a login, the keys it should show.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::{HostKeys, Login, Session};
use crate::cli::SshArgs;
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};
use crate::trace::Trace;

/// Everything that has to be known to log in to a server.
pub(crate) struct Target {
    /// Where it is.
    pub(crate) at: HostPort,
    keys: HostKeys,
    login: Login,
    keepalive: Option<Duration>,
}

impl Target {
    /// Puts together what the address, the flags and the configuration say, in this order.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn new(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        args: &SshArgs,
    ) -> Result<Self> {
        let host = if host.is_empty() { "localhost" } else { host };
        let home = env::home_dir().unwrap_or_default();
        let user =
            user.map(str::to_owned).or_else(|| args.login.clone()).or_else(own_name).ok_or_else(
                || {
                    Error::new(Kind::Usage, "no user name")
                        .hint("write ssh://USER@HOST, or --login USER")
                },
            )?;
        let port = port.unwrap_or(22);
        let default_identities = args.identity.is_empty();
        let identities = match default_identities {
            true => ["id_ed25519", "id_ecdsa", "id_rsa"]
                .map(|name| home.join(".ssh").join(name))
                .to_vec(),
            false => args.identity.clone(),
        };
        let files = match args.known_hosts.is_empty() {
            true => vec![home.join(".ssh/known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")],
            false => args.known_hosts.clone(),
        };
        Ok(Self {
            at: HostPort { host: host.to_owned(), port },
            keys: HostKeys {
                name: host.to_owned(),
                port,
                files,
                policy: args.host_key_policy,
                hash_names: false,
            },
            login: Login {
                user,
                host: host.to_owned(),
                identities,
                default_identities,
                certificates: Vec::new(),
                identities_only: false,
                agent: env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
                passphrase_file: args.passphrase_file.clone(),
                password_file: args.password_file.clone(),
            },
            keepalive: (!args.ssh_keepalive.is_zero()).then_some(args.ssh_keepalive),
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

/// Who we are on this machine.
fn own_name() -> Option<String> {
    let variable = |name| env::var(name).ok().filter(|user| !user.is_empty());
    let listed = || {
        let uid = rustix::process::getuid().as_raw().to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let mut users = users.lines().map(|line| line.split(':'));
        users
            .find_map(|mut user| Some((user.next()?, user.nth(1)?)).filter(|it| it.1 == uid))
            .map(|(name, _)| name.to_owned())
    };
    variable("USER").or_else(|| variable("LOGNAME")).or_else(listed)
}
