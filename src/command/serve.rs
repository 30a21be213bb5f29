//! `serve`: listeners, and where they lead.

use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::accept::{Listener, accept, serve_one};
use crate::cli::{ServeArgs, ServerArgs};
use crate::context::{Context, Serve};
use crate::endpoint::{Endpoint, said};
use crate::error::{Error, Kind, Result, plain};
use crate::signal::Signals;
use crate::threads::Threads;
use crate::{console, report};

pub(super) mod flags;

/// Joins every peer to the target.
///
/// # Errors
/// An address that cannot listen, a listener that cannot be bound, or SIGINT.
pub async fn run(mut args: ServeArgs) -> Result<()> {
    let target = target(&mut args)?;
    target.check_connect()?;
    for address in &args.addresses {
        address.check_listen()?;
    }
    flags::check(&args, &target)?;
    warn_of_missing_programs(&flags::targets(&args, &target));
    // A redirect may lead to TLS.
    let dials_tls = args.shared.ws.max_redirects > 0
        || flags::targets(&args, &target).into_iter().any(Endpoint::is_tls);
    let cx = Arc::new(Context::for_serve(&args, target)?);
    match dials_tls {
        true => cx.tls.check_client()?,
        false => cx.tls.check_no_client()?,
    }
    // `any:` does without, and speaks TLS where it can.
    let may_accept_tls = cx.tls.has_identity() && args.addresses.iter().any(Endpoint::is_any);
    match may_accept_tls || args.addresses.iter().any(Endpoint::is_tls) {
        true => cx.tls.check_server()?,
        false => cx.tls.check_no_server()?,
    }
    let mut signals = Signals::listen()?;
    if args.server.inetd {
        let one = args.addresses[0].over_stdio(&cx).await?;
        let serving = cx.until_ended(serve_one(one, &cx));
        return signals.run(&cx.stop, serving).await.1;
    }
    let threads = args.threads.unwrap_or_else(Threads::fitting);
    let threads = Threads::start(threads).map_err(|error| Error::io(error).at("--threads"))?;
    let mut listeners = Vec::new();
    for address in &args.addresses {
        listeners.push(address.listen(&cx).await?);
    }
    warn_of_open_proxies(&args, &listeners);
    announce(&args.server, &listeners);
    let accepting = accept(listeners, &threads, cx.clone());
    let serving = async {
        match cx.serve.as_ref().is_some_and(Serve::has_console) {
            true => with_console(&cx, accepting).await,
            false => accepting.await,
        }
    };
    match signals.run(&cx.stop, cx.until_ended(serving)).await {
        (Some(Kind::Interrupted), Ok(())) => Err(Error::new(Kind::Interrupted, "interrupted")),
        (_, outcome) => outcome,
    }
}

/// The last address is the target. Where there is one address alone it is this console; or, for a
/// proxy, wherever its peers ask to go.
fn target(args: &mut ServeArgs) -> Result<Endpoint> {
    if args.addresses.len() > 1 {
        return args.addresses.pop().ok_or_else(|| Error::new(Kind::Usage, "no address"));
    }
    match args.addresses[0].is_proxy() {
        true => "tcp:".parse(),
        false => Ok(Endpoint::console()),
    }
}

/// A program may still come; but who has misspelt it is told before the first peer is.
fn warn_of_missing_programs(targets: &[&Endpoint]) {
    for program in targets.iter().filter_map(|target| target.missing_program()) {
        report::warn(format_args!(
            "no such program: {program}; it is looked for again for each peer"
        ));
    }
}

/// Whoever reaches a proxy reaches all that we can, as us.
fn warn_of_open_proxies(args: &ServeArgs, listeners: &[Listener]) {
    let http = &args.http;
    for (address, listener) in args.addresses.iter().zip(listeners) {
        // A hop before the proxy may know its peers.
        let known = (address.is_websocket()
            && (http.basic_auth.is_some() || http.bearer_auth.is_some()))
            || (address.is_tls() && args.tls.client_ca.is_some());
        if address.is_open_proxy() && !known && listener.is_beyond_this_machine() {
            report::warn(format_args!(
                "{}: whoever reaches this proxy may use it; a login stands before the host, as \
                 USER:PASSWORD@",
                listener.address
            ));
        }
    }
}

/// Says that the listeners are ready.
pub(super) fn announce(args: &ServerArgs, listeners: &[Listener]) {
    for listener in listeners {
        report::listening(args.announce, &listener.address);
    }
    let Some(command) = &args.on_listen else { return };
    let addresses: Vec<_> = listeners.iter().map(|it| it.address.as_str()).collect();
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("TOWLINE_LISTEN", addresses.join(" "))
        .stdin(Stdio::null())
        // stdout carries payload only.
        .stdout(std::io::stderr())
        .spawn();
    let command = command.clone();
    tokio::spawn(async move {
        let ended = match child {
            Ok(mut child) => child.wait().await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => report::warn(format_args!("--on-listen `{command}`: {}", said(status))),
            Err(error) => report::warn(format_args!("--on-listen: {}", plain(&error))),
        }
    });
}

/// Runs the console as long as there are peers; one whose output is closed ends the run.
async fn with_console(
    cx: &Arc<Context>,
    accepting: impl Future<Output = Result<()>>,
) -> Result<()> {
    let over = CancellationToken::new();
    let accepting = async {
        let _over = over.clone().drop_guard();
        accepting.await
    };
    let console = async {
        let _stop = cx.stop.clone().drop_guard();
        console::run(cx, over.clone()).await
    };
    let (accepted, printed) = tokio::join!(accepting, console);
    accepted.and(printed)
}
