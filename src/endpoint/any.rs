//! `any://[HOST]:PORT`: SSH, TLS, HTTP and WebSockets on one port, told apart by how they begin.
//!
//! An SSH client may wait for the server to speak first (RFC 4253 section 4.2), which in the other
//! protocols none does. So where SSH is served, who says nothing for a second is taken for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::tcp::{HostPort, Tcp, authority};
use super::{Footing, Hop, Scheme, Shape, ssh, ws};
use crate::accept::{Listener, Peer, in_time};
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};

/// How long a silent peer is waited for before it is greeted by SSH.
const SILENCE: Duration = Duration::from_secs(1);

/// A listener for all protocols with a beginning of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Any {
    /// None where it stands on the hop before.
    at: Option<HostPort>,
}

impl Scheme for Any {
    const NAMES: &'static [&'static str] = &["any"];
    const USAGE: &'static str = "any://[HOST]:PORT";
    const HELP: &'static str = "one port for everything: WebSockets and plain HTTP; over TLS too, with a certificate; SSH, with --authorized-keys";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Stream];
    const GIVES: Option<Footing> = None;
    const LISTENS: bool = true;
    const CONNECTS: bool = false;
    const SHAPE: Shape = Shape::Messages;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        let at = match rest {
            "" => None,
            rest => Some(HostPort::parse(authority(rest), None)?),
        };
        Ok(Self { at })
    }

    fn socket(&self) -> Option<Hop> {
        self.at.clone().map(|at| Hop::Tcp(Tcp::at(at)))
    }

    async fn listen(&self, _: &Arc<Context>) -> Result<Listener> {
        Err(Error::new(Kind::Usage, "a port is missing, as in any://:443"))
    }

    async fn answer(
        &self,
        stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        let (mut spoken, mut stream) = in_time(cx, hear(stream, cx)).await?;
        if spoken == Spoken::Tls {
            stream = in_time(cx, accept_tls(stream, peer, cx)).await?;
            // What ALPN has agreed on has not to be guessed.
            (spoken, stream) = match peer.alpn.as_deref() {
                Some(alpn) if ws::HTTP.contains(&alpn) => (Spoken::Http, stream),
                _ => in_time(cx, hear(stream, cx)).await?,
            };
        }
        match spoken {
            Spoken::Http if !peer.tls && cx.tls.asks_for_certificates() => {
                last_words(stream, ONLY_OVER_TLS).await;
                Err(Error::new(Kind::Tls, "HTTP without TLS, where --client-ca asks for a login"))
            }
            Spoken::Http => ws::Ws::with_any_path().answer(stream, peer, cx).await,
            Spoken::Ssh => ssh::serve(stream, peer, cx).await,
            Spoken::Tls => Err(Error::new(Kind::Tls, "TLS inside TLS")),
        }
    }
}

/// What a peer turns out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http,
    Ssh,
    Tls,
}

/// Waits for the first words of a peer, which remain unread.
async fn hear(mut stream: ByteStream, cx: &Context) -> Result<(Spoken, ByteStream)> {
    let serves_ssh = cx.serve.as_ref().is_some_and(|serve| serve.ssh.is_some());
    let mut words = [0; LONGEST];
    let mut len = 0;
    let spoken = loop {
        if let Some(spoken) = spoken(&words[..len])? {
            break spoken;
        }
        let more = stream.read(&mut words[len..]);
        let more = match len {
            0 if serves_ssh => match timeout(SILENCE, more).await {
                Ok(more) => more,
                Err(_) => break Spoken::Ssh,
            },
            _ => more.await,
        };
        match more.map_err(Error::lost)? {
            0 => return Err(Error::new(Kind::Lost, "left before it was clear what it speaks")),
            n => len += n,
        }
    };
    if spoken == Spoken::Ssh && !serves_ssh {
        return Err(Error::new(Kind::Handshake, "SSH is served only with --authorized-keys"));
    }
    Ok((spoken, stream.unread(Bytes::copy_from_slice(&words[..len]))))
}

/// As many bytes as it can take to tell the protocols apart: no method of HTTP that is in use has
/// a space later.
const LONGEST: usize = 8;

/// What begins like this; none if more has to be read.
fn spoken(words: &[u8]) -> Result<Option<Spoken>> {
    let letters = words.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    Ok(match words {
        [] | [0x16] | b"SSH" => None,
        [0x16, 3, ..] => Some(Spoken::Tls),
        [b'S', b'S', b'H', b'-', ..] => Some(Spoken::Ssh),
        _ if letters == LONGEST || (letters > 0 && words.get(letters) == Some(&b' ')) => {
            Some(Spoken::Http)
        }
        _ if letters == words.len() => None,
        _ => {
            let what = format!("`{}` begins no SSH, TLS or HTTP", words.escape_ascii());
            return Err(Error::new(Kind::Handshake, what));
        }
    })
}

async fn accept_tls(stream: ByteStream, peer: &mut Peer, cx: &Context) -> Result<ByteStream> {
    if !cx.tls.has_identity() {
        last_words(stream, NO_TLS).await;
        let what = "TLS is spoken only with --cert or --tls-self-signed";
        return Err(Error::new(Kind::Tls, what));
    }
    cx.tls.accept(stream, ws::HTTP, peer).await
}

/// The alert `handshake_failure` (RFC 8446 section 6.2).
const NO_TLS: &[u8] = &[21, 3, 1, 0, 2, 2, 40];

const ONLY_OVER_TLS: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 14\r\n\r\nonly over TLS\n";

/// Whether they arrive is not ours to know.
async fn last_words(mut stream: ByteStream, words: &[u8]) {
    let _ = stream.write_all(words).await;
    let _ = stream.shutdown().await;
    stream.discard().await;
}

impl fmt::Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "any://{at}"),
            None => f.write_str("any:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn protocols_are_known_by_their_first_bytes() {
        for (words, expected) in [
            (&b"SSH-2.0-"[..], Some(Spoken::Ssh)),
            (b"SSH-", Some(Spoken::Ssh)),
            (b"\x16\x03", Some(Spoken::Tls)),
            (b"GET ", Some(Spoken::Http)),
            (b"SEARCH /", Some(Spoken::Http)),
            (b"OPTIONS ", Some(Spoken::Http)),
            (b"PROPFIND", Some(Spoken::Http)),
            (b"", None),
            (b"S", None),
            (b"SSH", None),
            (b"\x16", None),
            (b"OPTIONS", None),
        ] {
            assert_eq!(spoken(words).unwrap(), expected, "{}", words.escape_ascii());
        }
        for words in [&b"\x05\x01"[..], b"get ", b"\x16\x02", b" GET", b"GET\n", b"EHLO1 "] {
            assert!(spoken(words).is_err(), "{}", words.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_words_are_cut(
            words in prop_oneof![
                any::<[u8; LONGEST]>(),
                prop::array::uniform8(prop::sample::select(&b"SSH-GET \x16\x03"[..])),
            ],
        ) {
            let decided = |len: usize| spoken(&words[..len]).map_err(drop);
            let first = (0..=LONGEST).map(decided).find(|it| *it != Ok(None));
            prop_assert_eq!(first.unwrap(), decided(LONGEST));
        }
    }
}
