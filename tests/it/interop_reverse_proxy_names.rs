use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::certs::Authority;
use crate::support::{Running, Towline, Ws, wait_until};

/// A proxy that has a file for /etc/hosts of its own, which can be written anew.
struct Proxy {
    running: Running,
    hosts: PathBuf,
}

impl Proxy {
    fn new(hosts: &str, args: &[&str]) -> Self {
        let script = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
        let mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script];
        let towline = Towline::under(&mount);
        let file = towline.home().join("hosts");
        fs::write(&file, hosts).unwrap();
        let args = towline.args(["proxy", "-v", "127.0.0.1:0"]).args(args);
        let running = args.arg("--resolve-interval=20ms").spawn();
        running.ready();
        Self { running, hosts: file }
    }

    /// A WebSocket, and what its backend says to a word.
    fn open(&self) -> (Ws, String) {
        let mut ws = Ws::connect(&format!("ws://127.0.0.1:{}/", self.running.port()));
        ws.text("hello");
        let said = ws.recv().text().to_owned();
        (ws, said)
    }

    fn said(&self, what: &str) -> bool {
        self.running.stderr().contains(what)
    }
}

#[test]
fn each_address_of_a_name_is_a_backend() {
    let two = Towline::serve(["ws://127.0.0.2:0", "echo:two "]);
    let port = two.port();
    let three = Towline::serve([&format!("ws://127.0.0.3:{port}"), "echo:three "]);
    three.ready();
    let proxy = Proxy::new("127.0.0.2 app\n127.0.0.3 app\n", &[&format!("ws://app:{port}")]);
    wait_until("the name is known", || proxy.said("app is 127.0.0."));
    let all: Vec<_> = (0..6).map(|_| proxy.open()).collect();
    assert_eq!(all.iter().filter(|(_, said)| said == "two hello").count(), 3);

    fs::write(&proxy.hosts, "127.0.0.2 app\n").unwrap();
    proxy
        .running
        .stderr_line(|it| it == format!("ws://app:{port}@127.0.0.3 has gone from its name"));
    assert!((0..4).map(|_| proxy.open()).all(|(_, said)| said == "two hello"));
    for (mut ws, said) in all {
        ws.text("hello");
        assert_eq!(ws.recv().text(), said, "what it has it keeps");
    }

    // Nothing to know is no reason to forget.
    fs::write(&proxy.hosts, "").unwrap();
    wait_until("it is said", || proxy.said("cannot resolve `app`"));
    assert_eq!(proxy.open().1, "two hello");

    fs::write(&proxy.hosts, "127.0.0.3 app\n").unwrap();
    proxy.running.stderr_line(|it| it == format!("ws://app:{port}@127.0.0.3 has come to its name"));
    assert_eq!(proxy.open().1, "three hello");
}

#[test]
fn a_certificate_is_for_the_name() {
    let authority = Authority::new("towline tests");
    let dir = TempDir::new().unwrap();
    let (cert, key) = authority.issue(&["app"]).write(dir.path());
    let ca = authority.write(dir.path().join("ca.pem"));
    let [cert, key, ca] = [&cert, &key, &ca].map(|it| it.to_str().unwrap());
    let server = Towline::serve(["wss://127.0.0.2:0", "echo:", "--cert", cert, "--key", key]);
    let backends = ["app", "other"].map(|name| format!("wss://{name}:{}", server.port()));
    let flags = ["--ca", ca, "--health=tcp", "--health-interval=20ms"];
    let proxy =
        Proxy::new("127.0.0.2 app other\n", &[&[&*backends[0], &backends[1]], &flags[..]].concat());
    proxy.running.stderr_line(|it| it.contains("other:") && it.contains("@127.0.0.2 is down: "));
    assert_eq!(proxy.open().1, "hello");
    assert!(!proxy.said(&format!("{}@127.0.0.2 is down", backends[0])));
}

#[test]
fn the_two_addresses_of_the_loopback_are_one_backend() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    let port = server.port();
    let hosts = "::1 here\n127.0.0.1 here\n";
    let proxy = Proxy::new(hosts, &[&format!("ws://here:{port}"), "--max-fails=1"]);
    wait_until("the name is known", || proxy.said("here is "));
    for _ in 0..4 {
        assert_eq!(proxy.open().1, "hello");
    }
    assert!(!proxy.said("refused"), "{}", proxy.running.stderr());
}
