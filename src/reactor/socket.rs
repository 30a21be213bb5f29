//! A connected socket.

use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, getpeername, recv,
    send, shutdown, socket_with, sockopt,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Arc, AsFd, Context, IpAddr, OwnedFd, Poll, Reactor, SocketAddr, Watched, What, io};
use crate::duplex::ByteStream;

/// A connected socket that a reactor watches.
pub struct Socket {
    fd: OwnedFd,
    watched: Watched,
    /// Whether it is watched for writing, too, which few need.
    writes: bool,
}

const READS: EventFlags = EventFlags::ET.union(EventFlags::IN).union(EventFlags::RDHUP);
const WRITES: EventFlags = READS.union(EventFlags::OUT);

/// Connects to an address; `from` one of this machine, if it is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<ByteStream> {
    match Reactor::here() {
        Some(reactor) => {
            let socket = Socket::connect(reactor, to, from)?;
            if socket.writes {
                std::future::poll_fn(|cx| socket.poll_connected(cx)).await?;
            }
            Ok(ByteStream::Watched(socket))
        }
        None => {
            let Some(from) = from else { return TcpStream::connect(to).await.map(ByteStream::Tcp) };
            let socket = open(to, Some(from))?;
            let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
            socket.connect(to).await.map(ByteStream::Tcp)
        }
    }
}

/// A socket that does not block.
fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(from) = from {
        // The port is chosen once it is known where to: one that is in use towards another place
        // will do.
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )?;
        rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    }
    Ok(socket)
}

impl Socket {
    /// Takes over one that is connected.
    pub(super) fn new(reactor: Arc<Reactor>, fd: OwnedFd) -> io::Result<Self> {
        let watched = reactor.watch(&fd, READS)?;
        watched.source.set_writable();
        Ok(Self { fd, watched, writes: false })
    }

    fn connect(reactor: Arc<Reactor>, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let fd = open(to, from)?;
        match rustix::net::connect(&fd, &to) {
            Ok(()) => {}
            // One that is near is connected already.
            Err(Errno::INPROGRESS) if getpeername(&fd).is_ok() => {}
            Err(Errno::INPROGRESS) => {
                let watched = reactor.watch(&fd, WRITES)?;
                return Ok(Self { fd, watched, writes: true });
            }
            Err(errno) => return Err(errno.into()),
        }
        Self::new(reactor, fd)
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.source.poll(What::Write, cx, || {
            sockopt::socket_error(&self.fd)??;
            match getpeername(&self.fd) {
                Ok(_) => Ok(((), false)),
                Err(Errno::NOTCONN) => Err(io::ErrorKind::WouldBlock.into()),
                Err(errno) => Err(errno.into()),
            }
        })
    }

    /// Takes it out of the hands of its task; it stays in the set of its reactor until that is told
    /// otherwise.
    pub(crate) fn into_fd(self) -> (OwnedFd, Arc<Reactor>) {
        (self.fd, self.watched.reactor.clone())
    }

    /// Has it send a reset when it is dropped.
    pub(crate) fn set_zero_linger(&self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// What the kernel has noted.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(sockopt::socket_error(&self.fd)?.err().map(Into::into))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { fd, watched, .. } = self.get_mut();
        let room = buf.initialize_unfilled();
        let read = watched.source.poll(What::Read, cx, || {
            let (len, _) = recv(&*fd, &mut *room, RecvFlags::empty())?;
            Ok((len, 0 < len && len < room.len()))
        });
        read.map_ok(|len| buf.advance(len))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { fd, watched, writes } = self.get_mut();
        watched.source.poll(What::Write, cx, || match send(&*fd, buf, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) if !*writes => {
                *writes = true;
                // That there is room meanwhile is an event, too.
                watched.change(fd, WRITES)?;
                Err(io::ErrorKind::WouldBlock.into())
            }
            sent => Ok((sent?, false)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match shutdown(&self.fd, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno.into()),
        })
    }
}
