//! TLS in both roles. Only this module names rustls.

use std::sync::{Arc, Mutex, Once, OnceLock};

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{CipherSuite, ClientConfig, CommonState, KeyLogFile, ProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::accept::Peer;
use crate::cli::{ClientTlsArgs, ServerTlsArgs};
use crate::duplex::ByteStream;
use crate::endpoint::Call;
use crate::error::{Error, Kind, Result, plain};
use crate::http::Response;
use crate::lock::lock;
use crate::report;
use crate::trace::{Phase, TlsFacts};

mod accepting;
mod cert;
mod explain;
mod identity;
mod pem;
mod stream;
mod trust;
mod verdict;

use accepting::Accepting;
use stream::{Carrier, Stream};
use trust::ServerVerifier;

/// TLS configurations, made when they are first needed.
pub struct Tls {
    parts: Mutex<Parts>,
    warned: Once,
}

/// The parts of a client and of a server. Connections that have begun keep theirs.
#[derive(Clone)]
struct Parts {
    client: Arc<Client>,
    server: Arc<Server>,
}

struct Client {
    args: ClientTlsArgs,
    config: OnceLock<Result<Arc<ClientConfig>>>,
}

struct Server {
    args: ServerTlsArgs,
    accepting: OnceLock<Result<Accepting>>,
}

impl Tls {
    /// Keeps the flags.
    pub fn new(client: ClientTlsArgs, server: ServerTlsArgs) -> Self {
        let client = Client { args: client, config: OnceLock::new() };
        let server = Server { args: server, accepting: OnceLock::new() };
        let parts = Parts { client: Arc::new(client), server: Arc::new(server) };
        Self { parts: Mutex::new(parts), warned: Once::new() }
    }

    /// What it would be with other flags. A server's part whose flags are the same stays: its files
    /// are followed anyway, and a certificate that was made for this run is not made twice.
    pub(crate) fn renewed(&self, client: ClientTlsArgs, server: ServerTlsArgs) -> Self {
        let new = Self::new(client, server);
        let old = self.server();
        let mut parts = lock(&new.parts);
        if parts.server.args == old.args {
            parts.server = old;
        }
        drop(parts);
        new
    }

    /// Is as another one from now on.
    pub(crate) fn become_as(&self, new: &Self) {
        let parts = lock(&new.parts).clone();
        *lock(&self.parts) = parts;
    }

    fn client(&self) -> Arc<Client> {
        lock(&self.parts).client.clone()
    }

    fn server(&self) -> Arc<Server> {
        lock(&self.parts).server.clone()
    }

    /// Reads the files that the flags of the client's part name, before anything is opened.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the file that is unusable.
    pub fn check_client(&self) -> Result<()> {
        let client = self.client();
        let files = !client.args.ca.is_empty() || client.args.client_cert.is_some();
        if files { client.config().map(drop) } else { Ok(()) }
    }

    /// Reads the certificate that listeners show, or makes one and tells its fingerprint.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is none, or a file is unusable.
    pub fn check_server(&self) -> Result<()> {
        self.server().accepting().map(drop)
    }

    /// Whether listeners have a certificate to show.
    pub(crate) fn has_identity(&self) -> bool {
        let args = &self.server().args;
        !args.cert.is_empty() || args.tls_self_signed
    }

    /// Whether the peers of listeners need a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.server().args.client_ca.is_some()
    }

    /// Checks that certificates were not named for listeners that would not show them.
    ///
    /// # Errors
    /// [`Kind::Usage`], since what was meant to be encrypted would not be.
    pub fn check_no_server(&self) -> Result<()> {
        let ServerTlsArgs { cert, key: _, tls_self_signed, client_ca } = &self.server().args;
        let flag = match (cert.is_empty(), tls_self_signed, client_ca) {
            (false, ..) => "--cert",
            (_, true, _) => "--tls-self-signed",
            (.., Some(_)) => "--client-ca",
            _ => return Ok(()),
        };
        let error = Error::new(Kind::Usage, format!("{flag} needs a listener with TLS"));
        Err(error.hint("listen on wss: or tls:"))
    }

    /// Checks that no identity is asked for or shown where nothing is encrypted.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the flag.
    pub fn check_no_client(&self) -> Result<()> {
        let flag = match &self.client().args {
            args if !args.pin.is_empty() => "--pin",
            args if args.client_cert.is_some() => "--client-cert",
            args if !args.ca.is_empty() => "--ca",
            _ => return Ok(()),
        };
        let error = Error::new(Kind::Usage, format!("{flag} needs an address with TLS"));
        Err(error.hint("connect to wss:, tls: or nats+tls:"))
    }

    /// Plays the client's part over `stream`; `host` is asked for and checked unless `--sni` says
    /// otherwise, `alpn` is offered unless `--alpn` does.
    pub(crate) async fn connect(
        &self,
        stream: ByteStream,
        host: &str,
        alpn: &[&str],
        call: &Call<'_>,
    ) -> Result<ByteStream> {
        let host = if host.is_empty() { "localhost" } else { host };
        let client = self.client();
        let name = client.args.sni.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            let what = format!("`{name}` is not a name that a certificate can have");
            Error::new(Kind::Usage, what).hint("--sni NAME asks for another name")
        })?;
        let config = client.config()?;
        self.warn_of_insecure(&client.args);
        let alpn = client.alpn(alpn);
        let asked = explain::Asked { name, alpn: &alpn, certified: client.is_certified() };
        let _handshaking = call.trace.enter(Phase::Tls);
        let handshake = TlsConnector::from(config)
            .with_alpn(alpn.clone())
            .connect(server, Carrier::new(stream))
            .into_fallible();
        let stream = trust::witness(handshake, |(error, carrier), shown| {
            explain::connecting(error, &asked, shown, carrier.said())
        })
        .await?;
        let facts = facts(stream.get_ref().1, name);
        report::verbose(format_args!("{}", describe(&facts, stream.get_ref().1)));
        call.trace.facts().tls = Some(facts);
        Ok(ByteStream::other(Stream::new(stream)))
    }

    /// The configuration of the client's part, for a library that does TLS itself.
    pub(crate) fn lend(&self) -> Result<ClientConfig> {
        let client = self.client();
        let config = client.config()?;
        self.warn_of_insecure(&client.args);
        Ok((*config).clone())
    }

    /// Runs a handshake of such a library with `host`, whose protocol begins with `greeting` where
    /// it is not encrypted. If it is TLS that fails, as `cause` finds out, that is explained as
    /// ever; all else by `explain`.
    pub(crate) async fn lent<T, E>(
        &self,
        host: &str,
        handshake: impl Future<Output = Result<T, E>>,
        cause: impl FnOnce(&E) -> Option<&std::io::Error>,
        greeting: &[u8],
        explain: impl FnOnce(E) -> Error,
    ) -> Result<T> {
        let certified = self.client().is_certified();
        let asked = explain::Asked { name: host, alpn: &[], certified };
        trust::witness(handshake, |error, shown| match cause(&error).and_then(explain::copy) {
            Some(error) => explain::connecting(error, &asked, shown, greeting),
            None => explain(error),
        })
        .await
    }

    /// Says once that nobody looks at certificates.
    fn warn_of_insecure(&self, args: &ClientTlsArgs) {
        if args.insecure && args.pin.is_empty() {
            self.warned.call_once(|| {
                report::warn(format_args!(
                    "certificates are not checked (-k): anyone on the way can read and change it"
                ));
            });
        }
    }

    /// Plays the server's part over `stream`, with the certificate of `--cert` or a self-signed
    /// one; `alpn` is what we speak unless `--alpn` says otherwise. Where both are empty, whatever
    /// the peer offers is passed over.
    pub(crate) async fn accept(
        &self,
        stream: ByteStream,
        alpn: &[&str],
        peer: &mut Peer,
    ) -> Result<ByteStream> {
        let config = self.server().accepting()?.config(self.client().alpn(alpn));
        let handshake = TlsAcceptor::from(config).accept(Carrier::new(stream)).into_fallible();
        let mut refused = None;
        let stream = trust::witness(handshake, |(error, carrier), shown| {
            let error = explain::accepting(error, shown, carrier.said());
            refused = Some(carrier);
            error
        })
        .await;
        if let Some(carrier) = refused {
            let last = if carrier.is_plain() { not_here(carrier.said()) } else { None };
            carrier.close(&last.unwrap_or_default()).await;
        }
        let stream = stream?;
        peer.tls = true;
        let alpn = stream.get_ref().1.alpn_protocol();
        peer.alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(ByteStream::other(Stream::new(stream)))
    }
}

impl Client {
    fn config(&self) -> Result<Arc<ClientConfig>> {
        self.config.get_or_init(|| client_config(&self.args).map(Arc::new)).clone()
    }

    fn is_certified(&self) -> bool {
        self.args.client_cert.is_some()
    }

    /// Where it is about what listeners agree to, too.
    fn alpn(&self, default: &[&str]) -> Vec<Vec<u8>> {
        let bytes = |name: &str| name.as_bytes().to_vec();
        match self.args.alpn.is_empty() {
            true => default.iter().map(|name| bytes(name)).collect(),
            false => self.args.alpn.iter().map(|name| bytes(name)).collect(),
        }
    }
}

impl Server {
    fn accepting(&self) -> Result<&Accepting> {
        let accepting = self.accepting.get_or_init(|| Accepting::new(&self.args));
        accepting.as_ref().map_err(Error::clone)
    }
}

fn client_config(args: &ClientTlsArgs) -> Result<ClientConfig> {
    let provider = Arc::new(provider());
    let verifier = if !args.pin.is_empty() {
        ServerVerifier::pinned(&args.pin, &provider)
    } else if args.insecure {
        ServerVerifier::anyone(&provider)
    } else {
        let mut authorities = Vec::new();
        for file in &args.ca {
            authorities.extend(pem::certificates(file)?);
        }
        if args.ca.is_empty() {
            authorities = system_authorities()?;
        }
        ServerVerifier::authorities(&authorities, &provider)?
    };
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Tls, error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (&args.client_cert, &args.client_key) {
        (Some(cert), Some(key)) => {
            let identity = pem::identity(cert, key, &provider)?;
            let identity = SingleCertAndKey::from(identity);
            config.with_client_cert_resolver(Arc::new(identity))
        }
        _ => config.with_no_client_auth(),
    };
    config.key_log = key_log();
    Ok(config)
}

/// aws-lc-rs, explicitly: a process-wide default would depend on which crates are linked.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let mut provider = aws_lc_rs::default_provider();
    // The hybrid goes first, so that what is recorded today cannot be read once there are quantum
    // computers.
    provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    if !has_fast_aes() {
        let is_aes = |suite: CipherSuite| !format!("{suite:?}").contains("CHACHA20");
        provider.cipher_suites.sort_by_key(|suite| is_aes(suite.suite()));
    }
    provider
}

/// Whether the processor has instructions for AES; without them ChaCha20 is several times faster.
fn has_fast_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn system_authorities() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or("none found".to_owned(), ToString::to_string);
        return Err(Error::new(
            Kind::Tls,
            format!("no authorities to trust on this machine: {why}"),
        )
        .hint("--ca FILE, or SSL_CERT_FILE, names a file with some"));
    }
    Ok(found.certs)
}

/// The file of SSLKEYLOGFILE, if that is set.
fn key_log() -> Arc<KeyLogFile> {
    // rustls does not tell if it cannot write, and then the user looks for the mistake elsewhere.
    if let Some(path) = std::env::var_os("SSLKEYLOGFILE")
        && let Err(error) = std::fs::OpenOptions::new().append(true).create(true).open(&path)
    {
        let path = std::path::Path::new(&path).display();
        report::warn(format_args!("SSLKEYLOGFILE: cannot write {path}: {}", plain(&error)));
    }
    Arc::new(KeyLogFile::new())
}

/// What a plain HTTP client is told that came to a TLS port.
fn not_here(said: &[u8]) -> Option<Vec<u8>> {
    let method = said.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_http = !method.is_empty()
        && method.len() < said.len()
        && method.iter().all(u8::is_ascii_uppercase);
    let body = "this port speaks TLS: https:// or wss://\n";
    let answer = Response::new(400, "Bad Request")
        .with("Content-Type", "text/plain; charset=utf-8")
        .with("Content-Length", body.len().to_string())
        .with("Connection", "close");
    is_http.then(|| [answer.to_bytes(), body.into()].concat())
}

fn facts(session: &CommonState, name: &str) -> TlsFacts {
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let suite = session.negotiated_cipher_suite();
    // rustls marks the suites of TLS 1.3 in their names; IANA does not.
    let cipher = suite.map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"));
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    TlsFacts {
        version,
        cipher: cipher.unwrap_or_default(),
        alpn: session.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        sni: name.to_owned(),
        not_after: leaf.and_then(|leaf| cert::Summary::of(leaf)).map(|leaf| leaf.not_after),
    }
}

/// The session in a line, for `-v`.
fn describe(facts: &TlsFacts, session: &CommonState) -> String {
    let mut line = format!("{}: {}, {}", facts.sni, facts.version, facts.cipher);
    if let Some(group) = session.negotiated_key_exchange_group() {
        line += &format!(", {:?}", group.name());
    }
    if let Some(alpn) = &facts.alpn {
        line += &format!(", {alpn}");
    }
    if let Some(until) = facts.not_after {
        line += &format!(", certificate until {}", cert::day(until));
    }
    line
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::{HandshakeKind, NamedGroup};

    use super::*;

    /// Connects a client of one configuration to a server of the other, and reads an answer, with
    /// which the tickets come.
    async fn session(tls: &Tls) -> TlsStream<Carrier> {
        let (near, far) = UnixStream::pair().unwrap();
        let server = async {
            let mut peer = Peer::default();
            let mut far = tls.accept(ByteStream::Unix(far), &[], &mut peer).await.unwrap();
            far.write_all(b"x").await.unwrap();
            far.flush().await.unwrap();
            assert!(peer.tls);
        };
        let client = async {
            let connector = TlsConnector::from(tls.client().config().unwrap());
            let name = ServerName::try_from("localhost").unwrap();
            let mut near =
                connector.connect(name, Carrier::new(ByteStream::Unix(near))).await.unwrap();
            near.read_u8().await.unwrap();
            near
        };
        tokio::join!(client, server).0
    }

    fn trusting() -> Tls {
        Tls::new(
            ClientTlsArgs { insecure: true, ..Default::default() },
            ServerTlsArgs { tls_self_signed: true, ..Default::default() },
        )
    }

    #[tokio::test]
    async fn the_key_exchange_resists_quantum_computers() {
        let tls = trusting();
        let stream = session(&tls).await;
        let session = stream.get_ref().1;
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        let facts = facts(session, "localhost");
        assert_eq!(facts.version, "TLSv1.3");
        assert!(facts.cipher.starts_with("TLS_"), "{}", facts.cipher);
        assert!(facts.not_after.unwrap() > cert::now());
    }

    #[tokio::test]
    async fn a_second_session_resumes_the_first() {
        let tls = trusting();
        let first = session(&tls).await;
        assert_eq!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        let second = session(&tls).await;
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        // Reports say what they said the first time.
        assert!(facts(second.get_ref().1, "localhost").not_after.is_some());
    }

    #[test]
    fn a_listener_without_a_certificate_is_refused() {
        let tls = Tls::new(ClientTlsArgs::default(), ServerTlsArgs::default());
        let error = tls.check_server().unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.advice().is_some_and(|hint| hint.contains("--tls-self-signed")));
    }

    #[test]
    fn only_http_is_answered_with_http() {
        assert!(not_here(b"GET / HTTP/1.1\r\n").is_some());
        for said in [&b"SSH-2.0-x"[..], b"get / x", b" GET", b"\x16\x03\x01", b""] {
            assert!(not_here(said).is_none(), "{said:?}");
        }
    }
}
