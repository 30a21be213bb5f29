#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::ssh::config::{Config, Local};

fuzz_target!(|input: (&str, &str)| {
    let (text, alias) = input;
    // It would read whatever files the input names.
    if text.to_lowercase().contains("include") {
        return;
    }
    let local = Local {
        home: "/home/me".into(),
        user: "me".into(),
        uid: 1000,
        hostname: "here".into(),
        env: |_| None,
    };
    let Ok(config) = Config::parse(text, local) else { return };
    let Ok(host) = config.for_host(alias, None, None) else { return };
    let special = |c: char| c.is_whitespace() || c.is_control() || "'`\"$\\;&<>|(){}".contains(c);
    assert!(!host.hostname.contains(special) && !host.hostname.starts_with('-'), "{host:?}");
});
