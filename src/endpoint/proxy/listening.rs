//! Being a proxy: a peer's request, and the answer to it once it is known what came of it.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Protocol, Proxy, connect, lost, socks4, socks5};
use crate::accept::{Peer, Reply};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};

/// Asks a peer where it wants to go.
pub(super) async fn answer(
    proxy: &Proxy,
    mut stream: ByteStream,
    peer: &mut Peer,
    cx: &Arc<Context>,
) -> Result<Duplex> {
    let max = cx.serve.as_ref().map_or(connect::MAX_HEAD, |serve| serve.http.max_header);
    let Asked { to, early, outcome } = hear(proxy, &mut stream, max).await?;
    if let Some(Err(why)) = proxy.rules.as_ref().map(|rules| rules.check(&to)) {
        last_words(&mut stream, &outcome(Outcome::Forbidden)).await;
        return Err(why);
    }
    peer.asked = Some(to);
    peer.reply = Some(reply(outcome));
    Ok(Duplex::Bytes(stream.unread(early)))
}

/// The request of a peer.
pub(super) struct Asked {
    pub(super) to: HostPort,
    /// What it said after the request.
    pub(super) early: BytesMut,
    /// How the protocol it speaks says what came of it.
    pub(super) outcome: fn(Outcome<'_>) -> Vec<u8>,
}

/// What came of a request.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    Connected,
    Failed(&'a Error),
    Forbidden,
}

/// Reads the request of a peer, in whichever protocol; the head of one over HTTP is no larger
/// than `max`.
pub(super) async fn hear(proxy: &Proxy, stream: &mut ByteStream, max: usize) -> Result<Asked> {
    let login = proxy.login.as_ref();
    let mut early = BytesMut::new();
    if matches!(proxy.protocol, Protocol::Socks5 | Protocol::Socks) {
        let first = stream.read_u8().await.map_err(lost)?;
        match (first, proxy.protocol) {
            (socks5::VERSION, _) => {
                let to = socks5::answer(stream, login).await?;
                return Ok(Asked { to, early, outcome: socks5::outcome });
            }
            (socks4::VERSION, Protocol::Socks) => {
                let to = socks4::answer(stream, login).await?;
                return Ok(Asked { to, early, outcome: socks4::outcome });
            }
            (b'A'..=b'Z', Protocol::Socks) => early.put_u8(first),
            _ => {
                last_words(stream, socks5::foreign(first)).await;
                let name = proxy.protocol.name();
                let what = format!("not a request of {name}: the first byte is {first:#04x}");
                return Err(Error::new(Kind::Handshake, what));
            }
        }
    }
    let to = connect::answer(stream, &mut early, login, max).await?;
    Ok(Asked { to, early, outcome: connect::outcome })
}

/// Says to the peer of a listener what came of its request, as `words` writes it.
pub(super) fn reply(words: fn(Outcome<'_>) -> Vec<u8>) -> Reply {
    Box::new(move |mut peer, result| {
        let words = words(result.map_or_else(Outcome::Failed, |()| Outcome::Connected));
        Box::pin(async move {
            let Duplex::Bytes(stream) = &mut peer else { return Ok(peer) };
            match result {
                Ok(()) => say(stream, &words).await.map_err(lost)?,
                Err(error) => {
                    last_words(stream, &words).await;
                    return Err(error.clone());
                }
            }
            Ok(peer)
        })
    })
}

pub(super) async fn say(stream: &mut ByteStream, words: &[u8]) -> std::io::Result<()> {
    stream.write_all(words).await?;
    stream.flush().await
}

/// The last words on a connection. Whether they arrive is not ours to know.
pub(super) async fn last_words(stream: &mut ByteStream, words: &[u8]) {
    let _ = say(stream, words).await;
    let _ = stream.shutdown().await;
    stream.discard().await;
}
