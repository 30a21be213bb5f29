//! `bench merge`: one report of those of all segments.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::{Output, read};
use crate::bench::report::{Merged, merge, verdict};
use crate::cli::bench::MergeArgs;
use crate::error::Result;

/// Merges, and goes on as if it had been one run.
///
/// # Errors
/// The reports are not those of all segments of one run; or what is wrong with the whole.
pub(super) fn run(args: &MergeArgs) -> Result<()> {
    let reports = args.files.iter().map(|path| Ok((path.display().to_string(), read(path)?)));
    let Merged { mut report, intervals } = merge(reports.collect::<Result<_>>()?)?;
    let mut output = Output::create(&args.output)?;
    let started = OffsetDateTime::parse(&report.started_at, &Rfc3339);
    if let Some(mut log) = output.begin_log(started.map_or(SystemTime::now(), Into::into))? {
        for (start, length, tally) in &intervals {
            log.interval(*start, *length, tally)?;
        }
    }
    output.write(&mut report)?;
    verdict(&report, args.allow_limited)
}
