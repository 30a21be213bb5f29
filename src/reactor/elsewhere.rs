//! Where there is no epoll, all sockets are tokio's.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::duplex::ByteStream;

/// A listener.
pub(crate) struct Listener(TcpListener);

/// A connection that has come.
pub(crate) struct Accepted(TcpStream);

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(listener))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the system says; it may go away.
    pub(crate) async fn accept(&mut self) -> io::Result<(Accepted, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        Ok((Accepted(stream), from))
    }
}

impl Accepted {
    /// As a stream.
    pub(crate) fn stream(self) -> io::Result<ByteStream> {
        Ok(ByteStream::Tcp(self.0))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Connects to an address; `from` one of this machine, if it is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<ByteStream> {
    let Some(from) = from else { return TcpStream::connect(to).await.map(ByteStream::Tcp) };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind((from, 0).into())?;
    socket.connect(to).await.map(ByteStream::Tcp)
}
