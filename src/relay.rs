//! The only place where data moves.
//!
//! A join is one task and one future: both directions are polled in turn, so that neither end has
//! to be split and locked. The near end is the one that asked (the first address, the accepted
//! peer), the far end the one that was asked.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::duplex::{ByteStream, Close, Duplex, MessageStream};
use crate::endpoint::Side;
use crate::error::{Error, Kind, Result};
use crate::framing::{Decoder, Framing};

pub(crate) mod body;
mod bytes;
mod messages;
#[cfg(target_os = "linux")]
mod splice;
pub(crate) mod tunnel;

#[doc(hidden)]
pub use tunnel::{Found, Rules, Tracker};

/// After an end could not be written to, how long it may take to say why; and how long one that
/// does not read is waited for where the join has to end.
const ANSWER: Duration = Duration::from_secs(2);

/// How often an end that is not read from is asked whether it is still there.
const LOOK: Duration = Duration::from_secs(1);

/// How two ends are joined.
pub struct Options {
    /// How bytes become messages.
    pub decoder: Decoder,
    /// See `--linger`.
    pub linger: Duration,
    /// See `--idle-timeout`.
    pub idle: Option<Duration>,
    /// What the near end is called in the log of messages, if they are logged.
    pub label: Option<Arc<str>>,
    /// Whether the near end outlives the join, because the far end will be connected again.
    pub keep_near: bool,
    /// How long an end may take to read what is still queued for it when the join is over.
    pub flush_time: Duration,
    /// Says that the join is to end with a Close 1001.
    pub stop: CancellationToken,
    /// Says that it is to end where there is nobody to tell: plain bytes.
    pub kill: CancellationToken,
}

impl Options {
    /// From the flags.
    pub fn new(cx: &Context, framing: Framing) -> Self {
        let join = &cx.shared.join;
        Self {
            decoder: Decoder::new(framing, join.typing(), join.max_message),
            linger: join.linger,
            idle: join.idle_timeout,
            label: None,
            keep_near: false,
            // What is on its way to a person or a file is waited for; a peer that never reads must
            // not hold its place for ever.
            flush_time: cx
                .serve
                .as_ref()
                .map_or(Duration::from_secs(86400), |_| Duration::from_secs(60)),
            stop: cx.stop.clone(),
            kill: cx.kill.clone(),
        }
    }

    /// Writes out what is queued for an end, for as long as the end may take to read it: little
    /// once the run has to end, or where the join has `failed` because nothing moved any more.
    async fn in_flush_time(
        &self,
        failed: Option<&Error>,
        flush: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let stuck = failed.is_some_and(|why| why.kind() == Kind::Timeout);
        let patience = sleep(if stuck { ANSWER } else { self.flush_time });
        let killed = async {
            self.kill.cancelled().await;
            sleep(ANSWER).await;
        };
        tokio::select! {
            flushed = flush => flushed,
            () = patience => Ok(()),
            () = killed => Ok(()),
        }
    }
}

/// How a join ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
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

impl Count {
    /// Adds what somebody else has moved.
    pub(crate) fn add(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.messages += more.messages;
    }
}

/// Two ends that deal in the same thing: near, far.
pub enum Pair {
    /// Bytes.
    Bytes(ByteStream, ByteStream),
    /// Messages.
    Messages(MessageStream, MessageStream),
}

impl Pair {
    /// Brings two ends together: where one has messages, the other's bytes are framed.
    pub fn new(near: Duplex, far: Duplex, decoder: &Decoder) -> Self {
        match (near, far) {
            (Duplex::Bytes(near), Duplex::Bytes(far)) => Self::Bytes(near, far),
            (near, far) => Self::Messages(near.into_messages(decoder), far.into_messages(decoder)),
        }
    }

    /// The near end again, for the next far one.
    pub fn into_near(self) -> Duplex {
        match self {
            Self::Bytes(near, _) => Duplex::Bytes(near),
            Self::Messages(near, _) => Duplex::Messages(near),
        }
    }
}

/// The timer of [`LOOK`]. The kernel would wake nobody for a reset alone: tokio waits for it only
/// together with bytes, which may lie there unread all the time.
#[derive(Default)]
struct Lookout(Option<Pin<Box<Sleep>>>);

impl Lookout {
    /// Ready when it is time to look; to be polled again then.
    fn poll(&mut self, cx: &mut Poller<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        ready!(timer.as_mut().poll(cx));
        timer.set(sleep(LOOK));
        Poll::Ready(())
    }
}

/// Joins two ends until both have ended, and says goodbye to both. Tells what was moved, however it
/// ended.
///
/// # Errors
/// Whichever end failed; the other one was told.
pub async fn relay(pair: &mut Pair, options: &Options) -> (Counts, Result<Ended>) {
    match pair {
        Pair::Bytes(near, far) => bytes::relay(near, far, options).await,
        Pair::Messages(near, far) => messages::relay(near, far, options).await,
    }
}

/// Says goodbye to a peer whose target could not be connected.
pub async fn refuse(mut near: Duplex, why: &Error) {
    match &mut near {
        Duplex::Bytes(bytes) => {
            bytes.abort(why);
            let _ = poll_fn(|cx| bytes.poll_finish(cx)).await;
        }
        Duplex::Messages(messages) => {
            messages.abort(why);
            let _ = poll_fn(|cx| messages.poll_finish(cx)).await;
        }
    }
}
