//! The configuration of listeners.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::ResolvesServerCert;

use super::identity::{self, Identities};
use super::trust::ClientVerifier;
use super::{key_log, pem, provider};
use crate::cli::ServerTlsArgs;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::report;
use crate::stamp::Stamp;

/// What listeners show and ask for.
pub(super) struct Accepting {
    args: ServerTlsArgs,
    identity: Arc<dyn ResolvesServerCert>,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

struct Current {
    /// The same with each list of protocols that is agreed to (ALPN); the first has none. There are
    /// as many as there are kinds of listeners, and connections share them.
    configs: Vec<Arc<ServerConfig>>,
    /// Of the file of `--client-ca`.
    stamp: Option<Stamp>,
}

impl Accepting {
    pub(super) fn new(args: &ServerTlsArgs) -> Result<Self> {
        let provider = Arc::new(provider());
        let (certs, keys) = (args.cert.len(), args.key.len());
        let identity: Arc<dyn ResolvesServerCert> = match (certs, args.tls_self_signed) {
            (0, false) => {
                return Err(Error::new(Kind::Usage, "a TLS listener needs a certificate")
                    .hint("--cert FILE --key FILE, or --tls-self-signed"));
            }
            (0, true) => Arc::new(identity::self_signed(&provider)?),
            _ if certs != keys => {
                let what = format!("{certs} of --cert do not go with {keys} of --key");
                return Err(Error::new(Kind::Usage, what).hint("each has one, in the same order"));
            }
            _ => Arc::new(Identities::load(args.cert.iter().zip(&args.key), &provider)?),
        };
        let stamp = args.client_ca.as_deref().and_then(Stamp::of);
        let config = config(args.client_ca.as_deref(), identity.clone(), &provider)?;
        let current = Mutex::new(Current { configs: vec![Arc::new(config)], stamp });
        Ok(Self { args: args.clone(), identity, provider, current })
    }

    /// The configuration for the next peer. It is made anew when the file of `--client-ca` has
    /// changed, tickets included: with one from before, a peer that is trusted no longer would
    /// come back without showing its certificate.
    pub(super) fn config(&self, alpn: Vec<Vec<u8>>) -> Arc<ServerConfig> {
        let mut current = lock(&self.current);
        if let Some(file) = self.args.client_ca.as_deref() {
            let stamp = Stamp::of(file);
            if stamp != current.stamp {
                // Also where reading fails: it is said once, and tried again at the next change.
                current.stamp = stamp;
                match config(Some(file), self.identity.clone(), &self.provider) {
                    Ok(new) => {
                        current.configs = vec![Arc::new(new)];
                        report::verbose(format_args!("{}: read again", file.display()));
                    }
                    Err(error) => report::warn(format_args!("{error}; the old authorities stay")),
                }
            }
        }
        let Current { configs, .. } = &mut *current;
        if let Some(config) = configs.iter().find(|it| it.alpn_protocols == alpn) {
            return config.clone();
        }
        let mut config = (*configs[0]).clone();
        config.alpn_protocols = alpn;
        configs.push(Arc::new(config));
        configs[configs.len() - 1].clone()
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
    // Who comes back once more gets another one; each costs a handshake, and bytes to an idle peer.
    config.send_tls13_tickets = 1;
    config.key_log = key_log();
    Ok(config)
}
