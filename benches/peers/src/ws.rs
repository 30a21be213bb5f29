//! The far side of a pipe: one WebSocket, one direction.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use crate::payload::{Digest, Payload};
use crate::{Result, listen};

/// Takes messages until the peer has closed or gone, then says what they were.
pub(crate) async fn sink(lines: bool) -> Result {
    let (tcp, _) = listen().await?.accept().await?;
    let mut ws = accept_async(tcp).await?;
    let (mut digest, end) = (Digest::default(), if lines { &b"\n"[..] } else { b"" });
    while let Some(Ok(message)) = ws.next().await {
        if message.is_text() || message.is_binary() {
            digest.add(&message.into_data(), end);
        }
    }
    digest.say()
}

/// Sends everything as fast as the peer takes it, then says goodbye and waits for the answer.
pub(crate) async fn source(mut payload: Payload) -> Result {
    let (tcp, _) = listen().await?.accept().await?;
    let mut ws = accept_async(tcp).await?;
    let lines = payload.is_lines();
    while let Some(piece) = payload.next() {
        let piece = Bytes::copy_from_slice(piece);
        ws.feed(match lines {
            true => Message::Text(Utf8Bytes::try_from(piece)?),
            false => Message::Binary(piece),
        })
        .await?;
    }
    ws.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
    while let Some(Ok(_)) = ws.next().await {}
    Ok(())
}
