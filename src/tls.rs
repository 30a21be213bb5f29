//! TLS in both roles.

use crate::accept::Peer;
use crate::cli::{ClientTlsArgs, ServerTlsArgs};
use crate::duplex::ByteStream;
use crate::endpoint::Call;
use crate::error::{Error, Kind, Result};

/// TLS configurations, made when they are first needed.
pub struct Tls {}

impl Tls {
    /// Keeps the flags.
    pub fn new(_client: ClientTlsArgs, _server: ServerTlsArgs) -> Self {
        Self {}
    }

    /// Plays the client's part over `stream`; `host` is asked for and checked unless `--sni` says
    /// otherwise, `alpn` is offered unless `--alpn` does.
    pub(crate) async fn connect(
        &self,
        _stream: ByteStream,
        _host: &str,
        _alpn: &[&str],
        _call: &Call<'_>,
    ) -> Result<ByteStream> {
        Err(Error::new(Kind::Tls, "not built yet"))
    }

    /// Plays the server's part over `stream`, with the certificate of `--cert` or a self-signed one.
    pub(crate) async fn accept(&self, _stream: ByteStream, _peer: &mut Peer) -> Result<ByteStream> {
        Err(Error::new(Kind::Tls, "not built yet"))
    }

    /// Checks the flags of a TLS listener.
    pub(crate) fn check_server(&self) -> Result<()> {
        Ok(())
    }
}
