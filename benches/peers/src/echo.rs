//! The plain echo server, as tokio-tungstenite's own example shows it.

use futures_util::{StreamExt, TryStreamExt, future};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::{Result, listen};

pub(crate) async fn serve(read_buffer: Option<usize>) -> Result {
    let config = match read_buffer {
        Some(size) => WebSocketConfig::default().read_buffer_size(size),
        None => WebSocketConfig::default(),
    };
    let listener = listen().await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(echo(tcp, config));
    }
}

async fn echo(tcp: TcpStream, config: WebSocketConfig) {
    let Ok(ws) = accept_async_with_config(tcp, Some(config)).await else { return };
    let (write, read) = ws.split();
    let messages = read.try_filter(|it| future::ready(it.is_text() || it.is_binary()));
    let _ = messages.forward(write).await;
}
