//! The certificate a listener shows: from files that are read again when they change, or made for
//! this run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use time::OffsetDateTime;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::cert::{Summary, day, fingerprint, now};
use super::pem;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::report;
use crate::stamp::Stamp;

/// `--cert` and `--key`.
#[derive(Debug)]
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<CertifiedKey>,
    stamps: [Option<Stamp>; 2],
    checked: Instant,
}

impl Files {
    /// How often the files are looked at, at most.
    const EVERY: Duration = Duration::from_secs(1);

    pub(super) fn load(cert: &Path, key: &Path, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        // The stamps are older than what is read, so that a change in between is seen later.
        let stamps = [Stamp::of(&cert), Stamp::of(&key)];
        let current = Arc::new(pem::identity(&cert, &key, provider)?);
        warn_if_over(&current, &cert);
        let state = State { current, stamps, checked: Instant::now() };
        Ok(Self { cert, key, provider: provider.clone(), state: Mutex::new(state) })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = lock(&self.state);
        if state.checked.elapsed() >= Self::EVERY {
            state.checked = Instant::now();
            let stamps = [Stamp::of(&self.cert), Stamp::of(&self.key)];
            if stamps != state.stamps {
                // Also where reading fails: it is said once, and tried again at the next change.
                state.stamps = stamps;
                match pem::identity(&self.cert, &self.key, &self.provider) {
                    Ok(new) => {
                        warn_if_over(&new, &self.cert);
                        state.current = Arc::new(new);
                        report::verbose(format_args!("{}: read again", self.cert.display()));
                    }
                    Err(error) => report::warn(format_args!("{error}; the old certificate stays")),
                }
            }
        }
        state.current.clone()
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn warn_if_over(identity: &CertifiedKey, path: &Path) {
    let leaf = identity.cert.first().and_then(|leaf| Summary::of(leaf));
    if let Some(leaf) = leaf.filter(|leaf| leaf.not_after < now()) {
        let (path, until) = (path.display(), day(leaf.not_after));
        report::warn(format_args!("{path}: this certificate expired on {until}"));
    }
}

/// Makes a certificate for this machine and tells how to pin it.
pub(super) fn self_signed(provider: &CryptoProvider) -> Result<SingleCertAndKey> {
    const VALID: time::Duration = time::Duration::days(365);
    // Clocks that are a little behind ours must not find it too new.
    const LEEWAY: time::Duration = time::Duration::days(1);
    let failed =
        |error: rcgen::Error| Error::new(Kind::Tls, format!("cannot make a certificate: {error}"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !host.is_empty() && host.is_ascii() && !names.contains(&host) {
        names.push(host);
    }
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "towline self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let made = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (made - LEEWAY, made + VALID);
    let key = KeyPair::generate().map_err(failed)?;
    let cert = params.self_signed(&key).map_err(failed)?.der().clone();
    report::note(format_args!("certificate fingerprint {}", fingerprint(&cert)));
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let identity = CertifiedKey::from_der(vec![cert], secret, provider)
        .map_err(|error| Error::new(Kind::Tls, error))?;
    Ok(identity.into())
}
