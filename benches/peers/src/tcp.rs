//! Both ends of a TCP relay.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::payload::{CHUNK, Digest, Payload};
use crate::{Result, listen};

pub(crate) async fn sink(port: Option<u16>) -> Result {
    let mut tcp = open(port).await?;
    let (mut digest, mut buf) = (Digest::default(), vec![0; CHUNK]);
    loop {
        match tcp.read(&mut buf).await? {
            0 => return digest.say(),
            n => digest.add(&buf[..n], b""),
        }
    }
}

pub(crate) async fn source(mut payload: Payload, port: Option<u16>) -> Result {
    let mut tcp = open(port).await?;
    while let Some(piece) = payload.next() {
        tcp.write_all(piece).await?;
    }
    tcp.shutdown().await?;
    while tcp.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Connects to a port, or waits for a connection.
async fn open(port: Option<u16>) -> Result<TcpStream> {
    Ok(match port {
        Some(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?,
        None => listen().await?.accept().await?.0,
    })
}
