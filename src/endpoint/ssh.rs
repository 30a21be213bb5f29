//! `ssh://[USER@]HOST[:PORT]`: a machine that is reached by SSH.
//!
//! As a hop it is the ground on which the next one stands: its network, its sockets, its programs.
//! All that goes through it shares one session; see `ssh/sessions.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ok};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::exec::Exec;
use super::tcp::{HostPort, Tcp, authority};
use super::{Call, Footing, Ground, Hop, Scheme, Shape, Side, stdio};
use crate::accept::Peer;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result};
use crate::ssh::config::{Jump, Proxy};
use crate::ssh::{Channel, Remote, Session, Size, Target};

mod forward;
mod tunnel;

pub(super) use forward::listen;
pub(crate) use tunnel::Socks;

/// An SSH server, as the user knows it: the name may stand in ssh_config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ssh {
    user: Option<String>,
    /// Empty stands for loopback.
    host: String,
    port: Option<u16>,
}

impl Scheme for Ssh {
    const NAMES: &'static [&'static str] = &["ssh"];
    const USAGE: &'static str = "ssh://[USER@]HOST[:PORT]";
    const HELP: &'static str =
        "a machine reached by SSH: what follows lives there; alone, its shell";
    const STANDS_ON: &'static [Footing] = Footing::ANY;
    const GIVES: Option<Footing> = Some(Footing::Machine);
    const LISTENS: bool = true;
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        let (user, place) = match authority(rest).rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(
                    "a password does not belong into an address; see --password-file".into()
                );
            }
            Some(("", _)) => return Err("a user name is missing before the @".into()),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority(rest)),
        };
        let HostPort { host, port } = HostPort::parse(place, Some(0))?;
        // Port 0 is any port, where it is written for a listener.
        let written = place.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        Ok(Self { user, host, port: written.then_some(port) })
    }

    /// The shell of the machine.
    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        let Ground::Machine(session) = ground else {
            return Err(Error::new(Kind::Usage, "is only a hop here"));
        };
        let channel = session.run(None, call.terminal(), call.trace).await?;
        Ok(far_program(channel, call))
    }

    fn socket(&self) -> Option<Hop> {
        let port = self.port.unwrap_or(22);
        Some(Hop::Tcp(Tcp::at(HostPort { host: self.host.clone(), port })))
    }

    async fn answer(
        &self,
        stream: ByteStream,
        peer: &mut Peer,
        cx: &Arc<Context>,
    ) -> Result<Duplex> {
        serve(stream, peer, cx).await
    }
}

/// Serves a connection to its end: what it brings are peers of their own, one a session.
pub(super) async fn serve(stream: ByteStream, peer: &Peer, cx: &Arc<Context>) -> Result<Duplex> {
    let server = cx.serve.as_ref().and_then(|serve| serve.ssh.as_ref());
    let server = server.ok_or_else(|| Error::new(Kind::Usage, "there is no SSH server"))?;
    server.serve(stream, peer, cx).await?;
    Err(Error::new(Kind::Closed(1000), "disconnected"))
}

/// A program on a far machine as an end of a join. Its terminal keeps the size of ours.
pub(super) fn far_program(channel: Channel, call: &Call<'_>) -> Duplex {
    if let Some((terminal, remote)) = call.terminal().zip(channel.remote()) {
        tokio::spawn(follow_size(terminal.size, remote));
    }
    Duplex::Bytes(ByteStream::other(channel))
}

async fn follow_size(mut size: Size, remote: Remote) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while changes.recv().await.is_some() {
        match stdio::terminal() {
            Some(now) if now.size != size => size = now.size,
            _ => continue,
        }
        if remote.resize(size).await.is_err() {
            return;
        }
    }
}

impl Ssh {
    /// The host as it is written.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Connects and logs in. `chain` are the hops before this one and this one.
    pub(super) async fn begin(&self, ground: Ground, call: &Call<'_>) -> Result<Session> {
        let target = call.cx.ssh.target(&self.host, self.user.as_deref(), self.port)?;
        let patience = target.patience.unwrap_or(Duration::MAX);
        let stream = timeout(patience, Self::reach(&target, ground, call)).await;
        let late = |_| {
            let what = format!("no connection after {patience:?} (ConnectTimeout)");
            Error::new(Kind::Timeout, what)
        };
        target.log_in(stream.map_err(late)??, call.trace).await
    }

    /// The stream to the server. What ssh_config says of the way there counts where the address
    /// says nothing.
    async fn reach(target: &Target, ground: Ground, call: &Call<'_>) -> Result<ByteStream> {
        match (&ground, &target.proxy) {
            (Ground::Here, Proxy::Jump(jumps)) => {
                let hops: Vec<_> = jumps.iter().map(|jump| Hop::Ssh(Self::from(jump))).collect();
                Ground::after(&hops, call).await?.open(&target.at, call).await
            }
            (Ground::Here, Proxy::Command(line)) => {
                let carrier = Call { near: Shape::Bytes, side: Side::Far, ..*call };
                Ok(Exec::line(line).connect(Ground::Here, &carrier).await?.into_bytes())
            }
            _ => ground.open(&target.at, call).await,
        }
    }
}

impl Ground {
    /// What is there after all of `hops`.
    pub(super) fn after<'a>(hops: &'a [Hop], call: &'a Call<'_>) -> BoxFuture<'a, Result<Self>> {
        let Some((hop, before)) = hops.split_last() else { return Box::pin(ok(Self::Here)) };
        Box::pin(async move {
            let Hop::Ssh(ssh) = hop else {
                let ground = Self::after(before, call).await?;
                return hop.carry(ground, call).await.map_err(|error| hop.blame(error));
            };
            let chain: Vec<_> = hops.iter().map(Hop::to_string).collect();
            let begin = || -> BoxFuture<'_, _> {
                Box::pin(async move {
                    let ground = Self::after(before, call).await?;
                    ssh.begin(ground, call).await.map_err(|error| hop.blame(error))
                })
            };
            call.cx.ssh.get(&chain.join(","), begin).await.map(Self::Machine)
        })
    }

    /// The machine this stands on, if it is not this one.
    pub(super) fn machine(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Machine(session) => Some(session),
            _ => None,
        }
    }
}

impl From<&Jump> for Ssh {
    fn from(jump: &Jump) -> Self {
        Self { user: jump.user.clone(), host: jump.host.clone(), port: jump.port }
    }
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in ["ssh://box", "ssh://me@box:2222", "ssh://me@[::1]:22", "ssh://a@b@box"] {
            let ssh = Ssh::parse("ssh", text.strip_prefix("ssh:").unwrap()).unwrap();
            assert_eq!(ssh.to_string(), text);
        }
        assert!(Ssh::parse("ssh", "//me:pw@box").unwrap_err().contains("--password-file"));
        assert!(Ssh::parse("ssh", "//@box").is_err());
    }
}
