#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::proxy::route::Route;

fuzz_target!(|text: &str| {
    let Ok(route) = text.parse::<Route>() else { return };
    let written = route.to_string();
    assert_eq!(written.parse().ok(), Some(route), "{text:?} was written as {written:?}");
});
