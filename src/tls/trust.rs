//! Whose certificates are accepted.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use super::cert::{Summary, fingerprint, public_key};
use crate::cli::value::Pin;
use crate::error::{Error, Kind, Result};

tokio::task_local! {
    /// The chain that the peer shows in the handshake of this task.
    static SHOWN: RefCell<Vec<CertificateDer<'static>>>;
}

/// Runs a handshake. If it fails, `explain` gets the chain that was shown: rustls drops it with
/// the connection, but whoever reads the error wants to know whose certificate it was.
pub(super) async fn witness<T, E>(
    handshake: impl Future<Output = Result<T, E>>,
    explain: impl FnOnce(E, &[CertificateDer<'static>]) -> Error,
) -> Result<T> {
    let watched = async {
        let result = handshake.await;
        result.map_err(|error| SHOWN.with(|shown| explain(error, &shown.borrow())))
    };
    SHOWN.scope(RefCell::default(), watched).await
}

/// Decides on a server's certificate.
pub(super) type ServerVerifier = Verifier<WebPkiServerVerifier>;

/// Decides on a client's certificate (`--client-ca`).
pub(super) type ClientVerifier = Verifier<dyn ClientCertVerifier>;

/// Decides on a peer's certificate; `W` knows the rules for the chains of its role.
#[derive(Debug)]
pub(super) struct Verifier<W: ?Sized> {
    trust: Trust<W>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust<W: ?Sized> {
    /// `-k`.
    Anyone,
    /// `--pin`: these certificates, whoever signed them, whatever names and dates they have.
    These(Vec<Pin>),
    /// What these authorities have signed, and these certificates themselves.
    Authorities { rules: Arc<W>, themselves: HashSet<[u8; 32]> },
}

impl ServerVerifier {
    pub(super) fn anyone(provider: &CryptoProvider) -> Self {
        Self::new(Trust::Anyone, provider)
    }

    pub(super) fn pinned(pins: &[Pin], provider: &CryptoProvider) -> Self {
        Self::new(Trust::These(pins.to_vec()), provider)
    }

    pub(super) fn authorities(
        certs: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let rules = WebPkiServerVerifier::builder_with_provider(roots(certs), provider.clone());
        let rules = rules.build().map_err(|error| Error::new(Kind::Usage, error))?;
        Ok(Self::trusting(certs, rules, provider))
    }
}

impl ClientVerifier {
    pub(super) fn authorities(
        certs: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let rules = WebPkiClientVerifier::builder_with_provider(roots(certs), provider.clone());
        let rules = rules.build().map_err(|error| Error::new(Kind::Usage, error))?;
        Ok(Self::trusting(certs, rules, provider))
    }
}

impl<W: ?Sized> Verifier<W> {
    fn new(trust: Trust<W>, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }

    fn trusting(certs: &[CertificateDer<'_>], rules: Arc<W>, provider: &CryptoProvider) -> Self {
        let themselves = certs.iter().map(|cert| fingerprint(cert).0).collect();
        Self::new(Trust::Authorities { rules, themselves }, provider)
    }

    /// Decides on the chain that a peer shows. `itself` checks what is left to check of a
    /// certificate that is trusted itself, besides its dates.
    fn decide(
        &self,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        chain: impl FnOnce(&W) -> Result<(), TlsError>,
        itself: impl FnOnce() -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        note_shown(leaf, others);
        match &self.trust {
            Trust::Anyone => Ok(()),
            Trust::These(pins) if pins.contains(&fingerprint(leaf)) => Ok(()),
            Trust::These(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Trust::Authorities { rules, themselves } => match chain(rules) {
                // `openssl req -x509` makes certificates that say they are authorities, and webpki
                // will not have one of those as a peer's.
                Err(TlsError::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_),
                )) if themselves.contains(&fingerprint(leaf).0) => {
                    itself()?;
                    check_dates(leaf, now)
                }
                verdict => verdict,
            },
        }
    }

    fn signed_12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn signed_13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match (verify_tls13_signature(message, cert, signature, &self.algorithms), public_key(cert))
        {
            // webpki knows certificates of version 3 alone. Where nothing else of it matters, the
            // key of an older one is as good.
            (Err(TlsError::InvalidCertificate(_)), Some(key)) => {
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
            }
            (verdict, _) => verdict,
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let chain = |rules: &WebPkiServerVerifier| {
            rules.verify_server_cert(leaf, others, name, ocsp, now).map(drop)
        };
        let named = || verify_server_name(&ParsedCertificate::try_from(leaf)?, name);
        self.decide((leaf, others), now, chain, named)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed_12(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed_13(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.trust {
            Trust::Authorities { rules, .. } => rules.root_hint_subjects(),
            Trust::Anyone | Trust::These(_) => &[],
        }
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let chain = |rules: &(dyn ClientCertVerifier + 'static)| {
            rules.verify_client_cert(leaf, others, now).map(drop)
        };
        self.decide((leaf, others), now, chain, || Ok(()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed_12(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed_13(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn note_shown(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
    let chain = std::iter::once(leaf).chain(others).map(|cert| cert.clone().into_owned());
    let _ = SHOWN.try_with(|shown| shown.replace(chain.collect()));
}

/// A certificate among many that rustls cannot parse is passed over, as every trust store has some.
fn roots(certs: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certs.iter().cloned());
    roots.into()
}

fn check_dates(cert: &CertificateDer<'_>, time: UnixTime) -> Result<(), TlsError> {
    let summary = Summary::of(cert).ok_or(CertificateError::BadEncoding)?;
    let moment = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (moment(summary.not_before), moment(summary.not_after));
    if time < not_before {
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    if time > not_after {
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
    use tokio_rustls::rustls::{ClientConfig, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::super::{explain, provider};
    use super::*;

    /// A certificate of version 1, which neither rcgen nor webpki would make or read.
    const OLD: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJTCBywIUXwr1LdOauUufn39VYShIZpkRWKswCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE3NTcxOVoYDzIxMjYxMDI5MTc1NzE5
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAR4HZ//FXZ1whceTAX355wriNyzM2CGZw1KMIazba7Nlbeklt3oFQWGWOlXZIHR
qCxG3z8SAvFQb6uEab/0nKRsMAoGCCqGSM49BAMCA0kAMEYCIQD8Ozce86sFt1/I
4PZlfafPuDoRvV7yINQe2IanZYr60wIhAP2oRz0k8+F3DabFJhZYrZobCfJyQ5Zx
xYa++XlxsOdu
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQXmNsV2F/f/kYI5r
QBs9V8tSzx1B0sLx0UMta7p1BVihRANCAAR4HZ//FXZ1whceTAX355wriNyzM2CG
Zw1KMIazba7Nlbeklt3oFQWGWOlXZIHRqCxG3z8SAvFQb6uEab/0nKRs
-----END PRIVATE KEY-----
";

    /// What comes of a handshake with a server that shows [`OLD`].
    async fn handshake(
        verifier: impl FnOnce(&Arc<CryptoProvider>) -> ServerVerifier,
    ) -> Result<()> {
        let provider = Arc::new(provider());
        let cert = CertificateDer::from_pem_slice(OLD.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                vec![cert],
                key,
            ))));
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier(&provider)))
            .with_no_client_auth();
        let (near, far) = UnixStream::pair().unwrap();
        let server = TlsAcceptor::from(Arc::new(server)).accept(far);
        let name = ServerName::try_from("localhost").unwrap();
        let client =
            witness(TlsConnector::from(Arc::new(client)).connect(name, near), |error, shown| {
                let asked = explain::Asked { name: "localhost", alpn: &[], certified: false };
                explain::connecting(error, &asked, shown, &[])
            });
        tokio::join!(client, server).0.map(drop)
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_checked_is_good_enough_where_nothing_is() {
        let cert = CertificateDer::from_pem_slice(OLD.as_bytes()).unwrap();
        handshake(|provider| ServerVerifier::anyone(provider)).await.unwrap();
        handshake(|provider| ServerVerifier::pinned(&[fingerprint(&cert)], provider))
            .await
            .unwrap();
        let other = rcgen::generate_simple_self_signed([]).unwrap().cert.der().clone();
        let error = handshake(|provider| ServerVerifier::authorities(&[other], provider).unwrap());
        let error = error.await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "certificate of localhost is X.509 version 1, which cannot be checked"
        );
    }
}
