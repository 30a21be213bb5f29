//! stdout, written in the way that suits what it is; see [`Input`](super::input::Input).

use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{FileType, fstat};
use rustix::stdio::stdout;
use tokio::io::{AsyncWrite, Stdout};
use tokio::net::unix::pipe;

use crate::error::{Error, Kind};

/// stdout, which stays open when a join ends.
pub(crate) struct Output(Kinds);

enum Kinds {
    Pipe(pipe::Sender),
    File(File),
    Other(Stdout),
    Nowhere,
}

impl Output {
    /// In place of stdout: what is written is discarded.
    pub(super) fn nowhere() -> Self {
        Self(Kinds::Nowhere)
    }

    pub(crate) fn open() -> Self {
        let mode = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let special = match mode {
            Ok(FileType::Fifo) => {
                pipe::OpenOptions::new().open_sender("/proc/self/fd/1").ok().map(Kinds::Pipe)
            }
            Ok(FileType::RegularFile) => {
                rustix::io::dup(stdout()).ok().map(|file| Kinds::File(file.into()))
            }
            _ => None,
        };
        Self(special.unwrap_or_else(|| Kinds::Other(tokio::io::stdout())))
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.0 {
            Kinds::Pipe(pipe) => ready!(Pin::new(pipe).poll_write(cx, buf)),
            Kinds::File(file) => file.write(buf),
            Kinds::Other(stdout) => ready!(Pin::new(stdout).poll_write(cx, buf)),
            Kinds::Nowhere => Ok(buf.len()),
        };
        Poll::Ready(written.map_err(failure))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kinds::Pipe(_) | Kinds::File(_) | Kinds::Nowhere => Poll::Ready(Ok(())),
            Kinds::Other(stdout) => Pin::new(stdout).poll_flush(cx).map_err(failure),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// A reader that went away (`| head -1`) has what it wanted.
fn failure(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::new(Kind::ClosedOutput, "stdout was closed").into(),
        _ => Error::io(error).at("stdout").into(),
    }
}
