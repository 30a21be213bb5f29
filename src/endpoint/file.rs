//! `file:PATH`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// the first address reads it, the second appends to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    rest: String,
}

impl Scheme for File {
    const NAMES: &'static [&'static str] = &["file"];
    const USAGE: &'static str = "file:PATH";
    const HELP: &'static str = "the first address reads it, the second appends to it";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const LISTENS: bool = false;
    const SHAPE: Shape = Shape::Either;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
