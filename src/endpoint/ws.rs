//! `ws://HOST[:PORT]/PATH, wss://…`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// a WebSocket, over TLS if wss:.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ws {
    rest: String,
}

impl Scheme for Ws {
    const NAMES: &'static [&'static str] = &["ws", "wss"];
    const USAGE: &'static str = "ws://HOST[:PORT]/PATH, wss://…";
    const HELP: &'static str = "a WebSocket, over TLS if wss:";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Network, Footing::Stream];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Messages;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}

/// A reference-counted `str`, so that text is checked once, where it enters.
pub type Text = tokio_tungstenite::tungstenite::Utf8Bytes;
