//! stdout, written in the way that suits what it is; see [`Input`](super::input::Input).

use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rustix::fs::{FileType, fstat};
use rustix::stdio::stdout;
use tokio::io::{AsyncWrite, Interest, Stdout};
use tokio::net::unix::pipe;

use crate::error::{Error, Kind};

/// Opened, it is a description of our own; see [`Input::Pipe`](super::input::Input::Pipe).
const STDOUT: &str = "/proc/self/fd/1";

/// stdout, which stays open when a join ends.
pub(crate) struct Output {
    kind: Kinds,
    /// Tells when a pipe has lost its reader.
    hangup: Option<BoxFuture<'static, ()>>,
}

enum Kinds {
    Pipe(pipe::Sender),
    File(File),
    Other(Stdout),
    Nowhere,
}

impl Output {
    /// In place of stdout: what is written is discarded.
    pub(super) fn nowhere() -> Self {
        Self { kind: Kinds::Nowhere, hangup: None }
    }

    pub(crate) fn open() -> Self {
        let mode = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let special = match mode {
            Ok(FileType::Fifo) => {
                let pipe = pipe::OpenOptions::new().open_sender(STDOUT).ok();
                pipe.inspect(super::widen).map(Kinds::Pipe)
            }
            Ok(FileType::RegularFile) => {
                rustix::io::dup(stdout()).ok().map(|file| Kinds::File(file.into()))
            }
            _ => None,
        };
        let kind = special.unwrap_or_else(|| Kinds::Other(tokio::io::stdout()));
        let hangup = match kind {
            Kinds::Pipe(_) => pipe::OpenOptions::new().open_sender(STDOUT).ok().map(hangup),
            _ => None,
        };
        Self { kind, hangup }
    }

    /// Ready when the reader has gone, if that can be told.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(hangup) = &mut self.hangup else { return Poll::Pending };
        ready!(hangup.as_mut().poll(cx));
        // Gone is gone, however often it is asked.
        self.hangup = Some(Box::pin(async {}));
        Poll::Ready(gone())
    }
}

/// A pipe without a reader is in error, whether or not anything is written to it.
fn hangup(pipe: pipe::Sender) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        // Failing is no news: the next write will tell.
        if pipe.ready(Interest::ERROR).await.is_err() {
            pending::<()>().await;
        }
    })
}

impl AsyncWrite for Output {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.kind {
            Kinds::Pipe(pipe) => ready!(Pin::new(pipe).poll_write(cx, buf)),
            Kinds::File(file) => file.write(buf),
            Kinds::Other(stdout) => ready!(Pin::new(stdout).poll_write(cx, buf)),
            Kinds::Nowhere => Ok(buf.len()),
        };
        Poll::Ready(written.map_err(failure))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
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
        io::ErrorKind::BrokenPipe => gone().into(),
        _ => Error::io(error).at("stdout").into(),
    }
}

fn gone() -> Error {
    Error::new(Kind::ClosedOutput, "stdout was closed")
}
