//! Every kind of address towline knows.
//!
//! To add one: write `endpoint/NAME.rs` with a type that is a `Scheme`, and add its row to the
//! table at the `schemes!` call below. Parsing, chains, help and the manual follow from the row:
//! trait, table and dispatch are one file, so that one reading shows what a scheme has to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::accept::{Incoming, Listener, Peer, in_time};
use crate::console;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::ssh::{Session, Terminal};
use crate::trace::Trace;

mod address;
mod any;
mod bare;
mod echo;
mod exec;
mod file;
mod hub;
mod nats;
mod null;
mod proxy;
mod ssh;
mod stdio;
mod tcp;
mod tls;
mod unix;
mod web;
mod ws;

pub use proxy::Rule;
pub use ws::{Text, deflate};

pub(crate) use bare::Bare;
pub(crate) use exec::{Children, pass_on_lines, said};
pub(crate) use nats::Outages;
pub(crate) use ssh::Socks;
pub(crate) use stdio::Console;
use tcp::Tcp;
pub(crate) use tcp::{HostPort, Local, bind as bind_tcp, tune as tune_tcp};
pub(crate) use unix::{Bound as BoundUnix, bind as bind_unix, dial as dial_unix};
pub(crate) use ws::{grant as grant_websocket, handshake, head as frame_head};

// The table, in the order in which a reader meets the schemes in help and manual.
schemes! {
    stdio::Stdio,
    tcp::Tcp,
    unix::Unix,
    tls::Tls,
    ws::Ws,
    ssh::Ssh,
    any::Any,
    exec::Exec,
    exec::Pty,
    file::File,
    echo::Echo,
    null::Null,
    hub::HubName,
    hub::Offered,
    nats::Nats,
    proxy::Proxy,
}

/// What one kind of address has to say for itself.
///
/// A hop stands on some [`Ground`]: this machine, a network reached through a proxy, or the byte
/// stream of the hop before it.
pub(crate) trait Scheme: Sized + Clone + fmt::Debug + fmt::Display + PartialEq {
    /// Accepted spellings, without the colon.
    const NAMES: &'static [&'static str];
    /// How it is written.
    const USAGE: &'static str;
    /// One line for help and the manual.
    const HELP: &'static str;
    /// What it can stand on.
    const STANDS_ON: &'static [Footing];
    /// What a hop after it finds; none where it can only be the last.
    const GIVES: Option<Footing>;
    /// Whether it can be written where to listen.
    const LISTENS: bool = false;
    /// Whether it can be the last hop of an address to connect to.
    const CONNECTS: bool = !matches!(Self::GIVES, Some(Footing::Network));
    /// What its far side is.
    const SHAPE: Shape;
    /// How its bytes are cut into messages if the other end of the join has messages.
    const FRAMING: Framing = Framing::Raw;

    /// Parses what follows the name and its colon.
    fn parse(name: &str, rest: &str) -> Result<Self, String>;

    /// Connects, standing on `ground`. What is only a way to other hosts need not say how.
    fn connect(
        &self,
        _ground: Ground,
        _call: &Call<'_>,
    ) -> impl Future<Output = Result<Duplex>> + Send {
        async { Err(Error::new(Kind::Usage, "is a hop to dial through")) }
    }

    /// Becomes the ground of the next hop. A stream scheme need not say how.
    fn carry(&self, ground: Ground, call: &Call<'_>) -> impl Future<Output = Result<Ground>> + Send
    where
        Self: Sync,
    {
        async {
            let carrier = Call { near: Shape::Bytes, ..*call };
            Ok(Ground::Stream(self.connect(ground, &carrier).await?.into_bytes()))
        }
    }

    /// The socket that a listener of this scheme stands on when it is written alone.
    fn socket(&self) -> Option<Hop> {
        None
    }

    /// Listens; for those that are sockets themselves.
    fn listen(&self, _cx: &Arc<Context>) -> impl Future<Output = Result<Listener>> + Send {
        async { Err(Error::new(Kind::Usage, "cannot listen")) }
    }

    /// Plays the server's part of the handshake over an accepted stream.
    fn answer(
        &self,
        stream: ByteStream,
        _peer: &mut Peer,
        _cx: &Arc<Context>,
    ) -> impl Future<Output = Result<Duplex>> + Send {
        async { Ok(Duplex::Bytes(stream)) }
    }
}

/// One address: hops, each reached through the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    hops: Vec<Hop>,
}

/// A hop with a handshake over an accepted connection, and the name to blame for its failures.
struct Layer {
    hop: Hop,
    name: String,
}

/// What a hop stands on.
pub(crate) enum Ground {
    /// This machine: its sockets, files and programs.
    Here,
    /// Hosts that are reached by asking a proxy.
    Network(Box<dyn Network>),
    /// A machine that is reached by SSH: its network, its sockets, its programs.
    Machine(Arc<Session>),
    /// The stream of the hop before.
    Stream(ByteStream),
}

/// A way to reach hosts by name other than this machine's own sockets. It is used once.
pub(crate) trait Network: Send {
    /// Opens a connection to `to`.
    fn open<'a>(
        self: Box<Self>,
        to: &'a HostPort,
        call: &'a Call<'_>,
    ) -> BoxFuture<'a, Result<ByteStream>>;
}

/// The kinds of [`Ground`], for checking a chain before anything is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footing {
    Here,
    Network,
    Machine,
    Stream,
}

impl Footing {
    /// For what needs a connection to somewhere, by whatever way.
    const ANY: &'static [Self] = &[Self::Here, Self::Network, Self::Machine, Self::Stream];
}

/// What an end of a join deals in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bytes.
    Bytes,
    /// Whole messages.
    Messages,
    /// Whatever the other end deals in.
    Either,
}

/// Who connects an endpoint, and for what.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) cx: &'a Arc<Context>,
    /// What the other end of the join deals in.
    pub(crate) near: Shape,
    /// Which end of the join this is to be.
    pub(crate) side: Side,
    /// The accepted peer this is for.
    pub(crate) peer: Option<&'a Peer>,
    /// What is found out on the way.
    pub(crate) trace: &'a Trace,
}

impl Call<'_> {
    /// The terminal at which a person sits who is joined to this end, if one does.
    pub(crate) fn terminal(&self) -> Option<Terminal> {
        (self.side == Side::Far && self.peer.is_none()).then(stdio::terminal).flatten()
    }
}

/// The two ends of a join: `connect A B`, or a peer and the target of `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first address, or the accepted peer.
    Near,
    /// The second address, or the target.
    Far,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

impl Endpoint {
    /// `-`, this console.
    pub fn console() -> Self {
        Self { hops: vec![Hop::Stdio(stdio::Stdio)] }
    }

    /// Whether this is `-` alone.
    pub fn is_console(&self) -> bool {
        matches!(self.hops[..], [Hop::Stdio(_)])
    }

    /// Whether peers of this listener say themselves where they want to go.
    pub fn is_proxy(&self) -> bool {
        matches!(self.last(), Hop::Proxy(_))
    }

    /// Whether pages of every web site may talk to it: it reaches nothing of this machine or its
    /// network but what other peers say.
    pub fn is_open_to_all_sites(&self) -> bool {
        matches!(self.hops[..], [Hop::Echo(_) | Hop::Null(_) | Hop::HubName(_)])
    }

    /// Whether this is `echo:`.
    pub fn is_echo(&self) -> bool {
        matches!(self.last(), Hop::Echo(_))
    }

    /// Whether its peers hear each other: a hub, or the console, which is one.
    pub fn is_hub(&self) -> bool {
        self.is_console() || matches!(self.last(), Hop::HubName(_))
    }

    /// Whether its peers know each other by name: a hub, in this process or elsewhere.
    pub(crate) fn has_names(&self) -> bool {
        self.is_hub() || matches!(self.last(), Hop::Nats(_))
    }

    /// Whether WebSockets are spoken on the way.
    pub fn is_websocket(&self) -> bool {
        self.hops.iter().any(|hop| matches!(hop, Hop::Ws(_) | Hop::Any(_)))
    }

    /// Whether this is a proxy that asks its peers for no login.
    pub fn is_open_proxy(&self) -> bool {
        matches!(self.last(), Hop::Proxy(proxy) if !proxy.asks())
    }

    /// Whether what is there thinks it has a terminal, if we have one: a shell.
    pub fn is_terminal(&self) -> bool {
        matches!(self.last(), Hop::Ssh(_) | Hop::Pty(_))
    }

    /// Whether whoever is at the other end has to speak TLS.
    pub fn is_tls(&self) -> bool {
        self.hops.iter().any(|hop| match hop {
            Hop::Tls(_) => true,
            Hop::Ws(ws) => ws.is_secure(),
            Hop::Nats(nats) => nats.is_secure(),
            _ => false,
        })
    }

    /// Whether a peer of this listener has to log in by SSH.
    pub fn is_ssh(&self) -> bool {
        matches!(self.last(), Hop::Ssh(_))
    }

    /// Whether peers of this listener choose what they speak.
    pub fn is_any(&self) -> bool {
        matches!(self.last(), Hop::Any(_))
    }

    /// Whether what is there has a terminal of its own.
    pub(crate) fn has_terminal(&self) -> bool {
        matches!(self.last(), Hop::Pty(_))
    }

    /// The program that it starts on this machine, if there is none of that name now.
    pub fn missing_program(&self) -> Option<&str> {
        match &self.hops[0] {
            Hop::Exec(exec) => exec.missing(),
            _ => None,
        }
    }

    /// The host whose name is written in it.
    pub fn host(&self) -> Option<String> {
        let first = &self.hops[0];
        match first.socket().as_ref().unwrap_or(first) {
            Hop::Tcp(tcp) => tcp.host().map(str::to_owned),
            _ => None,
        }
    }

    /// A short name for whoever is there: the place, or else the address.
    pub(crate) fn label(&self) -> String {
        let place = |hop: &Hop| match hop {
            Hop::Tcp(tcp) => tcp.to().map(ToString::to_string),
            Hop::Ws(ws) => Some(ws.host_port().to_string()),
            Hop::Ssh(ssh) => Some(ssh.host().to_owned()).filter(|host| !host.is_empty()),
            Hop::Offered(client) => Some(client.name().to_owned()),
            _ => None,
        };
        self.hops.iter().rev().find_map(place).unwrap_or_else(|| format!("{:#}", self.last()))
    }

    /// What the far side of the connection deals in.
    pub fn shape(&self) -> Shape {
        self.last().shape()
    }

    /// How its bytes are cut into messages where nothing else is asked for.
    pub fn framing(&self) -> Framing {
        self.last().framing()
    }

    fn last(&self) -> &Hop {
        self.hops.last().expect("an address has a hop")
    }

    /// Connects every hop in turn. Errors name the hop that failed.
    pub(crate) async fn connect(&self, call: &Call<'_>) -> Result<Duplex> {
        self.check_connect()?;
        let last = self.last();
        // The shell of a machine lives there, like everything that stands on it.
        let carriers = match last {
            Hop::Ssh(_) => &self.hops[..],
            _ => &self.hops[..self.hops.len() - 1],
        };
        let ground = Ground::after(carriers, call).await?;
        last.connect(ground, call).await.map_err(|error| last.blame(error))
    }

    /// Connects within `--connect-timeout`, or, while a session that is kept up is away, within
    /// `--queue-timeout`; if it takes longer, the error says what it waited for.
    pub(crate) async fn connect_in_time(&self, call: &Call<'_>) -> Result<Duplex> {
        if let Some(queue) = call.cx.ssh.queue() {
            let connected = console::within(queue, self.connect(call)).await;
            return connected.unwrap_or_else(|| {
                let what = format!("the session is not back after {queue:?}");
                let error = Error::new(Kind::Timeout, what).at(format_args!("{self:#}"));
                Err(error.hint("see --queue-timeout"))
            });
        }
        let patience = call.cx.shared.dial.connect_timeout;
        in_connect_time(call, patience, &format!("{self:#}"), self.connect(call)).await
    }

    /// Checks, before anything is opened, that something can be joined to this address.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it ends with a proxy, and nothing says what to reach through it, or
    /// with `any:`.
    pub fn check_connect(&self) -> Result<()> {
        if self.is_any() {
            let error = Error::new(Kind::Usage, "is only for listening");
            return Err(self.last().blame(error).hint("connect to it as ws:, wss: or ssh:"));
        }
        if !self.is_proxy() {
            return Ok(());
        }
        let error = Error::new(Kind::Usage, "is a hop to dial through");
        let hint = format!("write what to reach after it, as {self:#},tcp://host:port");
        Err(self.last().blame(error).hint(hint))
    }

    /// Checks, before anything is opened, that peers can connect to this address.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the hop that cannot listen.
    pub fn check_listen(&self) -> Result<()> {
        let listeners = &self.hops[self.carriers().len()..];
        for (i, hop) in listeners.iter().enumerate() {
            if i > 0 && matches!(listeners[i - 1], Hop::Ssh(_)) {
                let how = "cannot listen behind an SSH server";
                return Err(hop.blame(Error::new(Kind::Usage, how)));
            }
            let ok = hop.listens() && (i == 0 || hop.stands_on().contains(&Footing::Stream));
            if !ok {
                let how = if i == 0 { "cannot listen" } else { "cannot listen behind another hop" };
                return Err(hop.blame(Error::new(Kind::Usage, how)).hint(format!(
                    "where to listen is one of {}; the target comes last",
                    Self::listeners()
                )));
            }
        }
        Ok(())
    }

    /// The hops to dial in order to listen on a far machine: up to the last `ssh:` on which a
    /// socket stands.
    fn carriers(&self) -> &[Hop] {
        let stands =
            |pair: &[Hop]| matches!(pair, [Hop::Ssh(_), socket] if socket.remote().is_some());
        let at = self.hops.windows(2).rposition(stands);
        &self.hops[..at.map_or(0, |at| at + 1)]
    }

    /// Listens on the first hop's socket, here or on a far machine; the handshakes of all hops run
    /// in each peer's own task.
    pub(crate) async fn listen(&self, cx: &Arc<Context>) -> Result<Listener> {
        self.listen_after(|peer| peer, cx).await
    }

    /// Listens for connections that begin with something of their own, before all handshakes.
    async fn listen_after(
        &self,
        before: impl Fn(Incoming) -> Incoming + Send + 'static,
        cx: &Arc<Context>,
    ) -> Result<Listener> {
        let carriers = self.carriers();
        let here = Self { hops: self.hops[carriers.len()..].to_vec() };
        let first = &here.hops[0];
        let socket = first.socket();
        let mut listener = match first.remote() {
            Some(at) if !carriers.is_empty() => ssh::listen(carriers, at, cx).await?,
            _ => {
                let listener = socket.as_ref().unwrap_or(first).listen(cx).await;
                listener.map_err(|error| first.blame(error))?
            }
        };
        let names = here.announced(&listener.address, socket.is_some());
        listener.address = names.join(",");
        let (address, cx) = (Arc::from(listener.address.as_str()), cx.clone());
        let layers: Arc<[Layer]> = here.layers(names);
        Ok(listener.map(move |peer| before(peer).answered(&address, layers.clone(), cx.clone())))
    }

    /// The one peer that is at stdin and stdout already, as inetd and sshd hand it over.
    pub(crate) async fn over_stdio(&self, cx: &Arc<Context>) -> Result<Incoming> {
        let (stream, peer) = stdio::handed_over().map_err(|error| error.at("stdin"))?;
        let incoming = Incoming::ready(stream, peer);
        let names = self.hops.iter().map(|hop| format!("{hop:#}")).collect();
        let address = format!("{self:#}").into();
        Ok(incoming.answered(&address, self.layers(names), cx.clone()))
    }

    /// The hops that have a handshake over the stream of an accepted connection, as announced.
    fn layers(&self, names: Vec<String>) -> Arc<[Layer]> {
        let sockets = if self.hops[0].socket().is_some() { 0 } else { 1 };
        let layers = self.hops.iter().cloned().zip(names).skip(sockets);
        layers.map(|(hop, name)| Layer { hop, name }).collect()
    }

    /// The hops as written, with the port that the system chose.
    fn announced(&self, socket: &str, implied: bool) -> Vec<String> {
        let mut hops: Vec<String> = self.hops.iter().map(|hop| format!("{hop:#}")).collect();
        if implied {
            let (scheme, rest) = hops[0].split_once("://").unwrap_or((&hops[0], ""));
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            hops[0] = format!("{scheme}://{}{path}", socket.trim_start_matches("tcp://"));
        } else {
            hops[0] = socket.to_owned();
        }
        hops
    }

    fn listeners() -> String {
        let names = Self::SCHEMES.iter().filter(|s| s.listens).map(|s| format!("{}:", s.names[0]));
        names.collect::<Vec<_>>().join(" ")
    }
}

impl Incoming {
    /// The same peer, which came to `listener`, after the handshakes of `layers`.
    fn answered(self, listener: &Arc<str>, layers: Arc<[Layer]>, cx: Arc<Context>) -> Self {
        let Self { address, handshake, ready } = self;
        let listener = listener.clone();
        let ready = async move {
            let (mut duplex, mut peer) = ready.await?;
            peer.listener = Some(listener);
            for (i, Layer { hop, name }) in layers.iter().enumerate() {
                peer.carries = i + 1 < layers.len();
                let answer = hop.answer(duplex.into_bytes(), &mut peer, &cx);
                let answer = match hop {
                    // Each request has its own time, so that a download may take longer; and so has
                    // a login, which begins a session.
                    Hop::Ws(_) | Hop::Ssh(_) | Hop::Any(_) => answer.await,
                    _ => in_time(&cx, answer).await,
                };
                duplex = answer.map_err(|error| error.at(name))?;
            }
            Ok((duplex, peer))
        };
        Self { address, handshake, ready: Box::pin(ready) }
    }
}

impl Hop {
    /// Names this hop in an error, without its password.
    fn blame(&self, error: Error) -> Error {
        error.at(format_args!("{self:#}"))
    }
}

/// Gives `work` no more than so much time, not counting what a person takes to answer
/// questions. If it takes longer, the error says what `address` waited for.
///
/// # Errors
/// [`Kind::Timeout`], or what the work says.
pub(crate) async fn in_connect_time<T>(
    call: &Call<'_>,
    patience: Duration,
    address: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    if let Some(outcome) = console::within(patience, work).await {
        return outcome;
    }
    let phase = call.trace.facts().latest;
    let phase = phase.map_or("connecting".to_owned(), |phase| phase.to_string());
    let what = format!("timeout after {patience:?} while {phase}");
    Err(Error::new(Kind::Timeout, what).at(address).hint("see --connect-timeout"))
}

/// What help and the manual say of one scheme.
pub struct SchemeInfo {
    /// Accepted spellings.
    pub names: &'static [&'static str],
    /// How it is written.
    pub usage: &'static str,
    /// One line.
    pub help: &'static str,
    /// Whether it can be written where to listen.
    pub listens: bool,
    /// Whether it can be the last hop of an address to connect to.
    pub connects: bool,
    /// Whether another hop can follow.
    pub carries: bool,
}

/// Builds the parsed enum and its dispatch from the table of schemes.
macro_rules! schemes {
    ($($module:ident :: $Kind:ident),* $(,)?) => {
        /// One hop of an address.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Hop { $($Kind($module::$Kind)),* }

        impl Endpoint {
            /// The schemes in the order of the table.
            pub const SCHEMES: &[SchemeInfo] = &[$(SchemeInfo {
                names: <$module::$Kind as Scheme>::NAMES,
                usage: <$module::$Kind as Scheme>::USAGE,
                help: <$module::$Kind as Scheme>::HELP,
                listens: <$module::$Kind as Scheme>::LISTENS,
                connects: <$module::$Kind as Scheme>::CONNECTS,
                carries: <$module::$Kind as Scheme>::GIVES.is_some(),
            }),*];

            fn is_scheme(name: &str) -> bool {
                $(<$module::$Kind as Scheme>::NAMES.contains(&name))||*
            }
        }

        impl Hop {
            /// Parses a hop that is to stand on `footing`. Of the schemes of one name it is the one
            /// that can, or else the first.
            fn of_scheme(name: &str, rest: &str, footing: Option<Footing>) -> Option<Result<Self, String>> {
                let stands = |on: &[Footing]| footing.is_none_or(|it| on.contains(&it));
                $(if <$module::$Kind as Scheme>::NAMES.contains(&name) && stands(<$module::$Kind as Scheme>::STANDS_ON) {
                    return Some($module::$Kind::parse(name, rest).map(Self::$Kind));
                })*
                match footing {
                    Some(_) => Self::of_scheme(name, rest, None),
                    None => None,
                }
            }
            // A future is boxed once a hop, so that the chain's own future stays small.
            fn connect<'a>(&'a self, ground: Ground, call: &'a Call<'_>) -> BoxFuture<'a, Result<Duplex>> {
                match self { $(Self::$Kind(it) => Box::pin(it.connect(ground, call))),* }
            }
            fn carry<'a>(&'a self, ground: Ground, call: &'a Call<'_>) -> BoxFuture<'a, Result<Ground>> {
                match self { $(Self::$Kind(it) => Box::pin(it.carry(ground, call))),* }
            }
            fn answer<'a>(&'a self, stream: ByteStream, peer: &'a mut Peer, cx: &'a Arc<Context>) -> BoxFuture<'a, Result<Duplex>> {
                match self { $(Self::$Kind(it) => Box::pin(it.answer(stream, peer, cx))),* }
            }
            async fn listen(&self, cx: &Arc<Context>) -> Result<Listener> {
                match self { $(Self::$Kind(it) => it.listen(cx).await),* }
            }
            fn socket(&self) -> Option<Hop> {
                match self { $(Self::$Kind(it) => it.socket()),* }
            }
            fn stands_on(&self) -> &'static [Footing] {
                match self { $(Self::$Kind(_) => <$module::$Kind as Scheme>::STANDS_ON),* }
            }
            fn gives(&self) -> Option<Footing> {
                match self { $(Self::$Kind(_) => <$module::$Kind as Scheme>::GIVES),* }
            }
            fn listens(&self) -> bool {
                match self { $(Self::$Kind(_) => <$module::$Kind as Scheme>::LISTENS),* }
            }
            fn shape(&self) -> Shape {
                match self { $(Self::$Kind(_) => <$module::$Kind as Scheme>::SHAPE),* }
            }
            fn framing(&self) -> Framing {
                match self { $(Self::$Kind(_) => <$module::$Kind as Scheme>::FRAMING),* }
            }
        }

        impl fmt::Display for Hop {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$Kind(it) => it.fmt(f)),* }
            }
        }
    };
}
use schemes;
