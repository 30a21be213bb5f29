//! towline joins endpoints: stdin, files, programs, TCP, TLS, Unix sockets, WebSockets, SSH.
//!
//! Three ideas carry it. An [`endpoint::Endpoint`] is a value parsed once; nothing else knows what
//! kind it is. A [`duplex::Duplex`] is either bytes or messages. [`relay::relay`] is the only place
//! where data moves, [`accept::accept`] the only place where connections come in.
//!
//! The modules, in reading order:

pub mod cli;
pub mod command;

pub mod endpoint;

pub mod accept;
mod buffers;
pub mod duplex;
pub mod framing;
mod prefixed;
pub mod relay;

pub mod bench;
pub mod console;
pub mod hub;
pub mod probe;
pub mod recording;

pub mod http;
mod http2;
pub mod proxy;
pub mod site;
pub mod ssh;
pub mod tls;

pub mod backoff;
pub mod context;
pub mod error;
pub mod inherited;
mod lock;
pub mod metrics;
pub mod network;
#[cfg(not(target_os = "linux"))]
#[path = "reactor/elsewhere.rs"]
mod reactor;
#[cfg(target_os = "linux")]
mod reactor;
pub mod report;
mod resting;
pub mod signal;
mod slab;
mod stamp;
pub mod threads;
pub mod trace;
