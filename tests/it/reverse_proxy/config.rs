//! `--config`: flags from a file, and what happens when it changes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;
use towline::cli::examples;

use super::{answers, backend, ok, read_request, url};
use crate::support::certs::Authority;
use crate::support::{
    DEADLINE, Running, Server, Towline, Ws, exchange, noise, tcp_server, wait_until, ws_server,
};

/// A file of flags, and a proxy that reads it.
struct Config {
    dir: TempDir,
    path: PathBuf,
}

impl Config {
    fn new(text: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let config = Self { path: dir.path().join("proxy.toml"), dir };
        config.write(text);
        config
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn towline(&self, args: &[&str]) -> Towline {
        Towline::new().args(["proxy", "--config", self.path()]).args(args)
    }

    #[track_caller]
    fn proxy(&self) -> Running {
        let running = self.towline(&[]).spawn();
        running.ready();
        running
    }

    /// Writes the file anew and has it read.
    #[track_caller]
    fn change(&self, proxy: &Running, text: &str) {
        let before = readings(proxy);
        self.write(text);
        proxy.signal(Signal::HUP);
        wait_until("the file is read again", || readings(proxy) > before);
    }
}

fn readings(proxy: &Running) -> usize {
    proxy.stderr().matches(": read again\n").count()
}

fn named(name: &'static str) -> Server {
    answers(move |_, _| ok(name))
}

/// The body of the answer for a host.
#[track_caller]
fn get(proxy: &Running, host: &str) -> String {
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = exchange(proxy.port(), &head);
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Listens, and passes all on to a server.
fn to(server: &Server) -> String {
    format!("listen = '127.0.0.1:0'\nbackend = '{}'\n", backend(server))
}

#[test]
fn a_file_says_what_flags_say() {
    let (rest, a, b) = (named("rest"), named("a"), named("b"));
    let [a, b] = [&a, &b].map(backend);
    let config = Config::new(&format!(
        "{}max-header = 2048 # bytes\nhttp-timeout = '5s'\nrewrite-host = true\nquiet = false\n\
         set-header = ['X-A: 1', 'X-B: 2']\n\
         [[route]]\nhost = ['a.example', 'A2.example']\nbackend = ['{a}']\n\
         [[route]]\nheader = 'X-B: y'\nhost = '*.example'\nbackend = '{b}'\n",
        to(&rest),
    ));
    let proxy = config.proxy();
    assert_eq!(get(&proxy, "a.example"), "a");
    assert_eq!(get(&proxy, "a2.example"), "a");
    assert_eq!(get(&proxy, "b.example\r\nX-B: y"), "b");
    assert_eq!(get(&proxy, "b.example"), "rest");
    let large = format!("x\r\nX-Large: {}", "x".repeat(2048));
    assert!(get(&proxy, &large).contains("more than 2048 bytes"));
}

#[test]
fn the_command_line_wins() {
    let (one, other) = (named("one"), named("other"));
    let config = Config::new(&format!("{}http-timeout = '1ns'\n", to(&one)));
    config.towline(&["--check"]).run().code(2).stderr_has("proxy.toml:3: invalid value '1ns'");
    let config = Config::new(&format!("{}max-header = 1\n", to(&one)));
    let proxy = config.towline(&["--max-header", "2KiB"]).spawn();
    assert_eq!(get(&proxy, "x"), "one");
    let proxy = config.towline(&["--max-header=2KiB", "--backend", &backend(&other)]).spawn();
    assert_eq!(get(&proxy, "x"), "other");
    // Addresses are flags, too: the first says where to listen, the others are backends.
    let config = Config::new(&format!("listen = 'https://:0'\nbackend = '{}'\n", backend(&one)));
    let proxy = config.towline(&["127.0.0.1:0"]).spawn();
    assert_eq!(get(&proxy, "x"), "one");
    let proxy = config.towline(&["127.0.0.1:0", &backend(&other)]).spawn();
    assert_eq!(get(&proxy, "x"), "other");
}

#[test]
fn a_file_is_checked_without_listening() {
    let fine = Config::new("listen = ':0'\nbackend = 'ws://127.0.0.1:1'\n");
    let output = fine.towline(&["--check"]).run();
    output.code(0).stdout("").stderr_has("proxy.toml is fine\n").stderr_lacks("listening");
    let before = "listen = ':0'\nbackend = ':1'\n";
    for (text, line, what) in [
        ("listn = ':0'", 3, "there is no `listn`; is it `listen`?"),
        ("http-timeout = '5 lightyears'", 3, "invalid value '5 lightyears' for '--http-timeout"),
        ("http-timeout = true", 3, "a value is required for '--http-timeout <DUR>'"),
        (
            "http-timeout = [1,\n2]",
            3,
            "the argument '--http-timeout <DUR>' cannot be used multiple",
        ),
        ("rewrite-host = 'x'", 3, "unexpected value 'x' for '--rewrite-host'"),
        ("max-idle = 1\nset-header = ['A: 1',\n  'B']", 5, "invalid value 'B' for '--set-header"),
        ("max-idle = 1979-05-27", 3, "no flag has a value of this kind: datetime"),
        ("[limits]\nmax-idle = 1", 3, "no flag has a value of this kind: table"),
        (
            "[[route]]\nhots = 'a'\nbackend = ':1'",
            4,
            "invalid value for '--route <ROUTE>': `hots=`: it",
        ),
        (
            "[[route]]\nhost = 'a'\nbackend = [':1',\n'ws://u:hunter2@b:x']",
            6,
            "invalid value for '--route <ROUTE>': backend 1: ",
        ),
        ("[[route]]\nhost = 'a'", 3, "invalid value for '--route <ROUTE>': there is no"),
        (
            "route = ['host=a -> :1',\n'host=b']",
            4,
            "invalid value for '--route <ROUTE>': a route is w",
        ),
        ("check = true", 3, "`check` cannot be said in a file"),
        ("help = true", 3, "there is no `help`"),
        ("max-idle = 1\nmax-idle = 2", 4, "duplicate key"),
        ("max-idle = ", 3, ""),
    ] {
        let config = Config::new(&format!("{before}{text}\n"));
        let output = config.towline(&["--check"]).run();
        output.code(2).stderr_has(&format!("proxy.toml:{line}: {what}")).stderr_lacks("hunter2");
        config.towline(&[]).run().code(2).stderr_lacks("listening");
    }
    for (text, what) in [
        ("listen = ':0'\n", "proxy.toml: there is no backend\n"),
        ("backend = ':0'\n", "proxy.toml: there is nowhere to listen\n"),
        ("listen = ':0*2'\nbackend = ':1'", "proxy.toml: where to listen has no weight\n"),
        ("listen = 'https://:0'\nbackend = ':1'\n", "proxy.toml: a TLS listener needs a cert"),
        (
            "listen = ':0'\nbackend = ':1'\ncert = 'x'",
            "proxy.toml: the following required arguments were not provided: --key <FILE>\n",
        ),
    ] {
        Config::new(text).towline(&["--check"]).run().code(2).stderr_has(what);
    }
    Towline::new().args(["proxy", ":0", ":1", "--check"]).run().code(2).stderr_has("--config");
    let none = Towline::new().args(["proxy", "--config", "none.toml"]).run();
    none.code(2).stderr_has("cannot read none.toml: no such file or directory");
}

#[test]
fn the_example_of_the_manual_is_fine() {
    let config = Config::new(examples::PROXY_CONFIG);
    for name in ["example", "api"] {
        let (cert, key) = Authority::new("Mine").issue(&[name]).write(config.dir.path());
        fs::rename(cert, config.dir.path().join(format!("{name}.pem"))).unwrap();
        fs::rename(key, config.dir.path().join(format!("{name}.key"))).unwrap();
    }
    config.towline(&["--check"]).dir(&config.dir).run().code(0).stderr_has("is fine");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let shown = format!("```toml\n{}```", examples::PROXY_CONFIG);
    assert!(fs::read_to_string(readme).unwrap().contains(&shown), "README.md shows another one");
}

#[test]
fn backends_and_routes_are_swapped() {
    let (old, new, a) = (named("old"), named("new"), named("a"));
    let config = Config::new(&to(&old));
    let proxy = config.proxy();
    let mut kept = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    kept.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut ask = |want: &str| {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
        while !answer.ends_with(format!("\r\n\r\n{want}").as_bytes()) {
            let len = kept.read(&mut chunk).unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..len]);
        }
    };
    ask("old");
    let with_route = format!("{}route = 'host=a -> {}'\n", to(&new), backend(&a));
    config.change(&proxy, &with_route);
    assert_eq!(get(&proxy, "x"), "new");
    // A connection that was kept does what is said now.
    ask("a");
    // A file that is not fine changes nothing, and neither does one that is away for a while.
    config.write("listen = ':0'\nbackend = 'nonsense://'\n");
    proxy.signal(Signal::HUP);
    let line = proxy.stderr_line(|line| line.contains("proxy.toml:2: invalid value"));
    assert!(line.ends_with("; what it said before still holds"), "{line}");
    fs::remove_file(&config.path).unwrap();
    proxy.signal(Signal::HUP);
    proxy.stderr_line(|line| line.contains("proxy.toml: no such file"));
    ask("a");
    config.change(&proxy, &to(&old));
    ask("old");
}

#[test]
fn what_clients_may_have_is_swapped() {
    let server = ws_server(Ws::echo);
    let config = Config::new(&to(&server));
    let proxy = config.proxy();
    let opens = |origin: &str| {
        let address = url(&proxy, "/");
        let args = [&*address, "--origin", origin, "--expect-status", "101"];
        Towline::connect(args).run().code == 0
    };
    let (ours, foreign) = ("https://ours.example", "https://evil.example");
    assert!(opens(ours) && opens(foreign));
    let mut client = Ws::connect(&url(&proxy, "/"));
    config.change(&proxy, &format!("{}allow-origin = '{ours}'\n", to(&server)));
    assert!(opens(ours) && !opens(foreign));
    config.write(&format!("{}allow-origin = 'nonsense'\n", to(&server)));
    proxy.signal(Signal::HUP);
    proxy.stderr_line(|line| line.contains("nonsense") && line.ends_with("still holds"));
    // Those who have come before the reload count.
    let with_limit = |most: usize| format!("{}max-per-ip = {most}\n", to(&server));
    config.change(&proxy, &with_limit(2));
    let second = Ws::connect(&url(&proxy, "/"));
    config.change(&proxy, &with_limit(1));
    assert!(!opens(ours));
    drop(second);
    wait_until("there is room for one", || opens(ours));
    client.text("still here");
    assert_eq!(client.recv().text(), "still here");
}

#[test]
fn a_change_is_noticed_without_a_signal() {
    let (old, new) = (named("old"), named("new"));
    let config = Config::new(&to(&old));
    let proxy = config.proxy();
    assert_eq!(get(&proxy, "x"), "old");
    // As editors do it: another file of this name.
    let draft = config.dir.path().join("draft");
    fs::write(&draft, to(&new)).unwrap();
    fs::rename(&draft, &config.path).unwrap();
    wait_until("the new backend", || get(&proxy, "x") == "new");
    // It is in force a moment before the log says so.
    wait_until("the word of it", || readings(&proxy) == 1);
}

#[test]
fn what_is_heeded_at_the_start_alone_is_named() {
    let server = named("it");
    let config = Config::new(&format!("{}max-peers = 5\nmax-idle = 1\n", to(&server)));
    let proxy = config.proxy();
    let other =
        format!("listen = ['127.0.0.1:0', '127.0.0.1:0']\nbackend = '{}'\n", backend(&server));
    config.change(&proxy, &other);
    for flag in ["listen", "max-peers"] {
        let what = format!("proxy.toml: {flag} is heeded at the next start");
        proxy.stderr_line(|line| line.ends_with(&what));
    }
    assert!(!proxy.stderr().contains("max-idle"), "{}", proxy.stderr());
    assert_eq!(get(&proxy, "x"), "it");
}

#[test]
fn a_backend_that_stays_keeps_its_connections() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = tcp_server(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_request(&mut stream).is_some() {
            stream.write_all(ok("kept").as_bytes()).unwrap();
        }
    });
    let other = named("other");
    let config = Config::new(&to(&server));
    let proxy = config.proxy();
    assert_eq!(get(&proxy, "x"), "kept");
    let (there, other) = (backend(&server), backend(&other));
    config.change(&proxy, &format!("listen = ':0'\nbackend = '{there}*3'\nretries = 1\n"));
    assert_eq!(get(&proxy, "x"), "kept");
    config.change(&proxy, &format!("{}route = 'host=y -> {other}'\n", to(&server)));
    assert_eq!((get(&proxy, "x"), get(&proxy, "y")), ("kept".to_owned(), "other".to_owned()));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // The server waits for another request.
    drop(proxy);
}

#[test]
fn a_backend_that_leaves_is_not_checked_any_more() {
    let counted = || {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = asked.clone();
        let server = answers(move |_, _| {
            counts.fetch_add(1, Ordering::SeqCst);
            ok("fine")
        });
        (server, asked)
    };
    let ((old, old_asked), (new, new_asked)) = (counted(), counted());
    let text = |server: &Server| {
        let checks = "health = 'http:/'\nhealth-interval = '10ms'\n";
        let there = backend(server);
        format!("listen = '127.0.0.1:0'\nbackend = 'echo:'\n{checks}route = 'path=/x -> {there}'\n")
    };
    let config = Config::new(&text(&old));
    let proxy = config.proxy();
    // What is joined here goes on with the flags that it has begun with.
    let mut client = Ws::connect(&url(&proxy, "/"));
    wait_until("checks", || old_asked.load(Ordering::SeqCst) > 1);
    config.change(&proxy, &text(&new));
    let before = old_asked.load(Ordering::SeqCst);
    wait_until("checks of the new one", || new_asked.load(Ordering::SeqCst) > 9);
    // One may have been on its way.
    assert!(old_asked.load(Ordering::SeqCst) <= before + 2);
    client.text("still here");
    assert_eq!(client.recv().text(), "still here");
}

#[test]
fn certificates_are_swapped() {
    let authority = Authority::new("Mine");
    let server = ws_server(Ws::echo);
    let config = Config::new("");
    let issue = |name: &str| {
        let issued = authority.issue(&["localhost"]);
        let (cert, key) = issued.write(config.dir.path().join(name));
        let flags = format!("cert = '{}'\nkey = '{}'\n", cert.display(), key.display());
        (issued.pin, flags)
    };
    let (old, new) = (issue("old"), issue("new"));
    let text = |flags: &str| {
        format!("listen = 'https://127.0.0.1:0'\nbackend = '{}'\n{flags}", backend(&server))
    };
    config.write(&text(&old.1));
    let proxy = config.proxy();
    let shows = |pin: &str| {
        let address = format!("wss://localhost:{}/", proxy.port());
        let args = [&*address, "--count", "1", "--pin", pin];
        Towline::connect(args).stdin("hello\n").run().code == 0
    };
    assert!(shows(&old.0));
    config.change(&proxy, &text(&new.1));
    assert!(shows(&new.0) && !shows(&old.0));
    config.write(&text("cert = 'none.pem'\nkey = 'none.pem'\n"));
    proxy.signal(Signal::HUP);
    proxy.stderr_line(|line| line.contains("cannot read none.pem"));
    assert!(shows(&new.0));
}

#[test]
fn a_certificate_that_was_made_stays() {
    let server = named("it");
    let text = format!(
        "listen = 'https://127.0.0.1:0'\nbackend = '{}'\ntls-self-signed = true\n",
        backend(&server)
    );
    let config = Config::new(&text);
    let proxy = config.proxy();
    config.change(&proxy, &format!("{text}max-idle = 1\n"));
    assert_eq!(proxy.stderr().matches("certificate fingerprint").count(), 1, "{}", proxy.stderr());
}

#[test]
fn no_websocket_notices_twenty_reloads() {
    const SOCKETS: usize = 50;
    let servers = [(); 3].map(|()| ws_server(Ws::echo));
    let config = Config::new(&to(&servers[0]));
    let proxy = config.proxy();
    let (url, over) = (url(&proxy, "/"), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..SOCKETS)
        .map(|i| {
            let (mut client, over) = (Ws::connect(&url), over.clone());
            thread::spawn(move || {
                let mut rounds = 0;
                while !over.load(Ordering::SeqCst) {
                    let said = [&(i as u32).to_le_bytes()[..], &noise(4 * (rounds % 500))].concat();
                    client.binary(&said);
                    assert!(client.recv().payload == said, "socket {i}, round {rounds}");
                    rounds += 1;
                }
                client.close(1000, "");
                assert_eq!(client.recv().code(), 1000);
                rounds
            })
        })
        .collect();
    for i in 1..=20 {
        let [one, other] = [i % 3, (i + 1) % 3].map(|at| backend(&servers[at]));
        config.change(&proxy, &format!("listen = ':0'\nbackend = ['{one}', '{other}*{i}']\n"));
        Ws::connect(&url).close(1000, "");
    }
    over.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
    assert!(readings(&proxy) >= 20);
}
