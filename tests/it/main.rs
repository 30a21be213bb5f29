//! Tests over the binary, from outside: one test binary, one module a subject.

#![allow(missing_docs, reason = "a test's name says what it shows")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// What every test uses: the binary under a deadline, WebSocket peers that misbehave on purpose.
mod support;

// One port for SSH, TLS, HTTP and WebSockets.
mod any;
mod bench;
// permessage-deflate, frame by frame.
mod compression;
// The absences that ARCHITECTURE.md promises.
mod architecture;
// What `bench` makes of figures: gates, merged segments, comparisons.
mod bench_reports;
// The line editor of `connect` and `serve`, on a pseudo terminal.
mod console;
// echo: as a mirror and as a mock server.
mod echo;
// Late replies, lingering, half-close, Close codes, lost connections.
mod ends;
// Children on pipes and pseudo terminals: environment, stop ladder, exit status.
mod exec;
// Every row of the exit-code table.
mod exits;
mod fan;
// Files, read and appended to.
mod file;
// How bytes become messages and messages bytes.
mod frames;
// The committed completions and manual pages are what the binary prints.
mod generated;
// Every `--help`, as it was when somebody last looked at it.
mod help;
// Rooms: who hears whom, names, slow peers, and the console of `serve` on pipes.
mod hub;
// WebSockets over HTTP/2 between two towlines, and what is said where that cannot be.
mod http2;
// Which web sites' pages may open a WebSocket.
mod origin;
// The probe of `connect`: steps, checks, exit codes, reports.
mod probe;
// What holds for all inputs.
mod properties;
// Proxies to dial through, proxies to be, proxies from the environment.
mod proxies;
// What README.md shows works: each command is parsed, those on the loopback are run.
mod readme;
// --wait-ready and --reconnect: what is tried again, what is not, what survives the gap.
mod reconnect;
// --log and --replay.
mod recording;
// `proxy`: what goes through it, and what does not.
mod reverse_proxy;
// Announcing, limits, draining, sockets that others opened, rude peers.
mod serving;
// Routes, files, page, status and login: the HTTP side of a WebSocket listener.
mod site;
// What busy, stuck and lost SSH sessions must not do to others.
mod ssh_hazards;
// The embedded SSH server: who may come in, what for, and what they are told.
mod ssh_server;
// TLS between two towlines, and what is said when it fails.
mod tls;
// Unix sockets, in the file system and abstract.
mod unix;

// With programs that nobody here wrote: ssh and curl at one port.
#[cfg(feature = "interop")]
mod interop_any;
// Reports of `bench` as others read them: HdrHistogram, a JSON Schema validator, a browser.
#[cfg(feature = "interop")]
mod interop_bench_reports;
// The test page in a real browser.
#[cfg(feature = "interop")]
mod interop_chromium;
// permessage-deflate with other libraries, browsers, and front ends in between.
#[cfg(feature = "interop")]
mod interop_compression;
// nginx and HAProxy between two towlines.
#[cfg(feature = "interop")]
mod interop_frontends;
// WebSockets over HTTP/2: Chromium, Firefox, curl, HAProxy, Hypercorn, Python's h2.
#[cfg(feature = "interop")]
mod interop_http2;
// Clients of HTTP/2 at a reverse proxy.
#[cfg(feature = "interop")]
mod interop_http2_proxy;
// Hubs across machines, through a NATS server.
#[cfg(feature = "interop")]
mod interop_nats;
// ssh, scp, sftp and git through a WebSocket.
#[cfg(feature = "interop")]
mod interop_openssh;
// WebSocket libraries and tools of Python and Node.js, and websocketd.
#[cfg(feature = "interop")]
mod interop_peers;
// curl through our proxies.
#[cfg(feature = "interop")]
mod interop_proxies;
// Plain HTTP through a reverse proxy: curl, nginx, HAProxy and aiohttp on either side of it.
#[cfg(feature = "interop")]
mod interop_reverse_proxy_plain;
// Backends whose name has several addresses, which come and go.
#[cfg(feature = "interop")]
mod interop_reverse_proxy_names;
// Requests that hide another one, at nginx, HAProxy and us.
#[cfg(feature = "interop")]
mod interop_reverse_proxy_proof;
// Thousands of peers, and what strace and namespaces show: splice, cut links, full disks.
#[cfg(feature = "interop")]
mod interop_scale;
// Logging in to SSH servers that nobody here wrote.
#[cfg(feature = "interop")]
mod interop_ssh;
// OpenSSH and our ends, ahead of each other.
#[cfg(feature = "interop")]
mod interop_ssh_hazards;
// Forwards through OpenSSH's sshd: every byte, lost sessions, stalled readers.
#[cfg(feature = "interop")]
mod interop_ssh_tunnel;
// TCP, Unix sockets, TLS and terminals with socat at the other end.
#[cfg(feature = "interop")]
mod interop_socat;
// Stock SSH clients, and an auditor, at our SSH server.
#[cfg(feature = "interop")]
mod interop_ssh_server;
// TLS with OpenSSL at the other end.
#[cfg(feature = "interop")]
mod interop_tls;

#[cfg(test)]
mod itself {
    use std::fs;
    use std::path::Path;

    use crate::support::{Frame, Towline, Ws, ws_server};

    /// A file that is not declared above would never be compiled, and nobody would notice.
    #[test]
    fn no_test_file_is_forgotten() {
        let declared = include_str!("main.rs");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_module = path.extension().is_some_and(|extension| extension == "rs")
                || path.join("mod.rs").exists();
            if !is_module || name == "main" {
                continue;
            }
            let line = format!("mod {name};");
            let at = declared.lines().position(|l| l == line);
            let at = at.unwrap_or_else(|| panic!("tests/it/main.rs lacks `{line}`"));
            let above = at.checked_sub(1).and_then(|above| declared.lines().nth(above));
            assert_eq!(
                above == Some("#[cfg(feature = \"interop\")]"),
                name.starts_with("interop_"),
                "tests that need foreign peers are named interop_* and need the feature: {name}"
            );
        }
    }

    #[test]
    fn a_run_is_seen_as_it_was() {
        let version = format!("towline {}\n", env!("CARGO_PKG_VERSION"));
        Towline::new().arg("--version").run().code(0).stdout(&version).stderr_is_empty();
    }

    #[test]
    fn the_hand_written_peers_understand_each_other() {
        let server = ws_server(Ws::echo);
        let mut client = Ws::connect(&server.ws("/path"));
        for len in [0, 125, 126, 0xffff, 0x1_0000] {
            client.binary(vec![7; len]);
            let back = client.recv();
            assert_eq!((back.first, back.payload.len()), (Frame::FIN | Frame::BINARY, len));
        }
        client.close(4001, "enough");
        let close = client.recv();
        assert_eq!((close.code(), close.reason()), (4001, "enough"));
        assert_eq!(client.try_recv(), None);
    }
}
