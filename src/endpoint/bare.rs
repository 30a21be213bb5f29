//! Addresses as a load generator drives them: connected, with all handshakes done, and what is
//! spoken on the last hop left to the caller.

use super::ws::Upgraded;
use super::{Call, Endpoint, Ground, Hop, in_connect_time};
use crate::duplex::ByteStream;
use crate::error::{Error, Kind, Result};

/// An open connection without anybody who speaks on it.
pub(crate) enum Bare {
    /// Bytes without boundaries.
    Bytes(ByteStream),
    /// A WebSocket after its handshake, and what has come after the head of the 101 already.
    WebSocket(ByteStream, Vec<u8>),
}

impl Endpoint {
    /// Checks, before anything is opened, that this is a server that can be connected to often.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn check_bare(&self) -> Result<()> {
        self.check_connect()?;
        let last = self.last();
        match last {
            Hop::Ws(_) | Hop::Tcp(_) | Hop::Tls(_) | Hop::Unix(_) | Hop::Ssh(_) => Ok(()),
            Hop::Exec(_) | Hop::Pty(_) => Ok(()),
            _ => {
                let error = Error::new(Kind::Usage, "is no server to measure");
                Err(last.blame(error).hint("write ws:, wss:, tcp:, tls:, unix:, ssh: or exec:"))
            }
        }
    }

    /// Whether the last hop is a WebSocket.
    pub(crate) fn ends_with_websocket(&self) -> bool {
        matches!(self.last(), Hop::Ws(_))
    }

    /// Connects every hop in turn, within `--connect-timeout`. Errors name the hop that failed.
    pub(crate) async fn connect_bare(&self, call: &Call<'_>) -> Result<Bare> {
        let patience = call.cx.shared.dial.connect_timeout;
        let last = self.last();
        let Hop::Ws(ws) = last else {
            return Ok(Bare::Bytes(self.connect_in_time(call).await?.into_bytes()));
        };
        let carriers = &self.hops[..self.hops.len() - 1];
        let upgrading = async {
            let ground = Ground::after(carriers, call).await?;
            ws.upgrade(ground, call).await.map_err(|error| last.blame(error))
        };
        let upgraded = in_connect_time(call, patience, &format!("{self:#}"), upgrading).await?;
        let Upgraded { stream, read, .. } = upgraded;
        Ok(Bare::WebSocket(stream, read))
    }
}
