//! What moves bytes between the two halves of a WebSocket after its handshake.
//!
//! Nothing is framed anew: bytes go on as they came. Where frames begin and end is followed without
//! holding them, which tells how many messages there were and who closed, and lets Pings and Closes
//! of our own stand where a message has ended. Sockets go to threads of their own that know nothing
//! but sockets, a quiet tunnel takes 128 bytes there; all else is a task.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::{Count, Counts};
use futures_util::future::BoxFuture;

use crate::duplex::ByteStream;
use crate::endpoint::Side;
use crate::error::Result;

#[cfg(target_os = "linux")]
mod engine;
mod flow;
mod frames;
mod pump;
#[cfg(test)]
mod tests;

pub use frames::{Found, Rules, Tracker};

const SIDES: [Side; 2] = [Side::Near, Side::Far];

/// Two connections that are a WebSocket's two halves, after its handshake.
pub(crate) struct Tunnel {
    /// The client.
    pub(crate) near: ByteStream,
    /// The backend.
    pub(crate) far: ByteStream,
    /// What was read behind the heads already: from the client, from the backend.
    pub(crate) early: [Vec<u8>; 2],
    /// Whether extensions were negotiated, which may use the reserved bits of frames.
    pub(crate) extensions: bool,
    /// What [`Tunnels::drain`] knows it by, together with others.
    pub(crate) tag: u32,
    /// Told when it is over.
    pub(crate) owner: Box<dyn Owner>,
}

/// Whoever wants to know how a tunnel ended. Nothing else is done meanwhile: it must not block.
pub(crate) trait Owner: Send {
    /// It is over. Bytes are those on the wire, frames and all, as they came.
    fn ended(self: Box<Self>, counts: &Counts, end: End);
}

/// How a tunnel ended.
#[derive(Debug)]
pub(crate) enum End {
    /// A Close was seen: whose was first, and its code, 1005 for none.
    Closed {
        /// Whose was first.
        by: Side,
        /// Its code.
        code: u16,
    },
    /// A side ended without a Close, before the other.
    Gone(Side),
    /// A side's connection failed: a reset, a timeout, a Ping without an answer.
    Lost(Side, io::Error),
    /// No message came for [`Limits::idle`].
    Idle,
    /// We closed it with this code, or [`End::CUT`] it.
    Closing(u16),
    /// A side broke the protocol, or sent too large a message: the code that we closed with.
    Protocol(Side, u16, &'static str),
}

#[cfg(target_os = "linux")]
impl Tunnel {
    fn is_sockets(&self) -> bool {
        ![&self.near, &self.far].iter().any(|it| matches!(it, ByteStream::Other(_)))
    }
}

impl End {
    /// Stands for a tunnel that was ended without a Close (RFC 6455 section 7.1.5).
    pub(crate) const CUT: u16 = 1006;
}

/// What is asked of all tunnels alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// How long no message may come in either direction. Pings and Pongs are none.
    pub(crate) idle: Option<Duration>,
    /// How long nothing may come from either side until both are pinged.
    pub(crate) ping: Option<Duration>,
    /// How long a side may be silent then.
    pub(crate) ping_timeout: Duration,
    /// Whether the client's frames have to be masked, of a known kind and in order.
    pub(crate) police: bool,
    /// The longest message of a client, in bytes on the wire.
    pub(crate) max_message: Option<u64>,
}

impl Limits {
    /// Whether tunnels have to be looked at now and then.
    fn ticks(&self) -> bool {
        self.idle.is_some() || self.ping.is_some()
    }
}

/// All tunnels. They end when this is dropped.
pub(crate) struct Tunnels {
    #[cfg(target_os = "linux")]
    engines: Vec<engine::Engine>,
    pumps: pump::Pumps,
}

/// How many tunnels there are, and what went through them and those before them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Tunnels that are open.
    pub(crate) open: usize,
    /// Bytes on the wire and messages.
    pub(crate) moved: Counts,
}

impl Tunnels {
    /// Starts so many threads for sockets; without any, each tunnel is a task.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn new(threads: usize, limits: Limits) -> Result<Self> {
        #[cfg(not(target_os = "linux"))]
        let _ = threads;
        Ok(Self {
            #[cfg(target_os = "linux")]
            engines: (0..threads)
                .map(|_| engine::Engine::start(limits.clone()))
                .collect::<io::Result<_>>()
                .map_err(crate::error::Error::io)?,
            pumps: pump::Pumps::new(limits),
        })
    }

    /// Runs a task on a thread for sockets, where those of the task can become a tunnel; or, without
    /// such a thread, as any other task.
    pub(crate) fn run(&self, task: BoxFuture<'static, ()>) {
        #[cfg(target_os = "linux")]
        if let Some(engine) = self.idlest() {
            return engine.run(task);
        }
        tokio::spawn(task);
    }

    /// Takes a tunnel over, and returns at once. To be called by a task.
    pub(crate) fn add(&self, tunnel: Tunnel) {
        #[cfg(target_os = "linux")]
        let here = self.engines.iter().find(|engine| engine.is_here());
        #[cfg(target_os = "linux")]
        if tunnel.is_sockets()
            && let Some(engine) = here.or_else(|| self.idlest())
        {
            return engine.add(tunnel);
        }
        let pump = self.pumps.task(tunnel);
        #[cfg(target_os = "linux")]
        if let Some(engine) = here {
            // One of its ends is watched here.
            return engine.run(Box::pin(pump));
        }
        tokio::spawn(pump);
    }

    #[cfg(target_os = "linux")]
    fn idlest(&self) -> Option<&engine::Engine> {
        self.engines.iter().min_by_key(|engine| engine.load())
    }

    /// Closes the tunnels there are, or those with a tag, with this code: each after the message
    /// that is under way, spread evenly over a time. What does not come to an end then within a few
    /// seconds is cut. Without a tag, tunnels that are added later are closed at once.
    pub(crate) fn drain(&self, tag: Option<u32>, code: u16, within: Duration) {
        // No clock counts as far as an endless time.
        let within = within.min(Duration::from_secs(u32::MAX.into()));
        #[cfg(target_os = "linux")]
        for engine in &self.engines {
            engine.drain(tag, code, within);
        }
        self.pumps.drain(tag, code, within);
    }

    /// Cuts all tunnels.
    pub(crate) fn abort(&self) {
        #[cfg(target_os = "linux")]
        for engine in &self.engines {
            engine.abort();
        }
        self.pumps.abort();
    }

    /// How much there is and was, up to a moment ago.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = self.pumps.totals().figures();
        #[cfg(target_os = "linux")]
        for engine in &self.engines {
            let more = engine.totals().figures();
            figures.open += more.open;
            figures.moved.received.add(more.moved.received);
            figures.moved.sent.add(more.moved.sent);
        }
        figures
    }
}

/// The figures of those who move bytes on one thread, or in tasks, for others to read.
#[derive(Default)]
struct Totals {
    open: AtomicUsize,
    received: [AtomicU64; 2],
    sent: [AtomicU64; 2],
}

impl Totals {
    fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    fn ended(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Adds what was moved since this was last called.
    fn add(&self, moved: &mut Counts) {
        let Counts { received, sent } = std::mem::take(moved);
        for (total, more) in [(&self.received, received), (&self.sent, sent)] {
            if more.bytes > 0 {
                total[0].fetch_add(more.bytes, Relaxed);
                total[1].fetch_add(more.messages, Relaxed);
            }
        }
    }

    fn figures(&self) -> Figures {
        let count = |total: &[AtomicU64; 2]| Count {
            bytes: total[0].load(Relaxed),
            messages: total[1].load(Relaxed),
        };
        let moved = Counts { received: count(&self.received), sent: count(&self.sent) };
        Figures { open: self.open(), moved }
    }
}

/// When the turn of one of many comes in a time.
fn pace(within: Duration, done: usize, of: usize) -> Duration {
    within.mul_f64(done as f64 / of.max(1) as f64)
}

/// A time in tenths of a second.
fn tenths(time: Duration) -> u32 {
    // A clock that begins anew is no harm to those who compare moments that are not far apart.
    (time.as_millis() / 100) as u32
}
