//! known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): which keys are which hosts'.

mod append;
mod entry;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PublicKey};

pub use self::append::append;
use self::entry::{Entry, Marker};
use super::{Place, certificate, pattern};
use crate::error::{Error, Kind, Result, plain};

/// All entries of the files that were read, in their order.
#[derive(Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    notes: Vec<String>,
}

/// What is known of a host and a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// The host has other keys, of the same type or another.
    Changed(Vec<KnownKey>),
    /// The key must never be trusted again.
    Revoked(Place),
}

/// What is known of a host and a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateVerdict {
    /// It is the host's, by the word of an authority for this host.
    Trusted,
    /// Its authority is not one for this host. Its plain key may still be known.
    UnknownAuthority,
    /// Its authority is one for this host, but the certificate is unfit, for this reason.
    Refused(String),
    /// Its key or its authority must never be trusted again.
    Revoked(Place),
}

/// A key that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Where.
    pub place: Place,
    /// The type, as `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:` and the hash in base64.
    pub fingerprint: String,
}

impl fmt::Display for KnownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.algorithm, self.fingerprint, self.place)
    }
}

impl KnownHosts {
    /// Reads files in this order. A file that is not there is empty; one that cannot be read could
    /// hide a changed key, and is an error.
    pub fn read<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut known = Self::default();
        for file in files {
            let file = file.as_ref();
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let what = format!("{}: {}", file.display(), plain(&error));
                    return Err(Error::new(Kind::Usage, what));
                }
            }
        }
        Ok(known)
    }

    /// Adds what a file says.
    pub fn add(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = file.into();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.clone(), line: i + 1 };
            match Entry::parse(line, place.clone()) {
                Ok(entry) => self.entries.push(entry),
                Err(why) => self.notes.push(format!("{place}: {why}; the line is skipped")),
            }
        }
    }

    /// What was skipped, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a key is a host's. A HostKeyAlias is looked up as a host with port 22.
    pub fn lookup(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let blob = blob(key.key_data());
        match self.lookup_name(&name(host, port), &blob) {
            // As OpenSSH does: a key known for the host is good on any of its ports.
            Verdict::Unknown if port != 22 => match self.lookup_name(&name(host, 22), &blob) {
                Verdict::Changed(_) => Verdict::Unknown,
                verdict => verdict,
            },
            verdict => verdict,
        }
    }

    fn lookup_name(&self, name: &str, blob: &[u8]) -> Verdict {
        if let Some(place) = self.revoked(name, blob) {
            return Verdict::Revoked(place);
        }
        let mut known = self.of(name, Marker::None).peekable();
        if known.peek().is_none() {
            return Verdict::Unknown;
        }
        let mut others = Vec::new();
        for entry in known {
            if entry.blob == blob {
                return Verdict::Known;
            }
            others.push(entry.known_key());
        }
        Verdict::Changed(others)
    }

    /// Whether a certificate is a host's.
    pub fn lookup_certificate(
        &self,
        host: &str,
        port: u16,
        cert: &Certificate,
        now: SystemTime,
    ) -> CertificateVerdict {
        let authority = blob(cert.signature_key());
        let names = names(host, port);
        for blob in [&blob(cert.public_key()), &authority] {
            if let Some(place) = names.iter().find_map(|name| self.revoked(name, blob)) {
                return CertificateVerdict::Revoked(place);
            }
        }
        let mut authorities = names.iter().flat_map(|name| self.of(name, Marker::Authority));
        if !authorities.any(|entry| entry.blob == authority) {
            return CertificateVerdict::UnknownAuthority;
        }
        match check_host(cert, host, now) {
            Ok(()) => CertificateVerdict::Trusted,
            Err(why) => CertificateVerdict::Refused(why),
        }
    }

    /// The types of the keys known for a host, to be asked for before all others: a server with
    /// several keys must not seem changed because it was asked for another one.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for name in names(host, port) {
            for entry in self.of(&name, Marker::None) {
                if let Ok(algorithm) = Algorithm::new(&entry.algorithm)
                    && !algorithms.contains(&algorithm)
                {
                    algorithms.push(algorithm);
                }
            }
        }
        algorithms
    }

    /// Whether some authority may certify a host, so that certificates are worth asking for.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        names(host, port).iter().any(|name| self.of(name, Marker::Authority).next().is_some())
    }

    fn of(&self, name: &str, marker: Marker) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.marker == marker && entry.names.match_name(name))
    }

    fn revoked(&self, name: &str, blob: &[u8]) -> Option<Place> {
        let mut revoked = self.of(name, Marker::Revoked).filter(|entry| entry.blob == blob);
        revoked.next().map(|entry| entry.place.clone())
    }
}

/// How a host and a port are written in the files.
fn name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

/// The name with its port, and then the one that stands for all ports.
fn names(host: &str, port: u16) -> Vec<String> {
    let mut names = vec![name(host, port), name(host, 22)];
    names.dedup();
    names
}

/// A key as it goes over the wire. One that cannot be written is in no file.
fn blob(key: &KeyData) -> Vec<u8> {
    PublicKey::from(key.clone()).to_bytes().unwrap_or_default()
}

fn check_host(cert: &Certificate, host: &str, now: SystemTime) -> Result<(), String> {
    certificate::check(cert, CertType::Host, now)?;
    if let Some((option, _)) = cert.critical_options().first_key_value() {
        return Err(format!("the certificate has the unknown critical option {option}"));
    }
    // OpenSSH takes a certificate without names for one of every host; nobody should sign that.
    if cert.valid_principals().is_empty() {
        return Err("the certificate names no host".into());
    }
    let host = host.to_lowercase();
    match cert.valid_principals().iter().any(|name| pattern::matches(&name.to_lowercase(), &host)) {
        true => Ok(()),
        false => Err(format!("the certificate is for {}", cert.valid_principals().join(", "))),
    }
}

#[cfg(test)]
mod tests;
