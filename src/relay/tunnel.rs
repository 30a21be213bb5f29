//! What two halves of a WebSocket say to each other once the handshake is over. (stand-in)

use std::io;
use std::time::Duration;

use super::Counts;
use crate::duplex::ByteStream;
use crate::endpoint::Side;
use crate::error::Result;
use tokio::io::AsyncWriteExt;

pub(crate) struct Tunnel {
    pub(crate) near: ByteStream,
    pub(crate) far: ByteStream,
    pub(crate) early: [Vec<u8>; 2],
    pub(crate) owner: Box<dyn Owner>,
}
pub(crate) trait Owner: Send {
    fn ended(self: Box<Self>, counts: &Counts, end: End);
}
#[allow(dead_code)]
pub(crate) enum End {
    Closed { by: Side, code: u16 },
    Gone(Side),
    Lost(Side, io::Error),
    Idle,
    Closing(u16),
    Protocol(Side, u16, &'static str),
}
#[allow(dead_code)]
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) idle: Option<Duration>,
    pub(crate) ping: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) police: bool,
    pub(crate) max_message: Option<u64>,
}
pub(crate) struct Tunnels;
#[allow(dead_code)]
impl Tunnels {
    pub(crate) fn new(_threads: usize, _limits: Limits) -> Result<Self> {
        Ok(Self)
    }
    pub(crate) fn add(&self, tunnel: Tunnel, _extensions: bool) {
        tokio::spawn(async move {
            let Tunnel { mut near, mut far, early, owner } = tunnel;
            let _ = far.write_all(&early[0]).await;
            let _ = near.write_all(&early[1]).await;
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            owner.ended(&Counts::default(), End::Gone(Side::Near));
        });
    }
    pub(crate) fn drain(&self, _code: u16, _within: Duration) {}
    pub(crate) fn abort(&self) {}
}
