//! What we listen on for a client, and the connections that come there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::server::{Handle, Msg};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::forward::{join, shown};
use super::ports::Port;
use super::visit::Visit;
use crate::duplex::ByteStream;
use crate::endpoint::{BoundUnix, tune_tcp};
use crate::report;
use crate::ssh::Forward;
use crate::ssh::channel::{Channel, Role};

/// What we listen on for a client.
pub(super) struct Listening {
    pub(super) visit: Arc<Visit>,
    pub(super) session: Handle,
    /// As the client asked for it, with the port that was chosen.
    pub(super) at: Forward,
}

/// A socket that is listened on.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(BoundUnix),
}

impl Socket {
    /// The next connection, and where it comes from.
    async fn accept(&self) -> io::Result<(ByteStream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, from) = socket.accept().await?;
                let _ = tune_tcp(&stream);
                Ok((ByteStream::Tcp(stream), Some(from)))
            }
            Self::Unix(socket) => Ok((ByteStream::Unix(socket.accept().await?), None)),
        }
    }
}

impl Listening {
    /// Hands on what comes to the sockets, until the place is given up.
    pub(super) async fn run(self, sockets: Vec<Socket>, held: Port) {
        let this = Arc::new(self);
        let mut accepting = JoinSet::new();
        for socket in sockets {
            let this = this.clone();
            accepting.spawn(async move {
                loop {
                    match socket.accept().await {
                        Ok((stream, from)) => this.take(stream, from),
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
        // The sockets are closed when the place is said to be free.
        accepting.shutdown().await;
        drop(held);
    }

    /// Hands a connection on to the client.
    fn take(self: &Arc<Self>, stream: ByteStream, from: Option<SocketAddr>) {
        if self.visit.is_full() {
            return;
        }
        let this = self.clone();
        let share = self.visit.load.share();
        self.visit.cx.peers.spawn(async move {
            let opened = tokio::select! {
                opened = this.open(from) => opened,
                () = this.visit.over.cancelled() => return,
            };
            match opened {
                Ok(channel) => {
                    let channel = Channel::new(channel, Role::Forward, "", &this.visit.load);
                    drop(share);
                    join(stream, ByteStream::other(channel), &this.visit.cx).await;
                }
                Err(error) => {
                    let (at, why) = (shown(&this.at), crate::ssh::failure(error));
                    report::verbose(format_args!("{}: {at}: {why}", this.visit.address));
                }
            }
        });
    }

    async fn open(&self, from: Option<SocketAddr>) -> Result<russh::Channel<Msg>, russh::Error> {
        match &self.at {
            Forward::Tcp(host, port) => {
                let from = from.map(|it| (it.ip().to_canonical().to_string(), it.port()));
                let (from, from_port) = from.unwrap_or_default();
                let from_port = from_port.into();
                self.session.channel_open_forwarded_tcpip(host, *port, from, from_port).await
            }
            Forward::Unix(path) => self.session.channel_open_forwarded_streamlocal(path).await,
        }
    }
}
