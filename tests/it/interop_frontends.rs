//! nginx and HAProxy between two towlines.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::certs::Issued;
use crate::support::ssh::{HOST, line};
use crate::support::{ClosedPort, Running, Towline, keys, noise, peers, tcp_server};

/// A proxy that passes everything on to one server, and cuts a connection that has been quiet for
/// a second; it is stopped when this is dropped.
struct Front {
    address: String,
    pin: String,
    _running: Running,
    _dir: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nginx,
    HaProxy,
}

const KINDS: [Kind; 2] = [Kind::Nginx, Kind::HaProxy];

impl Kind {
    /// Starts one before `upstream`, a `host:port` or the path of a Unix socket.
    #[track_caller]
    fn start(self, upstream: &str, tls: bool) -> Front {
        let dir = TempDir::new().unwrap();
        let cert = Issued::self_signed(&["localhost"], |_| {});
        cert.write(dir.path());
        let port = ClosedPort::new();
        let start = match self {
            Self::Nginx => nginx(&dir, port.port, upstream, tls),
            Self::HaProxy => haproxy(&dir, port.port, upstream, tls, &cert),
        };
        let running = peers::daemon(&port, start);
        let scheme = if tls { "wss" } else { "ws" };
        let address = format!("{scheme}://127.0.0.1:{}/", port.port);
        Front { address, pin: cert.pin, _running: running, _dir: dir }
    }

    #[track_caller]
    fn before(self, server: &Running) -> Front {
        self.start(&format!("127.0.0.1:{}", server.port()), false)
    }
}

fn nginx(dir: &TempDir, port: u16, upstream: &str, tls: bool) -> Towline {
    let path = dir.path().display();
    let upstream =
        if upstream.starts_with('/') { format!("unix:{upstream}:") } else { upstream.to_owned() };
    let ssl = if tls { " ssl" } else { "" };
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};"))
        .concat();
    // One process, so that its end is the end.
    let conf = format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr; events {{}}
        http {{
            access_log off; {temp}
            server {{
                listen 127.0.0.1:{port}{ssl};
                ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
                location / {{
                    proxy_pass http://{upstream};
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    proxy_read_timeout 1s;
                }}
            }}
        }}"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, conf).unwrap();
    peers::program("nginx").args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file)
}

fn haproxy(dir: &TempDir, port: u16, upstream: &str, tls: bool, cert: &Issued) -> Towline {
    let both = dir.path().join("both.pem");
    fs::write(&both, format!("{}{}", cert.cert, cert.key)).unwrap();
    let upstream =
        if upstream.starts_with('/') { format!("unix@{upstream}") } else { upstream.to_owned() };
    let ssl = if tls { format!(" ssl crt {}", both.display()) } else { String::new() };
    let conf = format!(
        "defaults
            mode http
            timeout connect 5s
            timeout client 1s
            timeout server 1s
            timeout tunnel 1s
        frontend in
            bind 127.0.0.1:{port}{ssl}
            default_backend out
        backend out
            server towline {upstream}\n"
    );
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, conf).unwrap();
    peers::program("haproxy").args(["-db", "-f"]).arg(file)
}

#[test]
fn echo_answers_through_a_front_end() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    for kind in KINDS {
        let front = kind.before(&server);
        let run = Towline::connect([&front.address, "--count=3"]).stdin("one\n\ntwo").run();
        run.code(0).stdout("one\n\ntwo\n").stderr_is_empty();
        let front = kind.start(&format!("127.0.0.1:{}", server.port()), true);
        let run = Towline::connect([&front.address, "--pin", &front.pin, "--count=1"]);
        let run = run.stdin("over TLS\n").run();
        run.code(0).stdout("over TLS\n").stderr_is_empty();
    }
}

#[test]
fn ssh_gets_through_a_front_end() {
    let dir = TempDir::new().unwrap();
    let (host, key) = (keys::write(HOST, dir.path()), keys::write(1, dir.path()));
    let [listed, known] = ["keys", "known_hosts"].map(|name| dir.path().join(name));
    fs::write(&listed, line("", 1)).unwrap();
    fs::write(&known, format!("s {}\n", keys::public(HOST))).unwrap();
    let server = Towline::new().args(["serve", "ws://127.0.0.1:0/,ssh:", "exec:cat"]);
    let server = server.arg("--authorized-keys").arg(listed).arg("--host-key").arg(host).spawn();
    let bytes = noise(5 << 20);
    for kind in KINDS {
        let front = kind.start(&format!("127.0.0.1:{}", server.port()), true);
        let towline = env!("CARGO_BIN_EXE_towline");
        let proxy = format!("ProxyCommand={towline} connect {} --pin {}", front.address, front.pin);
        let known = format!("UserKnownHostsFile={}", known.display());
        let ssh = peers::program("ssh").args(["-F", "none", "-T", "-o", "BatchMode=yes", "-i"]);
        let ssh = ssh.arg(&key).args(["-o", &proxy, "-o", &known, "me@s"]);
        ssh.stdin(bytes.clone()).run().code(0).stdout_bytes(&bytes);
    }
}

#[test]
fn a_front_end_reaches_a_unix_socket() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let _server = Towline::serve([&format!("unix:{},ws://localhost/", path.display()), "echo:"]);
    for kind in KINDS {
        let front = kind.start(path.to_str().unwrap(), false);
        let run = Towline::connect([&front.address, "--count=1"]).stdin("hello\n").run();
        run.code(0).stdout("hello\n");
    }
}

#[test]
fn a_half_close_and_a_late_reply_get_through_a_front_end() {
    let target = tcp_server(|mut tcp| {
        let mut request = Vec::new();
        tcp.read_to_end(&mut request).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        write!(tcp, "{} bytes", request.len()).unwrap();
    });
    let server = Towline::serve(["ws://127.0.0.1:0/", &format!("tcp://{}", target.address())]);
    for kind in KINDS {
        let front = kind.before(&server);
        let run = Towline::connect([&front.address]).stdin("request").run();
        run.code(0).stdout("7 bytes").stderr_is_empty();
    }
}

#[test]
fn a_close_gets_through_a_front_end_with_its_code() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:", "--close-after=1:4001:quota"]);
    for kind in KINDS {
        let front = kind.before(&server);
        let run = Towline::connect([&front.address]).stdin("one\n").run();
        run.code(10).stdout("one\n").stderr_has("closed by the peer with 4001 quota");
    }
}

#[test]
fn every_byte_gets_through_a_front_end() {
    let bytes = noise(5 << 20);
    let (messages, stream) = (
        Towline::serve(["ws://127.0.0.1:0/", "echo:"]),
        Towline::serve(["ws://127.0.0.1:0/", "exec:cat"]),
    );
    for kind in KINDS {
        let front = kind.before(&messages);
        let whole = Towline::connect([&front.address, "--binary", "--frame=whole", "--count=1"]);
        whole.stdin(bytes.clone()).run().code(0).stdout_bytes(&bytes);
        let front = kind.before(&stream);
        Towline::connect([&front.address]).stdin(bytes.clone()).run().code(0).stdout_bytes(&bytes);
    }
}

#[test]
fn compression_gets_through_a_front_end() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:", "--compress=6"]);
    let said = "what is said again and again ".repeat(10_000);
    for kind in KINDS {
        let front = kind.before(&server);
        let run = Towline::connect([&front.address, "--count=1"])
            .args(["--expect-extension", "permessage-deflate"])
            .stdin(said.clone())
            .run();
        run.code(0).stdout_bytes(format!("{said}\n"));
    }
}

/// The front end cuts what is quiet for a second. Two connections that are cut one after the other
/// show that the third, which is pinged, was quiet for longer.
#[test]
fn pings_keep_a_quiet_connection_through_a_front_end() {
    let (pinging, silent) = (
        Towline::serve(["ws://127.0.0.1:0/", "echo:", "--ping-interval=200ms"]),
        Towline::serve(["ws://127.0.0.1:0/", "echo:", "--ping-interval=1h"]),
    );
    for kind in KINDS {
        let (kept, cut) = (kind.before(&pinging), kind.before(&silent));
        let mut quiet = Towline::connect([&kept.address]).stdin_open().spawn();
        quiet.write("before\n");
        quiet.read_until("before\n");
        for _ in 0..2 {
            Towline::connect([&cut.address]).stdin_open().run().code(11);
        }
        quiet.write("after\n");
        quiet.read_until("after\n");
    }
}

/// As above for a stream of bytes, one direction of which has ended.
#[test]
fn pings_keep_half_a_connection_through_a_front_end() {
    let target = "sh:cat >/dev/null; read -r _ <\"$HOME/go\"; echo late";
    let towline = Towline::new().args(["serve", "ws://127.0.0.1:0/", target]);
    let towline = towline.arg("--ping-interval=200ms");
    let go = towline.home().join("go");
    let fifo = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &go, fifo).unwrap();
    let (pinging, silent) =
        (towline.spawn(), Towline::serve(["ws://127.0.0.1:0/", "echo:", "--ping-interval=1h"]));
    for kind in KINDS {
        let (kept, cut) = (kind.before(&pinging), kind.before(&silent));
        let half = Towline::connect([&kept.address]).stdin("request").spawn();
        for _ in 0..2 {
            Towline::connect([&cut.address]).stdin_open().run().code(11);
        }
        fs::write(&go, "\n").unwrap();
        half.wait().code(0).stdout("late\n");
    }
}
