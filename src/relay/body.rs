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

/// Moves a body; `buf` holds what was read before, and afterwards what follows it. Nothing but
/// content is passed on, in chunks of our own if it is to be `chunked`. `moved` counts its bytes.
///
/// # Errors
/// Which end failed, near being the one read from; [`Kind::Timeout`] for one that does nothing for
/// as long as `patience`.
pub(crate) async fn body<R, W>(
    (from, buf): (&mut R, &mut BytesMut),
    length: Length,
    (to, chunked): (&mut W, bool),
    patience: Duration,
    moved: &mut u64,
) -> Result<(), (Side, Error)>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut body = Body::new(length);
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
        let read = timeout(patience, from.read_buf(buf)).await.map_err(|_| near(late(patience)))?;
        if read.map_err(|error| near(Error::lost(error)))? == 0 {
            body.end().map_err(near)?;
        }
    }
    if chunked {
        out.extend_from_slice(LAST_CHUNK);
    }
    write(to, &out, patience).await?;
    timeout(patience, to.flush()).await.map_err(|_| far(late(patience)))?.map_err(lost)
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

fn late(patience: Duration) -> Error {
    Error::new(Kind::Timeout, format_args!("nothing moved for {patience:?} inside an HTTP body"))
}
