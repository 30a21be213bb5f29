//! Accept, finish the handshakes off the loop, dial, relay: the spine of `serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tokio_util::task::task_tracker::TrackedFuture;

use crate::backoff::Backoff;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::{Call, Endpoint, HostPort, Side};
use crate::error::{Error, Kind, Result, plain};
use crate::framing::Framing;
use crate::http::Request;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::relay::{self, Counts, Ended, Pair};
use crate::report;
use crate::threads::Threads;
use crate::trace::Trace;

pub mod proxy_header;

use proxy_header::Ends;

/// A place where peers arrive.
pub struct Listener {
    /// Its address, with the port that the system chose.
    pub address: String,
    /// The peers.
    pub incoming: BoxStream<'static, io::Result<Incoming>>,
}

/// A peer that has arrived.
pub struct Incoming {
    /// Its address, for what is said before the handshakes are done.
    pub address: String,
    /// Its handshakes, run in a task of its own.
    pub ready: BoxFuture<'static, Result<(Duplex, Peer)>>,
    /// The same as the [`Peer::handshake`] to come.
    pub(crate) handshake: Handshake,
}

/// The place of a peer among `--max-handshakes`. It is left when the handshakes are over, or
/// earlier where they turn out to be a visit to the site, which may last.
#[derive(Clone, Default)]
pub(crate) struct Handshake(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

/// How many peers there may be at once, and the tasks of those there are.
pub(crate) struct Peers {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Who is at the other end of an accepted connection.
#[derive(Default)]
pub struct Peer {
    /// Its address.
    pub address: String,
    /// The address of ours that it came to.
    pub local: String,
    /// The address we listen on, as announced.
    pub listener: Option<Arc<str>>,
    /// Its name, if it has said one.
    pub name: Option<Arc<str>>,
    /// What it has proved to be: when it comes back, it takes over the name of its former self.
    pub(crate) identity: Option<Arc<str>>,
    /// How its bytes are cut into messages, if it has bytes.
    pub framing: Framing,
    /// Whether TLS protects the connection.
    pub tls: bool,
    /// The protocol that was agreed on inside TLS (ALPN).
    pub alpn: Option<String>,
    /// The request of a WebSocket or HTTP peer.
    pub request: Option<Arc<Request>>,
    /// The subprotocol that was granted.
    pub subprotocol: Option<String>,
    /// Where this peer is joined to, if a route or its own request says so.
    pub target: Option<Arc<Endpoint>>,
    /// The figures of the forward that brought it.
    pub(crate) forward: Option<Arc<Metrics>>,
    /// What went through its join.
    pub moved: Counts,
    /// The place it asked to be connected to, if it came to a proxy listener.
    pub(crate) asked: Option<HostPort>,
    /// Whether another handshake follows, over its bytes.
    pub(crate) carries: bool,
    /// Its place among the handshakes in flight.
    pub(crate) handshake: Handshake,
    /// What has to be said to the peer once the target is connected, or cannot be.
    pub reply: Option<Reply>,
}

/// Tells a peer, before anything else, whether the target could be connected.
pub type Reply = Box<
    dyn for<'a> FnOnce(Duplex, Result<(), &'a Error>) -> BoxFuture<'a, Result<Duplex>>
        + Send
        + Sync,
>;

impl Incoming {
    /// A peer without a handshake of its own.
    pub fn ready(stream: ByteStream, peer: Peer) -> Self {
        Self::taken(peer, || Ok(stream))
    }

    /// The same, over what `take` makes of its socket on the thread that serves it.
    pub(crate) fn taken(
        peer: Peer,
        take: impl FnOnce() -> io::Result<ByteStream> + Send + 'static,
    ) -> Self {
        let (address, handshake) = (peer.address.clone(), peer.handshake.clone());
        let ready = async { Ok((Duplex::Bytes(take().map_err(Error::io)?), peer)) };
        Self { address, handshake, ready: Box::pin(ready) }
    }

    /// The same peer, but for what a proxy says of it before all else.
    pub(crate) fn spoken_for(self, cx: Arc<Context>) -> Self {
        let Self { address, handshake, ready } = self;
        let ready = async move {
            let (duplex, mut peer) = ready.await?;
            let mut stream = duplex.into_bytes();
            if let Some(Ends { source, local }) =
                in_time(&cx, proxy_header::read(&mut stream)).await?
            {
                (peer.address, peer.local) = (source.to_string(), local.to_string());
            }
            Ok((Duplex::Bytes(stream), peer))
        };
        Self { address, handshake, ready: Box::pin(ready) }
    }
}

impl Peer {
    /// The two ends of its connection, where they have addresses. What is known of a client at
    /// second hand has no port.
    pub(crate) fn ends(&self) -> Option<Ends> {
        let socket =
            |text: &str| text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 0)));
        Some(Ends { source: socket(&self.address)?, local: socket(&self.local)? })
    }
}

impl Handshake {
    fn enter(&self, place: OwnedSemaphorePermit) {
        *self.place() = Some(place);
    }

    /// Makes room for another handshake. False if that was done before.
    pub(crate) fn leave(&self) -> bool {
        self.place().take().is_some()
    }

    fn place(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        lock(&self.0)
    }
}

impl Peers {
    /// Nobody yet; up to `most`.
    pub(crate) fn new(most: usize) -> Self {
        let places = Semaphore::new(most.min(Semaphore::MAX_PERMITS));
        Self { places: Arc::new(places), tasks: TaskTracker::new() }
    }

    /// A place for one more, if there is one.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Runs what has to end before the run does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// What has to end before the run does, wherever it runs.
    pub(crate) fn track<F: Future>(&self, task: F) -> TrackedFuture<F> {
        self.tasks.track_future(task)
    }

    /// Something that has to end before the run does, though it is no task.
    pub(crate) fn token(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Serves a peer that has arrived, in a task of its own: on the thread where this is called, as
    /// suits one that came over the connection of another.
    pub(crate) fn join(&self, peer: Incoming, place: OwnedSemaphorePermit, cx: &Arc<Context>) {
        self.join_on(&Handle::current(), peer, place, cx);
    }

    fn join_on(
        &self,
        thread: &Handle,
        peer: Incoming,
        place: OwnedSemaphorePermit,
        cx: &Arc<Context>,
    ) {
        let cx = cx.clone();
        let serving = async move {
            serve_peer(peer, &cx).await;
            drop(place);
        };
        self.tasks.spawn_on(serving, thread);
    }
}

impl Listener {
    /// Whether peers may come from other machines.
    pub fn is_beyond_this_machine(&self) -> bool {
        let authority =
            self.address.split_once("://").and_then(|(_, it)| it.split(['/', ',']).next());
        let socket = authority.and_then(|it| it.parse::<SocketAddr>().ok());
        socket.is_some_and(|it| !it.ip().to_canonical().is_loopback())
    }

    /// The port, if it is one of https:.
    pub(crate) fn https_port(&self) -> Option<u16> {
        let authority = self.address.strip_prefix("https://")?.split(['/', ',']).next()?;
        authority.rsplit_once(':')?.1.parse().ok()
    }

    /// Changes every peer that arrives.
    #[must_use]
    pub fn map(self, change: impl FnMut(Incoming) -> Incoming + Send + 'static) -> Self {
        let mut change = change;
        let incoming = self.incoming.map(move |it| it.map(&mut change)).boxed();
        Self { address: self.address, incoming }
    }
}

/// Joins every peer of the listeners to its target, spread over the threads, until stopped; then
/// waits for those that are still connected, at most for the drain time.
///
/// # Errors
/// The console of `serve` failed.
pub async fn accept(listeners: Vec<Listener>, threads: &Threads, cx: Arc<Context>) -> Result<()> {
    let all = cx.clone();
    let join = |_, peer, place| all.peers.join_on(threads.idlest(), peer, place, &all);
    accept_for(listeners, cx, join).await
}

/// Hands every peer of the listeners to `take`, with the number of its listener and its place among
/// all peers; else as [`accept`].
///
/// # Errors
/// As [`accept`].
pub(crate) async fn accept_for(
    listeners: Vec<Listener>,
    cx: Arc<Context>,
    take: impl Fn(usize, Incoming, OwnedSemaphorePermit),
) -> Result<()> {
    let Some(serve) = &cx.serve else { return Ok(()) };
    let handshakes = serve.server.max_handshakes.min(Semaphore::MAX_PERMITS);
    let handshakes = Arc::new(Semaphore::new(handshakes));
    let numbered = listeners.into_iter().enumerate();
    let mut incoming = merged(numbered.map(|(number, listener)| {
        listener.incoming.map(move |incoming| incoming.map(|it| (number, it))).boxed()
    }));
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        // A permit is taken before the peer is, so that the rest wait in the kernel's queue.
        let next = async {
            let peer = cx.peers.places.clone().acquire_owned().await.ok()?;
            let handshake = handshakes.clone().acquire_owned().await.ok()?;
            Some((incoming.next().await?, peer, handshake))
        };
        let next = tokio::select! {
            next = next => next,
            () = cx.stop.cancelled() => None,
        };
        let Some((incoming, place, handshake)) = next else { break };
        match incoming {
            Ok((number, incoming)) => {
                backoff.reset();
                incoming.handshake.enter(handshake);
                take(number, incoming, place);
            }
            // Out of descriptors, most likely: those that leave make room.
            Err(error) => {
                report::warn(format_args!("cannot accept a peer: {}", plain(&error)));
                tokio::select! {
                    () = tokio::time::sleep(backoff.pause()) => {}
                    () = cx.stop.cancelled() => {}
                }
            }
        }
    }
    drop(incoming);
    let tasks = &cx.peers.tasks;
    tasks.close();
    let drain = serve.server.drain;
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        report::warn(format_args!("{} peers had not left after {drain:?}", tasks.len()));
        cx.kill.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, tasks.wait()).await;
    }
    Ok(())
}

/// Joins the one peer that is there already, to its end.
///
/// # Errors
/// Whatever ends the join other than well.
pub async fn serve_one(incoming: Incoming, cx: &Arc<Context>) -> Result<()> {
    let (near, mut peer) = match incoming.ready.await {
        // It was served on the way: an SSH connection brings peers of its own.
        Err(error) if error.kind() == Kind::Closed(1000) => return Ok(()),
        ready => ready?,
    };
    join_target(near, &mut peer, cx).await.map(drop)
}

/// What several streams bring. One alone is not looked for among others.
pub(crate) fn merged<T: 'static>(
    streams: impl Iterator<Item = BoxStream<'static, T>>,
) -> BoxStream<'static, T> {
    let mut streams: Vec<_> = streams.collect();
    match streams.len() {
        1 => streams.remove(0),
        _ => stream::select_all(streams).boxed(),
    }
}

/// How long peers that were cut off may take over it.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// One peer, from its handshake to its goodbye.
async fn serve_peer(incoming: Incoming, cx: &Arc<Context>) {
    let Some(serve) = &cx.serve else { return };
    let started = Instant::now();
    let address = incoming.address.clone();
    // What lasts for a moment is boxed: all else of this task lasts as long as the peer.
    let Some((near, mut peer)) = Box::pin(welcome(incoming, cx)).await else { return };
    let forward = peer.forward.clone();
    let figures = || forward.as_deref().into_iter().chain([&cx.metrics]);
    figures().for_each(|it| it.peers.add(1));
    report::verbose(format_args!("{address}: connected"));
    let outcome = join_target(near, &mut peer, cx).await;
    figures().for_each(|it| {
        it.count(&peer.moved);
        it.left.add(1);
    });
    if let Err(error) = &outcome {
        match error.kind() {
            // Peers come and go.
            Kind::Closed(_) | Kind::Lost | Kind::Terminated => {
                report::verbose(format_args!("{address}: {error}"));
            }
            _ => report::warn(format_args!("{address}: {error}")),
        }
    }
    report::access(serve.server.access_log, &peer, &outcome, started.elapsed());
}

/// The handshakes of a peer. None for one that did not come through them.
async fn welcome(incoming: Incoming, cx: &Arc<Context>) -> Option<(Duplex, Peer)> {
    let Incoming { address, ready, handshake } = incoming;
    cx.metrics.handshakes.add(1);
    // `stop` ends a handshake between two steps; see `in_time`.
    let ready = tokio::select! {
        ready = ready => ready,
        () = cx.kill.cancelled() => return None,
    };
    let visited = !handshake.leave();
    ready
        .inspect_err(|error| {
            if !visited && error.kind() != Kind::Terminated {
                cx.metrics.refused.add(1);
            }
            report::verbose(format_args!("{address}: {error}"));
        })
        .ok()
}

/// Gives a peer no more than `--handshake-timeout` for a step of its handshakes, and no time at all
/// once the run is to end.
///
/// # Errors
/// [`Kind::Timeout`] or [`Kind::Terminated`], or what the step says.
pub async fn in_time<T>(cx: &Context, step: impl Future<Output = Result<T>>) -> Result<T> {
    let patience = cx.serve.as_ref().map_or(Duration::MAX, |it| it.server.handshake_timeout);
    let step = tokio::select! {
        step = tokio::time::timeout(patience, step) => step,
        () = cx.stop.cancelled() => return Err(going_away()),
    };
    step.unwrap_or_else(|_| {
        Err(Error::new(Kind::Timeout, format!("no complete handshake within {patience:?}")))
    })
}

fn going_away() -> Error {
    Error::new(Kind::Terminated, "going away")
}

/// Joins a peer to its own target, or that of the run, and says goodbye to both.
///
/// # Errors
/// Whichever end failed.
pub(crate) async fn join_target(near: Duplex, peer: &mut Peer, cx: &Arc<Context>) -> Result<Ended> {
    let ends = Box::pin(reach_target(near, peer, cx)).await?;
    // From here on it is only for the log.
    if cx.serve.as_ref().is_none_or(|serve| serve.server.access_log.is_none()) {
        peer.request = None;
    }
    join(ends, peer, cx).await
}

/// The target of a peer: its own, or that of the run.
fn target(peer: &Peer, cx: &Context) -> Option<Arc<Endpoint>> {
    peer.target.clone().or_else(|| cx.serve.as_ref().map(|serve| serve.target.clone()))
}

/// Connects to the target of a peer, and returns both ends; or says goodbye to the peer.
///
/// # Errors
/// The target cannot be reached; [`Kind::Terminated`] where the run is to end.
pub(crate) async fn reach_target(
    mut near: Duplex,
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<[Duplex; 2]> {
    let Some(target) = target(peer, cx) else { return Err(going_away()) };
    let trace = Trace::default();
    let call = Call { cx, near: near.shape(), side: Side::Far, peer: Some(peer), trace: &trace };
    // Plain sockets may finish what they have begun; see the relay of bytes.
    let stop = match &near {
        Duplex::Bytes(stream) if stream.socket().is_some() => &cx.kill,
        _ => &cx.stop,
    };
    let far = tokio::select! {
        far = target.connect_in_time(&call) => far,
        () = stop.cancelled() => Err(going_away()),
    };
    if let Some(reply) = peer.reply.take() {
        near = reply(near, far.as_ref().map(|_| ())).await?;
    }
    match far {
        Ok(far) => Ok([near, far]),
        Err(error) => {
            relay::refuse(near, &error).await;
            Err(error)
        }
    }
}

/// Joins a peer to its target, once that is connected, and says goodbye to both.
///
/// # Errors
/// Whichever end failed.
pub(crate) fn join<'a>(
    [near, far]: [Duplex; 2],
    peer: &'a mut Peer,
    cx: &Arc<Context>,
) -> impl Future<Output = Result<Ended>> + Send + use<'a> {
    // What the future borrows it owns already, so that it does not hold it twice.
    let mut joined = target(peer, cx).map(|target| {
        // Envelopes for a script at the console do not make its peers speak JSON.
        let framing = match cx.shared.join.frame {
            Some(Framing::Json) if target.is_console() => Framing::Lines,
            _ => cx.shared.join.framing([peer.framing, target.framing()]),
        };
        let mut options = relay::Options::new(cx, framing);
        options.label = report::is_verbose().then(|| peer.address.as_str().into());
        (Pair::new(near, far, &options.decoder), options)
    });
    async move {
        let Some((pair, options)) = &mut joined else { return Err(going_away()) };
        let (counts, outcome) = relay::relay(pair, options).await;
        peer.moved = counts;
        outcome
    }
}
