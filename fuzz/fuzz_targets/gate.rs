#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::bench::report::Gate;

fuzz_target!(|text: &str| {
    let Ok(gate) = text.parse::<Gate>() else { return };
    let written = gate.to_string();
    assert_eq!(written.parse().ok(), Some(gate), "{text:?} was written as {written:?}");
});
