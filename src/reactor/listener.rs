//! A listening socket.

use std::future::poll_fn;
use std::net::TcpListener as Bound;

use rustix::event::epoll::EventFlags;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::net::{TcpListener, TcpStream};

use super::{OwnedFd, Reactor, Socket, SocketAddr, Watched, What, io};
use crate::duplex::ByteStream;

/// A listener, watched by whatever watches sockets where it is first asked for a connection.
pub(crate) enum Listener {
    /// It has not been asked yet.
    Bound(Bound),
    Tokio(TcpListener),
    Watched(OwnedFd, Watched),
}

/// A connection that has come. Nothing watches it yet, since another thread may serve it.
pub(crate) struct Accepted(OwnedFd);

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self::Bound(listener.into_std()?))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the system says; it may go away.
    pub(crate) async fn accept(&mut self) -> io::Result<(Accepted, SocketAddr)> {
        if let Self::Bound(bound) = self {
            let bound = bound.try_clone()?;
            *self = match Reactor::here() {
                Some(reactor) => {
                    let fd = OwnedFd::from(bound);
                    let watched = reactor.watch(&fd, EventFlags::ET | EventFlags::IN)?;
                    Self::Watched(fd, watched)
                }
                None => Self::Tokio(TcpListener::from_std(bound)?),
            };
        }
        match self {
            Self::Bound(_) => Err(io::ErrorKind::NotConnected.into()),
            Self::Tokio(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Accepted(stream.into_std()?.into()), from))
            }
            Self::Watched(fd, watched) => {
                let source = &watched.source;
                poll_fn(|cx| source.poll(What::Read, cx, || Ok((accept(fd)?, false)))).await
            }
        }
    }
}

fn accept(listener: &OwnedFd) -> io::Result<(Accepted, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, from) = acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| from.try_into().ok());
    Ok((Accepted(socket), from.ok_or(io::ErrorKind::InvalidData)?))
}

impl Accepted {
    /// As a stream of whatever watches sockets here.
    pub(crate) fn stream(self) -> io::Result<ByteStream> {
        match Reactor::here() {
            Some(reactor) => Ok(ByteStream::Watched(Socket::new(reactor, self.0)?)),
            None => Ok(ByteStream::Tcp(TcpStream::from_std(self.0.into())?)),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getsockname(&self.0)?;
        address.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
