//! ssh_config(5): what users have already told OpenSSH about their hosts.
//!
//! The first value wins, as in OpenSSH. Keywords that towline has no use for are noted and
//! skipped, for nobody should have to keep two files.

mod glob;
mod local;
mod matching;
mod parse;
mod set;
mod tokens;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::local::Local;
use self::matching::Evaluation;
use self::parse::{Directive, Origin, Reader};
use self::set::{Draft, ProxyDraft};
use self::tokens::Tokens;
pub use crate::cli::HostKeyPolicy;
use crate::error::{Error, Kind, Result};

/// The files, read; what they say depends on the host.
#[derive(Debug)]
pub struct Config {
    directives: Vec<Directive>,
    local: Local,
}

/// How to reach one host and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address to connect to.
    pub hostname: String,
    /// The port to connect to.
    pub port: u16,
    /// Who to log in as.
    pub user: String,
    /// Through what to connect.
    pub proxy: Proxy,
    /// Private keys to try.
    pub identity_files: Vec<PathBuf>,
    /// Somebody wrote these keys down. Otherwise they are the usual ones, of which all may be
    /// missing.
    pub identity_files_written: bool,
    /// Certificates to try with the keys.
    pub certificate_files: Vec<PathBuf>,
    /// Of the agent's keys, only those that are also among the files may be tried.
    pub identities_only: bool,
    /// The socket of the agent.
    pub identity_agent: Option<PathBuf>,
    /// Files of known host keys; new ones go to the first.
    pub user_known_hosts: Vec<PathBuf>,
    /// Files of known host keys that are only read.
    pub global_known_hosts: Vec<PathBuf>,
    /// The name to look up instead of the host's, without a port.
    pub host_key_alias: Option<String>,
    /// What to do about unknown host keys, if the files say.
    pub host_key_policy: Option<HostKeyPolicy>,
    /// New names are hashed.
    pub hash_known_hosts: bool,
    /// How long the peer may be silent before it is asked, if the files say; 0 for never.
    pub alive_interval: Option<Duration>,
    /// How often it is asked in vain.
    pub alive_count_max: u32,
    /// How long connecting may take, if the files say.
    pub connect_timeout: Option<Duration>,
    /// Nobody is there to be asked.
    pub batch_mode: bool,
    /// What the user should know: blocks that were skipped.
    pub warnings: Vec<String>,
    /// What a curious user might want to know: keywords that are not used.
    pub notes: Vec<String>,
}

/// Through what to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Directly.
    None,
    /// One host after the other, each to be looked up in the configuration.
    Jump(Vec<Jump>),
    /// A command for the shell, whose stdin and stdout are the connection.
    Command(String),
}

/// A host to jump through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Who to log in as, if written.
    pub user: Option<String>,
    /// The host, as in the configuration.
    pub host: String,
    /// The port, if written.
    pub port: Option<u16>,
}

impl Config {
    /// Reads the user's file and then the system's, or only `file`; `none` reads nothing.
    pub fn load(file: Option<&Path>, local: Local) -> Result<Self> {
        let mut reader = Reader::new(&local);
        match file {
            Some(file) if file.as_os_str() == "none" => {}
            Some(file) => reader.read(file, Origin::Named)?,
            None => {
                reader.read(&local.home.join(".ssh/config"), Origin::User)?;
                reader.read(Path::new("/etc/ssh/ssh_config"), Origin::System)?;
            }
        }
        Ok(Self { directives: reader.finish(), local })
    }

    /// Reads a text as if it were a file that was named.
    pub fn parse(text: &str, local: Local) -> Result<Self> {
        let mut reader = Reader::new(&local);
        reader.parse(Path::new("config"), text, Origin::Named)?;
        Ok(Self { directives: reader.finish(), local })
    }

    /// What is said about a host. A user and a port that stand in the address outweigh the files.
    pub fn for_host(&self, alias: &str, user: Option<&str>, port: Option<u16>) -> Result<Host> {
        let wrong = |what: String| Error::new(Kind::Usage, what);
        let draft = Draft { user: user.map(str::to_owned), port, ..Draft::default() };
        let mut evaluation = Evaluation::new(alias, &self.local, draft);
        evaluation.run(&self.directives);
        let hostname = tokens::hostname(evaluation.draft.hostname.as_deref(), alias);
        let hostname = hostname.map_err(wrong)?.to_lowercase();
        if evaluation.wants_final {
            evaluation.begin_final(&hostname);
            evaluation.run(&self.directives);
        }
        let Evaluation { draft, warnings, notes, .. } = evaluation;
        let host = finish(draft, alias, hostname, &self.local).map_err(wrong)?;
        Ok(Host { warnings, notes, ..host })
    }
}

/// Fills in the defaults and expands what is to be expanded.
fn finish(draft: Draft, alias: &str, hostname: String, local: &Local) -> Result<Host, String> {
    if !tokens::is_hostname(&hostname) {
        return Err(format!("{hostname:?} is not a host name"));
    }
    let user = draft.user.unwrap_or_else(|| local.user.clone());
    let port = draft.port.unwrap_or(22);
    let key_alias = draft.host_key_alias.map(|it| it.to_lowercase());
    let tokens = Tokens {
        alias,
        hostname: &hostname,
        port,
        user: &user,
        local,
        key_alias: key_alias.as_deref(),
    };
    let paths = |paths: Option<Vec<String>>, default: &[&str]| -> Result<Vec<PathBuf>, String> {
        let paths = paths.unwrap_or_else(|| default.iter().map(|&it| it.to_owned()).collect());
        paths.iter().filter(|it| *it != "none").map(|it| tokens.path(it)).collect()
    };
    let identity_files_written = draft.identity_files.is_some();
    Ok(Host {
        proxy: match draft.proxy {
            None | Some(ProxyDraft::None) => Proxy::None,
            Some(ProxyDraft::Command(command)) => Proxy::Command(tokens.command(&command)?),
            Some(ProxyDraft::Jump(jumps)) => {
                Proxy::Jump(jumps.into_iter().map(|it| tokens.jump(it)).collect::<Result<_, _>>()?)
            }
        },
        identity_files: paths(
            draft.identity_files,
            &["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"],
        )?,
        identity_files_written,
        certificate_files: paths(draft.certificate_files, &[])?,
        identities_only: draft.identities_only.unwrap_or(false),
        identity_agent: tokens.agent(draft.identity_agent.as_deref())?,
        user_known_hosts: paths(
            draft.user_known_hosts,
            &["~/.ssh/known_hosts", "~/.ssh/known_hosts2"],
        )?,
        global_known_hosts: paths(
            draft.global_known_hosts,
            &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
        )?,
        host_key_policy: draft.host_key_policy,
        hash_known_hosts: draft.hash_known_hosts.unwrap_or(false),
        alive_interval: draft.alive_interval,
        alive_count_max: draft.alive_count_max.unwrap_or(3),
        connect_timeout: draft.connect_timeout.flatten(),
        batch_mode: draft.batch_mode.unwrap_or(false),
        warnings: Vec::new(),
        notes: Vec::new(),
        host_key_alias: key_alias,
        hostname,
        port,
        user,
    })
}

#[cfg(test)]
mod tests;
