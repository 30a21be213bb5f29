//! `-`, the console: stdin and stdout.

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::termios::tcgetwinsize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::accept::Peer;
#[cfg(target_os = "linux")]
use crate::buffers::CHUNK;
use crate::console;
use crate::duplex::{ByteStream, Duplex, Io};
use crate::error::{Error, Result};
use crate::framing::Framing;
use crate::ssh::{Size, Terminal};

mod input;
mod output;

use input::Input;
pub(crate) use output::Output;

/// The terminal at which a person sits, if stdin and stdout are one.
pub(super) fn terminal() -> Option<Terminal> {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0)?;
    console::is_terminal().then(|| Terminal {
        kind: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        size: Size { columns: size.ws_col.into(), rows: size.ws_row.into() },
    })
}

/// This console.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stdio;

impl Scheme for Stdio {
    const NAMES: &'static [&'static str] = &["-"];
    const USAGE: &'static str = "-";
    const HELP: &'static str = "stdin and stdout; a line editor where both are a terminal; as the target of `serve`, shared by all peers";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const SHAPE: Shape = Shape::Either;
    const FRAMING: Framing = Framing::Lines;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        match rest {
            "" => Ok(Self),
            _ => Err("`-` stands alone".into()),
        }
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        if call.cx.serve.is_some() {
            let member = call.cx.hubs.join_console(&super::hub::introduce(call));
            return Ok(Duplex::Messages(Box::new(member)));
        }
        if let Some(args) = &call.cx.console
            && console::is_interactive(&call.cx.shared.join)
        {
            let typing = call.cx.shared.join.typing();
            let console = console::Console::open(args, typing, call.near == Shape::Bytes)?;
            return Ok(Duplex::Messages(Box::new(console)));
        }
        let mut console = Console::new();
        if call.cx.mute {
            console.stdout = Output::nowhere();
        }
        Ok(Duplex::Bytes(ByteStream::other(console)))
    }
}

impl fmt::Display for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-")
    }
}

/// The connection that is our stdin and stdout: a socket, or a pair of pipes.
pub(crate) fn handed_over() -> Result<(ByteStream, Peer)> {
    let Ok(address) = rustix::net::getpeername(rustix::stdio::stdin()) else {
        let peer = Peer { address: "stdin".into(), framing: Framing::Lines, ..Peer::default() };
        // Here an end of input without a single byte is a peer that has left.
        let console = Console { spoke: true, ..Console::new() };
        return Ok((ByteStream::other(console), peer));
    };
    let socket =
        rustix::io::dup(rustix::stdio::stdin()).map_err(|error| Error::io(error.into()))?;
    let peer = |address: String| Peer { address, ..Peer::default() };
    match address.map(SocketAddr::try_from) {
        Some(Ok(address)) => {
            let socket = std::net::TcpStream::from(socket);
            socket.set_nonblocking(true).map_err(Error::io)?;
            let socket = TcpStream::from_std(socket).map_err(Error::io)?;
            Ok((ByteStream::Tcp(socket), peer(address.to_string())))
        }
        _ => {
            let socket = std::os::unix::net::UnixStream::from(socket);
            socket.set_nonblocking(true).map_err(Error::io)?;
            let socket = UnixStream::from_std(socket).map_err(Error::io)?;
            Ok((ByteStream::Unix(socket), peer("unix:".into())))
        }
    }
}

/// stdin and stdout as one byte stream.
pub(crate) struct Console {
    stdin: Input,
    stdout: Output,
    terminal: bool,
    /// Whether stdin has said anything at all, and whether it has ended.
    spoke: bool,
    ended: bool,
    /// Whether anything was written to stdout.
    heard: bool,
}

impl Console {
    pub(crate) fn new() -> Self {
        let terminal = io::stdin().is_terminal();
        let (stdin, stdout) = (Input::open(), Output::open());
        Self { stdin, stdout, terminal, spoke: false, ended: false, heard: false }
    }
}

/// Lets a pipe hold as much as is read or written at once: those at its two ends wait for each other
/// less often. There may be too many such pipes, which is no reason to fail.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn widen(pipe: &impl AsFd) {
    #[cfg(target_os = "linux")]
    if rustix::pipe::fcntl_getpipe_size(pipe).is_ok_and(|size| size < CHUNK) {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, CHUNK);
    }
}

impl AsyncRead for Console {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            // An input that ended without a single byte (`</dev/null`, cron) was never meant as
            // one: the session only receives.
            return match self.spoke {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            };
        }
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.stdin).poll_read(cx, buf)) {
            Ok(()) => {}
            // A closed descriptor 0 is an input without a byte, too.
            Err(error) if error.raw_os_error() == Some(9) => {}
            Err(error) => return Poll::Ready(Err(Error::io(error).at("stdin").into())),
        }
        if buf.filled().len() > before {
            self.spoke = true;
            return Poll::Ready(Ok(()));
        }
        self.ended = true;
        self.poll_read(cx, buf)
    }
}

impl AsyncWrite for Console {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stdout).poll_write(cx, buf));
        self.heard |= written.is_ok();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_shutdown(cx)
    }
}

impl Io for Console {
    /// A reader that leaves before it has got anything (`| true`) may not be what the run is for,
    /// unless there is no input either.
    fn poll_deaf(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let gone = ready!(self.stdout.poll_gone(cx));
        if self.heard || self.endless() { Poll::Ready(gone) } else { Poll::Pending }
    }

    fn endless(&self) -> bool {
        self.terminal || (self.ended && !self.spoke)
    }
}
