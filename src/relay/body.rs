//! Moves the body of an HTTP message from one connection to another.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::http::body::{Body, LAST_CHUNK, Length, put_chunk};

/// What one read takes.
const PIECE: usize = 64 << 10;

/// Moves a body; `buf` holds what was read before, and afterwards what follows it. Content is cut
/// into chunks anew, so that nothing but content is passed on. `moved` counts its bytes.
///
/// # Errors
/// Which end failed, near being the one read from; [`Kind::Timeout`] for one that does nothing for
/// as long as `patience`.
pub(crate) async fn body<R, W>(
    (from, buf): (&mut R, &mut BytesMut),
    length: Length,
    to: &mut W,
    patience: Duration,
    moved: &mut u64,
) -> Result<(), (Side, Error)>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut body = Body::new(length);
    let chunked = !matches!(length, Length::Known(_));
    let mut out = Vec::new();
    loop {
        while let Some(piece) = body.next(buf).map_err(near)? {
            *moved += piece.len() as u64;
            if chunked {
                out.clear();
                put_chunk(&piece, &mut out);
                write(to, &out, patience).await?;
            } else {
                write(to, &piece, patience).await?;
            }
        }
        if body.is_over() {
            break;
        }
        buf.reserve(PIECE);
        let read = timeout(patience, from.read_buf(buf)).await.map_err(|_| near(late(patience)))?;
        if read.map_err(|error| near(Error::lost(error)))? == 0 {
            body.end().map_err(near)?;
        }
    }
    if chunked {
        write(to, LAST_CHUNK, patience).await?;
    }
    to.flush().await.map_err(|error| far(Error::lost(error)))
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

fn late(patience: Duration) -> Error {
    Error::new(Kind::Timeout, format_args!("nothing moved for {patience:?} inside an HTTP body"))
}
