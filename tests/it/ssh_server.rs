//! The SSH server, with our own client.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::ssh::{HOST, Server, flags, line};
use crate::support::{Output, Towline, keys, noise, port, tcp_server, wait_until};

#[track_caller]
fn refused(output: &Output) {
    output.code(13).stdout("").stderr_has("is not let in (the server takes publickey)");
}

#[test]
fn a_session_is_joined_to_the_target() {
    let server = Server::new(&[line("", 1)], &["echo:"]);
    let bytes = noise(5 << 20);
    server.connect(1, "me", "").stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
    server.said(&keys::fingerprint(HOST));
}

#[test]
fn nobody_comes_in_where_nobody_could() {
    let run = Towline::new().args(["serve", "ssh://127.0.0.1:0", "echo:"]).run();
    run.code(2).stderr_has("nobody could log in by SSH").stderr_has("--authorized-keys");
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing").display().to_string();
    let run = ["serve", "ssh://127.0.0.1:0", "echo:", "--authorized-keys", &missing];
    Towline::new().args(run).run().code(2).stderr_has(&missing);
    fs::write(&missing, line("", 1)).unwrap();
    let run = ["serve", "ws://127.0.0.1:0", "echo:", "--authorized-keys", &missing];
    Towline::new().args(run).run().code(2).stderr_has("--authorized-keys needs an SSH server");
    let run = ["serve", "ssh://127.0.0.1:0,ws://x/", "echo:", "--authorized-keys", &missing];
    Towline::new().args(run).run().code(2).stderr_has("cannot listen behind an SSH server");
}

#[test]
fn strangers_are_refused_alike() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("users")).unwrap();
    fs::write(dir.path().join("users/anna"), line("", 1)).unwrap();
    let users = dir.path().join("users").display().to_string();
    let server = Server::with(dir, &["echo:", "--authorized-keys-dir", &users]);
    let run = |key, user: &str| server.connect(key, user, "").stdin("hi\n").run();
    run(1, "anna").code(0).stdout("hi\n");
    let [known, unknown] = ["anna", "nobody"].map(|user| {
        let output = run(2, user);
        refused(&output);
        output.stderr.replace(user, "USER")
    });
    assert_eq!(known, unknown);
    refused(&run(1, "../users/anna"));
    server.said("anna may not log in with");
    // Who gets a file may come in from then on.
    fs::copy(Path::new(&users).join("anna"), Path::new(&users).join("bob")).unwrap();
    run(1, "bob").code(0).stdout("hi\n");
}

#[test]
fn the_host_key_is_made_once_and_for_us_alone() {
    let home = TempDir::new().unwrap();
    let keys = home.path().join("keys");
    fs::write(&keys, line("", 1)).unwrap();
    let start = |state: Option<&str>| {
        let run = Towline::new().env("HOME", home.path());
        let run = match state {
            Some(state) => run.env("XDG_STATE_HOME", home.path().join(state)),
            None => run,
        };
        let run = run.args(["serve", "ssh://127.0.0.1:0", "echo:", "--authorized-keys"]).arg(&keys);
        run.spawn().stderr_line(|line| line.starts_with("host key ssh-ed25519 SHA256:"))
    };
    let first = start(None);
    assert_eq!(first, start(None));
    let folder = home.path().join(".local/state/towline");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("ssh_host_ed25519_key")), 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_ne!(first, start(Some("elsewhere")));
    assert!(home.path().join("elsewhere/towline/ssh_host_ed25519_key").exists());
}

#[test]
fn a_host_key_that_others_can_read_is_refused() {
    let dir = TempDir::new().unwrap();
    let (host, keys) = (keys::write(HOST, dir.path()), dir.path().join("keys"));
    fs::write(&keys, line("", 1)).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o644)).unwrap();
    let run = Towline::new().args(["serve", "ssh://127.0.0.1:0", "echo:", "--authorized-keys"]);
    let run = run.arg(keys).arg("--host-key").arg(&host).run();
    run.code(13).stderr_has("others can use this key").stderr_has("chmod 600");
}

#[test]
fn words_choose_a_route_unless_the_key_does() {
    let lines = [line("", 1), line("command=\"second\"", 2), line("command=\"none\"", 3)];
    let routes = ["--route", "/first=echo:1 ", "--route", "/second=echo:2 ", "echo:0 "];
    let server = Server::new(&lines, &routes);
    let run = |key, rest: &str| server.connect(key, "me", rest).stdin("x\n").run();
    run(1, "").code(0).stdout("0 x\n");
    run(1, ",exec:first").code(0).stdout("1 x\n");
    run(1, ",exec:/second").code(0).stdout("2 x\n");
    run(2, "").code(0).stdout("2 x\n");
    run(2, ",exec:first").code(0).stdout("2 x\n");
    for (key, words) in [(1, "third"), (1, "first second"), (1, "sh -c id"), (3, "first")] {
        let name = if key == 3 { "none" } else { words };
        let output = run(key, &format!(",exec:{words}"));
        output.code(14).stdout("").stderr_has(&format!("there is no route `{name}` here"));
        output.stderr_has("exit 1");
    }
}

#[test]
fn the_status_of_a_program_is_that_of_the_session() {
    let server = Server::new(&[line("", 1)], &["exec:sh -c 'cat; exit 7'"]);
    let run = server.connect(1, "me", "").stdin("out\n").run();
    run.code(14).stdout("out\n").stderr_has("exit 7");
}

#[test]
fn peers_of_the_console_are_called_by_their_keys() {
    let lines = [line("environment=\"TOWLINE_NAME=anna\"", 1), line("", 2)];
    let mut server = Server::new(&lines, &["-"]);
    let mut anna = server.connect(1, "me", "").stdin_open().spawn();
    server.said("anna joined from 127.0.0.1:");
    let mut bob = server.connect(2, "bob", "").stdin_open().spawn();
    server.said("bob joined from 127.0.0.1:");
    bob.write("from bob\n");
    server.run.read_until("from bob\n");
    server.run.write("to all\n@anna to anna\n");
    anna.read_until("to all\nto anna\n");
    bob.read_until("to all\n");

    // Another key under a name that is taken gets another name; the same one takes it over.
    let mut other = server.connect(2, "anna", "").stdin_open().spawn();
    server.said("anna#2 joined from 127.0.0.1:");
    let mut back = server.connect(1, "me", "").stdin_open().spawn();
    server.said("anna joined again from 127.0.0.1:");
    anna.wait();
    server.run.write("@anna again\n@anna#2 other\n");
    back.read_until("again\n");
    other.read_until("other\n");
}

#[test]
fn a_room_has_peers_of_every_kind() {
    let lines = [line("", 1)];
    let server = Server::new(&lines, &["tcp://127.0.0.1:0", "hub:lobby"]);
    let plain = port(&server.run.listeners(2)[1]);
    let mut ssh = server.connect(1, "anna", "").stdin_open().spawn();
    server.said("anna joined hub:lobby");
    let mut tcp = TcpStream::connect(("127.0.0.1", plain)).unwrap();
    server.said("c1 joined hub:lobby");
    ssh.write("from anna\n");
    let mut heard = [0; 10];
    tcp.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"from anna\n");
    tcp.write_all(b"from c1\n").unwrap();
    ssh.read_until("from c1\n");
}

#[test]
fn nothing_is_opened_that_is_not_allowed() {
    let echo = tcp_server(|mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let place = format!("127.0.0.1:{}", echo.port());
    let elsewhere = format!("permitopen=\"127.0.0.1:{}\"", echo.port() ^ 1);
    let here = format!("permitopen=\"{place}\"");
    let lines = [
        line("", 1),
        line("no-port-forwarding", 2),
        line(&elsewhere, 3),
        line(&format!("restrict,port-forwarding,{here}"), 4),
        line("restrict", 5),
    ];
    let open = Server::new(&lines, &["echo:", "--allow-open", &place]);
    let shut = Server::new(&lines, &["echo:"]);
    let other = Server::new(&lines, &["echo:", "--allow-open", "localhost:*,127.0.0.1:1"]);
    let through = |server: &Server, key| {
        server.connect(key, "me", &format!(",tcp://{place}")).stdin("through\n").run()
    };
    for key in [1, 4] {
        through(&open, key).code(0).stdout("through\n");
    }
    for (server, key) in [(&open, 2), (&open, 3), (&open, 5), (&shut, 1), (&other, 1)] {
        through(server, key).code(4).stdout("").stderr_has("not allowed, says the SSH server");
    }
    other.said("is not open to it");
}

#[test]
fn what_cannot_be_connected_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::new(&[line("", 1)], &["echo:", "--allow-open", "*"]);
    let run = server.connect(1, "me", &format!(",tcp://{closed}")).stdin("x").run();
    run.code(4).stderr_has("cannot connect, says the SSH server");
}

#[test]
fn a_client_listens_through_the_server() {
    let lines = [line("", 1), line("permitlisten=\"localhost:1\"", 2)];
    let server = Server::new(&lines, &["echo:", "--allow-listen", "0"]);
    let listen = |key, at: &str| {
        let address = format!("{},tcp://{at}", server.ssh("me"));
        Towline::new().args(["serve", &address, "echo:far "]).args(server.flags(key)).spawn()
    };
    let far = listen(1, "localhost:0");
    let port: u16 = far.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"near\n").unwrap();
    let mut heard = [0; 9];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"far near\n");
    for (key, at) in [(1, "0.0.0.0:0"), (1, "localhost:1"), (2, "localhost:0")] {
        let run = listen(key, at).wait();
        run.code(4).stderr_has("does not listen there for us");
    }
    // It ends with the session.
    drop(far);
    wait_until("the port is free", || TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn who_comes_back_gets_its_port_back() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::new(&[line("", 1), line("", 2)], &["echo:", "--allow-listen", "*:*"]);
    let listen = |key, target: &str| {
        let address = format!("{},tcp://127.0.0.1:{port}", server.ssh("me"));
        Towline::new().args(["serve", &address, target]).args(server.flags(key)).spawn()
    };
    let heard = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"x\n").unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).unwrap();
        String::from_utf8(heard.to_vec()).unwrap()
    };
    let first = listen(1, "echo:1 ");
    first.ready();
    assert_eq!(heard(), "1 x\n");
    listen(2, "echo:2 ").wait().code(4);
    let back = listen(1, "echo:3 ");
    back.ready();
    assert_eq!(heard(), "3 x\n");
}

#[test]
fn clients_offer_ports_to_each_other_under_their_own_names() {
    let lines = [
        line("environment=\"TOWLINE_NAME=anna\"", 1),
        line("", 2),
        line("permitopen=\"anna:23\"", 3),
        line("restrict", 4),
    ];
    let server = Server::new(&lines, &["echo:", "--allow-peers"]);
    let offer = |server: &Server, key, at: &str, target: &str| {
        let address = format!("{},tcp://{at}", server.ssh("me"));
        Towline::new().args(["serve", &address, target]).args(server.flags(key)).spawn()
    };
    let reach = |key, at: &str| {
        let rest = format!(",tcp://{at}");
        server.connect(key, "bob", &rest).stdin("near\n").run()
    };
    reach(2, "anna:22").code(4);
    let anna = offer(&server, 1, "anna:22", "echo:far ");
    anna.ready();
    reach(2, "anna:22").code(0).stdout("far near\n");
    for (key, at) in [(2, "anna:23"), (3, "anna:22"), (4, "anna:22")] {
        reach(key, at).code(4).stdout("");
    }
    for (key, at) in [(2, "anna:22"), (2, "localhost:22"), (1, "bob:22"), (4, "me:22")] {
        offer(&server, key, at, "echo:").wait().code(4);
    }
    // The same client again takes its place.
    let back = offer(&server, 1, "anna:22", "echo:back ");
    back.ready();
    reach(2, "anna:22").code(0).stdout("back near\n");
    drop(back);
    wait_until("it is gone", || reach(2, "anna:22").code == 4);

    let shut = Server::new(&lines, &["echo:"]);
    offer(&shut, 1, "anna:22", "echo:").wait().code(4);
}

#[test]
fn a_client_that_offers_one_port_is_reached_by_its_name() {
    let lines = [
        line("environment=\"TOWLINE_NAME=anna\"", 1),
        line("", 2),
        line("permitopen=\"anna:22\"", 3),
        line("restrict", 4),
    ];
    let server = Server::new(&lines, &["echo:", "--allow-peers"]);
    let offer = |port: u16, target: &str| {
        let address = format!("{},tcp://anna:{port}", server.ssh("me"));
        let run = Towline::new().args(["serve", &address, target]).args(server.flags(1)).spawn();
        run.ready();
        run
    };
    let reach = |key, stdin: &[u8]| server.connect(key, "bob", ",hub:anna").stdin(stdin).run();
    let nothing = |key| {
        let run = reach(key, b"x");
        run.code(4).stdout("").stderr_has("hub:anna: cannot connect, says the SSH server");
        run.stderr_has("anna has to offer one port there");
    };
    nothing(2);
    let first = offer(22, "echo:");
    // What is offered is bytes, whatever they are.
    let bytes = noise(1 << 20);
    reach(2, &bytes).code(0).stdout_bytes(&bytes);
    nothing(4);
    // The same client again has its place at once, while its former session is still there.
    let back = offer(22, "echo:back ");
    reach(2, b"x\n").code(0).stdout("back x\n");
    let both = ["-", &format!("{},hub:anna", server.ssh("bob")), "echo:"];
    let both = Towline::connect(both).args(server.flags(2)).stdin("x\n").run();
    both.code(0).stdout_has("anna: back x\n");
    drop(first);
    let other = offer(23, "echo:other ");
    let several = reach(2, b"x");
    several.code(4).stdout("").stderr_has("of several, write which, as tcp://anna:22");
    server.said("anna offers more than one port: 2");
    // One that may go to one of them only has no choice.
    reach(3, b"x\n").code(0).stdout("back x\n");
    drop(back);
    wait_until("one is left", || reach(2, b"x\n").code == 0);
    reach(2, b"x\n").stdout("other x\n");
    drop(other);
    wait_until("none is left", || reach(2, b"x\n").code == 4);
    nothing(2);
}

#[test]
fn unix_sockets_are_opened_where_that_is_allowed() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let echo = Towline::new().args(["serve", &format!("unix:{}", path("echo.sock")), "echo:"]);
    let echo = echo.spawn();
    echo.ready();
    let lines = [
        line("", 1),
        line("restrict", 2),
        line("permitopen=\"localhost:*\"", 3),
        line("permitopen=\"*:*\"", 4),
    ];
    let (all, deep) = (path("*.sock"), path("*/*/*.sock"));
    let open = Server::new(&lines, &["echo:", "--allow-open", &all]);
    let ports = Server::new(&lines, &["echo:", "--allow-open", "*", "--allow-listen", &all]);
    let other = Server::new(&lines, &["echo:", "--allow-open", &format!("unix:{deep}")]);
    let through = |server: &Server, key, at: &str| {
        server.connect(key, "me", &format!(",unix:{at}")).stdin("through\n").run()
    };
    let there = path("echo.sock");
    for key in [1, 4] {
        through(&open, key, &there).code(0).stdout("through\n");
    }
    // The same socket, by a way that only looks as if it led down.
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let upwards = path(&format!("../{name}/echo.sock"));
    for (server, key, at) in [
        (&open, 2, &there),
        (&open, 3, &there),
        (&ports, 1, &there),
        (&other, 1, &there),
        (&other, 1, &upwards),
    ] {
        through(server, key, at).code(4).stdout("").stderr_has("not allowed, says the SSH server");
    }
    let missing = through(&open, 1, &path("missing.sock"));
    missing.code(4).stderr_has("cannot connect, says the SSH server");
}

#[test]
fn a_client_listens_on_a_unix_socket_of_the_server() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("far.sock");
    let lines = [line("", 1), line("", 2), line("permitlisten=\"*:1\"", 3)];
    let allowed = format!("{}/*.sock", dir.path().display());
    let server = Server::new(&lines, &["echo:", "--allow-listen", &allowed]);
    let listen = |key, at: &Path, target: &str| {
        let address = format!("{},unix:{}", server.ssh("me"), at.display());
        Towline::new().args(["serve", &address, target]).args(server.flags(key)).spawn()
    };
    let heard = || {
        let run = Towline::connect(["-", &format!("unix:{}", path.display())]).stdin("x\n").run();
        String::from_utf8(run.code(0).stdout.clone()).unwrap()
    };
    // A file that nobody listens on makes way.
    drop(UnixListener::bind(&path).unwrap());
    let first = listen(1, &path, "echo:1 ");
    first.ready();
    assert_eq!(heard(), "1 x\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // One that somebody listens on does not, but for the same client.
    let live = dir.path().join("live.sock");
    let _live = UnixListener::bind(&live).unwrap();
    let shut = dir.path().join("shut");
    for (key, at) in [(2, &path), (1, &live), (1, &shut), (3, &dir.path().join("new.sock"))] {
        listen(key, at, "echo:").wait().code(4).stderr_has("does not listen there for us");
    }
    assert!(live.exists() && !shut.exists());
    let back = listen(1, &path, "echo:2 ");
    back.ready();
    assert_eq!(heard(), "2 x\n");
    drop((first, back));
    wait_until("the socket is gone", || !path.exists());
}

#[test]
fn a_revoked_key_ends_its_sessions_and_no_others() {
    let server = Server::new(&[line("", 1), line("", 2)], &["echo:"]);
    let mut one = server.connect(1, "one", "").stdin_open().spawn();
    let mut two = server.connect(2, "two", "").stdin_open().spawn();
    for run in [&mut one, &mut two] {
        run.write("in\n");
        run.read_until("in\n");
    }
    keys::replace(&server.keys(), &[line("", 2), line("", 3)]);
    one.wait().code(11);
    server.said("the key may not log in any more");
    refused(&server.connect(1, "one", "").stdin("x\n").run());
    server.connect(3, "three", "").stdin("new\n").run().code(0).stdout("new\n");
    two.write("still in\n");
    two.read_until("still in\n");
}

#[test]
fn a_key_has_its_time_and_its_place() {
    let lines = [
        line("expiry-time=\"20200101\"", 1),
        line("from=\"10.0.0.0/8\"", 2),
        line("from=\"127.0.0.0/8\",expiry-time=\"20900101\"", 3),
    ];
    let server = Server::new(&lines, &["echo:"]);
    for key in [1, 2] {
        refused(&server.connect(key, "me", "").stdin("x\n").run());
    }
    server.said("it has expired");
    server.said("it may not come from 127.0.0.1");
    server.connect(3, "me", "").stdin("x\n").run().code(0).stdout("x\n");
}

#[test]
fn certificates_let_in_whom_they_name() {
    let dir = TempDir::new().unwrap();
    let authority = dir.path().join("authority");
    fs::write(&authority, line("", 9)).unwrap();
    let authority = authority.display().to_string();
    let server = Server::with(dir, &["echo:", "--trusted-user-ca", &authority]);
    let run = |key, by, user: &str| {
        let flags = server.flags(key);
        let certificate = keys::certify(key, by, "anna").to_openssh().unwrap();
        fs::write(server.dir.path().join(format!("key{key}-cert.pub")), certificate).unwrap();
        let address = server.ssh(user);
        Towline::connect(["-", &address]).args(flags).stdin("x\n").run()
    };
    run(1, 9, "anna").code(0).stdout("x\n");
    refused(&run(1, 9, "bob"));
    refused(&run(1, 8, "anna"));
    server.said("the certificate is for anna");
    server.said("the authority is not trusted");
}

#[test]
fn a_login_has_its_time() {
    let server = Server::new(&[line("", 1)], &["echo:", "--login-grace", "200ms"]);
    let mut silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut chatty = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    chatty.write_all(b"SSH-2.0-me\r\n").unwrap();
    for stream in [&mut silent, &mut chatty] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert!(said.starts_with(b"SSH-2.0-towline\r\n"));
    }
    server.said("no login within 200ms");
    // A session that is logged in has all the time.
    let mut session = server.connect(1, "me", "").stdin_open().spawn();
    session.write("one\n");
    session.read_until("one\n");
    server.said("no login within");
    session.write("two\n");
    session.read_until("two\n");
}

#[test]
fn not_everybody_logs_in_at_once() {
    let server = Server::new(&[line("", 1)], &["echo:", "--max-startups", "1"]);
    let mut first = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    first.read_exact(&mut [0; 15]).unwrap();
    let mut next = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    assert!(matches!(next.read(&mut [0]), Ok(0) | Err(_)));
    server.said("too many are logging in");
    drop(first);
    wait_until("there is room again", || server.connect(1, "me", "").stdin("x\n").run().code == 0);
}

/// A connection that says nothing, and whether it is greeted.
fn stranger(server: &Server) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let greeted = stream.read_exact(&mut [0; 15]).is_ok();
    (stream, greeted)
}

#[test]
fn one_address_does_not_take_all_places() {
    let server = Server::new(&[line("", 1)], &["echo:", "--max-startups-per-source", "2"]);
    let (first, second) = (stranger(&server), stranger(&server));
    assert!(first.1 && second.1);
    assert!(!stranger(&server).1);
    server.said("too many are logging in from this address");
    drop(first);
    // Those who have logged in are not counted.
    wait_until("there is room again", || server.connect(1, "me", "").stdin("x\n").run().code == 0);
    let sessions = [(); 3].map(|()| {
        let mut session = server.connect(1, "me", "").stdin_open().spawn();
        session.write("in\n");
        session.read_until("in\n");
        session
    });
    drop((second, sessions));
}

#[test]
fn an_address_whose_logins_fail_has_to_wait() {
    let flags = ["echo:", "--max-failures-per-source", "2", "--max-startups", "100"];
    let server = Server::new(&[line("", 1)], &flags);
    let login = |key| server.connect(key, "me", "").stdin("x\n").run();
    // Logins that succeed are none that fail, however many there are.
    for _ in 0..3 {
        login(1).code(0);
    }
    refused(&login(2));
    wait_until("it has failed too often", || !stranger(&server).1);
    server.said("too many logins from this address have failed");
    wait_until("it is let in again", || login(1).code == 0);
}

#[test]
fn a_session_takes_no_place_among_those_who_wait_to_be_let_in() {
    let server = Server::new(&[line("", 1)], &["echo:", "--max-handshakes", "1"]);
    let mut first = server.connect(1, "me", "").stdin_open().spawn();
    first.write("x\n");
    first.read_until("x\n");
    server.connect(1, "me", "").stdin("y\n").run().code(0).stdout("y\n");
}

#[test]
fn peers_and_channels_are_limited() {
    let server = Server::new(&[line("", 1)], &["echo:", "--max-peers", "2", "--max-channels", "1"]);
    let [mut one, mut two] = [1, 2].map(|_| server.connect(1, "me", "").stdin_open().spawn());
    for run in [&mut one, &mut two] {
        run.write("in\n");
        run.read_until("in\n");
    }
    // The third waits in the kernel's queue until there is a place.
    let three = server.connect(1, "me", "").stdin("late\n").spawn();
    drop(one);
    three.wait().code(0).stdout("late\n");
}

#[test]
fn a_banner_is_shown_before_the_login() {
    let dir = TempDir::new().unwrap();
    let banner = dir.path().join("banner");
    fs::write(&banner, "Welcome,\nstranger\n").unwrap();
    let server = Server::new(&[line("", 1)], &["echo:", "--banner", banner.to_str().unwrap()]);
    let run = server.connect(2, "me", "").stdin("x\n").run();
    run.code(13).stderr_has("Welcome,\nstranger\n");
}

#[test]
fn ssh_is_served_inside_a_websocket() {
    let dir = TempDir::new().unwrap();
    let (host, file) = (keys::write(HOST, dir.path()), dir.path().join("keys"));
    fs::write(&file, line("", 1)).unwrap();
    let run = Towline::new().args(["serve", "ws://127.0.0.1:0/tunnel,ssh:", "echo:"]);
    let run = run.arg("--authorized-keys").arg(file).arg("--host-key").arg(host).spawn();
    let port = run.port();
    let flags = flags(dir.path(), 22, 1);
    let known = format!("s {}\n", keys::public(HOST));
    fs::write(dir.path().join("known_hosts"), known).unwrap();
    let address = format!("ws://127.0.0.1:{port}/tunnel,ssh://me@s");
    let bytes = noise(2 << 20);
    let connect = || Towline::connect(["-", &address]).args(&flags);
    connect().stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
}

#[test]
fn clients_that_may_share_a_proxy_are_not_counted_by_address() {
    let dir = TempDir::new().unwrap();
    let (host, file) = (keys::write(HOST, dir.path()), dir.path().join("keys"));
    fs::write(&file, line("", 1)).unwrap();
    let run = Towline::new().args(["-v", "serve", "ws://127.0.0.1:0/,ssh:", "echo:"]);
    let run = run.args(["--max-startups-per-source", "1"]);
    let run = run.arg("--authorized-keys").arg(file).arg("--host-key").arg(host).spawn();
    let address = format!("ws://127.0.0.1:{}/", run.port());
    let _strangers = [(); 3].map(|()| {
        let mut stranger = Towline::connect(["-", &address]).stdin_open().spawn();
        stranger.read_until("SSH-2.0-towline\r\n");
        stranger
    });
}

#[test]
fn one_connection_is_served_on_stdin() {
    let dir = TempDir::new().unwrap();
    let (host, file) = (keys::write(HOST, dir.path()), dir.path().join("keys"));
    fs::write(&file, line("", 1)).unwrap();
    let command = format!(
        "exec:{} serve --inetd ssh: echo: --authorized-keys {} --host-key {}",
        env!("CARGO_BIN_EXE_towline"),
        file.display(),
        host.display()
    );
    let flags = flags(dir.path(), 22, 1);
    fs::write(dir.path().join("known_hosts"), format!("s {}\n", keys::public(HOST))).unwrap();
    let run = Towline::connect(["-", &format!("{command},ssh://me@s")]).args(flags);
    run.stdin("x\n").run().code(0).stdout("x\n");
}

#[test]
fn sessions_are_told_when_the_server_goes() {
    let mut server = Server::new(&[line("", 1)], &["echo:"]);
    let mut session = server.connect(1, "me", "").stdin_open().spawn();
    session.write("in\n");
    session.read_until("in\n");
    server.run.signal(Signal::TERM);
    session.wait().code(14).stderr_has("going away");
    wait_until("the server has ended", || !server.run.runs());
}
