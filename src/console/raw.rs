//! The terminal as a far shell wants it: every key at once, nothing echoed, nothing translated.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::Io;
use crate::endpoint::Console;
use crate::error::{Error, Kind, Result};
use crate::report;

/// The terminal in raw mode; it is put back when this is dropped.
///
/// A line that begins with `~.` ends the connection, as in ssh: nothing else could, where the far
/// side hangs.
pub(crate) struct Raw {
    stdio: Console,
    found: Termios,
    typed: Typed,
}

/// How far the person has got in typing `~.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typed {
    LineStart,
    Tilde,
    Other,
}

impl Raw {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// [`Kind::Local`] if it refuses.
    pub(crate) fn open() -> Result<Self> {
        let failed = |error: rustix::io::Errno| Error::io(error.into()).at("terminal");
        let found = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = found.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        report::set_raw(true);
        let stdio = Console::new();
        Ok(Self { stdio, found, typed: Typed::LineStart })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.found);
        report::set_raw(false);
    }
}

impl Typed {
    /// What comes after another key; none where the connection is to end.
    fn then(self, key: u8) -> Option<Self> {
        match (self, key) {
            (_, b'\r' | b'\n') => Some(Self::LineStart),
            (Self::LineStart, b'~') => Some(Self::Tilde),
            (Self::Tilde, b'.') => None,
            _ => Some(Self::Other),
        }
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stdio).poll_read(cx, buf))?;
        for &key in &buf.filled()[before..] {
            let Some(typed) = self.typed.then(key) else {
                let error = Error::new(Kind::Interrupted, "ended by ~.");
                return Poll::Ready(Err(error.into()));
            };
            self.typed = typed;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdio).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdio).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdio).poll_shutdown(cx)
    }
}

impl Io for Raw {
    fn endless(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(keys: &str) -> bool {
        let step = |typed: Option<Typed>, key| typed.and_then(|typed| typed.then(key));
        keys.bytes().fold(Some(Typed::LineStart), step).is_none()
    }

    #[test]
    fn a_tilde_and_a_dot_end_only_at_the_start_of_a_line() {
        assert!(ends("~.") && ends("ls\r~.") && ends("~~\r~."));
        assert!(!ends("cd ~.") && !ends("~~.") && !ends("~ ."));
    }
}
