//! Whether a server's key is the one it should have.

use std::path::PathBuf;
use std::time::SystemTime;

use russh::keys::{Algorithm, Certificate, PublicKey, PublicKeyOrCertificate};

use super::Place;
use super::auth::fingerprint;
use super::known_hosts::{self, CertificateVerdict, KnownHosts, Verdict};
use crate::cli::HostKeyPolicy;
use crate::console::{ask, can_ask};
use crate::error::{Error, Kind, Result};
use crate::report;

/// What is known of one server, and what to do where that is nothing.
#[derive(Clone, Debug)]
pub(crate) struct HostKeys {
    /// The name under which it is known.
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Where to look. A new key is written to the first.
    pub(crate) files: Vec<PathBuf>,
    /// None asks where there is a terminal and is strict elsewhere.
    pub(crate) policy: Option<HostKeyPolicy>,
    /// Whether a new name is written down hashed.
    pub(crate) hash_names: bool,
}

/// The algorithms of host keys that a server may choose from, best first.
pub(super) struct Offer {
    pub(super) keys: Vec<Algorithm>,
    pub(super) certificates: Vec<Algorithm>,
}

impl HostKeys {
    /// The algorithms to offer: those of the keys that are known come first, so that a server with
    /// several keys shows one of them. Certificates are asked for where an authority is known.
    ///
    /// # Errors
    /// A file that cannot be read could hide a changed key.
    pub(super) fn offer(&self) -> Result<Offer> {
        let all = self.read()?;
        let known = all.algorithms(&self.name, self.port);
        let mut algorithms = super::key_algorithms();
        let is_known = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => known.iter().any(|known| known.clone().is_rsa()),
            other => known.contains(other),
        };
        algorithms.sort_by_key(|algorithm| !is_known(algorithm));
        let certified = all.has_authority(&self.name, self.port);
        let certificates = if certified { algorithms.clone() } else { Vec::new() };
        Ok(Offer { keys: algorithms, certificates })
    }

    fn read(&self) -> Result<KnownHosts> {
        let known = KnownHosts::read(&self.files)?;
        for note in known.notes() {
            report::verbose(format_args!("{note}"));
        }
        Ok(known)
    }

    /// Accepts a key, or says why not.
    ///
    /// # Errors
    /// [`Kind::Auth`].
    pub(super) async fn check(&self, shown: &PublicKeyOrCertificate) -> Result<()> {
        let known = self.read()?;
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(&known, key).await,
            PublicKeyOrCertificate::Certificate(certificate) => {
                self.check_certificate(&known, certificate).await
            }
        }
    }

    async fn check_certificate(&self, known: &KnownHosts, shown: &Certificate) -> Result<()> {
        let now = SystemTime::now();
        match known.lookup_certificate(&self.name, self.port, shown, now) {
            CertificateVerdict::Trusted => Ok(()),
            CertificateVerdict::UnknownAuthority => {
                let key = PublicKey::new(shown.public_key().clone(), "");
                self.check_key(known, &key).await
            }
            CertificateVerdict::Refused(why) => {
                Err(Error::new(Kind::Auth, format!("the host certificate is not accepted: {why}")))
            }
            CertificateVerdict::Revoked(place) => {
                let key = PublicKey::new(shown.public_key().clone(), "");
                Err(revoked(&key, &place))
            }
        }
    }

    async fn check_key(&self, known: &KnownHosts, key: &PublicKey) -> Result<()> {
        match known.lookup(&self.name, self.port, key) {
            Verdict::Known => Ok(()),
            Verdict::Revoked(place) => Err(revoked(key, &place)),
            _ if self.policy == Some(HostKeyPolicy::Off) => {
                let name = &self.name;
                report::warn(format_args!(
                    "{name}: the host key is not checked (--host-key-policy)"
                ));
                Ok(())
            }
            Verdict::Unknown => self.meet(key).await,
            Verdict::Changed(known) => {
                let algorithm = key.algorithm();
                let shown = fingerprint(key);
                let known: Vec<_> = known.iter().map(ToString::to_string).collect();
                let known = known.join(", ");
                let what =
                    format!("host key changed: it shows {algorithm} {shown}, known is {known}");
                Err(Error::new(Kind::Auth, what).hint(
                    "somebody may be listening in; if the server really has a new key, remove the old line",
                ))
            }
        }
    }

    /// A host that nothing is known of.
    async fn meet(&self, key: &PublicKey) -> Result<()> {
        let (algorithm, shown) = (key.algorithm(), fingerprint(key));
        let unknown = || {
            Error::new(Kind::Auth, format!("unknown host key {algorithm} {shown}")).hint(
                "if it is right, add it to known_hosts, or connect once with --host-key-policy accept-new",
            )
        };
        match self.policy {
            Some(HostKeyPolicy::AcceptNew) => {
                report::note(format_args!("{}: learned host key {algorithm} {shown}", self.name));
                self.learn(key)
            }
            None | Some(HostKeyPolicy::Ask) if can_ask() => {
                let mut question = format!(
                    "{}:{} is unknown. Its {algorithm} key is {shown}.\nConnect, and remember it? (yes/no/fingerprint) ",
                    self.name, self.port
                );
                loop {
                    let answer = ask(&question, false).await?;
                    match answer.trim() {
                        "yes" => return self.learn(key),
                        answer if answer == shown => return self.learn(key),
                        "no" | "" => return Err(unknown()),
                        _ => "Please answer yes, no or the fingerprint: ".clone_into(&mut question),
                    }
                }
            }
            _ => Err(unknown()),
        }
    }

    fn learn(&self, key: &PublicKey) -> Result<()> {
        let Some(file) = self.files.first() else { return Ok(()) };
        known_hosts::append(file, &self.name, self.port, key, self.hash_names)
    }
}

fn revoked(key: &PublicKey, place: &Place) -> Error {
    let shown = fingerprint(key);
    Error::new(Kind::Auth, format!("the host key {shown} is revoked, says {place}"))
}
