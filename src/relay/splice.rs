//! Socket to socket through a kernel pipe: no copy into user space, and no `unsafe`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::duplex::ByteStream;

/// The kernel's default size of a pipe. Larger ones were no cheaper in CPU time, and an
/// unprivileged user may have about a thousand of this size.
const SIZE: usize = 64 << 10;

/// A kernel pipe that carries one direction of a join.
///
/// It is always empty before the socket is read, so that a full pipe is never mistaken for a
/// socket without data: both are `EAGAIN`.
pub(super) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    held: usize,
}

impl Pipe {
    pub(super) fn open() -> io::Result<Self> {
        let (output, input) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        Ok(Self { output, input, held: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what a socket has into the empty pipe; 0 is its end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: Socket<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, |fd| self.fill(fd, SIZE)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Moves what the pipe holds into a socket.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: Socket<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, |fd| self.drain(fd)) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves at most so much of what a socket has now into the empty pipe.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>, most: usize) -> Result<usize, Errno> {
        self.held = splice(from, None, &self.input, None, most.min(SIZE), flags())?;
        Ok(self.held)
    }

    /// Moves what a socket takes now out of the pipe.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let moved = splice(&self.output, None, to, None, self.held, flags())?;
        self.held -= moved;
        Ok(moved)
    }

    /// Takes out what the pipe holds, to be copied instead.
    pub(super) fn take(&mut self) -> io::Result<Bytes> {
        let mut data = vec![0; self.held];
        let mut filled = 0;
        while filled < data.len() {
            filled += rustix::io::read(&self.output, &mut data[filled..])?;
        }
        self.held = 0;
        Ok(data.into())
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

/// A byte stream that is a kernel socket.
#[derive(Clone, Copy)]
pub(super) enum Socket<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
}

impl<'a> Socket<'a> {
    pub(super) fn of(stream: &'a ByteStream) -> Option<Self> {
        match stream {
            ByteStream::Tcp(tcp) => Some(Self::Tcp(tcp)),
            ByteStream::Unix(unix) => Some(Self::Unix(unix)),
            _ => None,
        }
    }

    fn poll_read_ready(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Unix(unix) => unix.poll_write_ready(cx),
        }
    }

    /// Runs a non-blocking operation, and notes that the socket is not ready if it would block.
    fn try_io(
        self,
        interest: Interest,
        operation: impl FnOnce(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        use std::os::fd::AsFd;
        match self {
            Self::Tcp(tcp) => tcp.try_io(interest, || Ok(operation(tcp.as_fd())?)),
            Self::Unix(unix) => unix.try_io(interest, || Ok(operation(unix.as_fd())?)),
        }
    }
}
