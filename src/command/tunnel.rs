//! `tunnel`: port forwards over one SSH session that is kept up.

use std::sync::Arc;

use crate::accept::{Listener, accept};
use crate::cli::{ForwardArgs, TunnelArgs};
use crate::context::Context;
use crate::duplex::ByteStream;
use crate::endpoint::{Call, Console, Endpoint, Shape, Side, Socks, in_connect_time};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::metrics::Metrics;
use crate::relay::{self, Pair};
use crate::report;
use crate::signal::Signals;
use crate::ssh::Session;
use crate::threads::Threads;
use crate::trace::Trace;

mod status;

use status::Status;

/// Serves the forwards until stopped.
///
/// # Errors
/// The session cannot be opened, a forward cannot be served, or SIGINT.
pub async fn run(args: TunnelArgs) -> Result<()> {
    let via = via(&args)?;
    let cx = Arc::new(Context::for_tunnel(&args)?);
    let mut signals = Signals::listen()?;
    let tunnel = async {
        match &args.forwards.stdio {
            Some(forward) => join_stdio(&Endpoint::of_stdio(forward, &via)?, &cx).await,
            None => serve(&args, &via, &cx).await,
        }
    };
    match signals.run(&cx.stop, cx.until_ended(tunnel)).await {
        (Some(Kind::Interrupted), Ok(())) => Err(Error::new(Kind::Interrupted, "interrupted")),
        (_, outcome) => outcome,
    }
}

/// The way to the SSH server, with the hosts of `--jump` in front.
fn via(args: &TunnelArgs) -> Result<Endpoint> {
    let mut hosts = args.keep.jump.iter().chain([&args.via]).map(|via| via.0.clone());
    let first = hosts.next().expect("clap asks for one");
    hosts.try_fold(first, |chain, next| chain.and(next))
}

/// The forwards as listeners and what their peers are joined to.
fn plan(forwards: &ForwardArgs, via: &Endpoint) -> Result<Vec<(Endpoint, Endpoint)>> {
    let socks = Socks::new(forwards)?;
    let local = forwards.local.iter().map(|forward| Endpoint::of_local(forward, via));
    let remote = forwards.remote.iter().map(|forward| Endpoint::of_remote(forward, via, &socks));
    let dynamic = forwards.dynamic.iter().map(|forward| Endpoint::of_dynamic(forward, via, &socks));
    local.chain(remote).chain(dynamic).collect()
}

async fn serve(args: &TunnelArgs, via: &Endpoint, cx: &Arc<Context>) -> Result<()> {
    let plan = plan(&args.forwards, via)?;
    let trace = Trace::default();
    let call = Call { cx, near: Shape::Bytes, side: Side::Far, peer: None, trace: &trace };
    let metrics = match &args.keep.metrics {
        Some(at) => Some(at.listen(cx).await?),
        None => None,
    };
    let patience = args.shared.dial.connect_timeout;
    let session = in_connect_time(&call, patience, &format!("{via:#}"), via.session(&call)).await?;
    let (mut listeners, mut forwards) = (Vec::new(), Vec::new());
    for (listen, target) in plan {
        match listen.listen(cx).await {
            Ok(listener) => {
                if listen.is_open_proxy() && listener.is_beyond_this_machine() {
                    report::warn(format_args!(
                        "{}: whoever reaches this proxy may use it; --socks-auth asks for a login",
                        listener.address
                    ));
                }
                let figures = Arc::new(Metrics::default());
                let name = format!("{} -> {}", listener.address, target.destination());
                forwards.push((name, figures.clone()));
                listeners.push(lead_to(listener, target, figures));
            }
            Err(error) if args.keep.keep_going => report::warn(format_args!("{error}")),
            Err(error) => return Err(error.hint("--keep-going serves the other forwards")),
        }
    }
    if listeners.is_empty() {
        return Err(Error::new(Kind::Refused, "no forward can be served"));
    }
    if let Some(metrics) = &metrics {
        let at = metrics.address.trim_start_matches("ws:");
        report::note(format_args!("metrics at http:{at}/metrics"));
    }
    for listener in &listeners {
        report::listening(args.server.announce, &listener.address);
    }
    listeners.extend(metrics);
    cx.ssh.keep(patience, args.keep.queue_timeout);
    let status = Status::new(format!("{via:#}"), forwards, session.clone(), cx);
    let keeping = async {
        // Without the server there is nothing to serve.
        let _stop = cx.stop.clone().drop_guard();
        tokio::select! {
            kept = keep_up(session, via, &status, &call) => kept,
            () = status.show(args.keep.status) => Ok(()),
            () = cx.stop.cancelled() => Ok(()),
        }
    };
    let threads = Threads::here();
    let accepting = accept(listeners, &threads, cx.clone());
    let (kept, accepted) = tokio::join!(keeping, accepting);
    kept.and(accepted)
}

/// Joins the peers of a listener to a target of its own.
fn lead_to(listener: Listener, target: Endpoint, figures: Arc<Metrics>) -> Listener {
    let target = Arc::new(target);
    listener.map(move |mut incoming| {
        let (target, figures) = (target.clone(), figures.clone());
        incoming.ready = Box::pin(async move {
            let (duplex, mut peer) = incoming.ready.await?;
            (peer.target, peer.forward) = (Some(target), Some(figures));
            Ok((duplex, peer))
        });
        incoming
    })
}

/// Opens the session again whenever it is lost.
///
/// # Errors
/// The server does not let us in any more.
async fn keep_up(
    mut session: Arc<Session>,
    via: &Endpoint,
    status: &Status,
    call: &Call<'_>,
) -> Result<()> {
    loop {
        session.over().await;
        status.lost();
        report::warn(format_args!("{via:#}: the session is lost; connecting again"));
        session = via.session(call).await?;
        let away = status.back(session.clone());
        report::note(format_args!("{via:#}: connected again after {away:.1?}"));
    }
}

/// Joins stdin and stdout to one place on the far side.
async fn join_stdio(target: &Endpoint, cx: &Arc<Context>) -> Result<()> {
    let trace = Trace::default();
    let call = Call { cx, near: Shape::Bytes, side: Side::Far, peer: None, trace: &trace };
    let far = target.connect_in_time(&call).await?.into_bytes();
    let near = ByteStream::other(Console::new());
    let options = relay::Options::new(cx, Framing::Raw);
    let (_, outcome) = relay::relay(&mut Pair::Bytes(near, far), &options).await;
    outcome.map(drop).map_err(|error| error.at(format_args!("{target:#}")))
}
