#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use towline::ssh::known_hosts::KnownHosts;

fuzz_target!(|input: (&str, &str, u16)| {
    let (text, host, port) = input;
    let mut known = KnownHosts::default();
    known.add(Path::new("known_hosts"), text);
    let algorithms = known.algorithms(host, port);
    let authority = known.has_authority(host, port);
    // Comments change nothing.
    let mut commented = KnownHosts::default();
    commented.add(Path::new("known_hosts"), &format!("# {text}"));
    commented.add(Path::new("known_hosts"), text);
    assert!(algorithms.iter().all(|it| commented.algorithms(host, port).contains(it)));
    assert!(!authority || commented.has_authority(host, port));
});
