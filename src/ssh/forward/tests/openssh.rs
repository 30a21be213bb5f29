//! What ssh makes of the same forwards.

use std::process::Command;

use super::*;

/// Not here, for ssh takes them and means nothing by it: an empty host to connect to, a port on a
/// Unix socket, and a socket to connect to behind `-D`.
const FORWARDS: &[&str] = &[
    "80:db:5432",
    "*:80:db:5432",
    "localhost:80:db:5432",
    "[::1]:80:[fe80::1]:1",
    "[::1]:80",
    "::1:80",
    "80:::1:22",
    "80:fe80::1:22:1",
    "80:/run/x",
    "localhost:80:/run/x",
    "/run/x:db:1",
    "/run/x:/run/y",
    "/run/x",
    "[/run:x]:/run/y",
    "/run\\:x:/run/y",
    "[::1:80:a:1",
    "[::1]80:a:1",
    "1080",
    "*:1080",
    "127.0.0.2:1080",
    "localhost:1080",
    "80:db",
    "db:80:1",
    "80:db:0",
    "80:db:65536",
    "65536:db:1",
    "-1:db:1",
    "80:db:",
    ":",
    "x",
    "80:db:1:2:3",
    "a:80:db:1:2",
];

#[test]
fn ssh_accepts_the_same() {
    let mut differences = Vec::new();
    for text in FORWARDS {
        let parsed = [
            ("-L", text.parse::<Local>().map(|it| it.to_string())),
            ("-R", text.parse::<Remote>().map(|it| it.to_string())),
            ("-D", text.parse::<Dynamic>().map(|it| it.to_string())),
        ];
        for (flag, ours) in parsed {
            let said = |forward: &str| {
                let arguments = ["-G", "-F", "none", flag, forward, "box"];
                let ssh = Command::new("ssh").args(arguments).output().unwrap();
                let said = String::from_utf8(ssh.stdout).unwrap();
                let said = said.lines().filter(|it| it.contains("forward "));
                ssh.status.success().then(|| said.map(str::to_owned).collect::<Vec<_>>())
            };
            let theirs = said(text);
            let is_odd = flag == "-D" && text.parse::<Local>().is_ok();
            match (&ours, &theirs) {
                (Err(_), _) if is_odd => {}
                (Err(_), None) => {}
                // What we write means the same to ssh.
                (Ok(written), Some(_)) if said(written) == theirs => {}
                _ => differences.push(format!("{flag} {text}: {ours:?}, but ssh {theirs:?}")),
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
