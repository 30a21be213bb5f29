//! What every connection of one run shares: the flags, the hubs, the signal to stop.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::accept::Peers;
use crate::accept::proxy_header::Version;
use crate::cli::bench::BenchArgs;
use crate::cli::value::Compress;
use crate::cli::{
    CompressionArgs, ConnectArgs, ConsoleArgs, EchoArgs, HttpArgs, HubArgs, ProxyArgs, ServeArgs,
    ServerArgs, ServerTlsArgs, SharedArgs, TunnelArgs,
};
use crate::endpoint::{Children, Endpoint, Local, Outages};
use crate::error::Result;
use crate::http2;
use crate::hub::{self, Hubs, Names};
use crate::inherited::Inherited;
use crate::metrics::Metrics;
use crate::report;
use crate::site::Site;
use crate::ssh::authorized_keys::AuthorizedKeys;
use crate::ssh::{Server, Sessions};
use crate::tls::Tls;

/// Built once from the flags; nothing in it changes but counters and hubs.
pub struct Context {
    /// The flags of all verbs that move data.
    pub shared: SharedArgs,
    /// The flags of `serve`, where this is `serve`.
    pub serve: Option<Serve>,
    /// The flags of the console, where this is `connect`.
    pub console: Option<ConsoleArgs>,
    /// Whether WebSockets compress.
    pub compress: Compress,
    /// How much longer than it was compressed a message may be.
    pub max_inflate: Option<u16>,
    /// Whether payload is kept from stdout: a probe with `--quiet`.
    pub mute: bool,
    /// Where connections are made from.
    pub(crate) local: Local,
    /// Whether backends are told for whom a connection is made, before all else.
    pub(crate) send_proxy: Option<Version>,
    /// How `echo:` answers.
    pub echo: EchoArgs,
    /// TLS configurations, made when they are first needed.
    pub tls: Tls,
    /// The rooms of `hub:` and of the console.
    pub hubs: Hubs,
    /// Sockets that were opened for us.
    pub inherited: Inherited,
    /// SSH sessions, which channels share.
    pub(crate) ssh: Sessions,
    /// HTTP/2 connections, which WebSockets share.
    pub(crate) http2: http2::Connections,
    /// The children of `exec:` and the like.
    pub(crate) children: Children,
    /// The NATS servers that are away.
    pub(crate) outages: Arc<Outages>,
    /// The accepted peers.
    pub(crate) peers: Peers,
    /// Figures for `/metrics`.
    pub metrics: Metrics,
    /// Cancelled when the run is to end.
    pub stop: CancellationToken,
    /// Cancelled when the time to drain is over; in `connect`, which does not drain, the same as
    /// `stop`.
    pub kill: CancellationToken,
}

/// What only `serve` has.
pub struct Serve {
    /// Where peers are joined to, unless a route says otherwise.
    pub target: Arc<Endpoint>,
    /// Listening.
    pub server: ServerArgs,
    /// HTTP.
    pub http: HttpArgs,
    /// Hub.
    pub hub: HubArgs,
    /// What WebSocket listeners say over plain HTTP.
    pub(crate) site: Site,
    /// What listeners of `ssh:` say, where there are any.
    pub(crate) ssh: Option<Arc<Server>>,
}

impl Serve {
    /// Whether peers are joined to this console, all of them or those of a route.
    pub fn has_console(&self) -> bool {
        let mut targets = self.http.route.iter().map(|route| &route.target);
        self.target.is_console() || targets.any(Endpoint::is_console)
    }
}

impl Context {
    /// For `connect`.
    pub fn for_connect(args: &ConnectArgs) -> Self {
        let console = Some(args.console.clone());
        let (tls, echo) = (ServerTlsArgs::default(), EchoArgs::default());
        let mute = report::quiet() && !args.script.is_empty();
        let CompressionArgs { compress, max_inflate } = args.compression;
        let cx = Self::new(args.shared.clone(), tls, echo, None);
        Self { console, mute, compress, max_inflate, ..cx }
    }

    /// For `serve`.
    ///
    /// # Errors
    /// A file that a flag names cannot be used.
    pub fn for_serve(args: &ServeArgs, target: Endpoint) -> Result<Self> {
        let target = Arc::new(target);
        let names: Vec<_> = args.addresses.iter().filter_map(Endpoint::host).collect();
        let serve = Serve {
            site: Site::new(&args.http, &names, target.clone())?,
            target,
            server: args.server.clone(),
            http: args.http.clone(),
            hub: args.hub.clone(),
            ssh: Server::for_listeners(&args.ssh, &args.shared.ssh, &args.addresses)?,
        };
        let cx = Self::new(args.shared.clone(), args.tls.clone(), args.echo.clone(), Some(serve));
        let hubs = Hubs::new(Some(args.hub.clone()), names_in(&args.ssh.authorized_keys)?);
        let CompressionArgs { compress, max_inflate } = args.compression;
        Ok(Self { kill: CancellationToken::new(), hubs, compress, max_inflate, ..cx })
    }

    /// Runs `work`, says goodbye in the SSH sessions and HTTP/2 connections, and waits until no child
    /// is left.
    pub(crate) async fn until_ended<T>(&self, work: impl Future<Output = T>) -> T {
        let work = async {
            let outcome = work.await;
            self.ssh.end().await;
            self.http2.end().await;
            outcome
        };
        self.children.until_stopped(work).await
    }

    /// For `tunnel`.
    ///
    /// # Errors
    /// A file that a flag names cannot be used.
    pub fn for_tunnel(args: &TunnelArgs) -> Result<Self> {
        let names = args.keep.metrics.iter().filter_map(Endpoint::host);
        let http = HttpArgs { max_header: HttpArgs::MAX_HEADER, ..HttpArgs::default() };
        let (shared, tls) = (args.shared.clone(), ServerTlsArgs::default());
        Self::without_target(shared, tls, &args.server, http, names.collect())
    }

    /// For `proxy`.
    ///
    /// # Errors
    /// A file that a flag names cannot be used.
    pub fn for_proxy(args: &ProxyArgs) -> Result<Self> {
        let http = HttpArgs { max_header: args.proxying.max_header, ..HttpArgs::default() };
        let names = args.sight.admin.iter().filter_map(Endpoint::host).collect();
        let (shared, tls) = (args.shared.clone(), args.tls.clone());
        let cx = Self::without_target(shared, tls, &args.server, http, names)?;
        Ok(Self { send_proxy: args.clients.send_proxy, ..cx })
    }

    /// For `bench`.
    pub(crate) fn for_bench(args: &BenchArgs) -> Self {
        let shared = args.reach.shared(args.messages.max_message);
        let addresses = args.machine.local_addr.iter().flat_map(|range| range.0.iter().copied());
        let local = Local::new(addresses.collect());
        let cx = Self::new(shared, ServerTlsArgs::default(), EchoArgs::default(), None);
        let CompressionArgs { compress, max_inflate } = args.reach.compression;
        Self { local, kill: CancellationToken::new(), compress, max_inflate, ..cx }
    }

    /// For peers that have targets of their own.
    fn without_target(
        shared: SharedArgs,
        tls: ServerTlsArgs,
        server: &ServerArgs,
        http: HttpArgs,
        names: Vec<String>,
    ) -> Result<Self> {
        let target = Arc::new("null:".parse::<Endpoint>()?);
        let serve = Serve {
            site: Site::new(&http, &names, target.clone())?,
            target,
            server: server.clone(),
            http,
            hub: HubArgs::default(),
            ssh: None,
        };
        let cx = Self::new(shared, tls, EchoArgs::default(), Some(serve));
        Ok(Self { kill: CancellationToken::new(), ..cx })
    }

    fn new(shared: SharedArgs, tls: ServerTlsArgs, echo: EchoArgs, serve: Option<Serve>) -> Self {
        let stop = CancellationToken::new();
        Self {
            tls: Tls::new(shared.tls.clone(), tls),
            ssh: Sessions::new(&shared.ssh, shared.ssh_pool.connections),
            http2: http2::Connections::default(),
            children: Children::new(&shared.exec),
            outages: Arc::default(),
            peers: Peers::new(serve.as_ref().map_or(0, |serve| serve.server.max_peers)),
            shared,
            hubs: Hubs::new(None, Names::default()),
            serve,
            console: None,
            compress: Compress::Off,
            max_inflate: None,
            mute: false,
            local: Local::default(),
            send_proxy: None,
            echo,
            metrics: Metrics::default(),
            inherited: Inherited::from_env(),
            kill: stop.clone(),
            stop,
        }
    }
}

/// The names that files of keys give.
fn names_in(files: &[PathBuf]) -> Result<Names> {
    let mut names = Names::new();
    for file in files {
        let keys = AuthorizedKeys::read(file)?;
        names.extend(keys.names().filter_map(hub::plain).map(Into::into));
    }
    Ok(names)
}
