//! `serve`: listeners, and where they lead.

use std::sync::Arc;

use crate::accept::accept;
use crate::cli::ServeArgs;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::report;

/// Joins every peer to the target.
///
/// # Errors
/// An address that cannot listen, or a listener that cannot be bound.
pub async fn run(mut args: ServeArgs) -> Result<()> {
    let target = if args.addresses.len() > 1 { args.addresses.pop() } else { None };
    let target = target.unwrap_or_else(Endpoint::console);
    for address in &args.addresses {
        address.check_listen()?;
    }
    let cx = Arc::new(Context::for_serve(&args, target));
    let mut listeners = Vec::new();
    for address in &args.addresses {
        listeners.push(address.listen(&cx).await?);
    }
    for listener in &listeners {
        report::listening(args.server.announce, &listener.address);
    }
    accept(listeners, cx).await;
    Ok(())
}
