//! Who logs in to a server, and what they have to show.

use std::path::{Path, PathBuf};

use russh::keys::{Certificate, PrivateKey};
use zeroize::Zeroizing;

use super::{auth, keyfile};
use crate::console::{ask, can_ask};
use crate::error::{Error, Kind, Result};
use crate::report;

/// Who logs in, with what.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    /// As the user knows it, for questions and messages.
    pub(crate) host: String,
    /// Key files that were named, or else those that everybody has.
    pub(crate) identities: Vec<PathBuf>,
    /// Whether they are only those that everybody has.
    pub(crate) default_identities: bool,
    pub(crate) certificates: Vec<PathBuf>,
    /// Whether the agent's other keys are left alone.
    pub(crate) identities_only: bool,
    /// The agent's socket.
    pub(crate) agent: Option<PathBuf>,
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) password_file: Option<PathBuf>,
    /// Whether nobody is to be asked.
    pub(crate) batch: bool,
}

impl Login {
    /// The key files there are.
    pub(super) fn key_files(&self) -> Vec<PathBuf> {
        let there = |file: &&PathBuf| !self.default_identities || file.exists();
        self.identities.iter().filter(there).cloned().collect()
    }

    pub(super) fn is_default(&self, file: &Path) -> bool {
        self.default_identities && self.identities.iter().any(|it| it == file)
    }

    /// The certificate of a key file: one that was named, or the one beside it.
    pub(super) fn certificate_for(&self, file: &Path) -> Option<Certificate> {
        let mut beside = file.as_os_str().to_owned();
        beside.push("-cert.pub");
        let public = || auth::public_half(file);
        let named = self.certificates.iter().find_map(|named| {
            let certificate = russh::keys::load_openssh_certificate(named).ok()?;
            (public()?.key_data() == certificate.public_key()).then_some(certificate)
        });
        named.or_else(|| russh::keys::load_openssh_certificate(beside).ok())
    }

    /// Unlocks a key.
    pub(super) async fn open(&self, file: &Path, text: &str) -> Result<PrivateKey> {
        if let Some(secret) = &self.passphrase_file {
            let secret = keyfile::secret("--passphrase-file", secret)?;
            return keyfile::decode(text, Some(&secret)).map_err(|_| {
                Error::new(Kind::Auth, "the passphrase does not open this key").at(file.display())
            });
        }
        let locked = || Error::new(Kind::Auth, "the key has a passphrase").at(file.display());
        if !self.can_ask() {
            return Err(locked().hint("see --passphrase-file, or add the key to an agent"));
        }
        for _ in 0..3 {
            let question = format!("Passphrase for {}: ", file.display());
            let secret = ask(&question, true).await?;
            match keyfile::decode(text, Some(&secret)) {
                Ok(key) => return Ok(key),
                Err(_) => report::note(format_args!("that is not the passphrase")),
            }
        }
        Err(locked())
    }

    /// The password, from its file or from the person at the terminal.
    pub(super) async fn password(&self, question: &str) -> Result<Option<Zeroizing<String>>> {
        match &self.password_file {
            Some(file) => keyfile::secret("--password-file", file).map(Some),
            None if self.can_ask() => ask(question, true).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether there is somebody to ask.
    pub(super) fn can_ask(&self) -> bool {
        !self.batch && can_ask()
    }

    /// What the person is asked for a password with.
    pub(super) fn prompt(&self) -> String {
        format!("{}@{}'s password: ", self.user, self.host)
    }
}
