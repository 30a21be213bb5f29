//! `bench`: load, and what came of it.

use std::sync::Arc;

use crate::bench;
use crate::bench::report::{text, verdict};
use crate::cli::bench::BenchArgs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::report::{self, Ink};
use crate::signal::Signals;

/// Measures, and prints the report.
///
/// # Errors
/// Nothing could be measured, or the figures cannot be believed.
pub async fn run(args: BenchArgs) -> Result<()> {
    let cx = Arc::new(Context::for_bench(&args));
    cx.tls.check_client()?;
    let mut signals = Signals::listen()?;
    let (signal, outcome) = signals.run(&cx.stop, bench::run(&args, &cx)).await;
    let report = outcome.map_err(Error::of_bench)?;
    report::page(text(&report, Ink::stdout()).as_bytes())?;
    match signal {
        Some(signal) => Err(Error::new(signal, "interrupted")),
        None => verdict(&report, args.machine.allow_limited),
    }
}
