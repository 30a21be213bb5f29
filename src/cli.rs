//! What the user can type: clap types only, no behaviour and no I/O.
//!
//! The doc comments here are the text of `--help`, of the man pages and of the completions. They are
//! one file, however long, because one reader has to agree with all of it.

#![allow(missing_docs, reason = "a flattened group is described by its own type")]

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::accept::proxy_header::Version;
use crate::endpoint::{Endpoint, Rule};
use crate::error::{Error, Kind};
use crate::framing::Framing;
use crate::network::Trust;
use crate::probe::Script;
use crate::proxy::{Check, Policy, route};
use crate::ssh::Reach;
use crate::ssh::forward::{Dynamic, Local, Remote, Stdio};

pub mod bench;
pub mod examples;
mod file;
pub mod value;

use file::FromFile;
use value::{CloseSpec, Compress, Discreet, Header, Pin, Route, Size, duration, size};

/// Join stdin, files, programs, TCP, TLS, Unix sockets, WebSockets and SSH into pipelines
///
/// Every verb joins endpoints, and every endpoint is written as one address. See
/// towline-addresses(7), or `towline help addresses`, for the schemes, the framings and the ends
/// of streams.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, styles = STYLES)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "Exit codes are listed by `towline help exit-codes`.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,

    /// How to report
    #[command(flatten)]
    pub report: ReportArgs,
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        let words: Vec<_> = env::args_os().collect();
        let error = match Self::read_words(&words) {
            Err(error) if error.use_stderr() => error,
            cli_or_help => return cli_or_help,
        };
        let words: Vec<_> = words.into_iter().filter_map(|word| word.into_string().ok()).collect();
        Err(match words.windows(2).find(|pair| lacks_equals(&pair[0], &pair[1])) {
            Some([flag, value, ..]) => {
                let what = format!("the value of {flag} needs an equals sign: {flag}={value}");
                Self::command().error(ErrorKind::ValueValidation, what)
            }
            _ => error,
        })
    }

    /// Reads words, and the file that they name if they name one.
    fn read_words(words: &[OsString]) -> Result<Self, clap::Error> {
        let cli = Self::try_parse_from(words)?;
        let file = match &cli.command {
            Command::Proxy(args) => args.routing.config.as_deref(),
            _ => None,
        };
        let Some(file) = file else { return Ok(cli) };
        let from_file = FromFile::read(words, "proxy", file)?;
        let cli = Self::try_parse_from(from_file.added_to(words, "proxy"));
        let mut cli = cli.map_err(|error| file::at(file, &error))?;
        if let Command::Proxy(args) = &mut cli.command {
            args.routing.from_file = from_file;
        }
        Ok(cli)
    }
}

impl ProxyArgs {
    /// Reads the command line and the file of `--config` once more.
    ///
    /// # Errors
    /// [`Kind::Usage`], saying what is wrong.
    pub(crate) fn read_again() -> Result<Self, Error> {
        let words: Vec<_> = env::args_os().collect();
        match Cli::read_words(&words) {
            Ok(Cli { command: Command::Proxy(args), .. }) => Ok(*args),
            Ok(_) => Err(Error::new(Kind::Usage, "this is no proxy any more")),
            Err(error) => Err(Error::new(Kind::Usage, file::in_a_line(&error))),
        }
    }
}

/// Whether `value` was meant for a flag that can stand alone, and so was read as an address, which
/// it cannot be.
fn lacks_equals(flag: &str, value: &str) -> bool {
    fn takes_one(verb: &clap::Command, flag: Option<&str>) -> bool {
        verb.get_arguments().any(|arg| arg.is_require_equals_set() && arg.get_long() == flag)
            || verb.get_subcommands().any(|verb| takes_one(verb, flag))
    }
    !value.starts_with('-')
        && value.parse::<Endpoint>().is_err()
        && takes_one(&Cli::command(), flag.strip_prefix("--"))
}

/// All verbs and flags, for whoever writes about them: help, manual, completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The values a flag can have, each with its help.
pub fn values<T: ValueEnum>() -> Vec<(String, String)> {
    let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let help = |value: &clap::builder::PossibleValue| {
        value.get_help().map(ToString::to_string).unwrap_or_default()
    };
    values.map(|value| (value.get_name().to_owned(), help(&value))).collect()
}

/// What a value of a flag is called.
pub fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The verbs
#[derive(Debug, Subcommand)]
pub enum Command {
    // Described by their types: a comment here would hide the longer one there.
    Connect(Box<ConnectArgs>),
    Serve(Box<ServeArgs>),
    Proxy(Box<ProxyArgs>),
    Tunnel(Box<TunnelArgs>),
    Bench(Box<bench::BenchArgs>),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write them all into a directory
    Man {
        /// Which page
        #[arg(value_enum, default_value_t)]
        page: ManPage,
        /// Write every page into this directory
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Print the help of a verb, or about addresses or exit codes
    Help {
        /// About what
        #[arg(value_enum)]
        topic: Option<Topic>,
    },
}

/// The pages of the manual
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ManPage {
    /// towline(1), the overview
    #[default]
    Towline,
    /// towline-connect(1)
    #[value(alias = "towline-connect")]
    Connect,
    /// towline-serve(1)
    #[value(alias = "towline-serve")]
    Serve,
    /// towline-proxy(1)
    #[value(alias = "towline-proxy")]
    Proxy,
    /// towline-tunnel(1)
    #[value(alias = "towline-tunnel")]
    Tunnel,
    /// towline-bench(1)
    #[value(alias = "towline-bench")]
    Bench,
    /// towline-addresses(7): schemes, chains, framings, ends of streams
    #[value(alias = "towline-addresses")]
    Addresses,
    /// towline-ssh(7): machines reached by SSH, tunnels, the embedded server
    #[value(alias = "towline-ssh")]
    Ssh,
}

/// What `towline help` knows about
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// The verb
    Connect,
    /// The verb
    Serve,
    /// The verb
    Proxy,
    /// The verb
    Tunnel,
    /// The verb
    Bench,
    /// The verb
    Completions,
    /// The verb
    Man,
    /// Schemes, chains, framings, ends of streams
    Addresses,
    /// Machines reached by SSH, tunnels, the embedded server
    Ssh,
    /// What the exit code of a run says
    ExitCodes,
}

/// What is said on stderr
#[derive(Args, Clone, Debug, Default)]
pub struct ReportArgs {
    /// Say more on stderr: -v what happens and what peers say, -vv every message and every step of a probe
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Reporting")]
    pub verbose: u8,

    /// Say nothing on stderr but errors; a probe prints no payload either
    #[arg(short, long, global = true, help_heading = "Reporting")]
    pub quiet: bool,

    /// When to use colours; NO_COLOR is respected
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        value_name = "WHEN",
        help_heading = "Reporting"
    )]
    pub color: When,
}

/// When to do something that suits a terminal
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// Join two endpoints once: a pipe, a console, a CI probe
///
/// With one address, the other end is this console: stdin and stdout, or a line editor where both
/// are a terminal. The steps of a probe (--send, --expect, ...) run in the order they are written.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = examples::text(examples::CONNECT))]
#[command(mut_arg("compress", |arg| arg.default_value("auto")))]
pub struct ConnectArgs {
    /// The two addresses to join; `-` stands for the first if there is one only. With more, `-` speaks to all the others and hears them by name
    #[arg(required = true, num_args = 1.., value_name = "ADDRESS", value_parser = Discreet::<Endpoint>::parser())]
    pub addresses: Vec<Endpoint>,

    #[command(flatten)]
    pub script: Script,

    #[command(flatten)]
    pub console: ConsoleArgs,

    #[command(flatten)]
    pub persist: PersistArgs,

    #[command(flatten)]
    pub shared: SharedArgs,

    #[command(flatten)]
    pub compression: CompressionArgs,
}

/// Compression of WebSocket messages; that it is off by default is for each verb to change
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "WebSocket")]
pub struct CompressionArgs {
    /// Compress messages where the peer does it too (permessage-deflate): `auto`, `off`, or 1 to 9
    ///
    /// A level is one of zlib's: a higher one takes more CPU time for less traffic. `auto` is quick, and
    /// a quiet peer of `serve` takes no memory for it. With a level, a message may refer to those before
    /// it, and each peer that agrees takes up to 400 KiB for it. A WebSocket that another hop stands on
    /// (ssh:, tls:) is not compressed, since what is encrypted does not shrink.
    #[arg(long, value_name = "LEVEL", default_value = "off")]
    pub compress: Compress,

    /// Refuse, with 1009, what inflates to more than 64 KiB and more than RATIO times its length
    ///
    /// It is looked at while a message is inflated, piece by piece. An honest one that says the same
    /// again and again gets to 1032 times its length, and none to more, so there is no limit by
    /// default: --max-message bounds the memory.
    #[arg(long, value_name = "RATIO", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_inflate: Option<u16>,
}

/// Console, recording and replay
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Console and recording")]
pub struct ConsoleArgs {
    /// Write every message of both directions to FILE, in the JSON envelope
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,

    /// Send the outgoing messages of a recording again, at the times they were sent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub replay: Option<PathBuf>,

    /// How many times faster to replay; `max` does not wait at all
    #[arg(long, value_name = "N", default_value = "1", value_parser = value::speed, requires = "replay")]
    pub speed: f64,

    /// Indent JSON on the console
    #[arg(long)]
    pub pretty: bool,

    /// Show the time of each message on the console
    #[arg(long)]
    pub timestamps: bool,

    /// Show pings and pongs on the console
    #[arg(long)]
    pub show_control: bool,
}

/// Waiting, retrying and giving up
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Waiting and reconnecting")]
pub struct PersistArgs {
    /// Give up after this time, whatever happens [default: 60s where a probe expects something]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Try to connect for this long, until the first success
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub wait_ready: Option<Duration>,

    /// Connect again when the connection is lost; never after an HTTP 4xx or a Close 1008
    #[arg(long)]
    pub reconnect: bool,

    /// The longest pause between two attempts; pauses double from 250ms, with full jitter
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub max_delay: Duration,

    /// Give up after this many failed attempts in a row
    #[arg(long, value_name = "N", requires = "reconnect")]
    pub max_retries: Option<u32>,

    /// Close codes that count as a clean end, besides 1000 (repeat, or separate with commas)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub ok_close: Vec<u16>,
}

/// Join every peer that connects to a target, which is dialled anew for each
///
/// The last address is the target, the others are where to listen; with one address alone the
/// target is `-`, this console.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = examples::text(examples::SERVE))]
pub struct ServeArgs {
    /// Where to listen, and last the target
    #[arg(required = true, num_args = 1.., value_name = "ADDRESS", value_parser = Discreet::<Endpoint>::parser())]
    pub addresses: Vec<Endpoint>,

    #[command(flatten)]
    pub server: ServerArgs,

    /// How many threads peers are spread over [default: one for each core but one]
    #[arg(long, value_name = "N", value_parser = value::at_least_one, help_heading = "Listening")]
    pub threads: Option<usize>,

    #[command(flatten)]
    pub http: HttpArgs,

    #[command(flatten)]
    pub echo: EchoArgs,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub tls: ServerTlsArgs,

    #[command(flatten)]
    pub ssh: SshServerArgs,

    #[command(flatten)]
    pub shared: SharedArgs,

    #[command(flatten)]
    pub compression: CompressionArgs,
}

/// Pass HTTP and WebSockets on to backends, and balance between them
///
/// The first address is where to listen, the others are the backends. In these addresses http: and
/// ws: mean the same, https: and wss: too, since one port serves both. A backend that does not speak
/// HTTP (tcp:, exec:, ...) is joined to WebSockets as `serve` does it.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = examples::text(examples::PROXY))]
pub struct ProxyArgs {
    /// Where to listen, and then the backends; `ws://a:9000*3` gets three times as much as one without a weight
    #[arg(value_name = "ADDRESS", value_parser = Discreet::<value::Backend>::parser())]
    pub addresses: Vec<value::Backend>,

    #[command(flatten)]
    pub proxying: ProxyingArgs,

    #[command(flatten)]
    pub balancing: BalancingArgs,

    #[command(flatten)]
    pub clients: ClientArgs,

    #[command(flatten)]
    pub sight: SightArgs,

    #[command(flatten)]
    pub routing: RoutingArgs,

    #[command(flatten)]
    pub server: ServerArgs,

    #[command(flatten)]
    pub tls: ServerTlsArgs,

    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Proxying
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Proxying")]
pub struct ProxyingArgs {
    /// Listen here as well (repeat)
    #[arg(long, value_name = "ADDRESS", value_parser = Discreet::<value::Backend>::parser())]
    pub listen: Vec<value::Backend>,

    /// Set a header of every request to a backend, as `Name: value`; without a value it is removed (repeat)
    #[arg(long, value_name = "HEADER")]
    pub set_header: Vec<Header>,

    /// Tell a backend its own address as Host, and not what the client said
    #[arg(long)]
    pub rewrite_host: bool,

    /// How long a backend may take to begin its answer, and either side to go on with a body
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration)]
    pub http_timeout: Duration,

    /// Bytes a second that a client has to send of a body, on average over 20s that it is waited for; 0 is any number
    ///
    /// Who sends less gets a 408; if --http-timeout is less than 20s, it is what counts. How fast an
    /// answer is read has no such bound: who takes nothing of it for --http-timeout is cut off.
    #[arg(long, value_name = "SIZE", default_value = "500", value_parser = size)]
    pub min_body_rate: Size,

    /// How long a connection without a request is kept, on either side
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration)]
    pub keep_alive: Duration,

    /// How many connections without a request are kept to a backend
    #[arg(long, value_name = "N", default_value = "64")]
    pub max_idle: usize,

    /// The largest request head
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = size)]
    pub max_header: Size,

    /// Close WebSockets whose client breaks the rules of frames: no mask, unknown kinds, too long a control frame
    #[arg(long)]
    pub police: bool,

    /// Close WebSockets whose client sends a larger message than this, with 1009 [default: any size]
    #[arg(long, value_name = "SIZE", value_parser = value::message_size)]
    pub max_client_message: Option<Size>,

    /// How many threads to use, shared by plain connections and those with TLS where there are both [default: one for each core]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub threads: Option<usize>,
}

/// Balancing
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Balancing")]
pub struct BalancingArgs {
    /// How the next backend is chosen: `least`, `round-robin`, `random`, `hash:KEY` or `sticky[:COOKIE]`
    ///
    /// All heed weights. `least` takes the one with the fewest requests and WebSockets, `random` the
    /// better of two. `hash:ip`, `hash:path`, `hash:header:NAME` and `hash:cookie:NAME` send what has
    /// the same client, path, header or cookie to the same backend, as long as that has no more than
    /// about a quarter above its part; when a backend leaves, only what it had moves. `sticky` gives
    /// each client a cookie (`towline`, if no other name is given) that names its backend by a hash.
    #[arg(long, value_name = "POLICY", default_value = "least")]
    pub balance: Policy,

    /// To how many other backends a request is offered when one fails; never after the 101
    ///
    /// A WebSocket is offered again where a backend cannot be reached, does not answer, or answers
    /// 502, 503 or 504; a plain request where a backend cannot be reached, and one that may be
    /// repeated and has no body also where the connection is lost before the answer. What a backend
    /// answers to a plain request is the answer, also a 502, 503 or 504, as with nginx and HAProxy.
    #[arg(long, value_name = "N", default_value = "2")]
    pub retries: usize,

    /// After how many failures in a row a backend is left out; 0 is never
    ///
    /// A failure is a connection that cannot be made, a timeout, a wrong 101, a 502, 503 or 504. After
    /// a pause (see --fail-pause) one request is the trial of whether it is back. The last backend is
    /// left out only where it cannot be reached at all, and the pause does not grow. Where none is
    /// left the answer is 503 with a Retry-After. What does not speak HTTP fails when it cannot be connected to.
    #[arg(long, value_name = "N", default_value = "3")]
    pub max_fails: usize,

    /// How long a backend that has failed is left out; twice as long each time, up to a minute, and a little at random
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration)]
    pub fail_pause: Duration,

    /// How long a backend that comes back gets only a part of what would be its, which grows until then
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub slow_start: Duration,

    /// How many requests and WebSockets a backend may have at once [default: any number]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub max_per_backend: Option<usize>,

    /// How long a request waits where all backends have --max-per-backend, before it gets a 503
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration, requires = "max_per_backend")]
    pub queue_timeout: Duration,

    /// How often the name of a backend is looked up; each of its addresses is a backend of its own
    ///
    /// Backends whose address has gone from the name get nothing more, and keep what they have. The
    /// two loopback addresses, as of `localhost`, are one backend.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub resolve_interval: Duration,

    #[command(flatten)]
    pub checks: CheckArgs,
}

/// Checks of backends
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Balancing")]
pub struct CheckArgs {
    /// Ask backends whether they are there: tcp, http:/PATH, ws:/PATH or ws:/PATH:SEND=EXPECT
    ///
    /// `tcp` connects, `http:` wants a 2xx or 3xx, `ws:` a WebSocket, whose handshake is verified.
    /// With SEND, that is sent as a text message, and one that contains EXPECT has to come back. A
    /// backend that does not speak HTTP is only connected to; programs, files and the like are not
    /// checked.
    #[arg(long, value_name = "CHECK")]
    pub health: Option<Check>,

    /// The time between two checks
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = duration, requires = "health")]
    pub health_interval: Duration,

    /// How long a check may take
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = duration, requires = "health")]
    pub health_timeout: Duration,

    /// How many good checks in a row bring a backend back
    #[arg(long, value_name = "N", default_value = "2", requires = "health")]
    pub health_rise: u32,

    /// How many bad checks in a row take a backend out; the first check of all does it alone
    #[arg(long, value_name = "N", default_value = "3", requires = "health")]
    pub health_fall: u32,
}

/// Who asks a proxy, and how much they may
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Clients")]
pub struct ClientArgs {
    /// Believe what proxies in this network say of their clients, as 10.0.0.0/8; `unix` is whoever comes by a Unix socket (repeat, or separate with commas)
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trust: Vec<Trust>,

    /// Take a PROXY header (v1 or v2) before all else, which says who asks, from those of --trust if there are any; without one, connections are refused
    #[arg(long)]
    pub proxy_protocol: bool,

    /// Say who asks in a PROXY header to backends, before TLS: v1 or v2
    #[arg(long, value_name = "VERSION")]
    pub send_proxy: Option<Version>,

    /// Let the pages of this Origin open WebSockets, as `https://example.com`; `*` is any (repeat). Programs, which send none, are let in [default: any, and backends decide]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,

    /// Connections of a client at once, one being an IPv4 address or an IPv6 /64; more get a 429 [default: any number]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub max_per_ip: Option<usize>,

    /// Handshakes of WebSockets in a second; more get a 503 with a Retry-After [default: any number]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub max_rate: Option<usize>,

    /// Handshakes of WebSockets of a client in a second; more get a 429 with a Retry-After [default: any number]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub max_rate_per_ip: Option<usize>,

    /// Listen here for plain HTTP, and send everybody to https: (repeat)
    #[arg(long, value_name = "ADDRESS", value_parser = Discreet::<value::Backend>::parser())]
    pub redirect_http: Vec<value::Backend>,
}

/// Seeing what a proxy does
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sight")]
pub struct SightArgs {
    /// Serve /metrics for Prometheus, /healthz, the state of the /backends, and POST /drain on this address, as 127.0.0.1:9100
    ///
    /// POST /backends/drain?name=NAME sends one backend nothing more, and closes the WebSockets that it
    /// has with 1012, spread over --drain; POST /backends/restore?name=NAME takes it back.
    #[arg(long, value_name = "HOST:PORT", value_parser = value::http_listener)]
    pub admin: Option<Endpoint>,

    /// When to show the backends live, below what is logged
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub status: When,
}

/// Routes and the configuration file
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Routes and configuration")]
pub struct RoutingArgs {
    /// Send the requests that fit to backends of their own, as `host=a.example path=/chat/* -> ws://b:9000 ws://c:9000*2`; the first route that fits takes a request (repeat)
    #[arg(long, value_name = "ROUTE", value_parser = Discreet::<route::Route>::parser())]
    pub route: Vec<route::Route>,

    /// A backend of the requests that no route fits, as the addresses after the first are (repeat)
    #[arg(long, value_name = "ADDRESS", value_parser = Discreet::<value::Backend>::parser())]
    pub backend: Vec<value::Backend>,

    /// Take flags from FILE (TOML), whose keys are their long names; those of the command line win. Read again when it changes and on SIGHUP, without a connection noticing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Say what is wrong with --config, or that it is fine, and exit
    #[arg(long, requires = "config")]
    pub check: bool,

    /// What of it is from the file.
    #[arg(skip)]
    pub from_file: FromFile,
}

/// Forward ports over one SSH session that is kept up
///
/// The options are OpenSSH's own. Every forward is up when the lines `listening on ...` are printed.
/// When the session is lost it is opened again, for as long as that takes; connections that were open
/// are reset, new ones wait.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = examples::text(examples::TUNNEL))]
pub struct TunnelArgs {
    /// The SSH server, as ssh://USER@HOST or USER@HOST, or any chain of hops that ends with one
    #[arg(value_name = "VIA")]
    pub via: value::Via,

    #[command(flatten)]
    pub forwards: ForwardArgs,

    #[command(flatten)]
    pub keep: KeepArgs,

    #[command(flatten)]
    pub server: ServerArgs,

    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Forwards
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Forwards")]
#[group(skip)]
#[command(group = clap::ArgGroup::new("forwards").args(["local", "remote", "dynamic", "stdio"]).required(true).multiple(true))]
pub struct ForwardArgs {
    /// Listen here, connect from there: `[BIND:]PORT:HOST:HOSTPORT`, with /PATH for a Unix socket on either side (repeat)
    #[arg(short = 'L', long = "local", value_name = "FORWARD")]
    pub local: Vec<Local>,

    /// Listen there, connect from here; a PORT alone is a proxy there, as -D is here (repeat)
    #[arg(short = 'R', long = "remote", value_name = "FORWARD")]
    pub remote: Vec<Remote>,

    /// Be a proxy here whose connections are made from there, for SOCKS5, SOCKS4 and HTTP CONNECT: `[BIND:]PORT` or /PATH (repeat)
    #[arg(short = 'D', long = "dynamic", value_name = "LISTEN")]
    pub dynamic: Vec<Dynamic>,

    /// Join stdin and stdout to HOST:PORT or /PATH there, as a ProxyCommand does
    #[arg(short = 'W', long = "stdio", value_name = "TARGET", conflicts_with_all = ["local", "remote", "dynamic"])]
    pub stdio: Option<Stdio>,

    /// Ask the clients of -D and -R PORT for this login; `@FILE` reads it from a file. SOCKS4 clients cannot log in
    #[arg(long, value_name = "USER:PASSWORD", value_parser = value::secret, conflicts_with = "stdio")]
    pub socks_auth: Option<value::Secret>,

    /// Let these clients go here only, as *.corp.example:443 or 10.0.0.0/8:*, as far as their requests tell (repeat) [default: anywhere but to link-local and cloud metadata addresses]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "stdio")]
    pub allow: Vec<Rule>,
}

/// How a tunnel is kept
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tunnel")]
pub struct KeepArgs {
    /// Jump through these SSH servers first, as `[USER@]HOST[:PORT]` (repeat, or separate with commas)
    #[arg(short = 'J', long, value_name = "HOSTS", value_delimiter = ',')]
    pub jump: Vec<value::Via>,

    /// Serve the forwards that can be served, even if others cannot
    #[arg(long)]
    pub keep_going: bool,

    /// Exit if a forward cannot be served, as ExitOnForwardFailure has it; this is the default
    #[arg(long, conflicts_with = "keep_going")]
    pub exit_on_forward_failure: bool,

    /// How long a new connection waits for a session that is lost
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub queue_timeout: Duration,

    /// Serve figures for Prometheus at /metrics, and /healthz, on this address, as 127.0.0.1:9100
    #[arg(long, value_name = "HOST:PORT", value_parser = value::http_listener, conflicts_with = "stdio")]
    pub metrics: Option<Endpoint>,

    /// When to show the live status
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub status: When,
}

/// Listening
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub struct ServerArgs {
    /// How to say that the listeners are ready
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub announce: Announce,

    /// Run a shell command when all listeners are ready; TOWLINE_LISTEN holds their addresses
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub on_listen: Option<String>,

    /// Serve the one connection that is stdin and stdout, as inetd hands it over, then exit
    #[arg(long, conflicts_with = "on_listen")]
    pub inetd: bool,

    /// Share the port with other processes that do so, too: the system spreads connections over them
    #[arg(long)]
    pub reuse_port: bool,

    /// Peers at once; more wait until one leaves
    #[arg(long, value_name = "N", default_value = "10000", value_parser = value::at_least_one)]
    pub max_peers: usize,

    /// Handshakes in flight at once; more wait
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value::at_least_one)]
    pub max_handshakes: usize,

    /// How long a peer may take for its handshakes
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub handshake_timeout: Duration,

    /// How long to wait for peers to leave after SIGTERM or SIGINT
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub drain: Duration,

    /// Write a line to stderr for every peer that leaves
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text", require_equals = true)]
    pub access_log: Option<LogFormat>,
}

/// How to say that a listener is ready
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Announce {
    /// `listening on ws://127.0.0.1:8010`
    #[default]
    Text,
    /// `{"event":"listening","address":"ws://127.0.0.1:8010","port":8010}`
    Json,
}

/// The form of a log line
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Words
    Text,
    /// One JSON object a line
    Json,
}

/// The HTTP side of WebSocket listeners
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Join the WebSockets of one path, and SSH commands of that name, to a target of their own, as `/logs=exec:tail -f x`
    #[arg(long, value_name = "PATH=TARGET", value_parser = Discreet::<Route>::parser())]
    pub route: Vec<Route>,

    /// Serve the files of a directory to plain GETs
    #[arg(long = "static", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub files: Option<PathBuf>,

    /// Serve a page to try the WebSocket with [default: for echo: on loopback]
    #[arg(long, overrides_with = "no_page")]
    pub page: bool,

    /// Serve no such page
    #[arg(long)]
    pub no_page: bool,

    /// Do not answer /healthz and /metrics
    #[arg(long)]
    pub no_status: bool,

    /// Accept browsers from this Origin only; `*` is any (repeat) [default: any for echo:, null: and hub:, this host for all other targets]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,

    /// A name that a reverse proxy in front of a loopback listener calls it by; `*` is any (repeat) [default: localhost, IP addresses, the names in the addresses and in --allow-origin]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allow_host: Vec<String>,

    /// Ask for one of the USER:PASSWORD lines of FILE (HTTP basic)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub basic_auth: Option<PathBuf>,

    /// Ask for one of the tokens in FILE, one a line (Authorization: Bearer)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bearer_auth: Option<PathBuf>,

    /// The largest request head
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = size)]
    pub max_header: Size,
}

impl HttpArgs {
    /// The largest request head where nothing else is asked for.
    pub const MAX_HEADER: Size = 16 << 10;
}

/// How `echo:` plays a server
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Mock answers of echo:")]
pub struct EchoArgs {
    /// Answer every message with TEXT; {} in it is the message (repeat to take turns)
    #[arg(long, value_name = "TEXT")]
    pub reply: Vec<String>,

    /// Close after N messages, as `5:4001:quota`
    #[arg(long, value_name = "N[:CODE[:REASON]]")]
    pub close_after: Option<CloseSpec>,

    /// Wait before each answer
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration)]
    pub delay: Duration,
}

/// How a hub treats its peers
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Hub")]
pub struct HubArgs {
    /// Where the name of a WebSocket peer comes from, as `header:X-User`, `query:name` or `path`
    #[arg(long, value_name = "WHERE")]
    pub name_from: Option<value::NameFrom>,

    /// What happens to a peer that reads too slowly
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub slow: Slow,

    /// How many messages wait for a slow peer
    #[arg(long, value_name = "N", default_value_t = Self::QUEUE, value_parser = clap::value_parser!(u32).range(1..))]
    pub queue: u32,

    /// Tell those who come later the last N messages that were said to all
    #[arg(long, value_name = "N", default_value = "0")]
    pub history: u32,
}

impl HubArgs {
    /// How many messages wait where nothing else is asked for.
    pub const QUEUE: u32 = 1024;
}

/// What happens to a peer that reads too slowly
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Slow {
    /// It misses the oldest messages; drops are counted and said
    #[default]
    DropOldest,
    /// It is closed with 1013
    Disconnect,
    /// Everybody waits for it
    Block,
}

/// TLS towards peers
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "TLS of listeners")]
pub struct ServerTlsArgs {
    /// The certificate chain, PEM; read again when the file changes (repeat, each with its --key: peers are shown the one for the name they ask for, or else the first)
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Vec<PathBuf>,

    /// The private key of --cert, PEM (repeat, in the order of --cert)
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Vec<PathBuf>,

    /// Make a certificate for this run and print the fingerprint to --pin
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    pub tls_self_signed: bool,

    /// Ask peers for a certificate of one of these authorities, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub client_ca: Option<PathBuf>,
}

/// The SSH server
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "SSH server")]
pub struct SshServerArgs {
    /// Let in the keys of FILE, in the format of sshd's authorized_keys; read again when it changes (repeat)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub authorized_keys: Vec<PathBuf>,

    /// Let each user in with the keys of the file of that name in DIR
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub authorized_keys_dir: Option<PathBuf>,

    /// Let in users with a certificate of one of the authorities in FILE, one public key a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trusted_user_ca: Option<PathBuf>,

    /// Show this private key to clients (repeat) [default: one made at the first start, in $XDG_STATE_HOME/towline or ~/.local/state/towline]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub host_key: Vec<PathBuf>,

    /// Let clients connect through the server to this place, `*` being any host or port, or to this Unix socket (repeat) [default: nowhere]
    #[arg(long, value_name = "HOST:PORT|PATH", value_delimiter = ',')]
    pub allow_open: Vec<Reach>,

    /// Let clients have the server listen here for them, `*` being any host or port and a port alone for loopback, or on this Unix socket (repeat) [default: nowhere]
    #[arg(long, value_name = "[HOST:]PORT|PATH", value_delimiter = ',', value_parser = value::listen_reach)]
    pub allow_listen: Vec<Reach>,

    /// Let clients offer ports to each other under their own names: `ssh -R anna:22:localhost:22 SERVER`, then `ssh -J SERVER anna`
    #[arg(long)]
    pub allow_peers: bool,

    /// How long a client may take to log in
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub login_grace: Duration,

    /// How many keys a client may try
    #[arg(long, value_name = "N", default_value = "6", value_parser = value::at_least_one)]
    pub max_auth_tries: usize,

    /// How many clients may be logging in at once: of more than START, RATE percent are refused, rising to all at FULL
    #[arg(long, value_name = "START[:RATE:FULL]", default_value = "10:30:100")]
    pub max_startups: value::Startups,

    /// How many of them may come from one address (IPv6: one /64), not counting those in a WebSocket
    #[arg(long, value_name = "N", default_value = "20", value_parser = value::at_least_one)]
    pub max_startups_per_source: usize,

    /// How often logins from one address may fail in a row; then it is let in once a second
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_failures_per_source: u32,

    /// How many channels a client may have open at once
    #[arg(long, value_name = "N", default_value = "256", value_parser = value::at_least_one)]
    pub max_channels: usize,

    /// Show the text of FILE to clients before they log in
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub banner: Option<PathBuf>,
}

/// What every verb that moves data shares
#[derive(Args, Clone, Debug)]
pub struct SharedArgs {
    #[command(flatten)]
    pub join: JoinArgs,

    #[command(flatten)]
    pub dial: DialArgs,

    #[command(flatten)]
    pub ws: WsArgs,

    #[command(flatten)]
    pub tls: ClientTlsArgs,

    #[command(flatten)]
    pub ssh: SshArgs,

    #[command(flatten)]
    pub ssh_pool: SshPoolArgs,

    #[command(flatten)]
    pub nats: NatsArgs,

    #[command(flatten)]
    pub exec: ExecArgs,
}

/// Joining
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Joining")]
pub struct JoinArgs {
    /// How bytes become messages [default: lines; raw where both ends are byte streams]
    #[arg(long, value_enum, value_name = "FRAMING")]
    pub frame: Option<Framing>,

    /// Send everything as text messages
    #[arg(long, conflicts_with = "binary")]
    pub text: bool,

    /// Send everything as binary messages
    #[arg(short, long)]
    pub binary: bool,

    /// When the input has ended, go on until nothing was received for this long; `inf` never gives up
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration)]
    pub linger: Duration,

    /// End a join that has been quiet for this long [default: never]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub idle_timeout: Option<Duration>,

    /// The largest message in either direction; a larger one is answered with Close 1009
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = value::message_size)]
    pub max_message: Size,
}

/// Connecting
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connecting")]
pub struct DialArgs {
    /// How long resolving, connecting and all handshakes may take
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub connect_timeout: Duration,

    /// Ignore HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY
    #[arg(long)]
    pub no_proxy: bool,
}

/// WebSocket
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "WebSocket")]
pub struct WsArgs {
    /// A header of the handshake request, as `Name: value` (repeat)
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<Header>,

    /// A subprotocol to offer, or for a listener to grant (repeat, or separate with commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::token)]
    pub subprotocol: Vec<String>,

    /// The Origin to send
    #[arg(long, value_name = "ORIGIN", value_parser = value::header_text)]
    pub origin: Option<String>,

    /// The Host to send in place of the address's
    #[arg(long, value_name = "HOST", value_parser = value::header_text)]
    pub host: Option<String>,

    /// Log in with HTTP basic authentication; `@FILE` reads USER:PASSWORD from a file
    #[arg(long, value_name = "USER:PASSWORD", value_parser = value::secret)]
    pub user: Option<value::Secret>,

    /// Log in with a bearer token; `@FILE` reads it from a file
    #[arg(long, value_name = "TOKEN", value_parser = value::secret)]
    pub bearer: Option<value::Secret>,

    /// A cookie to send, as `name=value` (repeat)
    #[arg(long, value_name = "COOKIE", value_parser = value::header_text)]
    pub cookie: Vec<String>,

    /// Send a Ping after this much quiet [default: off in connect, 30s in serve and with --reconnect]
    #[arg(long = "ping-interval", value_name = "DUR", value_parser = duration)]
    pub ping: Option<Duration>,

    /// Take the connection for lost when a Ping has gone unanswered for this long
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub ping_timeout: Duration,

    /// How many HTTP redirects to follow
    #[arg(long, value_name = "N", default_value = "0")]
    pub max_redirects: u8,

    /// Connect over HTTP/2 (RFC 8441), where WebSockets to one place share a connection
    #[arg(long)]
    pub http2: bool,
}

/// TLS
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub struct ClientTlsArgs {
    /// Trust the authorities in FILE, PEM, in place of the system's (repeat)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Vec<PathBuf>,

    /// Log in with this certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "client_key", value_hint = ValueHint::FilePath)]
    pub client_cert: Option<PathBuf>,

    /// The private key of --client-cert, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert", value_hint = ValueHint::FilePath)]
    pub client_key: Option<PathBuf>,

    /// The server name to ask for and to check
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,

    /// A protocol to offer by ALPN (repeat, or separate with commas)
    #[arg(long, value_name = "PROTO", value_delimiter = ',')]
    pub alpn: Vec<String>,

    /// Accept any certificate
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Accept only a certificate with this SHA-256 fingerprint, whoever signed it (repeat)
    #[arg(long, value_name = "sha256:HEX")]
    pub pin: Vec<Pin>,
}

/// SSH
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "SSH")]
pub struct SshArgs {
    /// Read this ssh_config in place of ~/.ssh/config and the system's; `none` reads none
    #[arg(short = 'F', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ssh_config: Option<PathBuf>,

    /// Log in with this private key (repeat) [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa and the agent's]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,

    /// The name to log in with where the address has none
    #[arg(short, long, value_name = "NAME")]
    pub login: Option<String>,

    /// Read the passphrase of private keys from FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,

    /// Read the password to log in with from FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// What to do about the key of a host [default: ask on a terminal, strict elsewhere]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub host_key_policy: Option<HostKeyPolicy>,

    /// Look for host keys in FILE in place of the usual files (repeat)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub known_hosts: Vec<PathBuf>,

    /// Ask a quiet SSH server for a sign of life; three without an answer end the session, 0 never asks [default: 20s]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub ssh_keepalive: Option<Duration>,
}

/// SSH sessions
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "SSH")]
pub struct SshPoolArgs {
    /// How many SSH sessions to spread the channels to one host over
    #[arg(long, value_name = "N", default_value = "1", value_parser = value::at_least_one)]
    pub connections: usize,
}

/// What to do about the key of an SSH server
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostKeyPolicy {
    /// Ask about a host that is not known
    Ask,
    /// Refuse a host that is not known
    Strict,
    /// Learn the key of a host that is not known; refuse one that has changed
    AcceptNew,
    /// Accept any key, without a look
    Off,
}

/// NATS
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// Log in with a user's credentials: a JWT and a seed, as `nsc` writes them
    #[arg(long, value_name = "FILE", value_parser = value::secret_file, value_hint = ValueHint::FilePath)]
    pub nats_creds: Option<value::Secret>,

    /// Log in with an nkey, whose seed is in FILE
    #[arg(long, value_name = "FILE", value_parser = value::secret_file, value_hint = ValueHint::FilePath, conflicts_with = "nats_creds")]
    pub nats_nkey: Option<value::Secret>,

    /// Log in with the token in FILE
    #[arg(long, value_name = "FILE", value_parser = value::secret_file, value_hint = ValueHint::FilePath, conflicts_with_all = ["nats_creds", "nats_nkey"])]
    pub nats_token_file: Option<value::Secret>,
}

/// Child processes
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Child processes")]
pub struct ExecArgs {
    /// How many children of exec:, sh: and pty: may run at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = value::at_least_one)]
    pub max_children: usize,

    /// How long a child has to stop after each of: end of input, SIGHUP, SIGTERM; then SIGKILL
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = duration)]
    pub stop_grace: Duration,
}
