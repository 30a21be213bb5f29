//! The only place where data moves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::duplex::{ByteStream, Close, Duplex, MessageStream};
use crate::endpoint::Side;
use crate::error::{Error, Result};
use crate::framing::{Decoder, Framing};

/// How two ends are joined.
pub struct Options {
    /// How bytes become messages.
    pub decoder: Decoder,
    /// See `--linger`.
    pub linger: Duration,
    /// See `--idle-timeout`.
    pub idle: Option<Duration>,
    pub(crate) cx: Arc<Context>,
}

impl Options {
    /// From the flags.
    pub fn new(cx: &Arc<Context>, framing: Framing) -> Self {
        let join = &cx.shared.join;
        Self {
            decoder: Decoder::new(framing, join.typing(), join.max_message),
            linger: join.linger,
            idle: join.idle_timeout,
            cx: cx.clone(),
        }
    }
}

/// How a join ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// What was moved.
    pub counts: Counts,
    /// The Close that ended it, if one did.
    pub close: Option<Close>,
    /// Which end said it.
    pub by: Option<Side>,
}

/// What was moved in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// From the near end to the far one.
    pub received: Count,
    /// From the far end to the near one.
    pub sent: Count,
}

/// What was moved in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Bytes of payload.
    pub bytes: u64,
    /// Messages; 0 where there are none.
    pub messages: u64,
}

/// Joins two ends until both have ended.
pub async fn relay(
    _near: Duplex,
    _far: Duplex,
    _options: &Options,
    _stop: CancellationToken,
) -> Result<Ended> {
    Ok(Ended::default())
}

/// Says goodbye to a peer whose target could not be connected.
pub async fn refuse(_near: Duplex, _why: &Error) {}

/// Messages as bytes: payloads one after the other in, binary messages out.
pub fn as_bytes(_messages: MessageStream) -> ByteStream {
    unimplemented!()
}
