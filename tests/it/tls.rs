//! TLS between two towlines, and what is said when it fails.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use rcgen::{BasicConstraints, DnType, IsCa, date_time_ymd};
use rustix::net::sockopt::set_socket_linger;
use tempfile::TempDir;

use crate::support::certs::{Authority, Issued};
use crate::support::{Output, Running, Towline, exchange, tcp_server, wait_until};

/// Serves `echo:` with a certificate.
#[track_caller]
fn echo(issued: &Issued, dir: &Path, flags: &[&str]) -> Running {
    let (cert, key) = issued.write(dir);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let args = ["--cert", cert, "--key", key, "tls://127.0.0.1:0", "echo:", "-v"];
    Towline::serve(args.iter().chain(flags))
}

/// Serves `echo:` with a certificate made for the run, and tells how to pin it.
#[track_caller]
fn echo_self_signed(address: &str, flags: &[&str]) -> (Running, String) {
    let server = Towline::serve(["--tls-self-signed", "-v", address, "echo:"].iter().chain(flags));
    let line = server.stderr_line(|line| line.starts_with("certificate fingerprint "));
    let pin = line.rsplit(' ').next().unwrap().to_owned();
    (server, pin)
}

/// Says `hello` to a server at `host`, whatever its address.
#[track_caller]
fn hello(host: &str, server: &Running, flags: &[&str]) -> Output {
    hello_to(&format!("tls://{host}:{}", server.port()), flags).run()
}

fn hello_to(address: &str, flags: &[&str]) -> Towline {
    Towline::connect(flags.iter().copied().chain([address])).stdin("hello\n")
}

#[test]
fn a_pinned_certificate_is_accepted() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    hello("localhost", &server, &["--pin", &pin]).code(0).stdout("hello\n").stderr_is_empty();
    // One of several is enough, and a pin does without names.
    let other = format!("sha256:{}", "0".repeat(64));
    hello("127.0.0.1", &server, &["--pin", &other, "--pin", &pin, "--sni", "another.example"])
        .code(0)
        .stdout("hello\n");
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    let other = format!("sha256:{}", "0".repeat(64));
    // -k does not soften a pin.
    hello("localhost", &server, &["-k", "--pin", &other])
        .code(5)
        .stdout("")
        .stderr_has(&format!("certificate of localhost does not match --pin: it is {pin}"))
        .stderr_lacks("-k");
}

#[test]
fn an_insecure_connection_is_warned_about_once() {
    let (server, _) = echo_self_signed("tls://127.0.0.1:0,tls:", &[]);
    let output = hello_to(&format!("tls://localhost:{},tls://localhost", server.port()), &["-k"]);
    let output = output.run();
    output.code(0).stdout("hello\n").stderr_has("certificates are not checked (-k)");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
}

#[test]
fn an_unknown_authority_is_named_and_the_way_out_too() {
    let dir = TempDir::new().unwrap();
    let (mine, yours) = (Authority::new("Mine"), Authority::new("Yours"));
    let issued = yours.issue(&["localhost"]);
    let server = echo(&issued, dir.path(), &[]);
    let ca = mine.write(dir.path().join("mine.pem"));
    hello("localhost", &server, &["--ca", ca.to_str().unwrap()])
        .code(5)
        .stderr_has("certificate is signed by an authority that is not trusted: CN=Yours\n")
        .stderr_has(&format!("hint: --ca FILE trusts an authority, --pin {} ", issued.pin));
    server.stderr_line(|line| line.ends_with("peer does not accept our certificate: unknown ca"));

    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    hello("localhost", &server, &["--ca", ca.to_str().unwrap()])
        .code(5)
        .stderr_has("certificate is self-signed and not trusted: CN=towline self-signed\n")
        .stderr_has(&pin);
}

#[test]
fn authorities_come_from_the_flag_or_else_from_the_system() {
    let dir = TempDir::new().unwrap();
    let (mine, yours) = (Authority::new("Mine"), Authority::new("Yours"));
    let mine_file = mine.write(dir.path().join("mine.pem"));
    let yours_file = yours.write(dir.path().join("yours.pem"));
    let server = echo(&mine.issue(&["localhost", "127.0.0.1"]), dir.path(), &[]);
    let address = format!("tls://127.0.0.1:{}", server.port());
    let (mine, yours) = (mine_file.to_str().unwrap(), yours_file.to_str().unwrap());

    hello_to(&address, &["--ca", yours, "--ca", mine]).run().code(0).stdout("hello\n");
    hello_to(&address, &[]).env("SSL_CERT_FILE", mine).run().code(0).stdout("hello\n");
    hello_to(&address, &["--ca", yours]).env("SSL_CERT_FILE", mine).run().code(5);
    hello_to(&address, &[])
        .env("SSL_CERT_FILE", dir.path().join("none"))
        .run()
        .code(5)
        .stderr_has("no authorities to trust on this machine");
}

#[test]
fn a_certificate_of_an_authority_is_trusted_as_a_servers_own() {
    let dir = TempDir::new().unwrap();
    let issued = Issued::self_signed(&["localhost"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let server = echo(&issued, dir.path(), &[]);
    let ca = dir.path().join("cert.pem");
    let ca = ca.to_str().unwrap();
    hello("localhost", &server, &["--ca", ca]).code(0).stdout("hello\n");
    hello("127.0.0.1", &server, &["--ca", ca])
        .code(5)
        .stderr_has("certificate is for localhost, not 127.0.0.1\n");
    let other = Authority::new("Other").write(dir.path().join("other.pem"));
    hello("localhost", &server, &["--ca", other.to_str().unwrap()])
        .code(5)
        .stderr_has("certificate is self-signed and not trusted: CN=somebody\n");
}

#[test]
fn a_wrong_name_is_told_with_the_right_ones() {
    let dir = TempDir::new().unwrap();
    let ca = Authority::new("Mine");
    let file = ca.write(dir.path().join("ca.pem"));
    let ca_flag = ["--ca", file.to_str().unwrap()];
    let server = echo(&ca.issue(&["a.example", "b.example"]), dir.path(), &[]);
    hello("localhost", &server, &ca_flag)
        .code(5)
        .stderr_has("certificate is for a.example and b.example, not localhost\n")
        .stderr_has("hint: --sni NAME");
    let sni = [&ca_flag[..], &["--sni", "b.example"]].concat();
    hello("localhost", &server, &sni).code(0).stdout("hello\n");
}

#[test]
fn a_certificate_out_of_its_time_is_told_with_its_dates() {
    let dir = TempDir::new().unwrap();
    let ca = Authority::new("Mine");
    let file = ca.write(dir.path().join("ca.pem"));
    let ca_flag = ["--ca", file.to_str().unwrap()];
    let expired =
        ca.issue_with(&["localhost"], |params| params.not_after = date_time_ymd(2020, 3, 2));
    let server = echo(&expired, dir.path(), &[]);
    server.stderr_line(|line| line.ends_with("this certificate expired on 2 March 2020"));
    hello("localhost", &server, &ca_flag)
        .code(5)
        .stderr_has("certificate of localhost expired on 2 March 2020 (")
        .stderr_has(" days ago)\n");
    hello("localhost", &server, &["--pin", &expired.pin]).code(0).stdout("hello\n");

    let early =
        ca.issue_with(&["localhost"], |params| params.not_before = date_time_ymd(4000, 1, 1));
    let server = echo(&early, &dir.path().join("early"), &[]);
    hello("localhost", &server, &ca_flag)
        .code(5)
        .stderr_has("certificate of localhost is not valid before 1 January 4000 (in ");
}

#[test]
fn a_client_certificate_opens_the_door_and_nothing_else_does() {
    let dir = TempDir::new().unwrap();
    let (mine, yours) = (Authority::new("Mine"), Authority::new("Yours"));
    let file = mine.write(dir.path().join("ca.pem"));
    let server = echo(
        &mine.issue(&["localhost"]),
        &dir.path().join("server"),
        &["--client-ca", file.to_str().unwrap()],
    );
    let login = |name: &str, issued: Issued| {
        let (cert, key) = issued.write(dir.path().join(name));
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let flags = ["--ca", file.to_str().unwrap(), "--client-cert", cert, "--client-key", key];
        hello("localhost", &server, &flags)
    };
    login("good", mine.issue(&[])).code(0).stdout("hello\n");

    login("unknown", yours.issue(&[]))
        .code(5)
        .stdout("")
        .stderr_has("peer does not accept our certificate: unknown ca");
    server.stderr_line(|line| {
        line.ends_with("certificate is signed by an authority that is not trusted: CN=Yours")
    });

    let old = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2020, 3, 2);
    login("old", mine.issue_with(&[], old))
        .code(5)
        .stderr_has("peer does not accept our certificate: certificate expired");

    hello("localhost", &server, &["--ca", file.to_str().unwrap()])
        .code(5)
        .stderr_has("peer wants a certificate from us\nhint: --client-cert FILE");
    server.stderr_line(|line| line.contains("peer has shown no certificate"));
}

#[test]
fn the_file_of_trusted_clients_may_hold_their_own_certificates_and_change() {
    let dir = TempDir::new().unwrap();
    let mine = Authority::new("Mine");
    let ca = mine.write(dir.path().join("ca.pem"));
    // As `openssl req -x509` makes them: an authority of its own.
    let client = |name: &str| {
        Issued::self_signed(&[], |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
        })
        .write(dir.path().join(name))
    };
    let [first, second] = ["first", "second"].map(client);
    let trusted = dir.path().join("trusted.pem");
    fs::copy(&first.0, &trusted).unwrap();
    let server = echo(
        &mine.issue(&["localhost"]),
        &dir.path().join("server"),
        &["--client-ca", trusted.to_str().unwrap()],
    );
    let login = |(cert, key): &(PathBuf, PathBuf)| {
        let files = [&ca, cert, key].map(|path| path.to_str().unwrap());
        let flags = ["--ca", files[0], "--client-cert", files[1], "--client-key", files[2]];
        hello("localhost", &server, &flags)
    };
    login(&first).code(0).stdout("hello\n");
    login(&second).code(5);
    fs::remove_file(&trusted).unwrap();
    fs::copy(&second.0, &trusted).unwrap();
    login(&second).code(0).stdout("hello\n");
    login(&first).code(5);
    fs::write(&trusted, "nonsense").unwrap();
    login(&second).code(0);
    server.stderr_line(|line| line.ends_with("; the old authorities stay"));
}

#[test]
fn a_certificate_that_changes_is_read_again() {
    let dir = TempDir::new().unwrap();
    let ca = Authority::new("Mine");
    let [first, second, third] = [0; 3].map(|_| ca.issue(&["localhost"]));
    let server = echo(&first, dir.path(), &[]);
    let shows = |issued: &Issued| hello("localhost", &server, &["--pin", &issued.pin]).code == 0;
    assert!(shows(&first));

    second.write(dir.path());
    wait_until("the new certificate", || shows(&second));

    // A broken one changes nothing, and is said once.
    let stays = "is not the key of the first certificate";
    fs::write(dir.path().join("key.pem"), &third.key).unwrap();
    wait_until("the warning", || {
        assert!(shows(&second));
        server.stderr().contains(stays)
    });

    third.write(dir.path());
    wait_until("the last certificate", || shows(&third));
    assert_eq!(server.stderr().matches(stays).count(), 1, "{}", server.stderr());
}

#[test]
fn a_listener_is_refused_before_it_listens() {
    let dir = TempDir::new().unwrap();
    let ca = Authority::new("Mine");
    let (cert, key) = ca.issue(&["localhost"]).write(dir.path().join("a"));
    let (_, other) = ca.issue(&["localhost"]).write(dir.path().join("b"));
    let none = dir.path().join("none.pem");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let refused = |cert: &Path, key: &Path, why: &str| {
        let args = ["--cert", &path(cert), "--key", &path(key), "tls://127.0.0.1:0", "echo:"];
        let output = Towline::new().arg("serve").args(args).run();
        output.code(2).stderr_has(why).stderr_lacks("listening");
    };
    refused(&none, &key, &format!("cannot read {}: no such file or directory", path(&none)));
    refused(&key, &key, &format!("{} holds no certificate (PEM)", path(&key)));
    refused(&cert, &cert, &format!("{} holds no private key (PEM)", path(&cert)));
    refused(&cert, &other, &format!("{} is not the key of the first certificate", path(&other)));

    for address in ["tls://127.0.0.1:0", "wss://127.0.0.1:0"] {
        Towline::new()
            .args(["serve", address, "echo:"])
            .run()
            .code(2)
            .stderr_has("a TLS listener needs a certificate")
            .stderr_has("hint: --cert FILE --key FILE, or --tls-self-signed")
            .stderr_lacks("listening");
    }
}

#[test]
fn a_clients_files_are_checked_before_it_connects() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.pem");
    let path = path.to_str().unwrap();
    let reached = Arc::new(Mutex::new(false));
    let noted = reached.clone();
    let server = tcp_server(move |_| *noted.lock().unwrap() = true);
    let address = format!("tls://localhost:{}", server.port());
    fs::write(path, "no certificate").unwrap();
    for flags in [&["--ca", path][..], &["-k", "--client-cert", path, "--client-key", path]] {
        hello_to(&address, flags).run().code(2).stderr_has("x.pem holds no certificate (PEM)");
    }
    hello_to("tls://localhost", &["-k"]).run().code(2).stderr_has("a port is missing");
    assert!(!*reached.lock().unwrap());
}

#[test]
fn alpn_is_agreed_on_or_the_handshake_fails() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &["--alpn", "mqtt"]);
    hello("localhost", &server, &["--pin", &pin, "--alpn", "amqp,mqtt", "-v"])
        .code(0)
        .stdout("hello\n")
        .stderr_has(", mqtt, ");
    hello("localhost", &server, &["--pin", &pin, "--alpn", "amqp"])
        .code(5)
        .stderr_has("peer speaks none of our protocols: amqp\n")
        .stderr_has("hint: --alpn");

    // Without --alpn, a listener of bytes does not care.
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    hello("localhost", &server, &["--pin", &pin, "--alpn", "amqp"]).code(0).stdout("hello\n");
}

#[test]
fn a_websocket_runs_over_tls() {
    let (server, pin) = echo_self_signed("wss://127.0.0.1:0/", &[]);
    let address = format!("wss://localhost:{}/", server.port());
    hello_to(&address, &["--pin", &pin]).run().code(0).stdout("hello\n").stderr_is_empty();
    hello_to(&address, &["-k", "--alpn", "mqtt"])
        .run()
        .code(5)
        .stderr_has("peer speaks none of our protocols: mqtt\n");
}

#[test]
fn secrets_go_to_the_key_log_file() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("keys");
    let address = format!("tls://localhost:{}", server.port());
    hello_to(&address, &["--pin", &pin]).env("SSLKEYLOGFILE", &log).run().code(0);
    let logged = fs::read_to_string(&log).unwrap();
    for secret in ["CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "] {
        assert!(logged.contains(secret), "{logged}");
    }
    hello_to(&address, &["--pin", &pin])
        .env("SSLKEYLOGFILE", dir.path().join("none/keys"))
        .run()
        .code(0)
        .stderr_has("SSLKEYLOGFILE: cannot write ");
}

#[test]
fn plenty_of_data_arrives_whole_and_the_half_close_too() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    let data: Vec<u8> = (0..5_000_000_u32).flat_map(|n| n.to_le_bytes()).take(5_000_001).collect();
    let address = format!("tls://localhost:{}", server.port());
    Towline::connect(["--pin", &pin, "--frame", "raw", &address])
        .stdin(data.clone())
        .run()
        .code(0)
        .stdout_bytes(data);
}

#[test]
fn an_end_without_close_notify_is_a_loss() {
    let (server, pin) = echo_self_signed("tls://127.0.0.1:0", &[]);
    let port = server.port();
    let near = Arc::new(Mutex::new(None));
    let handle = near.clone();
    // What stands in between passes everything on, until it ends the stream by itself.
    let between = tcp_server(move |client| {
        let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        *handle.lock().unwrap() = Some(client.try_clone().unwrap());
        let (mut from, mut to) = (client.try_clone().unwrap(), far.try_clone().unwrap());
        let out = thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Both)
        });
        let _ = std::io::copy(&mut &far, &mut &client);
        let _ = out.join();
    });
    let mut client = Towline::connect(["--pin", &pin, &format!("tls://{}", between.address())])
        .stdin_open()
        .spawn();
    client.write("hello\n");
    client.read_until("hello\n");
    near.lock().unwrap().as_ref().unwrap().shutdown(Shutdown::Both).unwrap();
    client.wait().code(11).stdout("hello\n").stderr_has("it ended without a TLS close_notify");
}

#[test]
fn what_is_lost_behind_the_server_is_lost_for_the_client() {
    let behind = tcp_server(|mut stream| {
        stream.write_all(b"half of it\n").unwrap();
        // Any word from the client; then a reset, not an end.
        let _ = stream.read(&mut [0; 16]).unwrap();
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let server = Towline::serve([
        "--tls-self-signed",
        "tls://127.0.0.1:0",
        &format!("tcp://{}", behind.address()),
    ]);
    let address = format!("tls://localhost:{}", server.port());
    let mut client = Towline::connect(["-k", &address]).stdin_open().spawn();
    client.read_until("half of it\n");
    client.write("more\n");
    client.wait().code(11).stdout("half of it\n");
}

#[test]
fn a_peer_without_tls_is_quoted_to_the_client() {
    let server = tcp_server(|mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    hello_to(&format!("tls://{}", server.address()), &["-k"])
        .run()
        .code(5)
        .stderr_has("peer does not speak TLS; it says `220 mail.example ESMTP`\n")
        .stderr_has("hint: is this the right port?");

    let silent = tcp_server(drop);
    hello_to(&format!("tls://{}", silent.address()), &["-k"]).run().code(5);
}

#[test]
fn a_plain_http_client_is_told_to_use_tls() {
    let (server, _) = echo_self_signed("tls://127.0.0.1:0", &[]);
    let answer = exchange(server.port(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer:?}");
    assert!(answer.ends_with("this port speaks TLS: https:// or wss://\n"), "{answer:?}");
    server.stderr_line(|line| line.ends_with("peer does not speak TLS; it says `GET / HTTP/1.1`"));
}

#[test]
fn a_name_cannot_command_the_terminal() {
    let dir = TempDir::new().unwrap();
    let issued = Issued::self_signed(&["localhost"], |params| {
        params.distinguished_name.push(DnType::CommonName, "a\x1b[2Jb");
    });
    let server = echo(&issued, dir.path(), &[]);
    let ca = Authority::new("Mine").write(dir.path().join("ca.pem"));
    hello("localhost", &server, &["--ca", ca.to_str().unwrap()]).code(5).stderr_lacks("\x1b");
}

#[test]
fn flags_of_tls_where_there_is_none_are_refused() {
    let out =
        Towline::new().args(["serve", "ws://127.0.0.1:0", "echo:", "--tls-self-signed"]).run();
    out.code(2).stderr_has("--tls-self-signed needs a listener with TLS");
    let pin = format!("sha256:{}", "0".repeat(64));
    let out = Towline::connect(["ws://127.0.0.1:1/", "--pin", &pin]).stdin_null().run();
    out.code(2).stderr_has("--pin needs an address with TLS");
}
