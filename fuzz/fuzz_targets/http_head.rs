#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::http::{parse_request, parse_response};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((head, len))) = parse_request(bytes) {
        assert!(len <= bytes.len());
        let written = head.to_bytes();
        let again = parse_request(&written).expect("a request we wrote");
        assert_eq!(again, Some((head, written.len())));
    }
    if let Ok(Some((head, len))) = parse_response(bytes) {
        assert!(len <= bytes.len());
        let written = head.to_bytes();
        let again = parse_response(&written).expect("a response we wrote");
        assert_eq!(again, Some((head, written.len())));
    }
});
