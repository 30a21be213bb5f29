//! `bench compare`: what has changed from one report to another.

use super::output::{Place, read};
use crate::bench::report::{believed, compare, comparison_html, comparison_text};
use crate::cli::bench::CompareArgs;
use crate::error::Result;
use crate::report::{Ink, page};

/// Compares, and says what is more than noise.
///
/// # Errors
/// The reports cannot be read or compared, or there is a regression.
pub(super) fn run(args: &CompareArgs) -> Result<()> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let names = [&args.before, &args.after].map(|path| path.display().to_string());
    let reports = ((names[0].as_str(), &before), (names[1].as_str(), &after));
    let margin = args.fail_on_regression.map(|percent| percent.0);
    let comparison = compare(reports.0, reports.1, margin)?;
    let json = args.json.as_deref().map(Place::of_json).transpose()?;
    if let Some(path) = &args.html {
        let text = comparison_html(&before, &after, &comparison);
        Place::create("--html", path)?.write(&text)?;
    }
    if let Some(place) = &json {
        place.write(&comparison.to_json())?;
    }
    if !matches!(json, Some(Place::Stdout)) {
        page(comparison_text(&comparison, Ink::stdout()).as_bytes())?;
    }
    if margin.is_some() {
        believed(reports.0)?;
        believed(reports.1)?;
    }
    comparison.verdict()
}
