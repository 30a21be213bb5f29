//! Forwards: connections that clients open through us, and ports that we listen on for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelOpenFailure;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::offers::Offer;
use super::ports::{Place, Port};
use super::visit::Visit;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::{HostPort, bind_tcp, tune_tcp};
use crate::framing::Framing;
use crate::relay::{self, Pair};
use crate::report;
use crate::ssh::channel::{Channel, Role};
use crate::trace::Trace;

/// The forwards of one connection.
pub(super) struct Forwards {
    visit: Arc<Visit>,
    /// What is listened on, as the client knows it.
    listening: HashMap<Place, CancellationToken>,
}

impl Forwards {
    pub(super) fn new(visit: Arc<Visit>) -> Self {
        Self { visit, listening: HashMap::new() }
    }

    /// Connects a channel to a place, if the client may go there.
    pub(super) async fn open(
        &self,
        to: HostPort,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let visit = self.visit.clone();
        let place = (to.host.clone(), to.port);
        let grant = visit.grant().filter(|grant| grant.may_open(&to.host, to.port));
        if let Some(offer) = grant.and_then(|_| visit.server.offers.find(&place)) {
            return self.open_offer(offer, place, channel, reply).await;
        }
        if !visit.may_open(&to) {
            let shown = report::cut(&to.to_string(), LONGEST);
            report::verbose(format_args!("{}: {shown} is not open to it", visit.address));
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        if visit.is_full() {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        // It counts from now on, though it has no channel yet.
        let share = visit.load.share();
        visit.cx.clone().peers.spawn(async move {
            let patience = visit.cx.shared.dial.connect_timeout;
            // One look-up: the address that is found is the one that is connected to.
            let stream = match timeout(patience, to.dial(&Trace::default())).await {
                Ok(Ok(stream)) => stream,
                failed => {
                    let why = failed.map_or_else(|late| late.to_string(), |it| why(it.err()));
                    let shown = report::cut(&to.to_string(), LONGEST);
                    report::verbose(format_args!("{}: {shown}: {why}", visit.address));
                    return reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
            };
            reply.accept().await;
            let channel = Channel::new(channel, Role::Forward, "", &visit.load);
            drop(share);
            join(ByteStream::other(channel), ByteStream::Tcp(stream), &visit.cx).await;
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

    /// Listens on a place, if the client may have that, and says on which port.
    pub(super) async fn listen(&mut self, at: HostPort, session: &Handle) -> Option<u16> {
        let visit = &self.visit;
        let identity = visit.identity()?.clone();
        let shown = report::cut(&at.to_string(), LONGEST);
        let offered = visit.may_offer(&at);
        if !(offered || visit.may_listen(&at)) || visit.cx.stop.is_cancelled() {
            report::verbose(format_args!("{}: may not listen on {shown}", visit.address));
            return None;
        }
        let most = visit.server.args.max_channels;
        self.listening.retain(|_, release| !release.is_cancelled());
        if self.listening.len() >= most || self.listening.contains_key(&(at.host.clone(), at.port))
        {
            return None;
        }
        if offered {
            let (release, place) = (visit.over.child_token(), (at.host, at.port));
            let (visit, session) = (visit.clone(), session.clone());
            let offer = Offer { visit: visit.clone(), session, release: release.clone() };
            let made = visit.server.offers.offer(place.clone(), offer);
            return made.then(|| {
                report::verbose(format_args!("{}: offers {shown}", visit.address));
                let port = place.1;
                self.listening.insert(place, release);
                port
            });
        }
        if at.port != 0 {
            let place = (at.host.clone(), at.port);
            timeout(RELEASE, visit.server.ports.take_over(&place, &identity)).await.ok()?;
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
        let sockets = match bound {
            Ok(sockets) => sockets,
            Err(error) => {
                report::verbose(format_args!("{}: {shown}: {error}", visit.address));
                return None;
            }
        };
        let port = sockets.first()?.local_addr().ok()?.port();
        let release = visit.over.child_token();
        let held = visit.server.ports.hold((at.host.clone(), port), identity, release.clone());
        self.listening.insert((at.host.clone(), port), release);
        report::verbose(format_args!("{}: listening on {}:{port} for it", visit.address, at.host));
        let listening =
            Listening { visit: visit.clone(), session: session.clone(), host: at.host, port };
        visit.cx.peers.spawn(listening.run(sockets, held));
        Some(port)
    }

    /// Stops listening. False where we did not.
    pub(super) fn cancel(&mut self, at: &HostPort) -> bool {
        let release = self.listening.remove(&(at.host.clone(), at.port));
        release.is_some_and(|release| {
            let listened = !release.is_cancelled();
            release.cancel();
            listened
        })
    }
}

/// The longest address that is shown, in characters.
const LONGEST: usize = 80;

/// How long a former session may take to give a port up.
const RELEASE: Duration = Duration::from_secs(2);

/// A port that we listen on for a client.
struct Listening {
    visit: Arc<Visit>,
    session: Handle,
    /// As the client asked for it.
    host: String,
    port: u16,
}

impl Listening {
    async fn run(self, sockets: Vec<TcpListener>, held: Port) {
        let this = Arc::new(self);
        let mut accepting = JoinSet::new();
        for socket in sockets {
            let this = this.clone();
            accepting.spawn(async move {
                loop {
                    match socket.accept().await {
                        Ok((stream, _)) => this.take(stream),
                        // Out of descriptors, most likely: those that leave make room.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            });
        }
        tokio::select! {
            () = held.release.cancelled() => {}
            () = this.visit.cx.stop.cancelled() => {}
        }
        // The sockets are closed when the port is said to be free.
        accepting.shutdown().await;
        drop(held);
    }

    /// Hands a connection on to the client.
    fn take(self: &Arc<Self>, stream: TcpStream) {
        if self.visit.is_full() {
            return;
        }
        let this = self.clone();
        let share = self.visit.load.share();
        self.visit.cx.peers.spawn(async move {
            let _ = tune_tcp(&stream);
            let from =
                stream.peer_addr().map(|from| (from.ip().to_canonical().to_string(), from.port()));
            let (from, from_port) = from.unwrap_or_default();
            let port = this.port.into();
            let host = this.host.as_str();
            let opening =
                this.session.channel_open_forwarded_tcpip(host, port, from, from_port.into());
            let opened = tokio::select! {
                opened = opening => opened,
                () = this.visit.over.cancelled() => return,
            };
            match opened {
                Ok(channel) => {
                    let channel = Channel::new(channel, Role::Forward, "", &this.visit.load);
                    drop(share);
                    join(ByteStream::Tcp(stream), ByteStream::other(channel), &this.visit.cx).await;
                }
                Err(error) => {
                    let why = crate::ssh::failure(error);
                    report::verbose(format_args!("{}: port {port}: {why}", this.visit.address));
                }
            }
        });
    }
}

/// Moves what there is to move, like plain sockets: to the end, or to that of the time to drain.
async fn join(near: ByteStream, far: ByteStream, cx: &Context) {
    let mut options = relay::Options::new(cx, Framing::Raw);
    options.stop = options.kill.clone();
    let mut pair = Pair::new(Duplex::Bytes(near), Duplex::Bytes(far), &options.decoder);
    let (counts, _) = relay::relay(&mut pair, &options).await;
    cx.metrics.count(&counts);
}

fn why(error: Option<crate::error::Error>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}
