//! Hubs across machines, through a NATS server; all of them on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::certs::Authority;
use crate::support::peers::{daemon, program};
use crate::support::{
    ClosedPort, DEADLINE, Running, Towline, Ws, exchange, tcp_server, wait_until,
};

/// A server on a port that stays the same when it is started again.
struct Nats {
    port: ClosedPort,
    monitor: ClosedPort,
    dir: TempDir,
    /// None while it is away.
    running: Option<Running>,
}

impl Nats {
    /// Starts one with these lines in its configuration.
    fn start(config: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), config)
    }

    fn start_in(dir: TempDir, config: &str) -> Self {
        fs::write(dir.path().join("nats.conf"), config).unwrap();
        let (port, monitor) = (ClosedPort::new(), ClosedPort::new());
        let mut nats = Self { port, monitor, dir, running: None };
        nats.start_again();
        nats
    }

    fn start_again(&mut self) {
        let config = self.path("nats.conf");
        let (port, monitor) = (self.port.port.to_string(), self.monitor.port.to_string());
        let args = ["-a", "127.0.0.1", "-p", &port, "-m", &monitor, "-c", &config];
        self.running = Some(daemon(&self.port, program("nats-server").args(args)));
    }

    fn stop(&mut self) {
        self.running.take().unwrap().signal_until_it_ends(Signal::KILL);
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// An address at it.
    fn at(&self, subject: &str) -> String {
        format!("nats://localhost:{}/{subject}", self.port.port)
    }

    /// How many clients have subscribed to something.
    fn subscribed(&self) -> usize {
        let request = "GET /connz?subs=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        exchange(self.monitor.port, request).matches("\"subscriptions\": 1").count()
    }

    #[track_caller]
    fn wait_subscribed(&self, count: usize) {
        wait_until("all have subscribed", || self.subscribed() >= count);
    }

    fn client(&self) -> Client {
        Client::connect(self.port.port)
    }
}

/// A client of a few lines, so that both are not ours.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        assert!(client.line().starts_with("INFO "));
        client.say(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.say(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        self.say(payload);
        self.say(b"\r\n");
    }

    fn subscribe(&mut self, subject: &str) {
        self.say(format!("SUB {subject} 1\r\nPING\r\n").as_bytes());
        while self.line() != "PONG" {}
    }

    /// The headers and the payload of the next message.
    fn message(&mut self) -> (String, Vec<u8>) {
        let line = loop {
            let line = self.line();
            match line.as_str() {
                "PING" => self.say(b"PONG\r\n"),
                "PONG" => {}
                _ => break line,
            }
        };
        let words: Vec<_> = line.split(' ').collect();
        let number = |back: usize| words[words.len() - back].parse::<usize>().unwrap();
        let head = if words[0] == "HMSG" { number(2) } else { 0 };
        let mut bytes = vec![0; number(1) + 2];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        let payload = bytes.split_off(head);
        (String::from_utf8(bytes).unwrap(), payload)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

#[test]
fn two_servers_on_one_subject_are_one_hub() {
    let nats = Nats::start("");
    let serve =
        || Towline::serve(["ws://127.0.0.1:0", &nats.at("chat"), "--name-from", "query:name"]);
    let (here, there) = (serve(), serve());
    let mut console =
        Towline::connect(["--frame", "json", "-", &nats.at("chat")]).stdin_open().spawn();
    let join = |at: &Running, name: &str| Ws::connect(&format!("{}/?name={name}", at.address()));
    let (mut anna, mut bob, mut eve) =
        (join(&here, "anna"), join(&here, "bob"), join(&there, "eve"));
    nats.wait_subscribed(4);

    anna.text("hello");
    assert_eq!(bob.recv().text(), "hello");
    assert_eq!(eve.recv().text(), "hello");
    let heard = String::from_utf8(console.read_until("\n")).unwrap();
    assert!(heard.contains(r#""from":"anna","type":"text","data":"hello""#), "{heard}");

    eve.binary(b"\xff\x00");
    for peer in [&mut anna, &mut bob] {
        let frame = peer.recv();
        assert_eq!((frame.first, &frame.payload[..]), (0x82, &b"\xff\x00"[..]));
    }
    let heard = String::from_utf8(console.read_until("\n")).unwrap();
    assert!(heard.contains(r#""from":"eve","type":"binary","b64":"/wA=""#), "{heard}");

    // Nobody hears himself: the next thing that eve hears is from somebody else.
    console.write("{\"type\":\"text\",\"data\":\"from the console\"}\n");
    for peer in [&mut anna, &mut bob, &mut eve] {
        assert_eq!(peer.recv().text(), "from the console");
    }
}

#[test]
fn other_clients_are_heard_and_hear() {
    let nats = Nats::start("");
    let mut client = nats.client();
    client.subscribe("rooms.>");
    let mut towline = Towline::connect(["-", &nats.at("rooms.a")]).stdin_open().spawn();
    nats.wait_subscribed(2);
    towline.write("one\n\ntwo\n");
    for expected in ["one", "", "two"] {
        let (headers, payload) = client.message();
        assert!(headers.contains("Towline-Id: "), "{headers:?}");
        assert!(!headers.contains("Towline-From"), "{headers:?}");
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
    }
    client.publish("rooms.a", b"three");
    client.publish("rooms.b", b"not for us");
    client.publish("rooms.a", b"four");
    assert_eq!(towline.read_until("four\n"), b"three\nfour\n");
    // All that was said has arrived when it ends.
    towline.close_stdin();
    towline.wait().code(0).stderr_is_empty();
}

#[test]
fn a_subject_with_wildcards_is_only_heard() {
    let nats = Nats::start("");
    let mut ears = Towline::connect(["-", &nats.at("rooms.*.x")]).stdin_open().spawn();
    nats.wait_subscribed(1);
    let mut client = nats.client();
    client.publish("rooms.a.x", b"heard");
    ears.read_until("heard\n");
    ears.write("this is not said\n");
    let output = ears.wait();
    output.code(2).stderr_has("`rooms.*.x` has wildcards, so it can only be heard");
}

#[test]
fn ten_thousand_messages_keep_their_order() {
    let nats = Nats::start("");
    let address = nats.at("count");
    let reader = Towline::connect(["--count", "10000", &address]).spawn();
    nats.wait_subscribed(1);
    let lines: String = (1..=10_000).map(|n| format!("{n}\n")).collect();
    let writer = Towline::connect(["--linger", "0", "-", &address]).stdin(lines.clone()).run();
    writer.code(0).stderr_is_empty();
    reader.wait().code(0).stdout(&lines);
}

#[test]
fn a_server_that_restarts_costs_nothing_that_is_not_said() {
    let mut nats = Nats::start("");
    let address = nats.at("count");
    let mut reader = Towline::connect(["-", &address]).stdin_open().spawn();
    let mut writer = Towline::connect(["-", &address]).stdin_open().spawn();
    nats.wait_subscribed(2);
    for n in 1..=1000 {
        writer.write(format!("{n}\n"));
        match n {
            // What nobody has heard of cannot be missed.
            100 => drop(reader.read_until("50\n")),
            300 => nats.stop(),
            600 => {
                reader.stderr_line(|line| line.contains("connection lost"));
                writer.stderr_line(|line| line.contains("connection lost"));
                nats.start_again();
            }
            _ => {}
        }
    }
    reader.stderr_line(|line| line.contains("connected again"));
    writer.stderr_line(|line| line.contains("connected again"));
    nats.wait_subscribed(2);
    writer.write("last\n");
    writer.close_stdin();
    writer.wait().code(0);
    reader.read_until("last\n");
    reader.signal(Signal::TERM);
    let output = reader.wait();

    let heard: Vec<u32> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|n| n.parse().ok()).collect();
    assert!(heard.is_sorted_by(|a, b| a < b), "in order, and none twice");
    let missed: usize = output
        .stderr
        .lines()
        .filter_map(|line| line.strip_suffix(" of others did not reach us"))
        .map(|line| line.split(' ').rev().nth(1).unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(heard.len() + missed, 1000, "{}", output.stderr);
}

#[test]
fn peers_that_lose_one_server_say_so_once() {
    let mut nats = Nats::start("");
    let server = Towline::serve(["ws://127.0.0.1:0", &nats.at("chat")]);
    let mut peers: Vec<_> = (0..5).map(|_| Ws::connect(&server.address())).collect();
    nats.wait_subscribed(5);
    nats.stop();
    server.stderr_line(|line| line.contains("connection lost"));
    // Said while it is away, heard once it is back, whoever is back first.
    nats.start_again();
    nats.wait_subscribed(5);
    server.stderr_line(|line| line.contains("connected again"));
    peers[0].text("hello");
    for peer in &mut peers[1..] {
        assert_eq!(peer.recv().text(), "hello");
    }
}

#[test]
fn a_peer_that_does_not_read_is_told_what_it_costs() {
    const ALL: usize = 100;
    let nats = Nats::start("");
    let server = Towline::serve(["ws://127.0.0.1:0", &nats.at("bulk")]);
    let mut peer = Ws::connect(&server.address());
    nats.wait_subscribed(1);
    let mut client = nats.client();
    for _ in 0..ALL {
        client.publish("bulk", &[0xff; 900_000]);
    }
    server.stderr_line(|line| line.contains("dropped, as they are read too slowly"));
    let mut heard = 0;
    client.publish("bulk", b"last");
    while peer.recv().payload != b"last" {
        heard += 1;
    }
    peer.close(1000, "");
    let dropped = || -> usize {
        let said = server.stderr();
        let lines = said.lines().filter(|line| line.ends_with("read too slowly"));
        lines.map(|line| line.split(' ').nth(2).unwrap().parse::<usize>().unwrap()).sum()
    };
    wait_until("all are accounted for", || heard + dropped() == ALL);
}

#[test]
fn a_message_may_be_more_than_a_server_takes() {
    let nats = Nats::start("max_payload: 1000");
    let address = nats.at("chat");
    let run = Towline::connect(["-", &address]).stdin("x".repeat(2000)).run();
    run.code(12).stderr_has("a message of 2000 bytes is more than the server takes (1000");
    let run = Towline::connect(["--max-message", "100", &address]).stdin_open().spawn();
    nats.wait_subscribed(1);
    nats.client().publish("chat", &[b'x'; 200]);
    run.wait().code(12).stderr_has("a message of 200 bytes is larger than --max-message");
}

#[track_caller]
fn refused(args: &[&str]) {
    let run = Towline::connect(args.iter().copied().chain(["-"])).stdin("x\n").run();
    run.code(13).stderr_has("the server refuses the login, or asks for one");
    run.stderr_lacks("secret");
}

#[track_caller]
fn admitted(nats: &Nats, args: &[&str]) {
    let run = Towline::connect([args, &["-"]].concat()).stdin_open().spawn();
    nats.wait_subscribed(1);
    drop(run);
    wait_until("it has left", || nats.subscribed() == 0);
}

#[test]
fn users_and_passwords() {
    let nats = Nats::start("authorization { user: me, password: secret }");
    let with = |login: &str| format!("nats://{login}localhost:{}/chat", nats.port.port);
    admitted(&nats, &[&with("me:secret@")]);
    refused(&[&with("me:secrex@")]);
    refused(&[&with("")]);
}

#[test]
fn tokens() {
    let nats = Nats::start("authorization { token: secret }");
    let (right, wrong) = (nats.path("right"), nats.path("wrong"));
    fs::write(&right, "secret\n").unwrap();
    fs::write(&wrong, "secrex\n").unwrap();
    admitted(&nats, &["--nats-token-file", &right, &nats.at("chat")]);
    refused(&["--nats-token-file", &wrong, &nats.at("chat")]);
    let run = Towline::connect(["--nats-token-file", "/none", &nats.at("chat")]).run();
    run.code(2).stderr_has("--nats-token-file");
}

#[test]
fn nkeys() {
    // The pair that the documentation of NATS shows.
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let nats = Nats::start(&format!("authorization {{ users: [{{ nkey: {PUBLIC} }}] }}"));
    let (seed, none) = (nats.path("seed"), nats.path("none"));
    fs::write(&seed, format!("# mine\n{SEED}\n{PUBLIC}\n")).unwrap();
    fs::write(&none, "no seed\n").unwrap();
    admitted(&nats, &["--nats-nkey", &seed, &nats.at("chat")]);
    refused(&[&nats.at("chat")]);
    for flag in ["--nats-nkey", "--nats-creds"] {
        let run = Towline::connect([flag, &none, &nats.at("chat")]).run();
        run.code(2).stderr_has("there is no valid key in the file");
        run.stderr_has(flag);
    }
}

#[test]
fn a_user_may_not_say_or_hear_everything() {
    let nats = Nats::start(
        "authorization { users: [{ user: me, password: pw, permissions: \
         { publish: [\"b\"], subscribe: [\"a\", \"b\"] } }] }",
    );
    let with = |subject: &str| format!("nats://me:pw@localhost:{}/{subject}", nats.port.port);
    let run = Towline::connect(["-", &with("a")]).stdin("x\n").run();
    run.code(13).stderr_has("the server does not allow us: publish to \"a\"");
    let run = Towline::connect([&with("c")]).stdin_open().spawn().wait();
    run.code(13).stderr_has("the server does not allow us: subscription to \"c\"");
    Towline::connect(["-", &with("b")]).stdin("x\n").run().code(0);
}

#[test]
fn over_tls() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new("Mine");
    authority.write(dir.path().join("ca.pem"));
    authority.issue(&["localhost"]).write(dir.path().join("server"));
    authority.issue(&["me"]).write(dir.path().join("client"));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        path("server/cert.pem"),
        path("server/key.pem"),
        path("ca.pem")
    );
    let (ca, cert, key) = (path("ca.pem"), path("client/cert.pem"), path("client/key.pem"));
    let nats = Nats::start(&config);
    let address = format!("nats+tls://localhost:{}/chat", nats.port.port);
    let login = ["--client-cert", &cert, "--client-key", &key];
    let run =
        |flags: &[&str]| Towline::connect([flags, &["-", &address]].concat()).stdin("x\n").run();
    run(&[&["--ca", &ca][..], &login].concat()).code(0).stderr_is_empty();
    run(&[&["-k"][..], &login].concat()).code(0).stderr_has("certificates are not checked");
    run(&login).code(5).stderr_has("localhost");
    run(&["--ca", &ca]).code(5).stderr_has("--client-cert FILE --client-key FILE");
    let by_address = address.replace("localhost", "127.0.0.1");
    let run = Towline::connect([&["--ca", &ca][..], &login, &[&by_address]].concat()).run();
    run.code(5).stderr_has("127.0.0.1");
    // What was meant to be protected would not be.
    let run = Towline::connect(["--ca", &ca, &nats.at("chat")]).run();
    run.code(2).stderr_has("--ca needs an address with TLS");
}

#[test]
fn tls_is_never_left_out() {
    let nats = Nats::start("");
    let address = nats.at("chat").replace("nats:", "nats+tls:");
    let run = Towline::connect(["-k", &address]).run();
    run.code(5).stderr_has("peer does not speak TLS");
}

#[test]
fn what_is_no_server_is_told_apart() {
    let closed = ClosedPort::new();
    Towline::connect([format!("nats://127.0.0.1:{}/a", closed.port)])
        .run()
        .code(4)
        .stderr_has("connection refused");
    Towline::connect(["nats://no-such-host.invalid/a"])
        .run()
        .code(3)
        .stderr_has("cannot resolve `no-such-host.invalid`");
    let silent = tcp_server(|mut stream| drop(stream.read(&mut [0])));
    Towline::connect([format!("nats://{}/a", silent.address()), "--connect-timeout=100ms".into()])
        .run()
        .code(8)
        .stderr_has("timeout");
    let gone = tcp_server(drop);
    Towline::connect([format!("nats://{}/a", gone.address())])
        .run()
        .code(7)
        .stderr_has("this is no NATS server, or it turns us away");
    let other = tcp_server(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
        drop(stream.read(&mut [0]));
    });
    Towline::connect([format!("nats://{}/a", other.address())]).run().code(7);
}
