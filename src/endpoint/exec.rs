//! `exec:COMMAND ARGS, sh:LINE, pty:LINE`.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};

/// a child process on pipes, a shell line, or a shell line on a pseudo terminal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exec {
    rest: String,
}

impl Scheme for Exec {
    const NAMES: &'static [&'static str] = &["exec", "sh", "pty"];
    const USAGE: &'static str = "exec:COMMAND ARGS, sh:LINE, pty:LINE";
    const HELP: &'static str =
        "a child process on pipes, a shell line, or a shell line on a pseudo terminal";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const LISTENS: bool = false;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { rest: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, _: &Call<'_>) -> Result<Duplex> {
        Err(Error::new(Kind::Usage, "not built yet"))
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::NAMES[0], self.rest)
    }
}
