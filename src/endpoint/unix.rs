//! `unix:PATH`, `unix:@NAME`.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rustix::fs::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::accept::{Incoming, Listener, Peer};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result, plain};
use crate::trace::Phase;

/// A Unix stream socket, in the file system or in Linux's abstract namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unix {
    /// As written: a path, or `@` and a name.
    name: String,
}

impl Scheme for Unix {
    const NAMES: &'static [&'static str] = &["unix"];
    const USAGE: &'static str = "unix:PATH, unix:@NAME";
    const HELP: &'static str = "a Unix stream socket, in the file system or abstract";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Machine];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        if rest.is_empty() || rest == "@" {
            return Err("a path is missing, as in unix:/run/app.sock".into());
        }
        if rest.contains('\0') {
            return Err("a path has no zero bytes".into());
        }
        // The name of an abstract socket has the leading zero byte in the place of the `@`.
        if SocketAddr::from_pathname(rest).is_err() {
            let len = rest.len();
            return Err(format!("{len} bytes are too long a path for a Unix socket"));
        }
        Ok(Self { name: rest.to_owned() })
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        if let Some(session) = ground.machine() {
            return session.open_unix(&self.name, call.trace).await.map(Duplex::Bytes);
        }
        let _connecting = call.trace.enter(Phase::Tcp);
        let stream = dial(&self.path()).await.map_err(|error| self.refused(&error))?;
        call.trace.facts().peer = Some(self.to_string());
        Ok(Duplex::Bytes(ByteStream::Unix(stream)))
    }

    async fn listen(&self, cx: &Arc<Context>) -> Result<Listener> {
        let bound = match cx.inherited.unix().and_then(|it| it.map(Bound::adopt).transpose()) {
            Ok(Some(bound)) => bound,
            Ok(None) => self.bind().await?,
            Err(error) => return Err(not_listening(&error)),
        };
        let address: Arc<str> = self.to_string().into();
        let incoming = stream::unfold(bound, {
            let address = address.clone();
            move |bound| {
                let address = address.clone();
                async move {
                    let incoming = bound.accept().await;
                    Some((incoming.map(|stream| arrived(stream, &address)), bound))
                }
            }
        });
        Ok(Listener { address: address.to_string(), incoming: incoming.boxed() })
    }
}

fn arrived(stream: UnixStream, address: &str) -> Incoming {
    let who = stream.peer_cred().ok().map(|who| match who.pid() {
        Some(pid) => format!("[pid={pid},uid={}]", who.uid()),
        None => format!("[uid={}]", who.uid()),
    });
    let peer = Peer {
        address: format!("{address}{}", who.unwrap_or_default()),
        local: address.to_owned(),
        ..Peer::default()
    };
    // Another thread may serve it.
    let stream = stream.into_std();
    Incoming::taken(peer, || stream.and_then(UnixStream::from_std).map(ByteStream::Unix))
}

/// Connects; waits while the listener's queue is full, which a non-blocking connect only reports.
pub(crate) async fn dial(path: &Path) -> io::Result<UnixStream> {
    const FULL: Duration = Duration::from_millis(10);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(FULL).await;
            }
            outcome => return outcome,
        }
    }
}

impl Unix {
    /// The path, or `@` and a name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path to give to the system, where a zero byte in front stands for an abstract name.
    fn path(&self) -> PathBuf {
        match self.name.strip_prefix('@') {
            Some(name) => PathBuf::from(format!("\0{name}")),
            None => PathBuf::from(&self.name),
        }
    }

    fn refused(&self, error: &io::Error) -> Error {
        let refused = Error::new(Kind::Refused, plain(error));
        let kind = fs::metadata(&self.name).map(|file| file.file_type());
        match (error.kind(), kind) {
            _ if self.name.starts_with('@') => refused.hint("nobody listens under this name"),
            (io::ErrorKind::NotFound, _) => refused.hint("nobody has made this socket (yet)"),
            (io::ErrorKind::ConnectionRefused, Ok(kind)) if !kind.is_socket() => {
                refused.hint(format!("{} is not a socket", self.name))
            }
            (io::ErrorKind::ConnectionRefused, Ok(_)) => {
                refused.hint("the socket's listener is gone and has left the file behind")
            }
            (io::ErrorKind::PermissionDenied, _) => {
                refused.hint("to connect needs write permission for the socket")
            }
            _ => refused,
        }
    }

    async fn bind(&self) -> Result<Bound> {
        let path = self.path();
        bind(&path, None).await.map_err(|error| {
            let refused = not_listening(&error);
            match (error.kind(), fs::symlink_metadata(&path)) {
                (io::ErrorKind::AddrInUse, Ok(file)) if !file.file_type().is_socket() => {
                    refused.hint("a file that is not a socket is in the way")
                }
                (io::ErrorKind::AddrInUse, _) => refused.hint("somebody is listening there"),
                (io::ErrorKind::NotFound, _) => refused.hint("the directory does not exist"),
                _ => refused,
            }
        })
    }
}

/// Listens at a path, in the place of a socket that is stale; with a mode other than the usual one,
/// if it is given.
pub(crate) async fn bind(path: &Path, mode: Option<Mode>) -> io::Result<Bound> {
    let bind = || -> io::Result<Bound> {
        let socket = UnixSocket::new_stream()?;
        if let Some(mode) = mode {
            // The file gets the mode that the socket has, so that nobody comes in before a chmod.
            fchmod(&socket, mode)?;
        }
        socket.bind(path)?;
        let file = Some(SocketFile { path: path.to_owned(), identity: identity(path) });
        Ok(Bound { socket: socket.listen(BACKLOG)?, _file: file })
    };
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && remove_stale(path).await => {
            bind()
        }
        outcome => outcome,
    }
}

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

fn not_listening(error: &io::Error) -> Error {
    Error::new(Kind::Refused, format!("cannot listen: {}", plain(error)))
}

/// Removes a socket file that nobody listens on any more; true if there was one.
async fn remove_stale(path: &Path) -> bool {
    let Ok(file) = fs::symlink_metadata(path) else { return false };
    if !file.file_type().is_socket() {
        return false;
    }
    let before = identity(path);
    match UnixStream::connect(path).await {
        // Another process may have replaced it in the meantime.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            before == identity(path) && fs::remove_file(path).is_ok()
        }
        _ => false,
    }
}

/// A listening socket, and the file to remove when it goes away.
pub(crate) struct Bound {
    socket: UnixListener,
    /// None where it was made by somebody else.
    _file: Option<SocketFile>,
}

struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Bound {
    /// Takes a socket that was opened for us.
    fn adopt(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(socket)?;
        Ok(Self { socket, _file: None })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may listen there by now.
        if self.identity.is_some() && self.identity == identity(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of the file at a path; none for an abstract name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl fmt::Display for Unix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.name)
    }
}
