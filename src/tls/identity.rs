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

/// `--cert` and `--key`, in pairs.
#[derive(Debug)]
pub(super) struct Identities(Vec<Files>);

/// One certificate and its key.
#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<Identity>,
    stamps: [Option<Stamp>; 2],
    checked: Instant,
}

/// A certificate and its key, and the names it is for.
#[derive(Debug)]
struct Identity {
    key: Arc<CertifiedKey>,
    /// In lower case.
    names: Vec<String>,
}

/// How well a certificate suits the name that a peer asks for, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    None,
    /// `*.example.com` for `www.example.com`.
    Wildcard,
    Exact,
}

impl Identities {
    pub(super) fn load<'a>(
        pairs: impl Iterator<Item = (&'a PathBuf, &'a PathBuf)>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        pairs.map(|(cert, key)| Files::load(cert, key, provider)).collect::<Result<_>>().map(Self)
    }

    /// The certificate for a name: of those that suit it best the first whose key `can_use` takes,
    /// so that one name can have keys of two kinds. For other names it is the first one.
    fn choose(
        &self,
        name: Option<&str>,
        can_use: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let identities: Vec<_> = self.0.iter().map(Files::current).collect();
        let rank = |it: &Identity| name.map_or(Match::None, |name| it.suits(name));
        let best = identities.iter().map(|it| rank(it)).max()?;
        let mut suited = identities.iter().filter(|it| best == Match::None || rank(it) == best);
        let first = suited.clone().next();
        suited.find(|it| can_use(&it.key)).or(first).map(|it| it.key.clone())
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |it| it.key.choose_scheme(schemes).is_some())
    }
}

impl Identity {
    fn load(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self> {
        let key = Arc::new(pem::identity(cert, key, provider)?);
        let leaf = key.cert.first().and_then(|leaf| Summary::of(leaf));
        if let Some(leaf) = leaf.as_ref().filter(|leaf| leaf.not_after < now()) {
            let (path, until) = (cert.display(), day(leaf.not_after));
            report::warn(format_args!("{path}: this certificate expired on {until}"));
        }
        let names = leaf.map_or_else(Vec::new, |leaf| leaf.names);
        Ok(Self { key, names: names.iter().map(|name| name.to_ascii_lowercase()).collect() })
    }

    /// The name is in lower case, as rustls has it.
    fn suits(&self, name: &str) -> Match {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wild = |it: &String| it.strip_prefix("*.").is_some_and(|it| Some(it) == parent);
        match () {
            () if self.names.iter().any(|it| it == name) => Match::Exact,
            () if self.names.iter().any(wild) => Match::Wildcard,
            () => Match::None,
        }
    }
}

impl Files {
    /// How often the files are looked at, at most.
    const EVERY: Duration = Duration::from_secs(1);

    fn load(cert: &Path, key: &Path, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        // The stamps are older than what is read, so that a change in between is seen later.
        let stamps = [Stamp::of(&cert), Stamp::of(&key)];
        let current = Arc::new(Identity::load(&cert, &key, provider)?);
        let state = State { current, stamps, checked: Instant::now() };
        Ok(Self { cert, key, provider: provider.clone(), state: Mutex::new(state) })
    }

    fn current(&self) -> Arc<Identity> {
        let mut state = lock(&self.state);
        if state.checked.elapsed() >= Self::EVERY {
            state.checked = Instant::now();
            let stamps = [Stamp::of(&self.cert), Stamp::of(&self.key)];
            if stamps != state.stamps {
                // Also where reading fails: it is said once, and tried again at the next change.
                state.stamps = stamps;
                match Identity::load(&self.cert, &self.key, &self.provider) {
                    Ok(new) => {
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
