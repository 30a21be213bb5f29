#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::endpoint::Endpoint;

fuzz_target!(|text: &str| {
    let Ok(address) = text.parse::<Endpoint>() else { return };
    let written = address.to_string();
    assert_eq!(written.parse().ok(), Some(address), "{text:?} was written as {written:?}");
});
