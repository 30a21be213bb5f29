//! What a client asks for, and what it is told.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{ChannelId, ChannelOpenFailure, Pty};

use super::access::Proof;
use super::forward::Forwards;
use super::terminal::Typist;
use super::visit::Visit;
use crate::duplex::{ByteStream, Io};
use crate::endpoint::{Endpoint, HostPort};
use crate::ssh::channel::{Channel, Role};
use crate::ssh::{Forward, WINDOW};

/// The smallest window that russh opens again.
const TRICKLE: u32 = 2;

/// The server's half of a session: it decides, and leaves the work to tasks.
pub(super) struct Connection {
    visit: Arc<Visit>,
    /// Sessions that are open, but for nothing yet.
    waiting: HashMap<ChannelId, Waiting>,
    forwards: Forwards,
}

struct Waiting {
    channel: Channel,
    terminal: bool,
}

impl Connection {
    pub(super) fn new(visit: Arc<Visit>) -> Self {
        Self { waiting: HashMap::new(), forwards: Forwards::new(visit.clone()), visit }
    }

    /// Joins a session to what was asked for, or to what its key says.
    fn begin(
        &mut self,
        id: ChannelId,
        words: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let (Some(waiting), Some(grant)) = (self.waiting.remove(&id), self.visit.grant()) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let words = words.map(String::from_utf8_lossy);
        let words = grant.command.as_deref().or(words.as_deref());
        let Waiting { channel, terminal } = waiting;
        let mut channel = Some(channel);
        let stream = |target: &Endpoint| {
            let channel = channel.take().expect("it is asked for once");
            // A program on a terminal of its own does what a terminal does.
            match terminal && !target.has_terminal() {
                true => ByteStream::other(Typist::new(channel)),
                false => ByteStream::other(channel),
            }
        };
        if let Err(why) = self.visit.join(stream, words)
            && let Some(mut channel) = channel
        {
            channel.abort(&why);
        }
        Ok(())
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.visit.server.banner.clone())
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let is_sha1 = *offer.algorithm == (Algorithm::Rsa { hash: None });
        let key = Proof::Key(offer.public_key.clone());
        Ok(if !is_sha1 && self.visit.consider(user, &key) { Auth::Accept } else { Auth::reject() })
    }

    // The only two ways in: russh calls them when the signature has been verified.

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let key = Proof::Key(key.public_key.clone());
        Ok(if self.visit.log_in(user, key) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        let certificate = Proof::Certificate(Box::new(certificate.clone()));
        Ok(if self.visit.log_in(user, certificate) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), russh::Error> {
        self.visit.begun();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.visit.is_full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        reply.accept().await;
        let id = channel.id();
        let channel = Channel::new(channel, Role::User, "", &self.visit.load);
        self.waiting.insert(id, Waiting { channel, terminal: false });
        Ok(())
    }

    /// What a client may send ahead on each channel. russh lets it send more as soon as it has
    /// received something; a client that hears less than it says would otherwise fill our memory.
    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        match self.visit.load.is_behind() {
            true => TRICKLE,
            false => WINDOW,
        }
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.waiting.remove(&id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let allowed = self.visit.grant().is_some_and(|grant| grant.pty);
        match self.waiting.get_mut(&id) {
            Some(waiting) if allowed => {
                waiting.terminal = true;
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, None, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        words: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, Some(words), session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: russh::Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        match place(host, port) {
            Some(to) => self.forwards.open(to, channel, reply).await,
            None => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: russh::Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.forwards.open_socket(path.to_owned(), channel, reply).await;
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        host: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let Some(at) = place(host, *port) else { return Ok(false) };
        Ok(match self.forwards.listen(at, &session.handle()).await {
            Some(chosen) => {
                *port = chosen.into();
                true
            }
            None => false,
        })
    }

    async fn cancel_tcpip_forward(
        &mut self,
        host: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.forwards.cancel(&Forward::Tcp(host.to_owned(), port)))
    }

    async fn streamlocal_forward(
        &mut self,
        path: &str,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.forwards.listen_on_socket(path, &session.handle()).await)
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.forwards.cancel(&Forward::Unix(path.to_owned())))
    }
}

fn place(host: &str, port: u32) -> Option<HostPort> {
    Some(HostPort { host: host.to_owned(), port: port.try_into().ok()? })
}
