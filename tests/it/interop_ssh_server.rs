//! The SSH server, with clients that nobody here wrote.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::ssh::{HOST, line};
use crate::support::{
    self, Output, Running, Towline, keys, noise, peers, sshd, tcp_server, wait_until,
};

/// A server that echoes, runs, and lets the key 1 forward, and a place that is open through it.
struct Sshd {
    run: Running,
    echo: support::Server,
    dir: TempDir,
}

impl Sshd {
    #[track_caller]
    fn new(keys: &str, args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let echo = tcp_server(|mut stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        fs::write(dir.path().join("keys"), keys).unwrap();
        let host = keys::write(HOST, dir.path());
        let run = Towline::new().args(["-v", "serve", "ssh://127.0.0.1:0", "echo:"]);
        let run = run.arg("--authorized-keys").arg(dir.path().join("keys"));
        let run = run.arg("--host-key").arg(host).args(args);
        let run =
            run.args(["--route", "/fail=exec:sh -c 'cat; exit 7'", "--route", "/cat=exec:cat"]);
        let open = format!("127.0.0.1:{}", echo.port());
        let run = run.args(["--allow-open", &open, "--allow-listen", "*:*"]).spawn();
        let known = format!("[127.0.0.1]:{} {}\n", run.port(), keys::public(HOST));
        fs::write(dir.path().join("known_hosts"), known).unwrap();
        Self { run, echo, dir }
    }

    #[track_caller]
    fn plain() -> Self {
        Self::new(&format!("{}\n", keys::public(1)), &[])
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// `ssh` with a key of ours; its last arguments are to come.
    fn ssh(&self, key: u8) -> Towline {
        let file = keys::write(key, self.dir.path());
        self.ssh_alone().arg("-i").arg(file).args(["-o", "IdentitiesOnly=yes"])
    }

    fn ssh_alone(&self) -> Towline {
        let known = format!("UserKnownHostsFile={}", self.path("known_hosts"));
        let port = self.run.port().to_string();
        let ssh = peers::program("ssh").args(["-F", "none", "-o", &known, "-o", "BatchMode=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=yes", "-p", &port])
    }

    /// What the scripts of Python take.
    fn facts(&self) -> [String; 4] {
        let key = keys::write(1, self.dir.path()).display().to_string();
        let known = self.path("known_hosts");
        [self.run.port().to_string(), key, known, self.echo.port().to_string()]
    }
}

const ME: &str = "me@127.0.0.1";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What the place behind a forward answers.
fn through(port: u16) -> Vec<u8> {
    wait_until("the forward listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"through\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn ssh_has_a_session_and_gets_its_status() {
    let sshd = Sshd::plain();
    // More than all buffers on the way take: it says faster than it is answered.
    let bytes = noise(100 << 20);
    let run =
        |words: &[&str], stdin: &[u8]| sshd.ssh(1).args(["-T", ME]).args(words).stdin(stdin).run();
    run(&[], &bytes).code(0).stdout_bytes(&bytes).stderr_is_empty();
    run(&["cat"], &bytes).code(0).stdout_bytes(&bytes).stderr_is_empty();
    run(&["fail"], b"out\n").code(7).stdout("out\n").stderr_is_empty();
    run(&["rm", "-rf", "/"], b"")
        .code(1)
        .stdout("")
        .stderr_is("there is no route `rm -rf /` here\r\n");
    let stranger = sshd.ssh(2).arg(ME).stdin("x").run();
    stranger.code(255).stderr_has("Permission denied (publickey)");
}

#[test]
fn somebody_types_at_ssh() {
    let sshd = Sshd::plain();
    let typed = |bytes: &str| sshd.ssh(1).args(["-tt", ME]).stdin(bytes).run();
    typed("hellp\x7fo\rx\x15yes\r\x04")
        .code(0)
        .stdout("hellp\x08 \x08o\r\nx\x08 \x08yes\r\nhello\r\nyes\r\n");
    typed("one\rtwo\x03").code(0).stdout_has("two^C\r\n");
    // A key may say that there is no terminal.
    let sshd = Sshd::new(&format!("no-pty {}\n", keys::public(1)), &[]);
    let run = sshd.ssh(1).args(["-tt", ME]).stdin("x\n").run();
    run.code(255).stdout("").stderr_has("PTY allocation request failed");
}

#[test]
fn ssh_forwards_what_it_may() {
    let sshd = Sshd::plain();
    let (open, [local, remote, dynamic]) = (sshd.echo.port(), [(); 3].map(|()| free_port()));
    let forwards = [
        format!("-L{local}:127.0.0.1:{open}"),
        format!("-R{remote}:127.0.0.1:{open}"),
        format!("-D{dynamic}"),
    ];
    let options = ["-N", "-o", "ExitOnForwardFailure=yes"];
    let tunnel = sshd.ssh(1).args(options).args(forwards).arg(ME).spawn();
    assert_eq!(through(local), b"through\n");
    assert_eq!(through(remote), b"through\n");
    let place = format!("tcp://127.0.0.1:{open}");
    let socks = format!("socks5://127.0.0.1:{dynamic},{place}");
    Towline::connect(["-", &socks]).stdin("socks\n").run().code(0).stdout("socks\n");
    drop(tunnel);

    let open = format!("127.0.0.1:{open}");
    sshd.ssh(1).args(["-W", &open, ME]).stdin("stdio\n").run().code(0).stdout("stdio\n");
    let shut = sshd.ssh(1).args(["-W", "127.0.0.1:1", ME]).stdin("x").run();
    shut.code(255).stderr_has("administratively prohibited");

    let chosen = format!("-R0:{open}");
    let tunnel = sshd.ssh(1).args(["-N", &chosen, ME]).spawn();
    let told = tunnel.stderr_line(|line| line.starts_with("Allocated port "));
    let port = told.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(through(port), b"through\n");
}

#[test]
fn ssh_forwards_unix_sockets() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let [open, local, remote] = ["open", "local", "remote"].map(path);
    let echo = Towline::new().args(["serve", &format!("unix:{open}"), "echo:"]).spawn();
    echo.ready();
    let sshd = Sshd::new(
        &format!("{}\n", keys::public(1)),
        &["--allow-open", &open, "--allow-listen", &remote],
    );
    let forwards = [format!("-L{local}:{open}"), format!("-R{remote}:{open}")];
    let options = ["-N", "-o", "ExitOnForwardFailure=yes"];
    let _tunnel = sshd.ssh(1).args(options).args(forwards).arg(ME).spawn();
    for at in [&local, &remote] {
        wait_until("the forward listens", || Path::new(at).exists());
        let run = Towline::connect(["-", &format!("unix:{at}")]).stdin("through\n").run();
        run.code(0).stdout("through\n");
    }
    let refused = format!("-R{}:{open}", path("other"));
    let run = sshd.ssh(1).args(options).args([&refused, ME]).run();
    run.code(255).stderr_has("remote port forwarding failed");
}

#[test]
fn options_of_keys_hold_for_ssh() {
    let keys = [
        "restrict",
        "from=\"10.0.0.0/8\"",
        "expiry-time=\"20200101\"",
        "expiry-time=\"20991231Z\",permitopen=\"127.0.0.1:1\",permitlisten=\"localhost:1\"",
        "command=\"fail\",no-port-forwarding",
        "no-such-option",
        "from=\"127.0.0.0/8,!127.0.0.2\"",
    ];
    let keys = keys.iter().zip(1..).map(|(options, key)| line(options, key)).collect::<String>();
    let sshd = Sshd::new(&format!("{keys}{}", line("cert-authority,principals=\"crew\"", 9)), &[]);
    let run = |key: u8, args: &[&str]| sshd.ssh(key).args(args).stdin("x\n").run();
    for (key, code) in [(1, 0), (2, 255), (3, 255), (4, 0), (5, 7), (6, 255), (7, 0), (8, 255)] {
        let run = run(key, &["-T", ME, "cat"]);
        run.code(code).stdout(if code == 255 { "" } else { "x\n" });
    }
    sshd.run
        .stderr_line(|line| line.contains("no-such-option: it is unknown; the line is skipped"));
    let (open, listen) = (format!("127.0.0.1:{}", sshd.echo.port()), "-Rlocalhost:0:localhost:1");
    run(7, &["-W", &open, ME]).code(0).stdout("x\n");
    for key in [1, 4, 5] {
        run(key, &["-W", &open, ME]).code(255).stderr_has("administratively prohibited");
        let run = run(key, &["-N", "-o", "ExitOnForwardFailure=yes", listen, ME]);
        run.code(255).stderr_has("remote port forwarding failed");
    }
    run(1, &["-tt", ME]).code(255).stderr_has("PTY allocation request failed");

    // An authority lets in whom it names, until the file says otherwise.
    let key = keys::write(8, sshd.dir.path());
    fs::write(key.with_extension("pub"), keys::public(8)).unwrap();
    let authority = keys::write(9, sshd.dir.path());
    let certify = |name: &str| {
        let keygen = peers::program("ssh-keygen").args(["-q", "-I", "id", "-n", name]);
        keygen.arg("-s").arg(&authority).arg(key.with_extension("pub")).run().code(0);
    };
    certify("me");
    run(8, &["-T", ME, "cat"]).code(255);
    certify("crew");
    run(8, &["-T", ME, "cat"]).code(0).stdout("x\n");
    let mut session = sshd.ssh(8).args(["-T", ME, "cat"]).stdin_open().spawn();
    session.write("in\n");
    session.read_until("in\n");
    keys::replace(&sshd.dir.path().join("keys"), &[line("", 1)]);
    session.wait().code(255).stderr_has("the key may not log in any more");
}

#[test]
fn ssh_that_comes_back_takes_its_port_over() {
    let sshd = Sshd::plain();
    let (at, answers) = (free_port(), ["one", "two"]);
    let places =
        answers.map(|answer| tcp_server(move |mut it| it.write_all(answer.as_bytes()).unwrap()));
    let forward = |to: &support::Server| {
        let forward = format!("-R{at}:127.0.0.1:{}", to.port());
        sshd.ssh(1).args(["-N", "-o", "ExitOnForwardFailure=yes", &forward, ME]).spawn()
    };
    let heard = || {
        let mut text = String::new();
        TcpStream::connect(("127.0.0.1", at)).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    let listens = || sshd.run.stderr().matches("for it").count();
    let stale = forward(&places[0]);
    wait_until("the first listens", || listens() == 1);
    assert_eq!(heard(), "one");
    // It is still there, and says nothing any more.
    stale.signal(Signal::STOP);
    let _back = forward(&places[1]);
    wait_until("the second listens", || listens() == 2);
    assert_eq!(heard(), "two");
    stale.signal(Signal::CONT);
}

#[test]
fn ssh_shows_a_certificate() {
    let dir = TempDir::new().unwrap();
    let authority = keys::write(9, dir.path());
    fs::write(dir.path().join("authorities"), keys::public(9)).unwrap();
    let authorities = dir.path().join("authorities").display().to_string();
    let sshd = Sshd::new("", &["--trusted-user-ca", &authorities]);
    let key = keys::write(1, sshd.dir.path());
    fs::write(key.with_extension("pub"), keys::public(1)).unwrap();
    let certify = |options: &[&str]| {
        let keygen =
            peers::program("ssh-keygen").args(["-q", "-I", "me", "-n", "me"]).args(options);
        keygen.arg("-s").arg(&authority).arg(key.with_extension("pub")).run().code(0);
    };
    let run = || sshd.ssh(1).args([ME, "cat"]).stdin("x\n").run();
    certify(&["-V", "+1h"]);
    run().code(0).stdout("x\n");
    certify(&["-V", "+1h", "-O", "force-command=fail"]);
    run().code(7);
    certify(&["-V", "20200101:20210101"]);
    run().code(255);
    certify(&["-V", "+1h", "-O", "source-address=10.0.0.0/8"]);
    run().code(255);
}

#[test]
fn ssh_has_its_key_from_an_agent() {
    let sshd = Sshd::plain();
    let socket = sshd.path("agent");
    let _agent = peers::program("ssh-agent").args(["-D", "-a", &socket]).spawn();
    wait_until("the agent listens", || Path::new(&socket).exists());
    let key = keys::write(1, sshd.dir.path());
    let add = peers::program("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-q").arg(key);
    add.run().code(0);
    let run = sshd.ssh_alone().env("SSH_AUTH_SOCK", &socket);
    // Ours has no agent to forward it to.
    run.args(["-A", ME]).stdin("x\n").run().code(0).stdout("x\n");
}

#[test]
fn sessions_of_ssh_share_a_connection() {
    let sshd = Sshd::plain();
    let socket = format!("ControlPath={}", sshd.path("control"));
    let master = sshd.ssh(1).args(["-N", "-o", "ControlMaster=yes", "-o", &socket, ME]).spawn();
    wait_until("the master is there", || Path::new(&sshd.path("control")).exists());
    for _ in 0..20 {
        let run = sshd.ssh(2).args(["-o", &socket, ME, "fail"]);
        run.stdin("x\n").run().code(7).stdout("x\n");
    }
    drop(master);
}

#[test]
fn ssh_changes_its_keys_under_load() {
    let sshd = Sshd::plain();
    let socket = format!("ControlPath={}", sshd.path("control"));
    let master = sshd.ssh(1).args(["-N", "-o", "ControlMaster=yes", "-o", &socket, ME]);
    let _master = master.args(["-o", "RekeyLimit=1M"]).spawn();
    wait_until("the master is there", || Path::new(&sshd.path("control")).exists());
    let bytes = noise(20 << 20);
    let run = || sshd.ssh(1).args(["-T", "-o", &socket, ME, "cat"]).stdin(bytes.clone()).spawn();
    for session in [run(), run(), run(), run()] {
        session.wait().code(0).stdout_bytes(&bytes);
    }
}

#[test]
fn ssh_jumps_to_a_peer_that_offers_itself() {
    let keys = ["anna", "bob"]
        .iter()
        .zip([1, 2])
        .map(|(name, key)| format!("environment=\"TOWLINE_NAME={name}\" {}\n", keys::public(key)));
    let meeting = Sshd::new(&keys.collect::<String>(), &["--allow-peers"]);
    // What anna has at home, under the host key that all servers here have.
    let home = Sshd::new(&format!("{}\n", keys::public(2)), &[]);
    let offer = format!("-Ranna:22:127.0.0.1:{}", home.run.port());
    let offering = meeting.ssh(1).args(["-N", "-o", "ExitOnForwardFailure=yes", &offer, ME]);
    let _offering = offering.spawn();
    meeting.run.stderr_line(|line| line.ends_with("offers anna:22"));

    let known = format!("[127.0.0.1]:{},anna {}\n", meeting.run.port(), keys::public(HOST));
    fs::write(meeting.path("known_hosts"), known).unwrap();
    let key = keys::write(2, meeting.dir.path());
    let config = format!(
        "Host s\n HostName 127.0.0.1\n Port {}\nHost *\n User me\n BatchMode yes\n \
         IdentityFile {}\n UserKnownHostsFile {}\n",
        meeting.run.port(),
        key.display(),
        meeting.path("known_hosts")
    );
    fs::write(meeting.path("config"), config).unwrap();
    let ssh = peers::program("ssh").args(["-F", &meeting.path("config"), "-T", "-J", "s", "anna"]);
    ssh.arg("cat").stdin("jumped\n").run().code(0).stdout("jumped\n");
    let ours = ["-", "ssh://s,hub:anna,ssh://me@anna", "-F", &meeting.path("config")];
    Towline::connect(ours).stdin("by name\n").run().code(0).stdout("by name\n");
}

#[test]
fn sshd_knows_no_peers_by_name() {
    let sshd = sshd::Sshd::new();
    let key = sshd.authorized_key("mine", &["-t", "ed25519"]);
    let run = sshd.verb("connect").args(["-i", &key, &sshd.then("hub:anna")]).run();
    run.code(4).stdout("").stderr_has("hub:anna: ").stderr_has("to a server with --allow-peers");
}

#[test]
fn ssh_comes_in_by_a_websocket() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("keys"), keys::public(1)).unwrap();
    let [host, key] = [HOST, 1].map(|key| keys::write(key, dir.path()));
    let known = dir.path().join("known_hosts");
    fs::write(&known, format!("s {}\n", keys::public(HOST))).unwrap();
    let run = Towline::new().args(["serve", "wss://127.0.0.1:0/tunnel,ssh:", "echo:"]);
    let run = run.arg("--tls-self-signed").arg("--authorized-keys").arg(dir.path().join("keys"));
    let run = run.arg("--host-key").arg(host).spawn();
    let address = format!("wss://127.0.0.1:{}/tunnel", run.port());
    let proxy = format!("{} connect {address} -k", env!("CARGO_BIN_EXE_towline"));
    let ssh =
        peers::program("ssh").args(["-F", "none", "-T", "-o", "BatchMode=yes", "-i"]).arg(key);
    let ssh = ssh.args(["-o", &format!("ProxyCommand={proxy}"), "-o"]);
    let ssh = ssh.arg(format!("UserKnownHostsFile={}", known.display())).arg("me@s");
    let bytes = noise(5 << 20);
    ssh.stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
}

#[test]
fn asyncssh_logs_in() {
    let sshd = Sshd::plain();
    peers::python("asyncssh_client.py").args(sshd.facts()).run().code(0).stdout("ok\n");
}

#[test]
fn paramiko_logs_in() {
    let sshd = Sshd::plain();
    peers::python("paramiko_client.py").args(sshd.facts()).run().code(0).stdout("ok\n");
}

#[test]
fn dropbear_logs_in() {
    let sshd = Sshd::plain();
    let [port, key, ..] = sshd.facts();
    let converted = sshd.path("dropbear");
    let convert = peers::program("dropbearconvert").args(["openssh", "dropbear", &key, &converted]);
    convert.run().code(0);
    let client = |words: &[&str]| {
        let client = peers::program("dbclient").args(["-y", "-y", "-p", &port, "-i", &converted]);
        client.arg(ME).args(words).stdin("x\n").run()
    };
    client(&["cat"]).code(0).stdout("x\n");
    client(&["fail"]).code(7);
}

#[test]
fn putty_logs_in() {
    let sshd = Sshd::plain();
    let [port, key, ..] = sshd.facts();
    let converted = sshd.path("key.ppk");
    let convert = peers::program("puttygen").args([&key, "-O", "private", "-o", &converted]);
    convert.run().code(0);
    let client = |words: &[&str]| -> Output {
        let plink = peers::program("plink").args(["-batch", "-ssh", "-P", &port, "-i", &converted]);
        let plink = plink.args(["-hostkey", &keys::fingerprint(HOST), ME]).args(words);
        plink.stdin("x\n").run()
    };
    client(&["cat"]).code(0).stdout("x\n");
    client(&["fail"]).code(7);
}

#[test]
fn ssh_audit_finds_nothing_that_could_be_better() {
    let sshd = Sshd::plain();
    let audit = Towline::program(peers::installed("venv/bin/ssh-audit"));
    let audit = audit.args(["-b", "-l", "warn", "-p"]);
    let output = audit.arg(sshd.run.port().to_string()).arg("127.0.0.1").run();
    let text = String::from_utf8_lossy(&output.stdout);
    // Clients that cannot resist quantum computers are let in as well.
    let complaints = text.lines().filter(|line| line.contains("[warn]") || line.contains("[fail]"));
    let others: Vec<_> = complaints.filter(|line| !line.contains("curve25519-sha256")).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(text.contains("curve25519-sha256"), "{text}");
    // Nobody can have as many connections begun as fast as they like.
    assert!(!text.contains("DHEat"), "{text}");
}
