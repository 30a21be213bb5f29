//! `unix:PATH, unix:@NAME`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// a Unix stream socket, in the file system or abstract.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unix {
    rest: String,
}

impl Scheme for Unix {
    const NAMES: &'static [&'static str] = &["unix"];
    const USAGE: &'static str = "unix:PATH, unix:@NAME";
    const HELP: &'static str = "a Unix stream socket, in the file system or abstract";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
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

impl fmt::Display for Unix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
