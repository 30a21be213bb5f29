//! authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT): who may come in, and what for.
//!
//! What is not understood lets nobody in: a line with an unknown option is no line at all.

mod addresses;
mod certificate;
mod options;
mod permit;
mod strict;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};

use self::options::Options;
pub use self::permit::Permit;
use super::Place;
use super::certificate::check_strength;
use crate::error::{Error, Kind, Result, plain};

/// The keys of one file.
#[derive(Debug)]
pub struct AuthorizedKeys {
    lines: Vec<Line>,
    complaints: Vec<String>,
}

#[derive(Debug)]
struct Line {
    place: Place,
    options: Options,
    key: KeyData,
}

/// What somebody has proved to have.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// The private half of a key.
    Key(&'a PublicKey),
    /// The private half of a certified key.
    Certificate(&'a Certificate),
}

/// From where and when somebody comes, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The login name.
    pub user: &'a str,
    /// The address.
    pub from: IpAddr,
    /// The time.
    pub now: SystemTime,
}

/// What somebody may do, as far as the file says. Nothing of it is more than the server allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The line that lets them in.
    pub place: Place,
    /// The name they go by, from `environment="TOWLINE_NAME=…"`.
    pub name: Option<String>,
    /// What they get, whatever they ask for.
    pub command: Option<String>,
    /// They may have a pseudo terminal.
    pub pty: bool,
    /// They may forward ports.
    pub port_forwarding: bool,
    /// They may connect to these only.
    pub open: Option<Vec<Permit>>,
    /// They may listen on these only.
    pub listen: Option<Vec<Permit>>,
    /// When they have to leave.
    pub expires: Option<SystemTime>,
}

impl Grant {
    /// Whether they may connect to a place.
    pub fn may_open(&self, host: &str, port: u16) -> bool {
        self.port_forwarding && permits(self.open.as_deref(), host, port)
    }

    /// Whether they may listen on a place.
    pub fn may_listen(&self, host: &str, port: u16) -> bool {
        self.port_forwarding && permits(self.listen.as_deref(), host, port)
    }

    /// Whether they may connect to Unix sockets. A list of ports has none of them.
    pub fn may_open_sockets(&self) -> bool {
        self.port_forwarding && has_all(self.open.as_deref())
    }

    /// Whether they may listen on Unix sockets.
    pub fn may_listen_on_sockets(&self) -> bool {
        self.port_forwarding && has_all(self.listen.as_deref())
    }
}

fn has_all(only: Option<&[Permit]>) -> bool {
    only.is_none_or(|permits| permits.iter().any(Permit::is_all))
}

fn permits(only: Option<&[Permit]>, host: &str, port: u16) -> bool {
    only.is_none_or(|permits| permits.iter().any(|it| it.allows(host, port)))
}

/// Why somebody may not come in. For our log: the peer is told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The line that says so, if their key is on one.
    pub place: Option<Place>,
    /// The reason.
    pub why: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl AuthorizedKeys {
    /// Reads a file that nobody else can write.
    pub fn read(file: &Path) -> Result<Self> {
        strict::check(file).map_err(|error| error.at(file.display()))?;
        let bytes = std::fs::read(file)
            .map_err(|error| Error::new(Kind::Usage, plain(&error)).at(file.display()))?;
        Ok(Self::parse(file, &String::from_utf8_lossy(&bytes)))
    }

    /// Reads a text.
    pub fn parse(file: &Path, text: &str) -> Self {
        let file: Arc<Path> = file.into();
        let mut keys = Self { lines: Vec::new(), complaints: Vec::new() };
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.clone(), line: i + 1 };
            match Line::parse(line, place.clone()) {
                Ok(line) => keys.lines.push(line),
                Err(why) => keys.complaints.push(format!("{place}: {why}; the line is skipped")),
            }
        }
        keys
    }

    /// What was skipped, and why.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// How many keys may come in.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nobody may come in.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What those who may come in are called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.options.name.as_deref())
    }

    /// Whether a line is about those who certify keys.
    pub fn has_authorities(&self) -> bool {
        self.lines.iter().any(|line| line.options.is_authority)
    }

    /// What the first line grants that lets this visitor in.
    pub fn lookup(
        &self,
        credential: Credential<'_>,
        visitor: Visitor<'_>,
    ) -> Result<Grant, Denied> {
        let key = match credential {
            Credential::Key(key) => key.key_data(),
            Credential::Certificate(cert) => cert.signature_key(),
        };
        check_strength(key).map_err(|why| Denied { place: None, why })?;
        let mut denied = Denied { place: None, why: "the key is not listed".into() };
        for line in &self.lines {
            let is_authority = matches!(credential, Credential::Certificate(_));
            if line.key != *key || line.options.is_authority != is_authority {
                continue;
            }
            match line.grant(credential, visitor) {
                Ok(grant) => return Ok(grant),
                Err(why) => denied = Denied { place: Some(line.place.clone()), why },
            }
        }
        Err(denied)
    }

    /// Whether a certificate of a user is by an authority listed here, in a file of bare keys:
    /// each may name every user.
    pub fn lookup_authority(
        &self,
        cert: &Certificate,
        visitor: Visitor<'_>,
    ) -> Result<Grant, Denied> {
        let line = self.lines.iter().find(|line| line.key == *cert.signature_key());
        let line =
            line.ok_or_else(|| Denied { place: None, why: "the authority is not trusted".into() })?;
        line.grant(Credential::Certificate(cert), visitor)
            .map_err(|why| Denied { place: Some(line.place.clone()), why })
    }
}

/// The file of a user in a folder with one for each; None for a name that leads elsewhere.
pub fn file_of(folder: &Path, user: &str) -> Option<PathBuf> {
    let is_wrong = |c: char| matches!(c, '/' | '\\' | '\0') || c.is_control();
    let is_name = !user.is_empty() && !user.starts_with('.') && !user.contains(is_wrong);
    is_name.then(|| folder.join(user))
}

impl Line {
    fn parse(line: &str, place: Place) -> Result<Self, String> {
        let (options, rest) = match parse_key(line) {
            Some(key) => ("", key),
            None => {
                let (options, rest) = options::split(line)?;
                (options, parse_key(rest).ok_or("it has no key")?)
            }
        };
        let key = rest.map_err(|why| format!("the key is not usable: {why}"))?;
        check_strength(&key)?;
        let options = Options::parse(options)?;
        if options.verify_required
            && matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
        {
            return Err("verify-required cannot be checked".into());
        }
        Ok(Self { place, options, key })
    }

    fn grant(&self, credential: Credential<'_>, visitor: Visitor<'_>) -> Result<Grant, String> {
        let options = &self.options;
        if options.from.as_ref().is_some_and(|from| !from.contains(visitor.from)) {
            return Err(format!("it may not come from {}", visitor.from));
        }
        if options.expires.is_some_and(|expires| expires <= visitor.now) {
            return Err("it has expired".into());
        }
        let grant = Grant {
            place: self.place.clone(),
            name: options.name.clone(),
            command: options.command.clone(),
            pty: options.pty,
            port_forwarding: options.port_forwarding,
            open: options.open.clone(),
            listen: options.listen.clone(),
            expires: options.expires,
        };
        match credential {
            Credential::Key(_) => Ok(grant),
            Credential::Certificate(cert) => {
                certificate::narrow(grant, cert, options.principals.as_deref(), visitor)
            }
        }
    }
}

/// The key at the start of a line; None if the line does not begin with a type of key.
fn parse_key(text: &str) -> Option<Result<KeyData, String>> {
    let mut words = text.split_ascii_whitespace();
    let algorithm = words.next().filter(|word| is_key_type(word))?;
    let key = format!("{algorithm} {}", words.next().unwrap_or_default());
    Some(match PublicKey::from_openssh(&key) {
        Ok(key) => Ok(key.key_data().clone()),
        Err(error) => Err(error.to_string().to_lowercase()),
    })
}

/// No option begins like this.
fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix))
}

#[cfg(test)]
mod tests;
