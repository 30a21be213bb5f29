//! Forwards: connections that clients open through us, and ports and sockets that we listen on for
//! them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use russh::ChannelOpenFailure;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use rustix::fs::Mode;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::listening::{Listening, Socket};
use super::offers::{Offer, Place};
use super::visit::Visit;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::{HostPort, bind_tcp, bind_unix, dial_unix};
use crate::error::{Error, Result};
use crate::framing::Framing;
use crate::relay::{self, Pair};
use crate::report;
use crate::ssh::Forward;
use crate::ssh::channel::{Channel, Role};
use crate::trace::Trace;

/// The forwards of one connection.
pub(super) struct Forwards {
    visit: Arc<Visit>,
    /// What is listened on, as the client knows it.
    listening: HashMap<Forward, CancellationToken>,
}

impl Forwards {
    pub(super) fn new(visit: Arc<Visit>) -> Self {
        Self { visit, listening: HashMap::new() }
    }

    /// Connects a channel to a port, if the client may go there.
    pub(super) async fn open(
        &self,
        to: HostPort,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let Some(grant) = self.visit.grant() else { return };
        let mut offers = self.visit.server.offers.find(&(to.host.clone(), to.port));
        offers.retain(|((host, port), _)| grant.may_open(host, *port));
        match &offers[..] {
            [(place, offer)] => {
                self.open_offer(offer.clone(), place.clone(), channel, reply).await;
            }
            [] if to.port == 0 => {
                self.log(format_args!("{} offers it nothing", shown(&to.host)));
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
            [_, _, ..] => {
                let ports: Vec<_> = offers.iter().map(|((_, port), _)| port.to_string()).collect();
                let (host, ports) = (shown(&to.host), ports.join(", "));
                self.log(format_args!("{host} offers more than one port: {ports}"));
                reply.reject(ChannelOpenFailure::UnknownChannelType).await;
            }
            [] => {
                let allowed = self.visit.may_open(&to);
                let shown = shown(&to);
                let dialling = async move {
                    // One look-up: the address that is found is the one that is connected to.
                    to.dial(None, &Trace::default()).await
                };
                self.connect(allowed, shown, dialling, channel, reply).await;
            }
        }
    }

    /// Connects a channel to a Unix socket, if the client may have that.
    pub(super) async fn open_socket(
        &self,
        path: String,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let allowed = self.visit.may_open_socket(&path);
        let shown = shown(&path);
        let dialling = async move {
            dial_unix(Path::new(&path)).await.map(ByteStream::Unix).map_err(Error::io)
        };
        self.connect(allowed, shown, dialling, channel, reply).await;
    }

    async fn connect(
        &self,
        allowed: bool,
        shown: String,
        dialling: impl Future<Output = Result<ByteStream>> + Send + 'static,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let visit = self.visit.clone();
        if !allowed {
            self.log(format_args!("{shown} is not open to it"));
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        if visit.is_full() {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        // It counts from now on, though it has no channel yet.
        let share = visit.load.share();
        visit.cx.clone().peers.spawn(async move {
            let patience = visit.cx.shared.dial.connect_timeout;
            let stream = match timeout(patience, dialling).await {
                Ok(Ok(stream)) => stream,
                failed => {
                    let why = failed.map_or_else(|late| late.to_string(), |it| why(it.err()));
                    report::verbose(format_args!("{}: {shown}: {why}", visit.address));
                    return reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
            };
            reply.accept().await;
            let channel = Channel::new(channel, Role::Forward, "", &visit.load);
            drop(share);
            join(ByteStream::other(channel), stream, &visit.cx).await;
        });
    }

    /// Connects a channel to what another client offers.
    async fn open_offer(
        &self,
        offer: Offer,
        place: Place,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let visit = self.visit.clone();
        if visit.is_full() || offer.visit.is_full() {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        let shares = (visit.load.share(), offer.visit.load.share());
        visit.cx.clone().peers.spawn(async move {
            let far = match offer.open(&place, &visit.ip.to_string()).await {
                Ok(far) => far,
                Err(why) => {
                    let (host, port) = place;
                    report::verbose(format_args!("{}: {host}:{port}: {why}", visit.address));
                    return reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
            };
            reply.accept().await;
            let near = Channel::new(channel, Role::Forward, "", &visit.load);
            let far = Channel::new(far, Role::Forward, "", &offer.visit.load);
            drop(shares);
            join(ByteStream::other(near), ByteStream::other(far), &visit.cx).await;
        });
    }

    /// Listens on a port, if the client may have that, and says on which.
    pub(super) async fn listen(&mut self, at: HostPort, session: &Handle) -> Option<u16> {
        let offered = self.visit.may_offer(&at);
        let asked = Forward::Tcp(at.host.clone(), at.port.into());
        if !self.may_begin(&asked, offered || self.visit.may_listen(&at)) {
            return None;
        }
        if offered {
            return self.offer(&at, session).then_some(at.port);
        }
        if at.port != 0 {
            self.take_over(&asked).await?;
        }
        // Without a host it is every address; IPv6 sockets take IPv4 as well.
        let all = at.host.is_empty() || at.host == "*";
        let host = if all { "::" } else { &at.host };
        let bound = bind_tcp(&HostPort { host: host.to_owned(), port: at.port }).await;
        let bound = match bound {
            Err(_) if all => {
                bind_tcp(&HostPort { host: "0.0.0.0".to_owned(), port: at.port }).await
            }
            bound => bound,
        };
        let sockets = self.bound(&asked, bound)?;
        let port = sockets.first()?.local_addr().ok()?.port();
        let sockets = sockets.into_iter().map(Socket::Tcp).collect();
        self.begin(Forward::Tcp(at.host, port.into()), sockets, session)?;
        Some(port)
    }

    /// Listens on a Unix socket that is for our own user alone, if the client may have that.
    pub(super) async fn listen_on_socket(&mut self, path: &str, session: &Handle) -> bool {
        let at = Forward::Unix(path.to_owned());
        let allowed = self.visit.may_listen_on_socket(path);
        if !self.may_begin(&at, allowed) || self.take_over(&at).await.is_none() {
            return false;
        }
        let bound = bind_unix(Path::new(path), Some(Mode::RUSR | Mode::WUSR)).await;
        let Some(socket) = self.bound(&at, bound) else { return false };
        self.begin(at, vec![Socket::Unix(socket)], session).is_some()
    }

    /// Stops listening. False where we did not.
    pub(super) fn cancel(&mut self, at: &Forward) -> bool {
        let release = self.listening.remove(at);
        release.is_some_and(|release| {
            let listened = !release.is_cancelled();
            release.cancel();
            listened
        })
    }

    fn may_begin(&mut self, at: &Forward, allowed: bool) -> bool {
        if !allowed || self.visit.cx.stop.is_cancelled() {
            self.log(format_args!("may not listen on {}", shown(at)));
            return false;
        }
        self.listening.retain(|_, release| !release.is_cancelled());
        self.listening.len() < self.visit.server.args.max_channels
            && !self.listening.contains_key(at)
    }

    /// Offers a port to other clients.
    fn offer(&mut self, at: &HostPort, session: &Handle) -> bool {
        let (visit, release) = (self.visit.clone(), self.visit.over.child_token());
        let place = (at.host.clone(), at.port);
        let offer = Offer { visit, session: session.clone(), release: release.clone() };
        let made = self.visit.server.offers.offer(place, offer);
        if made {
            self.log(format_args!("offers {}", shown(at)));
            self.listening.insert(Forward::Tcp(at.host.clone(), at.port.into()), release);
        }
        made
    }

    /// Has a former session of the same client give a place up, if it has it.
    async fn take_over(&self, at: &Forward) -> Option<()> {
        let identity = self.visit.identity()?;
        timeout(RELEASE, self.visit.server.ports.take_over(at, identity)).await.ok()
    }

    fn bound<T>(&self, at: &Forward, bound: io::Result<T>) -> Option<T> {
        bound.map_err(|error| self.log(format_args!("{}: {error}", shown(at)))).ok()
    }

    /// Hands on what comes to the sockets, until the place is given up.
    fn begin(&mut self, at: Forward, sockets: Vec<Socket>, session: &Handle) -> Option<()> {
        let visit = self.visit.clone();
        let release = visit.over.child_token();
        let identity = visit.identity()?.clone();
        let held = visit.server.ports.hold(at.clone(), identity, release.clone());
        self.log(format_args!("listening on {} for it", shown(&at)));
        self.listening.insert(at.clone(), release);
        let listening = Listening { visit, session: session.clone(), at };
        self.visit.cx.peers.spawn(listening.run(sockets, held));
        Some(())
    }

    fn log(&self, what: fmt::Arguments<'_>) {
        report::verbose(format_args!("{}: {what}", self.visit.address));
    }
}

/// An address, as long as is good to read.
pub(super) fn shown(address: &impl fmt::Display) -> String {
    report::cut(&address.to_string(), 80)
}

/// How long a former session may take to give a port up.
const RELEASE: Duration = Duration::from_secs(2);

/// Moves what there is to move, like plain sockets: to the end, or to that of the time to drain.
pub(super) async fn join(near: ByteStream, far: ByteStream, cx: &Context) {
    let mut options = relay::Options::new(cx, Framing::Raw);
    options.stop = options.kill.clone();
    let mut pair = Pair::new(Duplex::Bytes(near), Duplex::Bytes(far), &options.decoder);
    let (counts, _) = relay::relay(&mut pair, &options).await;
    cx.metrics.count(&counts);
}

fn why(error: Option<Error>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}
