//! `socks5:` and `http:`, proxies to dial through.
use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// a socks5 proxy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Socks5 {
    rest: String,
}

impl Scheme for Socks5 {
    const NAMES: &'static [&'static str] = &["socks5"];
    const USAGE: &'static str = "socks5://[USER:PASSWORD@]HOST:PORT";
    const HELP: &'static str = "a socks5 proxy";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Network, Footing::Stream];
    const GIVES: Option<Footing> = Some(Footing::Network);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
/// a http proxy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpProxy {
    rest: String,
}

impl Scheme for HttpProxy {
    const NAMES: &'static [&'static str] = &["http"];
    const USAGE: &'static str = "http://[USER:PASSWORD@]HOST:PORT";
    const HELP: &'static str = "a http proxy";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Network, Footing::Stream];
    const GIVES: Option<Footing> = Some(Footing::Network);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}

pub(crate) async fn from_environment(
    _secure: bool,
    _to: &super::HostPort,
    _call: &Call<'_>,
) -> Result<Ground> {
    Ok(Ground::Here)
}
