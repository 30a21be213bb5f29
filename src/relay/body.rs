//! Moves the body of an HTTP message from one connection to another.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::http::body::{Body, LAST_CHUNK, Length, put_chunk};

/// What one read takes.
const PIECE: usize = 64 << 10;

/// What is asked of the ends of a body.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How long either may do nothing.
    pub(crate) patience: Duration,
    /// Bytes a second that have to come, on average over any [`WINDOW`] that is waited for them.
    /// How fast they are taken cannot be told so exactly: a socket says that there is room only
    /// when there is much of it.
    pub(crate) least: u64,
}

/// How long bytes are waited for until it is looked how many came, unless patience ends before.
const WINDOW: Duration = Duration::from_secs(20);

/// Moves a body; `buf` holds what was read before, and afterwards what follows it. Nothing but
/// content is passed on, in chunks of our own if it is to be `chunked`. `moved` counts its bytes.
///
/// # Errors
/// Which end failed, near being the one read from; [`Kind::Timeout`] for one that does not keep
/// pace.
pub(crate) async fn body<R, W>(
    (from, buf): (&mut R, &mut BytesMut),
    length: Length,
    (to, chunked): (&mut W, bool),
    pace: Pace,
    moved: &mut u64,
) -> Result<(), (Side, Error)>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let patience = pace.patience;
    let mut body = Body::new(length);
    let mut window = Window::new(pace);
    let mut out = Vec::new();
    loop {
        while let Some(piece) = body.next(buf).map_err(near)? {
            *moved += piece.len() as u64;
            match chunked {
                true => put_chunk(&piece, &mut out),
                false => write(to, &piece, patience).await?,
            }
        }
        if body.is_over() {
            break;
        }
        write(to, &out, patience).await?;
        out.clear();
        // It may be long until there is more, and TLS keeps what did not fit.
        timeout(patience, to.flush()).await.map_err(|_| far(late(patience)))?.map_err(lost)?;
        buf.reserve(PIECE);
        let (left, began) = (window.left(), Instant::now());
        let read = timeout(patience.min(left), from.read_buf(buf)).await;
        let read =
            read.map_err(|_| near(if left < patience { slow(pace) } else { late(patience) }))?;
        match read.map_err(|error| near(Error::lost(error)))? {
            0 => body.end().map_err(near)?,
            read => window.count(read as u64, began.elapsed()),
        }
    }
    if chunked {
        out.extend_from_slice(LAST_CHUNK);
    }
    write(to, &out, patience).await?;
    timeout(patience, to.flush()).await.map_err(|_| far(late(patience)))?.map_err(lost)
}

/// What has come since it was last looked at, and how long it was waited for.
struct Window {
    time: Duration,
    need: u64,
    bytes: u64,
    waited: Duration,
}

impl Window {
    fn new(pace: Pace) -> Self {
        let time = WINDOW.min(pace.patience);
        let need = (pace.least as f64 * time.as_secs_f64()) as u64;
        Self { time, need, bytes: 0, waited: Duration::ZERO }
    }

    /// How long the next bytes may take.
    fn left(&self) -> Duration {
        match self.bytes < self.need {
            true => self.time.saturating_sub(self.waited),
            false => Duration::MAX,
        }
    }

    fn count(&mut self, bytes: u64, waited: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
        // There were enough, or there would not have been so much time.
        if self.waited >= self.time {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }
}

fn lost(error: std::io::Error) -> (Side, Error) {
    far(Error::lost(error))
}

async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    mut data: &[u8],
    patience: Duration,
) -> Result<(), (Side, Error)> {
    while !data.is_empty() {
        let written = timeout(patience, to.write(data)).await.map_err(|_| far(late(patience)))?;
        match written.map_err(|error| far(Error::lost(error)))? {
            0 => return Err(far(Error::new(Kind::Lost, "connection lost inside an HTTP body"))),
            written => data = &data[written..],
        }
    }
    Ok(())
}

fn near(error: Error) -> (Side, Error) {
    (Side::Near, error)
}

fn far(error: Error) -> (Side, Error) {
    (Side::Far, error)
}

fn slow(pace: Pace) -> Error {
    let what = format_args!("an HTTP body of less than {} bytes/s (--min-body-rate)", pace.least);
    Error::new(Kind::Timeout, what)
}

fn late(patience: Duration) -> Error {
    Error::new(Kind::Timeout, format_args!("nothing moved for {patience:?} inside an HTTP body"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(least: u64) -> Window {
        Window::new(Pace { patience: Duration::from_secs(60), least })
    }

    #[test]
    fn who_sends_too_little_is_not_waited_for() {
        // So many bytes at a time, that many seconds apart: which wait is too long.
        for (bytes, apart, least, want) in [
            (1, 9, 500, Some(2)),
            (1, 9, 0, None),
            (499, 1, 500, Some(19)),
            (600, 1, 500, None),
            (15_000, 15, 500, None),
        ] {
            let (mut window, apart) = (window(least), Duration::from_secs(apart));
            let too_long = (0..100).position(|_| {
                let late = apart >= window.left();
                window.count(bytes, apart);
                late
            });
            assert_eq!(too_long, want, "{bytes} every {apart:?}");
        }
    }

    #[test]
    fn what_came_before_counts_once() {
        let mut window = window(500);
        window.count(1 << 30, Duration::from_secs(1));
        assert_eq!(window.left(), Duration::MAX);
        window.count(1, Duration::from_secs(30));
        assert_eq!(window.left(), WINDOW);
    }
}
