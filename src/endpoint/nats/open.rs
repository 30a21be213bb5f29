//! Connecting: the login, what the library tells of the connection, and what its errors mean.

use std::error::Error as _;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::{
    ClientError, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError, Statistics,
};

use super::Nats;
use super::feed::Feed;
use super::outage::Outages;
use super::session::Session;
use crate::backoff::Backoff;
use crate::endpoint::{Call, tcp};
use crate::error::{Error, Kind, Result, plain};
use crate::report;

/// The first pause between attempts to reach a server that is away, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How much is read at once. Small, as each of thousands of peers may have a connection.
const READ_BUFFER: u16 = 16 << 10;

/// How the library finds out that a connection is dead of which nothing is heard.
const PING: Duration = Duration::from_secs(15);

/// Connects and subscribes.
pub(super) async fn open(nats: &Nats, name: Option<String>, call: &Call<'_>) -> Result<Session> {
    let link = Link {
        server: nats.server().into(),
        feed: Arc::default(),
        outages: call.cx.outages.clone(),
        statistics: Arc::default(),
    };
    let events = link.clone();
    let options = options(nats, call)?.event_callback(move |event| {
        events.tell(event);
        async {}
    });
    let host = if nats.to.host.is_empty() { "localhost" } else { &nats.to.host };
    let at = match host.contains(':') {
        true => format!("nats://[{host}]:{}", nats.to.port),
        false => format!("nats://{host}:{}", nats.to.port),
    };
    let connecting = options.connect(at);
    let explain = |error: ConnectError| explain(&error, host);
    let client = call.cx.tls.lent(host, connecting, io_error, b"INFO", explain).await?;
    let _ = link.statistics.set(client.statistics());
    Session::subscribe(nats, name, client, link, call.cx).await
}

/// The connection as its tasks see it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) server: Arc<str>,
    pub(super) feed: Arc<Feed>,
    pub(super) outages: Arc<Outages>,
    statistics: Arc<OnceLock<Arc<Statistics>>>,
}

impl Link {
    /// Takes note of what happens to the connection.
    fn tell(&self, event: Event) {
        match event {
            Event::Disconnected => {
                let written = |it: &Arc<Statistics>| it.out_messages.load(Ordering::Relaxed);
                if self.feed.lost(self.statistics.get().map_or(0, written)) {
                    self.outages.begin(&self.server);
                }
            }
            Event::Connected => {
                if let Some(lost) = self.feed.found() {
                    self.outages.end(&self.server, lost, true);
                }
            }
            Event::SlowConsumer(_) => self.feed.dropped(),
            Event::ServerError(ServerError::Other(what)) => {
                match what.strip_prefix("Permissions Violation for ") {
                    Some(what) => {
                        let what = format!("the server does not allow us: {}", lower(what));
                        self.feed.fail(Error::new(Kind::Auth, what));
                    }
                    None => report::warn(format_args!("{}: the server says: {what}", self.server)),
                }
            }
            // It is away, and does not take us back.
            Event::ClientError(ClientError::Other(what))
                if what == ConnectErrorKind::AuthorizationViolation.to_string() =>
            {
                self.feed.fail(Error::new(Kind::Auth, "the server refuses the login by now"));
            }
            _ => {}
        }
    }
}

fn options(nats: &Nats, call: &Call<'_>) -> Result<ConnectOptions> {
    let shared = &call.cx.shared;
    let mut options = ConnectOptions::new()
        .name("towline")
        .connection_timeout(shared.dial.connect_timeout)
        .ping_interval(PING)
        .read_buffer_capacity(READ_BUFFER)
        .reconnect_delay_callback(pauses())
        .require_tls(nats.secure);
    // A server may ask for TLS although the address does not.
    match call.cx.tls.lend() {
        Ok(config) => options = options.tls_client_config(config),
        Err(error) if nats.secure => return Err(error),
        Err(_) => {}
    }
    if nats.secure && shared.tls.sni.is_some() {
        return Err(Error::new(Kind::Usage, "--sni has no effect on nats+tls:")
            .hint("the name that is asked for is the one in the address"));
    }
    if let Some(login) = &nats.login {
        options = options.user_and_password(login.user.clone(), login.password.clone());
    }
    let flags = &shared.nats;
    if let Some(token) = &flags.nats_token_file {
        options = options.token(token.reveal().to_owned());
    }
    if let Some(file) = &flags.nats_nkey {
        // Beside the seed there may be comments, and the public key.
        let seed = file.reveal().lines().find(|line| line.starts_with('S')).unwrap_or_default();
        options = options.nkey(seed.trim().to_owned());
    }
    if let Some(file) = &flags.nats_creds {
        options = options.credentials(file.reveal()).map_err(|_| no_seed("--nats-creds"))?;
    }
    Ok(options)
}

/// How long to wait before each attempt. All peers of a server lose it at once, and must not all
/// come back at once.
fn pauses() -> impl Fn(usize) -> Duration {
    let backoff = Mutex::new(Backoff::new(PAUSE, LONGEST_PAUSE));
    move |attempt| {
        let mut backoff = backoff.lock().unwrap_or_else(PoisonError::into_inner);
        match attempt {
            0 | 1 => {
                backoff.reset();
                Duration::ZERO
            }
            _ => backoff.pause(),
        }
    }
}

fn explain(error: &ConnectError, host: &str) -> Error {
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    match error.kind() {
        ConnectErrorKind::Dns => {
            let why = io_error(error).map_or(why, tcp::resolver);
            Error::new(Kind::Resolve, format!("cannot resolve `{host}`: {why}"))
        }
        ConnectErrorKind::AuthorizationViolation => {
            Error::new(Kind::Auth, "the server refuses the login, or asks for one").hint(
                "USER:PASSWORD@ before the host, or --nats-creds, --nats-nkey, --nats-token-file",
            )
        }
        ConnectErrorKind::Authentication => no_seed("--nats-nkey"),
        ConnectErrorKind::TimedOut => Error::new(Kind::Timeout, "timeout while connecting"),
        ConnectErrorKind::Tls => Error::new(Kind::Tls, why),
        _ => match io_error(error) {
            Some(error) => broken(error),
            // What the server has said, or that it has said nothing.
            None if lower(&why).contains("authentic") || lower(&why).contains("authoriz") => {
                Error::new(Kind::Auth, format!("the server says: {}", lower(&why)))
            }
            None => no_server(&why),
        },
    }
}

/// The connection failed before the server took us in.
fn broken(error: &io::Error) -> Error {
    use io::ErrorKind as K;
    match error.kind() {
        K::InvalidInput | K::InvalidData | K::Other => no_server(&error.to_string()),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => {
            Error::new(Kind::Lost, format!("{} in the handshake", plain(error)))
        }
        _ => Error::new(Kind::Refused, plain(error)),
    }
}

fn no_server(why: &str) -> Error {
    let what = format!("this is no NATS server, or it turns us away: {}", lower(why));
    Error::new(Kind::Handshake, what)
}

fn no_seed(flag: &str) -> Error {
    Error::new(Kind::Usage, format!("there is no valid key in the file of {flag}"))
}

fn io_error(error: &ConnectError) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// Its first letter in lower case.
fn lower(text: &str) -> String {
    plain(&io::Error::other(text))
}
