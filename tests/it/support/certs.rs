//! Certificates that last for one test.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
    /// As `--pin` takes it.
    pub(crate) pin: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate, for those who are to trust it.
    pub(crate) fn write(&self, path: impl AsRef<Path>) -> PathBuf {
        fs::write(&path, self.0.pem()).unwrap();
        path.as_ref().to_owned()
    }

    /// Signs a certificate for some hosts.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// Signs a certificate that is special in some way.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let (params, key) = prepare(names, change);
        Issued::new(&params.signed_by(&key, &self.0).unwrap(), &key)
    }
}

impl Issued {
    /// A certificate that is signed with its own key.
    pub(crate) fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = prepare(names, change);
        Self::new(&params.self_signed(&key).unwrap(), &key)
    }

    /// Writes `cert.pem` and `key.pem`.
    pub(crate) fn write(&self, dir: impl AsRef<Path>) -> (PathBuf, PathBuf) {
        fs::create_dir_all(&dir).unwrap();
        let (cert, key) = (dir.as_ref().join("cert.pem"), dir.as_ref().join("key.pem"));
        fs::write(&cert, &self.cert).unwrap();
        fs::write(&key, &self.key).unwrap();
        (cert, key)
    }

    fn new(cert: &rcgen::Certificate, key: &KeyPair) -> Self {
        let hash = digest(&SHA256, cert.der());
        let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { cert: cert.pem(), key: key.serialize_pem(), pin: format!("sha256:{hex}") }
    }
}

fn prepare(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    change(&mut params);
    (params, KeyPair::generate().unwrap())
}
