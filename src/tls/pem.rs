//! Certificates and keys from PEM files. What is wrong with a file is the user's to mend, so every
//! failure is of [`Kind::Usage`] and names the file.

use std::path::Path;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys};

use super::cert::Summary;
use crate::error::{Error, Kind, Result, plain};

/// All certificates of a file, at least one that is well-formed.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certs {
        Ok(certs) if certs.is_empty() => Err(wrong(path, "holds no certificate (PEM)")),
        Ok(certs) if !certs.iter().any(|cert| Summary::of(cert).is_some()) => {
            Err(wrong(path, "holds a malformed certificate"))
        }
        Ok(certs) => Ok(certs),
        Err(error) => Err(wrong(path, format_args!("is not PEM: {error}"))),
    }
}

/// A certificate chain and the key that belongs to it.
pub(super) fn identity(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = certificates(cert)?;
    let secret = private_key(key)?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(
            key,
            format_args!("is not the key of the first certificate in {}", cert.display()),
        ),
        TlsError::InvalidCertificate(_) => wrong(cert, "holds a certificate that TLS cannot use")
            .hint("X.509 version 3 is needed, which `openssl req -x509` makes"),
        _ => wrong(key, "holds a key of a kind that is not supported")
            .hint("RSA from 2048 bits, ECDSA P-256, P-384 and P-521, and Ed25519 are"),
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            wrong(path, "is encrypted").hint(format!(
                "openssl pkey -in {} -out FILE writes it without its password",
                path.display()
            ))
        }
        PemError::NoItemsFound => wrong(path, "holds no private key (PEM)"),
        error => wrong(path, format_args!("is not PEM: {error}")),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::new(Kind::Usage, format!("cannot read {}: {}", path.display(), plain(&error)))
    })
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Usage, format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pem");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            [certificates(&path).map(drop), private_key(&path).map(drop)]
                .map(|it| it.unwrap_err().to_string().replace(path.to_str().unwrap(), "FILE"))
        };
        assert_eq!(
            told("hello"),
            ["FILE holds no certificate (PEM)", "FILE holds no private key (PEM)"]
        );
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(told(garbage)[0], "FILE holds a malformed certificate");
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(told(encrypted)[1], "FILE is encrypted");
        std::fs::remove_file(&path).unwrap();
        let gone = certificates(&path).unwrap_err();
        assert!(gone.to_string().contains("no such file"), "{gone}");
        assert_eq!(gone.kind(), Kind::Usage);
    }
}
