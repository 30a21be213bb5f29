//! Listening sockets that systemd opened for us (`LISTEN_FDS`, sd_listen_fds(3)), handed out in
//! the order of the addresses on the command line.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;

use listenfd::ListenFd;

use crate::lock::lock;

/// The sockets that are left.
pub struct Inherited(Mutex<Left>);

struct Left {
    fds: ListenFd,
    next: usize,
}

impl Inherited {
    /// Takes the sockets out of the environment, so that children do not take them too.
    pub fn from_env() -> Self {
        Self(Mutex::new(Left { fds: ListenFd::from_env(), next: 0 }))
    }

    /// The next socket, which has to be a TCP one.
    ///
    /// # Errors
    /// It is something else.
    pub fn tcp(&self) -> io::Result<Option<std::net::TcpListener>> {
        self.take(ListenFd::take_tcp_listener)
    }

    /// The next socket, which has to be a Unix one.
    ///
    /// # Errors
    /// It is something else.
    pub fn unix(&self) -> io::Result<Option<UnixListener>> {
        self.take(ListenFd::take_unix_listener)
    }

    fn take<T>(
        &self,
        take: impl FnOnce(&mut ListenFd, usize) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let mut left = lock(&self.0);
        let next = left.next;
        if next >= left.fds.len() {
            return Ok(None);
        }
        left.next += 1;
        take(&mut left.fds, next)
    }
}
