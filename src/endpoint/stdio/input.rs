//! stdin, read in the way that suits what it is.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FileType, fstat};
use rustix::stdio::stdin;
use tokio::io::{AsyncRead, ReadBuf, Stdin};
use tokio::net::unix::pipe;

/// stdin.
pub(super) enum Input {
    /// A pipe, through a description of its own. Setting the one that was inherited to
    /// non-blocking would change it for every process that shares it.
    Pipe(pipe::Receiver),
    /// A file never lets a reader wait for others.
    File(File),
    /// Anything else is read by a thread that may block.
    Other(Stdin),
}

impl Input {
    pub(super) fn open() -> Self {
        let mode = fstat(stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let special = match mode {
            Ok(FileType::Fifo) => {
                let pipe = pipe::OpenOptions::new().open_receiver("/proc/self/fd/0").ok();
                pipe.inspect(super::widen).map(Self::Pipe)
            }
            Ok(FileType::RegularFile) => {
                rustix::io::dup(stdin()).ok().map(|file| Self::File(file.into()))
            }
            _ => None,
        };
        special.unwrap_or_else(|| Self::Other(tokio::io::stdin()))
    }
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::File(file) => {
                let read = file.read(buf.initialize_unfilled());
                Poll::Ready(read.map(|n| buf.advance(n)))
            }
            Self::Other(stdin) => Pin::new(stdin).poll_read(cx, buf),
        }
    }
}
