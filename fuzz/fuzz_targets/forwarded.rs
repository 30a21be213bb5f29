#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::http::forwarded::{node, parse, write};

fuzz_target!(|text: &str| {
    let _ = node(text);
    let sound = |text: &String| !text.is_empty() && !text.contains(['"', '\\', ',', ';', ' ', '\t']);
    for mut word in parse(text).unwrap_or_default() {
        word.host = word.host.filter(sound);
        word.proto = word.proto.filter(sound);
        assert_eq!(parse(&write(&word)), Some(vec![word]));
    }
});
