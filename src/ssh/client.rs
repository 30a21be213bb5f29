//! A session with an SSH server, and the channels we open in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use russh::client::{self, Handle, Msg};
use russh::{ChannelMsg, ChannelOpenFailure, Disconnect, Preferred};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, Role, Terminal};
use super::host_key::HostKeys;
use super::target::Keepalive;
use super::transport::Transport;
use super::{BACKLOG, Load, Login, PACKET, WINDOW};
use super::{auth, failure, gone, greeting, no_limits, preferred};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::trace::{Phase, Trace};

mod guard;
#[cfg(test)]
mod tests;

pub(super) use guard::Guard;

/// How many channels a session may have closed before new ones go to another: russh keeps some 4 KiB
/// of each.
const WORN_CHANNELS: usize = 5_000;

/// How many bytes a session may have moved before new channels go to another: far below the
/// 2^32 packets after which a cipher's counter would begin anew.
const WORN_BYTES: u64 = 64 << 30;

/// A session that is logged in. It ends when nobody holds it any more.
pub(crate) struct Session {
    handle: Handle<Guard>,
    state: Arc<State>,
    moved: Arc<AtomicU64>,
    drained: CancellationToken,
}

/// What the session's own task and its users share.
pub(super) struct State {
    load: Load,
    /// Cancelled when the session is over.
    over: CancellationToken,
    /// Why it could not begin.
    refusal: Mutex<Option<Error>>,
    /// Where the connections of remote forwards go.
    forwards: Mutex<HashMap<Forward, mpsc::UnboundedSender<Forwarded>>>,
}

/// What the server listens on for us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forward {
    /// An address, or none for all of them (RFC 4254 section 7.1), and a port.
    Tcp(String, u32),
    Unix(String),
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp(host, port) if host.is_empty() => write!(f, "tcp://*:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A connection that came to a remote forward.
pub(crate) struct Forwarded {
    pub(crate) stream: ByteStream,
    /// Who connected, as the server says.
    pub(crate) from: String,
}

impl Session {
    /// Plays the client's part over a stream that reaches the server, and logs in.
    ///
    /// # Errors
    /// [`Kind::Auth`] for a host key or a login that is refused.
    pub(crate) async fn begin(
        stream: ByteStream,
        keys: HostKeys,
        login: &Login,
        keepalive: Option<Keepalive>,
        trace: &Trace,
    ) -> Result<Self> {
        let offer = keys.offer()?;
        let config = client::Config {
            client_id: greeting(),
            limits: no_limits(),
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            channel_buffer_size: BACKLOG,
            preferred: Preferred {
                host_key_certificates: offer.certificates.into(),
                ..preferred(offer.keys)
            },
            keepalive_interval: keepalive.map(|it| it.every),
            keepalive_max: keepalive.map_or(0, |it| it.most),
            ..client::Config::default()
        };
        let state = Arc::new(State {
            load: Load::default(),
            over: CancellationToken::new(),
            refusal: Mutex::default(),
            forwards: Mutex::default(),
        });
        let (transport, moved, drained) = Transport::new(stream);
        let guard = Guard { state: state.clone(), keys };
        let greeting = trace.enter(Phase::Ssh);
        let begun = client::connect_stream(Arc::new(config), transport, guard).await;
        let refusal = || lock(&state.refusal).take();
        let mut handle = begun.map_err(|error| refusal().unwrap_or_else(|| failure(error.0)))?;
        drop(greeting);
        let _logging_in = trace.enter(Phase::Login);
        auth::log_in(&mut handle, login).await?;
        Ok(Self { handle, state, moved, drained })
    }

    /// Whether new channels can be opened in it.
    pub(crate) fn is_alive(&self) -> bool {
        !self.state.over.is_cancelled() && !self.handle.is_closed()
    }

    /// Whether it has served long enough: new channels belong into a new session.
    pub(crate) fn is_worn(&self) -> bool {
        self.state.load.kept() >= WORN_CHANNELS || self.moved.load(Ordering::Relaxed) >= WORN_BYTES
    }

    /// How many channels are open.
    pub(crate) fn channels(&self) -> usize {
        self.state.load.channels()
    }

    /// How many bytes went through it, both ways.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How long a message to the server and its answer take; none once the session is over.
    pub(crate) async fn round_trip(&self) -> Option<Duration> {
        let asked = Instant::now();
        self.handle.send_ping().await.ok().map(|()| asked.elapsed())
    }

    /// Waits until the session is lost or ended.
    pub(crate) async fn over(&self) {
        self.state.over.cancelled().await;
    }

    // A channel has its share from before it is open: where the only other one waits for its reader,
    // the answer would wait behind it.

    /// A connection from the server to `to`.
    pub(crate) async fn open_tcp(&self, to: &HostPort, trace: &Trace) -> Result<ByteStream> {
        let _opening = trace.enter(Phase::Forward);
        let host = if to.host.is_empty() { "localhost" } else { &to.host };
        let port = u32::from(to.port);
        let _share = self.state.load.share();
        let opened = self.handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await;
        self.forwarded(opened)
    }

    /// A connection from the server to a Unix socket there.
    pub(crate) async fn open_unix(&self, path: &str, trace: &Trace) -> Result<ByteStream> {
        let _opening = trace.enter(Phase::Forward);
        let _share = self.state.load.share();
        let opened = self.handle.channel_open_direct_streamlocal(path).await;
        self.forwarded(opened)
    }

    fn forwarded(&self, opened: Result<russh::Channel<Msg>, russh::Error>) -> Result<ByteStream> {
        let channel = opened.map_err(|error| not_opened(error, "the SSH server"))?;
        let channel = Channel::new(channel, Role::Forward, "", &self.state.load);
        Ok(ByteStream::other(channel))
    }

    /// Runs a command on the server, or its shell; on a terminal there, if one is given.
    pub(crate) async fn run(
        &self,
        command: Option<&str>,
        terminal: Option<Terminal>,
        trace: &Trace,
    ) -> Result<Channel> {
        let _opening = trace.enter(Phase::Forward);
        let _share = self.state.load.share();
        let opened = self.handle.channel_open_session().await;
        let mut channel = opened.map_err(|error| not_opened(error, "the SSH server"))?;
        if let Some(Terminal { kind, size }) = &terminal {
            let asked = channel.request_pty(true, kind, size.columns, size.rows, 0, 0, &[]).await;
            asked.map_err(failure)?;
            granted(&mut channel, "a terminal").await?;
        }
        match command {
            Some(command) => channel.exec(true, command).await.map_err(failure)?,
            None => channel.request_shell(true).await.map_err(failure)?,
        }
        granted(&mut channel, command.map_or("a shell", |_| "to run the command")).await?;
        let who = command.and_then(|line| line.split_whitespace().next()).unwrap_or("shell");
        Ok(Channel::new(channel, Role::Command, who, &self.state.load))
    }

    /// Asks the server to listen. The connections that come are received from what is returned,
    /// with the port that the server chose if 0 was asked for.
    pub(crate) async fn listen(
        &self,
        mut at: Forward,
    ) -> Result<(Forward, mpsc::UnboundedReceiver<Forwarded>)> {
        let (sender, incoming) = mpsc::unbounded_channel();
        // Connections may come before the answer has been looked at.
        lock(&self.state.forwards).insert(at.clone(), sender.clone());
        let asked = match &at {
            Forward::Tcp(host, port) => self.handle.tcpip_forward(host.as_str(), *port).await,
            Forward::Unix(path) => self.handle.streamlocal_forward(path.as_str()).await.map(|()| 0),
        };
        let granted = asked.map_err(|error| {
            lock(&self.state.forwards).remove(&at);
            match error {
                russh::Error::RequestDenied => {
                    Error::new(Kind::Refused, "the SSH server does not listen there for us").hint(
                        "the port may be taken, or forwarding not allowed (AllowTcpForwarding)",
                    )
                }
                other => failure(other),
            }
        });
        let port = granted?;
        self.state.load.expect();
        if let Forward::Tcp(host, 0) = &at {
            let chosen = Forward::Tcp(host.clone(), port);
            let mut forwards = lock(&self.state.forwards);
            forwards.remove(&at);
            forwards.insert(chosen.clone(), sender);
            drop(forwards);
            at = chosen;
        }
        Ok((at, incoming))
    }

    /// Says goodbye and waits until everything is on its way.
    pub(crate) async fn end(&self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
        let _ = tokio::time::timeout(PATIENCE, self.drained.cancelled()).await;
    }
}

/// Waits for the answer to a request.
async fn granted(channel: &mut russh::Channel<Msg>, what: &str) -> Result<()> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => {
                let what = format!("the SSH server refuses {what}");
                return Err(Error::new(Kind::Refused, what));
            }
            Some(ChannelMsg::Close) => {
                return Err(Error::new(Kind::Refused, "the SSH server closed the channel"));
            }
            Some(_) => {}
            None => return Err(gone()),
        }
    }
}

fn not_opened(error: russh::Error, who: &str) -> Error {
    let russh::Error::ChannelOpenFailure(why) = error else { return failure(error) };
    let refused = |what: &str| Error::new(Kind::Refused, format!("{what}, says {who}"));
    match why {
        ChannelOpenFailure::ConnectFailed => refused("cannot connect"),
        ChannelOpenFailure::AdministrativelyProhibited => refused("not allowed")
            .hint("see AllowTcpForwarding and PermitOpen of sshd, or --allow-open of towline"),
        ChannelOpenFailure::ResourceShortage => refused("too many channels"),
        ChannelOpenFailure::UnknownChannelType => refused("it has no such thing"),
        other @ ChannelOpenFailure::Other { .. } => refused(other.description()),
    }
}
