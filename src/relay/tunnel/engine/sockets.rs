//! What the thread does with sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::duplex::ByteStream;
use crate::endpoint::Side;
use crate::reactor::Reactor;
use crate::relay::splice::Pipe;
use crate::relay::tunnel::flow::{Ends, Spliced};

/// Takes a socket away from its runtime, and says whether it is in the set of this reactor.
pub(super) fn socket(stream: ByteStream, here: &Arc<Reactor>) -> io::Result<(OwnedFd, bool)> {
    match stream {
        ByteStream::Tcp(tcp) => Ok((tcp.into_std()?.into(), false)),
        ByteStream::Unix(unix) => Ok((unix.into_std()?.into(), false)),
        ByteStream::Watched(socket) => {
            let (fd, reactor) = socket.into_fd();
            let known = Arc::ptr_eq(&reactor, here);
            if !known {
                epoll::delete(reactor.epoll(), &fd)?;
            }
            Ok((fd, known))
        }
        ByteStream::Other(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The sockets of a tunnel, and the pipe of the thread.
pub(super) struct Sockets<'a> {
    pub(super) sockets: &'a [OwnedFd; 2],
    pub(super) pipe: &'a mut Option<Pipe>,
    /// The side that was read, if that may not have been all there is.
    pub(super) left: Option<Side>,
}

impl Ends for Sockets<'_> {
    fn read(&mut self, side: Side, into: &mut [u8]) -> io::Result<usize> {
        let (len, _) = recv(&self.sockets[side as usize], &mut *into, RecvFlags::empty())?;
        if len == into.len() {
            self.left = Some(side);
        }
        Ok(len)
    }

    fn write(&mut self, side: Side, data: &[u8]) -> io::Result<usize> {
        Ok(send(&self.sockets[side as usize], data, SendFlags::NOSIGNAL)?)
    }

    fn end(&mut self, side: Side) {
        let _ = shutdown(&self.sockets[side as usize], Shutdown::Write);
    }

    fn splice(&mut self, from: Side, most: u64) -> Option<io::Result<Spliced>> {
        if self.pipe.is_none() {
            *self.pipe = Pipe::open().ok();
        }
        let pipe = self.pipe.as_mut()?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let len = match pipe.fill(self.sockets[from as usize].as_fd(), most) {
            Ok(len) => len,
            Err(errno) => return Some(Err(errno.into())),
        };
        self.left = Some(from);
        let mut failed = None;
        while !pipe.is_empty() && failed.is_none() {
            match pipe.drain(self.sockets[from.other() as usize].as_fd()) {
                Ok(_) | Err(Errno::INTR) => {}
                // One that cannot be spliced to is written to instead.
                Err(Errno::AGAIN | Errno::INVAL) => break,
                Err(errno) => failed = Some(errno.into()),
            }
        }
        let rest = pipe.take().unwrap_or_else(|error| {
            *self.pipe = None;
            failed.get_or_insert(error);
            Bytes::new()
        });
        Some(Ok(Spliced { len, rest, failed }))
    }
}
