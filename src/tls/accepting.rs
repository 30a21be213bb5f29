//! The configuration of listeners.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::ResolvesServerCert;

use super::identity;
use super::trust::ClientVerifier;
use super::{key_log, pem, provider};
use crate::cli::ServerTlsArgs;
use crate::error::{Error, Kind, Result};
use crate::report;
use crate::stamp::Stamp;

/// What listeners show and ask for.
pub(super) struct Accepting {
    args: ServerTlsArgs,
    identity: Arc<dyn ResolvesServerCert>,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Arc<ServerConfig>, Option<Stamp>)>,
}

impl Accepting {
    pub(super) fn new(args: &ServerTlsArgs) -> Result<Self> {
        let provider = Arc::new(provider());
        let identity: Arc<dyn ResolvesServerCert> = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => Arc::new(identity::Files::load(cert, key, &provider)?),
            _ if args.tls_self_signed => Arc::new(identity::self_signed(&provider)?),
            _ => {
                return Err(Error::new(Kind::Usage, "a TLS listener needs a certificate")
                    .hint("--cert FILE --key FILE, or --tls-self-signed"));
            }
        };
        let stamp = args.client_ca.as_deref().and_then(Stamp::of);
        let config = config(args.client_ca.as_deref(), identity.clone(), &provider)?;
        let current = Mutex::new((Arc::new(config), stamp));
        Ok(Self { args: args.clone(), identity, provider, current })
    }

    /// The configuration for the next peer. It is made anew when the file of `--client-ca` has
    /// changed, tickets included: with one from before, a peer that is trusted no longer would
    /// come back without showing its certificate.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.args.client_ca.as_deref() {
            let stamp = Stamp::of(file);
            if stamp != current.1 {
                // Also where reading fails: it is said once, and tried again at the next change.
                current.1 = stamp;
                match config(Some(file), self.identity.clone(), &self.provider) {
                    Ok(new) => {
                        current.0 = Arc::new(new);
                        report::verbose(format_args!("{}: read again", file.display()));
                    }
                    Err(error) => report::warn(format_args!("{error}; the old authorities stay")),
                }
            }
        }
        current.0.clone()
    }
}

fn config(
    client_ca: Option<&Path>,
    identity: Arc<dyn ResolvesServerCert>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Tls, error))?;
    let config = match client_ca {
        Some(file) => {
            let verifier = ClientVerifier::authorities(&pem::certificates(file)?, provider)?;
            config.with_client_cert_verifier(Arc::new(verifier))
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(identity);
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| Error::new(Kind::Tls, error))?;
    config.key_log = key_log();
    Ok(config)
}
