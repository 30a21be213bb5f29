//! A pseudo terminal, with a child as the leader of its session.

use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pty_process::{OwnedReadPty, OwnedWritePty, Pty, Size};
use rustix::io::Errno;
use rustix::termios::{SpecialCodeIndex, tcgetattr, tcgetwinsize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, Command};

/// Our end of a pseudo terminal.
pub(super) struct Terminal {
    pty: Pty,
    /// The character that ends the input.
    end: u8,
}

impl Terminal {
    /// Starts a command on a new pseudo terminal of the size of our own, if we have one.
    pub(super) fn spawn(command: Command) -> io::Result<(Child, Self)> {
        let (pty, far) = pty_process::open().map_err(plain_io)?;
        pty.resize(size()).map_err(plain_io)?;
        let end = tcgetattr(&far)?.special_codes[SpecialCodeIndex::VEOF];
        let child = pty_process::Command::from(command).spawn(far).map_err(plain_io)?;
        Ok((child, Self { pty, end }))
    }

    pub(super) fn into_split(self) -> (Input, Output) {
        let (output, input) = self.pty.into_split();
        (Input { pty: input, end: self.end, at_start: true, ending: 0 }, Output(output))
    }
}

fn plain_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other),
    }
}

fn size() -> Size {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let ours = [
        stdin.is_terminal().then(|| tcgetwinsize(&stdin)),
        stdout.is_terminal().then(|| tcgetwinsize(&stdout)),
        stderr.is_terminal().then(|| tcgetwinsize(&stderr)),
    ];
    match ours.into_iter().flatten().flatten().find(|size| size.ws_col > 0 && size.ws_row > 0) {
        Some(size) => Size::new(size.ws_row, size.ws_col),
        None => Size::new(24, 80),
    }
}

/// What the child reads from its terminal.
pub(super) struct Input {
    pty: OwnedWritePty,
    end: u8,
    at_start: bool,
    ending: u8,
}

/// What the child writes to its terminal.
pub(super) struct Output(OwnedReadPty);

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.pty).poll_write(cx, buf)).map_err(hung_up)?;
        if let Some(last) = buf[..written].last() {
            self.at_start = *last == b'\n';
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pty).poll_flush(cx)
    }

    /// Types the character that ends the input, since half a terminal cannot be closed. In the
    /// middle of a line the first one only hands the line over.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let wanted = if this.at_start { 1 } else { 2 };
        while this.ending < wanted {
            ready!(Pin::new(&mut this.pty).poll_write(cx, &[this.end])).map_err(hung_up)?;
            this.ending += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buf)).map_err(hung_up) {
            // The last program has closed the terminal: this is how its end looks from here.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

/// A terminal without a program is for us what a pipe without a reader is.
fn hung_up(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::IO) => io::ErrorKind::BrokenPipe.into(),
        _ => error,
    }
}
