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
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use super::cert::{Summary, fingerprint};
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
#[derive(Debug)]
pub(super) struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    /// `-k`.
    Anyone,
    /// `--pin`: these certificates, whoever signed them, whatever names and dates they have.
    These(Vec<Pin>),
    /// What these authorities have signed, and these certificates themselves.
    Authorities { webpki: Arc<WebPkiServerVerifier>, themselves: HashSet<[u8; 32]> },
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
        let webpki = WebPkiServerVerifier::builder_with_provider(roots(certs), provider.clone());
        let webpki = webpki.build().map_err(|error| Error::new(Kind::Usage, error))?;
        let themselves = certs.iter().map(|cert| fingerprint(cert).0).collect();
        Ok(Self::new(Trust::Authorities { webpki, themselves }, provider))
    }

    fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
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
        note_shown(leaf, others);
        match &self.trust {
            Trust::Anyone => {}
            Trust::These(pins) if pins.contains(&fingerprint(leaf)) => {}
            Trust::These(_) => return Err(CertificateError::ApplicationVerificationFailure.into()),
            Trust::Authorities { webpki, themselves } => {
                match webpki.verify_server_cert(leaf, others, name, ocsp, now) {
                    // `openssl req -x509` makes servers' certificates that say they are
                    // authorities, and webpki will not have one of those as a server's. Where the
                    // user trusts this very certificate, only its names and dates are left to check.
                    Err(TlsError::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::Other(_),
                    )) if themselves.contains(&fingerprint(leaf).0) => {
                        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                        check_dates(leaf, now)?;
                    }
                    verdict => return verdict,
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `--client-ca`: peers have to show what one of these authorities has signed.
#[derive(Debug)]
pub(super) struct ClientVerifier(Arc<dyn ClientCertVerifier>);

impl ClientVerifier {
    pub(super) fn authorities(
        certs: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let webpki = WebPkiClientVerifier::builder_with_provider(roots(certs), provider.clone());
        webpki.build().map(Self).map_err(|error| Error::new(Kind::Usage, error))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        note_shown(leaf, others);
        self.0.verify_client_cert(leaf, others, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
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
