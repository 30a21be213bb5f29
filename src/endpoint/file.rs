//! `file:PATH`.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::fs;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stdio::Output;
use super::{Call, Footing, Ground, Scheme, Shape, Side};
use crate::duplex::{ByteStream, Duplex, Io};
use crate::error::{Error, Kind, Result, plain};
use crate::framing::Framing;

/// A file: to read where it is the near end of a join, to append to where it is the far end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    path: PathBuf,
}

impl Scheme for File {
    const NAMES: &'static [&'static str] = &["file"];
    const USAGE: &'static str = "file:PATH";
    const HELP: &'static str =
        "a file: the first of two addresses is read, the last is appended to";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const SHAPE: Shape = Shape::Either;
    const FRAMING: Framing = Framing::Lines;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        match rest {
            "" => Err("a path is missing, as in file:log.txt".into()),
            path if path.contains('\0') => Err("a path has no zero bytes".into()),
            path => Ok(Self { path: path.into() }),
        }
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        let mut how = fs::OpenOptions::new();
        match call.side {
            Side::Near => how.read(true),
            Side::Far => how.append(true).create(true),
        };
        // One message is one write; 128 KiB is more than what may be waiting before it.
        let longest = call.cx.shared.join.max_message.saturating_add(128 << 10);
        let path = self.path.clone();
        let opening = Box::pin(async move {
            // This waits on a thread that may.
            let mut file = how.open(path).await?;
            file.set_max_buf_size(longest);
            Ok(file)
        });
        let handle = match fs::metadata(&self.path).await {
            // A FIFO may wait for its other end for longer than a connection may take.
            Ok(about) if about.file_type().is_fifo() => Handle::Opening(opening),
            Ok(about) if about.is_dir() => return Err(Error::new(Kind::Usage, "is a directory")),
            _ => Handle::Open(opening.await.map_err(|error| unusable(&error))?),
        };
        let file = Named { handle, name: self.to_string() };
        Ok(Duplex::Bytes(match call.side {
            Side::Near => ByteStream::other(Source { file, output: Output::open() }),
            Side::Far => ByteStream::other(Log { file }),
        }))
    }
}

fn unusable(error: &io::Error) -> Error {
    Error::new(Kind::Usage, plain(error))
}

/// A file that can say its name when it fails in the middle of a join.
struct Named {
    handle: Handle,
    name: String,
}

enum Handle {
    Opening(BoxFuture<'static, io::Result<fs::File>>),
    Open(fs::File),
}

impl Named {
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut fs::File>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let outcome = match &mut self.handle {
            Handle::Open(file) => act(Pin::new(file), cx),
            Handle::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                Ok(mut file) => {
                    let outcome = act(Pin::new(&mut file), cx);
                    self.handle = Handle::Open(file);
                    outcome
                }
                Err(error) => Poll::Ready(Err(error)),
            },
        };
        outcome.map_err(|error| Error::io(error).at(&self.name).into())
    }
}

/// A file that is read; what is said to it goes to stdout.
struct Source {
    file: Named,
    output: Output,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.file.poll(cx, |file, cx| file.poll_read(cx, buf))
    }
}

impl AsyncWrite for Source {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(cx)
    }
}

impl Io for Source {}

/// A file that is appended to. The system places each write at the end, whoever else writes, so
/// that the messages of several peers stay whole.
struct Log {
    file: Named,
}

impl AsyncRead for Log {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Log {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.file.poll(cx, |file, cx| file.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.file.handle {
            // Nothing was written yet.
            Handle::Opening(_) => Poll::Ready(Ok(())),
            Handle::Open(_) => self.file.poll(cx, |file, cx| file.poll_flush(cx)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Io for Log {
    fn endless(&self) -> bool {
        true
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.path.display())
    }
}
