#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::accept::proxy_header::{Header, Version, parse, write};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Header::Complete(ends)) = parse(bytes) {
        for version in [Version::V1, Version::V2] {
            assert!(matches!(parse(&write(version, ends)), Ok(Header::Complete(_))));
        }
    }
});
