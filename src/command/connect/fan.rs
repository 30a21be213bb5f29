//! `connect - B C D`: this console with several ends at once, which hear it and not each other.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::judge;
use crate::cli::ConnectArgs;
use crate::context::Context;
use crate::duplex::Duplex;
use crate::endpoint::{Call, Endpoint, Shape, Side};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::hub::Guest;
use crate::relay::{self, Options, Pair};
use crate::trace::Trace;
use crate::{console, report};

/// Connects all, then joins this console to them until all have left; its end is passed on to them.
///
/// # Errors
/// The first of them that cannot be connected, or the first that ends other than well; those of
/// the others are said.
pub(super) async fn run(args: &ConnectArgs, cx: &Arc<Context>) -> Result<()> {
    check(args)?;
    match args.persist.timeout {
        Some(patience) => timeout(patience, run_all(args, cx)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("not over after {patience:?}")))
        }),
        None => run_all(args, cx).await,
    }
}

async fn run_all(args: &ConnectArgs, cx: &Arc<Context>) -> Result<()> {
    let ends = &args.addresses[1..];
    let connected = all(join_all(ends.iter().map(|end| dial(end, cx))).await)?;
    let over = CancellationToken::new();
    let joins = ends.iter().zip(connected).map(|(end, duplex)| join(end, duplex, args, cx));
    let joins = async {
        let _over = over.clone().drop_guard();
        all(join_all(joins).await).map(drop)
    };
    let console = async {
        let printed = console::run(cx, over.clone()).await;
        // Nobody reads any more, or the person has had enough.
        cx.stop.cancel();
        printed
    };
    let (printed, joined) = tokio::join!(console, joins);
    printed.and(joined)
}

/// What all have come to, or the first error; the others are said.
fn all<T>(outcomes: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut good, mut first) = (Vec::new(), None);
    for outcome in outcomes {
        match outcome {
            Ok(it) => good.push(it),
            Err(error) if first.is_none() => first = Some(error),
            Err(error) => report::error(&error),
        }
    }
    first.map_or(Ok(good), Err)
}

/// What is for one far end alone.
fn check(args: &ConnectArgs) -> Result<()> {
    let usage = |what: &str| Err(Error::new(Kind::Usage, what));
    if !args.addresses[0].is_console() {
        return usage("with more than two addresses, the first is `-`, this console");
    }
    let single = [
        (!args.script.is_empty(), "the steps of a probe are"),
        (args.persist.reconnect, "--reconnect is"),
        (args.console.log.is_some(), "--log is"),
        (args.console.replay.is_some(), "--replay is"),
    ];
    match single.iter().find(|(used, _)| *used) {
        Some((_, what)) => usage(&format!("{what} for one far end")),
        None => Ok(()),
    }
}

async fn dial(end: &Endpoint, cx: &Arc<Context>) -> Result<Duplex> {
    let trace = Trace::default();
    let call = Call { cx, near: Shape::Messages, side: Side::Far, peer: None, trace: &trace };
    end.connect_in_time(&call).await
}

/// One of the ends, as a peer of the console.
async fn join(end: &Endpoint, duplex: Duplex, args: &ConnectArgs, cx: &Arc<Context>) -> Result<()> {
    let address = format!("{end:#}");
    let guest = Guest { name: Some(end.label()), address: &address, identity: None };
    let member = cx.hubs.join_console(&guest);
    let framing = match cx.shared.join.frame {
        // Envelopes for a script at the console do not make the others speak JSON.
        Some(Framing::Json) => Framing::Lines,
        _ => cx.shared.join.framing([end.framing(), Framing::Lines]),
    };
    let options = Options::new(cx, framing);
    let mut pair = Pair::new(Duplex::Messages(Box::new(member)), duplex, &options.decoder);
    let (_, outcome) = relay::relay(&mut pair, &options).await;
    let outcome = outcome.and_then(|ended| judge(&ended, &args.persist, &args.addresses[0], end));
    // The others go on, so it is said now who has left, and why.
    if let Err(error) = &outcome {
        report::verbose(format_args!("{address}: {error}"));
    }
    match outcome {
        Err(error) if error.kind() == Kind::Terminated => Ok(()),
        outcome => outcome.map_err(|error| error.at(&address)),
    }
}
