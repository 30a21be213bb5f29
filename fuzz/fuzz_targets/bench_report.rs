#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::bench::report::{Report, csv, merge, text};
use towline::report::Ink;

fuzz_target!(|json: &str| {
    let Ok(report) = Report::from_json(json) else { return };
    let _ = (text(&report, Ink::default()), csv(&report));
    let _ = merge(vec![("a".to_owned(), report)]);
});
