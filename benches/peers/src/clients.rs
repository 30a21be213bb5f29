//! Many WebSocket clients that each say something and wait for it to come back.

use std::io::BufRead;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::{Result, say};

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How many handshakes are in flight at once: a listener's backlog may be short.
const AT_ONCE: u64 = 64;

pub(crate) async fn run(url: &str, connections: u64, size: usize, rounds: u64) -> Result {
    let message = Bytes::from(vec![b'm'; size]);
    let mut idle = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..connections {
        if opening.len() as u64 == AT_ONCE {
            idle.extend(opening.join_next().await.transpose()?.transpose()?);
        }
        opening.spawn(open(url.to_owned(), message.clone()));
    }
    while let Some(opened) = opening.join_next().await {
        idle.push(opened??);
    }
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let started = Instant::now();
        let mut talking = JoinSet::new();
        for ws in idle.drain(..) {
            talking.spawn(ping_pong(ws, message.clone(), rounds));
        }
        while let Some(done) = talking.join_next().await {
            idle.push(done??);
        }
        let (total, seconds) = (connections * rounds, started.elapsed().as_secs_f64());
        say(&format!(r#"{{"messages":{total},"seconds":{seconds:.3}}}"#))?;
    }
    Ok(())
}

async fn open(url: String, message: Bytes) -> Result<Ws> {
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let (ws, _) = connect_async_with_config(url, Some(config), true).await?;
    ping_pong(ws, message, 1).await
}

async fn ping_pong(mut ws: Ws, message: Bytes, rounds: u64) -> Result<Ws> {
    for _ in 0..rounds {
        ws.send(Message::Binary(message.clone())).await?;
        let back = ws.next().await.ok_or("the server closed")??;
        if back.into_data() != message {
            return Err("another message came back".into());
        }
    }
    Ok(ws)
}
