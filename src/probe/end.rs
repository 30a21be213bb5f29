//! The ways in which a far end ends.

use crate::duplex::Close;
use crate::error::{Error, Kind};

/// How the far end has ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With a Close.
    Closed(Close),
    /// With the end of its bytes.
    Eof,
    /// Without a word.
    Lost(Error),
}

impl End {
    /// Its Close code; a clean end of bytes is 1000, a lost connection is 1006.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Closed(close) => close.code,
            Self::Eof => 1000,
            Self::Lost(_) => 1006,
        }
    }

    /// The reason that the Close gave.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Closed(close) => &close.reason,
            Self::Eof | Self::Lost(_) => "",
        }
    }

    /// What went wrong, if this was too early.
    pub(super) fn error(&self) -> Error {
        let what = match self {
            Self::Lost(error) => return error.clone(),
            Self::Eof => "the peer ended the stream".to_owned(),
            Self::Closed(close) => {
                let code = match close.code {
                    Close::NO_CODE => "without a code".to_owned(),
                    code => format!("with {code}"),
                };
                match close.reason.is_empty() {
                    true => format!("the peer closed {code}"),
                    false => format!("the peer closed {code} ({})", close.reason),
                }
            }
        };
        Error::new(Kind::Closed(self.code()), what)
    }
}
