//! What a session hears from its server besides data: the host key, banners, channels.

use std::sync::Arc;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session as Loop};
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelOpenFailure, Names};
use tokio::sync::mpsc;

use super::{Forward, Forwarded, State};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::lock::lock;
use crate::report;
use crate::ssh::channel::{Channel, Role};
use crate::ssh::{GREETING, HostKeys};

/// Watches over the session from inside: checks the server's key, takes only what was asked for.
pub(in crate::ssh) struct Guard {
    pub(super) state: Arc<State>,
    pub(super) keys: HostKeys,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.state.over.cancel();
        // Their receivers end.
        lock(&self.state.forwards).clear();
    }
}

/// russh's error, with ours inside where there is one.
#[derive(Debug)]
pub(in crate::ssh) struct Broken(pub(super) russh::Error);

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self(error)
    }
}

impl Guard {
    fn forward(&self, at: &Forward) -> Option<mpsc::UnboundedSender<Forwarded>> {
        let forwards = lock(&self.state.forwards);
        // Servers say back what they were asked for, but not all of them in the same words.
        forwards.get(at).cloned().or_else(|| match at {
            Forward::Tcp(_, port) => {
                let mut there = forwards.iter();
                let same = |it: &Forward| matches!(it, Forward::Tcp(_, asked) if asked == port);
                there.find(|(it, _)| same(it)).map(|(_, to)| to.clone())
            }
            Forward::Unix(_) => None,
        })
    }

    async fn take(
        &self,
        at: Forward,
        from: String,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
    ) {
        let Some(to) = self.forward(&at) else {
            report::verbose(format_args!("the SSH server opened a channel nobody asked for"));
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        };
        reply.accept().await;
        let channel = Channel::new(channel, Role::Forward, "", &self.state.load);
        let _ = to.send(Forwarded { stream: ByteStream::other(channel), from });
    }
}

impl Handler for Guard {
    type Error = Broken;

    async fn auth_banner(&mut self, banner: &str, _: &mut Loop) -> Result<(), Broken> {
        for line in banner.lines() {
            report::note(format_args!("{}", report::printable(line)));
        }
        Ok(())
    }

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        match self.keys.check(key).await {
            Ok(()) => Ok(true),
            Err(error) => {
                *lock(&self.state.refusal) = Some(error);
                Ok(false)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        _: &Names,
        session: &mut Loop,
    ) -> Result<(), Broken> {
        if session.remote_sshid() == GREETING.as_bytes() {
            self.state.load.lead();
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: russh::Channel<Msg>,
        address: &str,
        port: u32,
        from: &str,
        from_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        let from = HostPort { host: from.to_owned(), port: from_port.try_into().unwrap_or(0) };
        let at = Forward::Tcp(address.to_owned(), port);
        self.take(at, from.to_string(), channel, reply).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: russh::Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        self.take(Forward::Unix(path.to_owned()), format!("unix:{path}"), channel, reply).await;
        Ok(())
    }

    // What a server has no business to open; the default would be to accept it.

    async fn server_channel_open_agent_forward(
        &mut self,
        _: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        refuse(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: russh::Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        refuse(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _: russh::Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Loop,
    ) -> Result<(), Broken> {
        refuse(reply).await
    }

    async fn disconnected(&mut self, why: DisconnectReason<Broken>) -> Result<(), Broken> {
        self.state.over.cancel();
        match why {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

async fn refuse(reply: ChannelOpenHandle) -> Result<(), Broken> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}
