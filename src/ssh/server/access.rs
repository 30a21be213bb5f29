//! Who may come in: the files of keys, read again when they change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::keys::{Certificate, HashAlg, PublicKey};

use crate::cli::SshServerArgs;
use crate::error::Result;
use crate::lock::lock;
use crate::report;
use crate::ssh::authorized_keys::{AuthorizedKeys, Credential, Denied, Grant, Visitor, file_of};
use crate::stamp::Stamp;

/// Where the keys are.
pub(super) struct Access {
    files: Vec<PathBuf>,
    /// One file a user.
    folder: Option<PathBuf>,
    authorities: Option<PathBuf>,
    read: Mutex<HashMap<PathBuf, Read>>,
}

/// A file as it was when it was read.
struct Read {
    stamp: Stamp,
    keys: Arc<AuthorizedKeys>,
}

/// The files that are about one user.
#[derive(Clone)]
pub(super) struct Sources {
    keys: Vec<Arc<AuthorizedKeys>>,
    authorities: Option<Arc<AuthorizedKeys>>,
}

/// What somebody has proved to have.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Access {
    /// From the flags.
    ///
    /// # Errors
    /// A file that cannot be used, so that a typing error does not show first when somebody wants
    /// to log in.
    pub(super) fn new(args: &SshServerArgs) -> Result<Self> {
        for file in args.authorized_keys.iter().chain(&args.trusted_user_ca) {
            for complaint in AuthorizedKeys::read(file)?.complaints() {
                report::warn(format_args!("{complaint}"));
            }
        }
        Ok(Self {
            files: args.authorized_keys.clone(),
            folder: args.authorized_keys_dir.clone(),
            authorities: args.trusted_user_ca.clone(),
            read: Mutex::default(),
        })
    }

    /// Whether there is nothing that could let anybody in.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folder.is_none() && self.authorities.is_none()
    }

    /// What the files say now of a user.
    pub(super) fn sources(&self, user: &str) -> Sources {
        let own = self.folder.as_ref().and_then(|folder| file_of(folder, user));
        let keys = self.files.iter().chain(&own).filter_map(|file| self.current(file));
        Sources {
            keys: keys.collect(),
            authorities: self.authorities.as_ref().and_then(|file| self.current(file)),
        }
    }

    /// A file as it is now. One that cannot be used any more lets nobody in.
    fn current(&self, file: &Path) -> Option<Arc<AuthorizedKeys>> {
        let mut read = lock(&self.read);
        let Some(stamp) = Stamp::of(file) else {
            read.remove(file);
            return None;
        };
        if let Some(read) = read.get(file).filter(|read| read.stamp == stamp) {
            return Some(read.keys.clone());
        }
        let keys = AuthorizedKeys::read(file).unwrap_or_else(|error| {
            report::warn(format_args!("{error}; it lets nobody in"));
            AuthorizedKeys::parse(file, "")
        });
        for complaint in keys.complaints() {
            report::verbose(format_args!("{complaint}"));
        }
        let keys = Arc::new(keys);
        read.insert(file.to_owned(), Read { stamp, keys: keys.clone() });
        Some(keys)
    }
}

impl Sources {
    /// Whether they are the same as others: no file was read again in between.
    pub(super) fn same(&self, other: &Self) -> bool {
        let all = |it: &Self| -> Vec<*const AuthorizedKeys> {
            it.keys.iter().chain(&it.authorities).map(Arc::as_ptr).collect()
        };
        all(self) == all(other)
    }

    /// Whether it is worth a proof that somebody has a key. One with a certificate cannot be told
    /// from one without.
    ///
    /// # Errors
    /// Why it could not let them in.
    pub(super) fn consider(&self, key: &Proof, visitor: Visitor<'_>) -> Result<(), Denied> {
        let certifies = |keys: &Arc<AuthorizedKeys>| keys.has_authorities();
        match self.authorities.is_some() || self.keys.iter().any(certifies) {
            true => Ok(()),
            false => self.admit(key, visitor).map(drop),
        }
    }

    /// What somebody may do.
    ///
    /// # Errors
    /// Why they may not come in.
    pub(super) fn admit(&self, proof: &Proof, visitor: Visitor<'_>) -> Result<Grant, Denied> {
        let credential = match proof {
            Proof::Key(key) => Credential::Key(key),
            Proof::Certificate(certificate) => Credential::Certificate(certificate),
        };
        let mut denied = Denied { place: None, why: "there are no keys for this user".into() };
        for keys in &self.keys {
            match keys.lookup(credential, visitor) {
                Ok(grant) => return Ok(grant),
                // A line that has the key says more than files that have not.
                Err(why) if denied.place.is_none() => denied = why,
                Err(_) => {}
            }
        }
        if let (Proof::Certificate(certificate), Some(keys)) = (proof, &self.authorities) {
            return keys.lookup_authority(certificate, visitor);
        }
        Err(denied)
    }
}

impl Proof {
    /// The key, as people compare it.
    pub(super) fn fingerprint(&self) -> String {
        let key = match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        };
        key.fingerprint(HashAlg::Sha256).to_string()
    }
}
