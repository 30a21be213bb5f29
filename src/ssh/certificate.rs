//! What every OpenSSH certificate must fulfil, whoever shows it, and how strong keys must be.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg};

/// Whether a certificate is of this type, valid now, and signed with the key it names.
/// Whether that key is trusted is for the caller to say.
pub(super) fn check(
    cert: &Certificate,
    cert_type: CertType,
    now: SystemTime,
) -> Result<(), String> {
    if cert.cert_type() != cert_type {
        let wanted = if cert_type.is_host() { "host" } else { "user" };
        return Err(format!("the certificate is not a {wanted} certificate"));
    }
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now < cert.valid_after() {
        return Err("the certificate is not valid yet".into());
    }
    if now >= cert.valid_before() {
        return Err("the certificate has expired".into());
    }
    check_strength(cert.public_key())?;
    check_strength(cert.signature_key()).map_err(|why| format!("its authority: {why}"))?;
    if cert.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err("the certificate is signed with SHA-1".into());
    }
    let authority = cert.signature_key().fingerprint(HashAlg::Sha256);
    cert.validate_at(now, [&authority])
        .map_err(|_| "the signature of the certificate is wrong".to_owned())
}

/// Whether a key can be broken by those who want to.
pub(super) fn check_strength(key: &KeyData) -> Result<(), String> {
    match key {
        KeyData::Dsa(_) => Err("DSA keys are broken".into()),
        KeyData::Rsa(rsa) if rsa.key_size() < 2048 => {
            Err(format!("an RSA key of {} bits is too short; 2048 are the least", rsa.key_size()))
        }
        _ => Ok(()),
    }
}
