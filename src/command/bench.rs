//! `bench`: load, and what came of it.

use std::sync::Arc;

use crate::bench;
use crate::cli::bench::BenchArgs;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::report;
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
    let report = outcome?;
    let json = serde_json::to_string_pretty(&report);
    report::page((json.map_err(|error| Error::new(Kind::Local, error))? + "\n").as_bytes())?;
    match signal {
        Some(signal) => Err(Error::new(signal, "interrupted")),
        None => Ok(()),
    }
}
