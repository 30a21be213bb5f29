#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use towline::ssh::authorized_keys::AuthorizedKeys;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fuzz_target!(|text: &str| {
    let file = Path::new("authorized_keys");
    let keys = AuthorizedKeys::parse(file, text);
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    assert_eq!(keys.len() + keys.complaints().len(), lines.count());
    // Most inputs have no key; with one, the options are reached.
    let options = text.lines().next().unwrap_or_default();
    AuthorizedKeys::parse(file, &format!("{options} {KEY}"));
});
