//! SSH, by way of russh: nothing but this module and its folder names it.
//!
//! russh 0.65 has habits that a tunnel cannot live with. All of towline's SSH goes through
//! `transport` and `channel`, which keep clear of them:
//!
//! - It does not read while it writes, and a keepalive waits behind a write: writes are queued.
//! - It hands over what arrives channel by channel and waits for each, and its own streams tell a
//!   lost transport from an end no more than a cancelled write from a finished one: a task of its
//!   own owns each channel.
//! - A channel that it closes first stays in its books: the peer is left to close first. Where both
//!   are ours the client does it, whose session is replaced by a new one when it has closed many.
//! - A change of keys that it asks for itself ends a session that is busy: it never asks, only
//!   answers, and sessions are replaced after so many bytes as well.
//! - As a client it accepts whatever channel a server opens: only forwards that were asked for
//!   are accepted.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Limits, Preferred, SshId, cipher, compression, kex, mac};
use tokio::sync::watch;

use crate::error::{Error, Kind};

mod auth;
pub mod authorized_keys;
mod certificate;
mod channel;
mod client;
pub mod config;
pub mod forward;
mod host_key;
mod keyfile;
pub mod known_hosts;
mod login;
pub(crate) mod pattern;
mod place;
mod reach;
mod server;
mod sessions;
mod target;
mod transport;

#[cfg(test)]
mod testing;

pub(crate) use channel::{Channel, Remote, Size, Terminal};
pub(crate) use client::{Forward, Forwarded, Session};
pub(crate) use host_key::HostKeys;
pub(crate) use login::Login;
pub use place::Place;
pub use reach::Reach;
pub(crate) use server::Server;
pub(crate) use sessions::Sessions;
pub(crate) use target::Target;

/// How many bytes a peer may send ahead on one channel. A receiver gives about half a window a
/// round trip, so this is 20 MB/s over 100 ms, as with OpenSSH. With 16 MiB, OpenSSH's server sends
/// to a near client at a third of the rate (`benches/run ssh`).
const WINDOW: u32 = 4 << 20;

/// The largest packet that is sent and taken, in bytes.
const PACKET: u32 = 32 << 10;

/// How many packets russh keeps for the task of a channel.
const BACKLOG: usize = 64;

/// How long a peer may be quiet before it is asked for a sign of life, where nobody says.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How many keepalives may go unanswered.
const KEEPALIVES: usize = 3;

/// What is said before anything is encrypted: no version for those who collect them.
const GREETING: &str = "SSH-2.0-towline";

fn greeting() -> SshId {
    SshId::Standard(Cow::Borrowed(GREETING))
}

/// No change of keys of our own accord; see the list above.
fn no_limits() -> Limits {
    Limits {
        rekey_write_limit: usize::MAX,
        rekey_read_limit: usize::MAX,
        rekey_time_limit: Duration::from_secs(365 * 24 * 3600),
    }
}

/// The algorithms, best first: key exchange that outlives quantum computers, ciphers in the order
/// in which machines are fast, no SHA-1 and no compression.
fn preferred(keys: Vec<Algorithm>) -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::DH_G16_SHA512,
            kex::DH_G18_SHA512,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_128_CTR,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// The kinds of keys that are good enough, best first.
fn key_algorithms() -> Vec<Algorithm> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    vec![
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ]
}

/// What the channels that share a session are to each other.
#[derive(Clone, Debug, Default)]
struct Load(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    company: watch::Sender<Company>,
    /// How much has arrived for all of them and is not read yet, in bytes.
    waiting: AtomicUsize,
    /// Whether the peer leaves it to us to close channels that have ended.
    leads: AtomicBool,
    /// How many channels we have closed first.
    closed: AtomicUsize,
}

/// Who is in a session.
#[derive(Clone, Copy, Debug, Default)]
struct Company {
    channels: usize,
    /// Whether the peer may open more of them at any time: we asked it to listen.
    expects: bool,
}

/// One of the channels that share a session, while it lives.
#[derive(Debug)]
struct Share(Load);

/// How much has arrived for one of them and is not read yet.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    load: Load,
}

impl Load {
    fn share(&self) -> Share {
        self.0.company.send_modify(|company| company.channels += 1);
        Share(self.clone())
    }

    /// How many channels were closed by us and stay in russh's books.
    fn kept(&self) -> usize {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// From here on, channels that have ended are closed by us.
    fn lead(&self) {
        self.0.leads.store(true, Ordering::Relaxed);
    }

    /// From here on, the peer may open channels.
    fn expect(&self) {
        self.0.company.send_modify(|company| company.expects = true);
    }

    fn channels(&self) -> usize {
        self.0.company.borrow().channels
    }

    /// Waits until no channel is left.
    async fn idle(&self) {
        let mut company = self.0.company.subscribe();
        let _ = company.wait_for(|company| company.channels == 0).await;
    }

    /// Whether the one channel there is has more to read than it should.
    fn is_behind(&self) -> bool {
        self.channels() == 1 && self.0.waiting.load(Ordering::Relaxed) > channel::ENOUGH
    }

    fn waiting(&self) -> Waiting {
        Waiting { bytes: 0, load: self.clone() }
    }
}

impl Share {
    fn leads(&self) -> bool {
        self.0.0.leads.load(Ordering::Relaxed)
    }

    /// The channel is being closed, and the peer has not done so.
    fn close_first(&self) {
        self.0.0.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn company(&self) -> watch::Receiver<Company> {
        self.0.0.company.subscribe()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.0.company.send_modify(|company| company.channels -= 1);
    }
}

impl Waiting {
    fn set(&mut self, bytes: usize) {
        let all = &self.load.0.waiting;
        all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A failure of a session, in our words.
fn failure(error: russh::Error) -> Error {
    use russh::Error as E;
    match error {
        E::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => gone(),
        E::IO(error) => Error::lost(error),
        E::Disconnect | E::HUP | E::SendError | E::RecvError => gone(),
        E::KeepaliveTimeout | E::ConnectionTimeout | E::InactivityTimeout => {
            Error::new(Kind::Lost, "the SSH peer does not answer any more")
        }
        E::Version => Error::new(Kind::Protocol(1002), "what answers does not speak SSH 2"),
        E::NoCommonAlgo { kind, theirs, .. } => {
            let what = format!("no common {kind:?} algorithm").to_lowercase();
            Error::new(Kind::Protocol(1002), what)
                .hint(format_args!("the peer has {}", theirs.join(" ")))
        }
        other => Error::new(Kind::Protocol(1002), format_args!("SSH: {other}")),
    }
}

fn gone() -> Error {
    Error::new(Kind::Lost, "the SSH peer closed the connection")
}
