#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use towline::ssh::forward::{Dynamic, Local, Remote, Stdio};

fuzz_target!(|text: &str| {
    round_trip::<Local>(text);
    round_trip::<Remote>(text);
    round_trip::<Dynamic>(text);
    round_trip::<Stdio>(text);
});

fn round_trip<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    let Ok(forward) = text.parse::<T>() else { return };
    let written = forward.to_string();
    assert_eq!(written.parse().ok(), Some(forward), "{text:?} was written as {written:?}");
}
