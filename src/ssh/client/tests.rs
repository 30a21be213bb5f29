//! A server that does what no server should.

use std::sync::Arc;

use futures_util::FutureExt;
use russh::server::{self, Auth, Handle, Handler};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::*;
use crate::cli::HostKeyPolicy;
use crate::ssh::testing;

struct Rogue(mpsc::UnboundedSender<Handle>);

impl Handler for Rogue {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut server::Session) -> Result<(), russh::Error> {
        let _ = self.0.send(session.handle());
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        _: &mut u32,
        _: &mut server::Session,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A session of ours, and the rogue's end of it.
async fn session() -> (Session, Handle) {
    let (near, far) = UnixStream::pair().unwrap();
    let (sender, mut handles) = mpsc::unbounded_channel();
    let config = server::Config { keys: vec![testing::private(1)], ..server::Config::default() };
    tokio::spawn(async move {
        let running = server::run_stream(Arc::new(config), far, Rogue(sender)).await;
        let _ = running.unwrap().await;
    });
    let keys = HostKeys {
        name: "rogue".into(),
        port: 22,
        files: Vec::new(),
        policy: Some(HostKeyPolicy::Off),
        hash_names: false,
    };
    let login = Login {
        user: "me".into(),
        host: "rogue".into(),
        identities: Vec::new(),
        default_identities: false,
        certificates: Vec::new(),
        identities_only: true,
        agent: None,
        passphrase_file: None,
        password_file: None,
        batch: true,
    };
    let near = ByteStream::Unix(near);
    let session = Session::begin(near, keys, &login, None, &Trace::default()).await.unwrap();
    (session, handles.recv().await.unwrap())
}

#[tokio::test]
async fn a_server_opens_nothing_that_nobody_asked_for() {
    let (_session, server) = session().await;
    assert!(server.channel_open_session().await.is_err());
    assert!(server.channel_open_agent().await.is_err());
    assert!(server.channel_open_x11("127.0.0.1", 1).await.is_err());
    assert!(server.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await.is_err());
    assert!(server.channel_open_direct_streamlocal("/run/x").await.is_err());
    assert!(server.channel_open_forwarded_tcpip("127.0.0.1", 80, "127.0.0.1", 1).await.is_err());
    assert!(server.channel_open_forwarded_streamlocal("/run/x").await.is_err());
}

#[tokio::test]
async fn a_forward_that_was_asked_for_is_taken_and_no_other_one() {
    let (session, server) = session().await;
    let at = Forward::Tcp("localhost".into(), 80);
    let (_, mut incoming) = session.listen(at).await.unwrap();
    let open = server.channel_open_forwarded_tcpip("localhost", 80, "192.0.2.1", 4000).await;
    assert!(open.is_ok());
    assert_eq!(incoming.recv().await.unwrap().from, "192.0.2.1:4000");
    assert!(server.channel_open_forwarded_tcpip("localhost", 81, "192.0.2.1", 1).await.is_err());
}

#[tokio::test]
async fn a_write_that_is_given_up_says_nothing() {
    let (session, server) = session().await;
    let (_, mut incoming) = session.listen(Forward::Tcp("localhost".into(), 80)).await.unwrap();
    let open = server.channel_open_forwarded_tcpip("localhost", 80, "192.0.2.1", 4000).await;
    let mut far = open.unwrap();
    let mut near = incoming.recv().await.unwrap().stream;
    let (mut said, mut given_up) = (Vec::new(), 0_u8);
    // Nobody listens yet, so there comes a time when all writes have to wait.
    while given_up < 100 {
        let piece = [given_up; 10_000];
        match near.write(&piece).now_or_never() {
            Some(len) => said.extend_from_slice(&piece[..len.unwrap()]),
            None => given_up += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(near.shutdown().now_or_never().is_none());
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(ChannelMsg::Data { data }) = far.wait().await {
            heard.extend_from_slice(&data);
        }
        heard
    });
    near.write_all(b"the end").await.unwrap();
    near.shutdown().await.unwrap();
    said.extend_from_slice(b"the end");
    assert!(heard.await.unwrap() == said);
}
