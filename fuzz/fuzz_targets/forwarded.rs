#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::http::forwarded::{node, parse, write};

fuzz_target!(|text: &str| {
    let _ = node(text);
    let sound = |text: &String| !text.is_empty() && !text.contains(['"', '\\', ',', ';', ' ', '\t']);
    for mut hop in parse(text).unwrap_or_default() {
        hop.host = hop.host.filter(sound);
        hop.proto = hop.proto.filter(sound);
        assert_eq!(parse(&write(&hop)), Some(vec![hop]));
    }
});
