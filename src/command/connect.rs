//! `connect`: two ends, joined once.

use std::sync::Arc;

use crate::cli::ConnectArgs;
use crate::context::Context;
use crate::duplex::Duplex;
use crate::endpoint::{Call, Endpoint, Shape, Side};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::relay::{self, Ended, Options, Pair};
use crate::signal;
use crate::trace::Trace;

/// Joins the two addresses.
///
/// # Errors
/// Whatever ends the join other than well.
pub async fn run(args: ConnectArgs) -> Result<()> {
    let cx = Arc::new(Context::for_connect(&args));
    signal::until_interrupted(&cx, join(&args, &cx)).await
}

async fn join(args: &ConnectArgs, cx: &Arc<Context>) -> Result<()> {
    let mut addresses = args.addresses.clone();
    let far = addresses.pop().expect("clap asks for an address");
    let near = addresses.pop().unwrap_or_else(Endpoint::console);
    let framing = cx.shared.join.framing([near.framing(), far.framing()]);

    let trace = Trace::default();
    let shape = near_shape(&near, cx);
    let call = Call { cx, near: shape, side: Side::Far, peer: None, trace: &trace };
    let far_end = far.connect_in_time(&call).await?;
    let shape = match &far_end {
        Duplex::Bytes(_) => Shape::Bytes,
        Duplex::Messages(_) => Shape::Messages,
    };
    let call = Call { near: shape, side: Side::Near, ..call };
    let near_end = near.connect_in_time(&call).await?;

    let options = Options::new(cx, framing);
    let mut pair = Pair::new(near_end, far_end, &options.decoder);
    let ended = relay::relay(&mut pair, &options).await.map_err(|error| error.at(&far))?;
    judge(&ended, args, &far)
}

/// What the near end is going to deal in, as far as that can be told before it is opened.
fn near_shape(near: &Endpoint, cx: &Context) -> Shape {
    match near.shape() {
        Shape::Either if matches!(cx.shared.join.frame, None | Some(Framing::Raw)) => Shape::Bytes,
        Shape::Either => Shape::Messages,
        shape => shape,
    }
}

/// A join that was ended by a Close other than the ordinary one has failed.
fn judge(ended: &Ended, args: &ConnectArgs, far: &Endpoint) -> Result<()> {
    match &ended.close {
        Some(close) if !close.is_clean() && !args.persist.ok_close.contains(&close.code) => {
            let what = format!("closed by the peer with {} {}", close.code, close.reason);
            Err(Error::new(Kind::Closed(close.code), what.trim_end()).at(far))
        }
        _ => Ok(()),
    }
}
