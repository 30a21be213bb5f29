//! A bridge from WebSocket to TCP on fastwebsockets, as wstunnel makes one: a task for each direction;
//! what one read of 64 KiB gives is a message, and what a message has is one write.

use std::net::Ipv4Addr;

use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async;

use crate::payload::CHUNK;
use crate::{Result, listen};

/// Bridges every WebSocket that comes to a TCP connection to `port`.
pub(crate) async fn serve(port: u16) -> Result {
    let listener = listen().await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = bridge(tcp, port).await {
                eprintln!("peers: {error}");
            }
        });
    }
}

async fn bridge(tcp: TcpStream, port: u16) -> Result {
    tcp.set_nodelay(true)?;
    // The handshake alone is tungstenite's: no client speaks before it is over.
    let tcp = accept_async(tcp).await?.into_inner();
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    far.set_nodelay(true)?;
    let (mut far_read, mut far_write) = far.into_split();
    let ws = WebSocket::after_handshake(tcp, Role::Server);
    let (read, mut write) = ws.split(TcpStream::into_split);
    let mut read = FragmentCollectorRead::new(read);

    let down = tokio::spawn(async move {
        let mut buf = vec![0; CHUNK];
        loop {
            match far_read.read(&mut buf).await {
                Ok(0) | Err(_) => break,
                Ok(n) => write.write_frame(Frame::binary(Payload::BorrowedMut(&mut buf[..n]))).await?,
            }
        }
        write.write_frame(Frame::close(1000, b"")).await
    });
    loop {
        let mut no_answer = |_| std::future::ready(Ok::<_, std::io::Error>(()));
        let Ok(frame) = read.read_frame(&mut no_answer).await else { break };
        match frame.opcode {
            OpCode::Text | OpCode::Binary => far_write.write_all(&frame.payload).await?,
            OpCode::Close => break,
            _ => {}
        }
    }
    far_write.shutdown().await?;
    down.abort();
    Ok(())
}
