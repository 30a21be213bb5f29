//! Listening on a far machine: a remote forward, kept up over as many sessions as it takes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::accept::{Incoming, Listener, Peer};
use crate::backoff::Backoff;
use crate::context::Context;
use crate::endpoint::{Call, Ground, Hop, Shape, Side, in_connect_time};
use crate::error::{Error, Kind, Result};
use crate::report;
use crate::ssh::{Forward, Forwarded, Session};
use crate::trace::Trace;

/// What the machine behind some hops is asked to listen on.
struct Remote {
    /// The hops that lead there, the last of which is an `ssh:`.
    hops: Vec<Hop>,
    /// How they are written.
    chain: String,
    at: Forward,
    cx: Arc<Context>,
}

/// A place where the server listens for us.
struct Listening {
    session: Arc<Session>,
    incoming: mpsc::UnboundedReceiver<Forwarded>,
}

/// Listens at `at` on the machine that `hops` lead to. When the session is lost, it is opened
/// again, for as long as that takes.
///
/// # Errors
/// As for connecting, the first time; [`Kind::Refused`] if the server does not listen there.
pub(in crate::endpoint) async fn listen(
    hops: &[Hop],
    at: Forward,
    cx: &Arc<Context>,
) -> Result<Listener> {
    let chain: Vec<_> = hops.iter().map(|hop| format!("{hop:#}")).collect();
    let chain = chain.join(",");
    let mut remote = Remote { hops: hops.to_vec(), chain, at, cx: cx.clone() };
    let mut listening = remote.begin().await?;
    let address = format!("{},{}", remote.chain, remote.at);
    let (sender, incoming) = mpsc::channel(1);
    let at: Arc<str> = remote.at.to_string().into();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                next = listening.incoming.recv() => match next {
                    Some(forwarded) => {
                        if sender.send(Ok(arrived(forwarded, &at))).await.is_err() {
                            return;
                        }
                    }
                    None => match remote.again().await {
                        Some(again) => listening = again,
                        None => return,
                    },
                },
                // The server may have gone without a word to its forwards.
                () = listening.session.over() => listening.incoming.close(),
                () = sender.closed() => return,
            }
        }
    });
    let incoming = stream::unfold(incoming, async |mut incoming| {
        let next = incoming.recv().await?;
        Some((next, incoming))
    });
    Ok(Listener { address, incoming: incoming.boxed() })
}

fn arrived(forwarded: Forwarded, at: &Arc<str>) -> Incoming {
    let Forwarded { stream, from } = forwarded;
    let peer = Peer { address: from, local: at.to_string(), ..Peer::default() };
    Incoming::ready(stream, peer)
}

impl Remote {
    async fn begin(&mut self) -> Result<Listening> {
        let trace = Trace::default();
        let call =
            Call { cx: &self.cx, near: Shape::Bytes, side: Side::Far, peer: None, trace: &trace };
        let asking = async {
            let ground = Ground::after(&self.hops, &call).await?;
            let Some(session) = ground.machine() else {
                return Err(Error::new(Kind::Usage, "cannot listen there"));
            };
            let asked = session.listen(self.at.clone()).await;
            let (at, incoming) = asked.map_err(|error| error.at(&self.at))?;
            Ok((at, Listening { session: session.clone(), incoming }))
        };
        let (at, listening) =
            in_connect_time(&call, self.cx.shared.dial.connect_timeout, &self.chain, asking)
                .await?;
        // A port that the server chose is asked for again.
        self.at = at;
        Ok(listening)
    }

    /// Listens again; none once the run is to end.
    async fn again(&mut self) -> Option<Listening> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        if !self.cx.stop.is_cancelled() {
            report::warn(format_args!(
                "{}: lost; {} is not served until it is back",
                self.chain, self.at
            ));
        }
        loop {
            let pause = backoff.pause();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.cx.stop.cancelled() => return None,
            }
            match self.begin().await {
                Ok(listening) => {
                    report::note(format_args!("listening again on {},{}", self.chain, self.at));
                    return Some(listening);
                }
                // The old session may still hold the port, so a refusal is no reason to give up.
                Err(error) => report::verbose(format_args!("{error}")),
            }
        }
    }
}

impl Hop {
    /// What a server is asked to listen on for this hop, if it can be asked.
    pub(in crate::endpoint) fn remote(&self) -> Option<Forward> {
        match self {
            // A missing host is loopback, as everywhere; to a server an empty one would be any.
            Self::Tcp(tcp) => tcp.to().map(|to| match to.host.as_str() {
                "" => Forward::Tcp("localhost".to_owned(), to.port.into()),
                "*" => Forward::Tcp(String::new(), to.port.into()),
                host => Forward::Tcp(host.to_owned(), to.port.into()),
            }),
            Self::Unix(unix) => Some(Forward::Unix(unix.name().to_owned())),
            _ => None,
        }
    }
}
