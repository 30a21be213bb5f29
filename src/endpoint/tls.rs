//! `tls://HOST:PORT`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// TLS over TCP, or over the hop before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tls {
    rest: String,
}

impl Scheme for Tls {
    const NAMES: &'static [&'static str] = &["tls"];
    const USAGE: &'static str = "tls://HOST:PORT";
    const HELP: &'static str = "TLS over TCP, or over the hop before";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Network, Footing::Stream];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
