//! `hub:[NAME]`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// every peer attached to NAME hears the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HubName {
    rest: String,
}

impl Scheme for HubName {
    const NAMES: &'static [&'static str] = &["hub"];
    const USAGE: &'static str = "hub:[NAME]";
    const HELP: &'static str = "every peer attached to NAME hears the others";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const LISTENS: bool = false;
    const SHAPE: Shape = Shape::Messages;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
