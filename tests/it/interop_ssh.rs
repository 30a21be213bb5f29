//! Logging in to OpenSSH's sshd and to asyncssh: keys, certificates, agents, passwords, host keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::sshd::{Sshd, user};
use crate::support::{ClosedPort, Towline, peers, wait_until};

#[test]
fn key_files_of_every_kind_log_in() {
    let sshd = Sshd::new();
    for (name, how) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
        ("ecdsa-pkcs8", &["-t", "ecdsa", "-m", "PKCS8"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "3072", "-m", "PKCS8"]),
        ("rsa-pem", &["-t", "rsa", "-b", "3072", "-m", "PEM"]),
    ] {
        let key = sshd.authorized_key(name, how);
        let run = sshd.verb("connect").args(["-i", &key, &sshd.then("exec:echo in")]).run();
        run.code(0).stdout("in\n").stderr_is_empty();
    }
}

/// Of the keys for P-256, one in 256 has a secret number that begins with a zero byte, which OpenSSH
/// leaves out. This is one.
const SHORT_SCALAR: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQR1cvboaGPaI4X/bNJ3kflA8pmcWbKF
KO9svmWDjXmYBHilI3By4aUIiczzMVzlWZoMFq1xE9SSpCcXHjAcNSwLAAAAoKKBjseigY
7HAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHVy9uhoY9ojhf9s
0neR+UDymZxZsoUo72y+ZYONeZgEeKUjcHLhpQiJzPMxXOVZmgwWrXET1JKkJxceMBw1LA
sAAAAfSfrUUjN9WxupGJP0vmBx2YAzXZoIK9Acii+TUZjlDgAAAAVzaG9ydAECAwQ=
-----END OPENSSH PRIVATE KEY-----
";

#[test]
fn a_key_whose_secret_number_is_short_logs_in() {
    let sshd = Sshd::new();
    let key = sshd.path("short");
    sshd.write("short", SHORT_SCALAR);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let public = peers::program("ssh-keygen").args(["-y", "-f", &key]).run();
    let public = String::from_utf8(public.stdout).unwrap();
    sshd.write("authorized_keys", &(sshd.read("authorized_keys") + &public));
    let connect = || sshd.verb("connect").args(["-i", &key]);
    connect().arg(sshd.then("exec:echo in")).run().code(0).stdout("in\n").stderr_is_empty();

    let lock = ["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key];
    peers::program("ssh-keygen").args(lock).run().code(0);
    for (passphrase, code, said) in [("open sesame", 0, "in\n"), ("open barley", 13, "")] {
        sshd.write("passphrase", passphrase);
        let connect = connect().args(["--passphrase-file", &sshd.path("passphrase")]);
        connect.arg(sshd.then("exec:echo in")).run().code(code).stdout(said);
    }
}

#[test]
fn a_passphrase_opens_a_key() {
    let sshd = Sshd::new();
    sshd.write("right", "open sesame\n");
    sshd.write("wrong", "open barley\n");
    for (name, how) in [
        ("ed25519", &["-t", "ed25519", "-N", "open sesame"][..]),
        ("pkcs8", &["-t", "rsa", "-b", "3072", "-m", "PKCS8", "-N", "open sesame"]),
    ] {
        let key = sshd.authorized_key(name, how);
        let run = |more: &[&str]| {
            let run = sshd.verb("connect").args(["-i", &key]).args(more);
            run.arg(sshd.then("exec:echo in")).run()
        };
        run(&["--passphrase-file", &sshd.path("right")]).code(0).stdout("in\n");
        let wrong = run(&["--passphrase-file", &sshd.path("wrong")]);
        wrong.code(13).stderr_has("the passphrase does not open this key");
        run(&[]).code(13).stderr_has("the key has a passphrase").stderr_has("--passphrase-file");
    }
}

#[test]
fn an_agent_logs_in() {
    let sshd = Sshd::new();
    let socket = sshd.path("agent");
    let agent = peers::program("ssh-agent").args(["-D", "-a", &socket]).spawn();
    wait_until("the agent listens", || Path::new(&socket).exists());
    for (name, how) in [("other", "ed25519"), ("mine", "ecdsa"), ("rsa", "rsa")] {
        let key = sshd.key(name, &["-t", how]);
        let add = peers::program("ssh-add").env("SSH_AUTH_SOCK", &socket);
        add.args(["-q", &key]).run().code(0);
    }
    let run = |more: &[&str]| {
        let run = sshd.verb("connect").env("SSH_AUTH_SOCK", &socket).args(more);
        run.arg(sshd.then("exec:echo in")).run()
    };
    for name in ["mine", "rsa"] {
        sshd.write("authorized_keys", &sshd.read(&format!("{name}.pub")));
        run(&[]).code(0).stdout("in\n");
        // The file is gone, but the agent has the key that its public half names.
        fs::remove_file(sshd.path(name)).unwrap();
        run(&["-i", &sshd.path(name), "-v"])
            .code(0)
            .stdout("in\n")
            .stderr_has(&sshd.fingerprint(&format!("{name}.pub")))
            .stderr_lacks(&sshd.fingerprint("other.pub"));
    }
    drop(agent);
    run(&["-v"]).code(13).stderr_has("no SSH agent at");
}

#[test]
fn a_certificate_of_a_user_logs_in() {
    let sshd = Sshd::with(|dir| format!("TrustedUserCAKeys {}/ca.pub", dir.display()));
    let authority = sshd.key("ca", &["-t", "ed25519"]);
    for (kind, validity, code) in [
        ("ed25519", "-1h:+1h", 0),
        ("ecdsa", "-1h:+1h", 0),
        ("rsa", "-1h:+1h", 0),
        ("ed25519", "-2h:-1h", 13),
    ] {
        let _ = fs::remove_file(sshd.path("certified"));
        let key = sshd.key("certified", &["-t", kind]);
        let sign = ["-q", "-s", &authority, "-I", "me", "-n", user(), "-V", validity];
        peers::program("ssh-keygen").args(sign).arg(sshd.path("certified.pub")).run().code(0);
        let run = sshd.verb("connect").args(["-i", &key, &sshd.then("exec:echo in")]).run();
        run.code(code).stdout(if code == 0 { "in\n" } else { "" });
    }
}

#[test]
fn passwords_and_questions_are_answered_from_a_file() {
    let sshd = Sshd::new();
    let port = ClosedPort::new();
    let server = peers::python("asyncssh_server.py").arg(port.port.to_string());
    let _server = peers::daemon(&port, server.arg(sshd.path("host")));
    let host = sshd.read("host.pub");
    sshd.write("known_hosts", &format!("[127.0.0.1]:{} {host}", port.port));
    sshd.write("right", "open sesame\n");
    sshd.write("wrong", "open barley\n");
    // asyncssh's server takes a user's method from the name.
    for method in ["password", "keyboard-interactive", "both"] {
        let run = |secret: &str| {
            let run = sshd.verb("connect").args(["--password-file", &sshd.path(secret)]);
            run.arg(format!("ssh://{method}@127.0.0.1:{},exec:whoami", port.port)).run()
        };
        run("right").code(0).stdout(&format!("{method}\n"));
        run("wrong").code(13).stdout("").stderr_has(&format!("{method} is not let in"));
    }
}

#[test]
fn a_host_key_is_known_new_changed_or_revoked() {
    let sshd = Sshd::new();
    let (host, name) = (sshd.read("host.pub"), sshd.name());
    let (shown, other) = (sshd.fingerprint("host.pub"), sshd.fingerprint("key.pub"));
    let address = sshd.then("exec:echo in");
    let run = |known: &str| {
        sshd.write("known_hosts", known);
        sshd.connect(&[&address]).run()
    };
    run("").code(13).stderr_has(&format!("unknown host key ssh-ed25519 {shown}"));
    run(&format!("# A comment.\n{name} {}", sshd.read("key.pub")))
        .code(13)
        .stderr_has(&format!("shows ssh-ed25519 {shown}, known is ssh-ed25519 {other} at"))
        .stderr_has("known_hosts:2\n");
    // A key of another kind is no reason to take this one.
    sshd.key("ecdsa", &["-t", "ecdsa"]);
    run(&format!("{name} {}", sshd.read("ecdsa.pub"))).code(13).stderr_has("host key changed");
    run(&format!("{name} {host}\n@revoked * {host}")).code(13).stderr_has("known_hosts:3\n");

    run(&format!("{name} {host}")).code(0).stdout("in\n").stderr_is_empty();
    let hash = peers::program("ssh-keygen").args(["-q", "-H", "-f", &sshd.path("known_hosts")]);
    hash.run().code(0);
    assert!(sshd.read("known_hosts").starts_with("|1|"));
    sshd.connect(&[&address]).run().code(0).stdout("in\n");
}

#[test]
fn a_new_host_key_is_learned_where_that_is_wanted() {
    let sshd = Sshd::new();
    sshd.write("known_hosts", "");
    let address = sshd.then("exec:echo in");
    let run = || sshd.connect(&["--host-key-policy", "accept-new", &address]).run();
    run().code(0).stdout("in\n").stderr_has(&sshd.fingerprint("host.pub"));
    run().code(0).stdout("in\n").stderr_is_empty();
    let ssh = sshd.openssh("ssh").args(["127.0.0.1", "echo in"]).run();
    ssh.code(0).stdout("in\n");
    let other = format!("{} {}", sshd.name(), sshd.read("key.pub"));
    sshd.write("known_hosts", &other);
    run().code(13).stderr_has("host key changed");
    assert_eq!(sshd.read("known_hosts"), other);
}

#[test]
fn a_host_is_trusted_by_its_certificate() {
    let sshd = Sshd::with(|dir| {
        let ca = dir.join("ca").display().to_string();
        let make = |args: &[&str]| {
            peers::program("ssh-keygen").arg("-q").args(args).run().code(0);
        };
        make(&["-t", "ed25519", "-N", "", "-f", &ca]);
        let host = dir.join("host").display().to_string();
        make(&["-s", &ca, "-I", "host", "-h", "-n", "127.0.0.1", &format!("{host}.pub")]);
        format!("HostCertificate {host}-cert.pub")
    });
    let address = sshd.then("exec:echo in");
    let run = |known: &str| {
        sshd.write("known_hosts", known);
        sshd.connect(&[&address]).run()
    };
    let authority = sshd.read("ca.pub");
    let line = format!("@cert-authority {} {authority}", sshd.name());
    run(&line).code(0).stdout("in\n").stderr_is_empty();
    run(&format!("@cert-authority [127.0.0.1]:1 {authority}")).code(13).stdout("");
    run(&format!("{line}@revoked * {authority}")).code(13).stderr_has("revoked");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let sshd = Sshd::new();
    fs::set_permissions(sshd.path("key"), fs::Permissions::from_mode(0o640)).unwrap();
    let run = sshd.connect(&[&sshd.then("exec:echo in")]).run();
    run.code(13).stdout("").stderr_has("(mode 0640)").stderr_has("chmod 600");
}

#[test]
fn ssh_config_leads_the_way() {
    let sshd = Sshd::new();
    let config = format!(
        "Host inner\nProxyJump outer\n\nHost piped\nProxyCommand {} connect - tcp://127.0.0.1:%p\n\n\
         Host broken\nProxyCommand echo no way >&2; exit 7\n\n\
         Host *\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nUserKnownHostsFile {}\n",
        env!("CARGO_BIN_EXE_towline"),
        sshd.port(),
        user(),
        sshd.path("key"),
        sshd.path("known_hosts"),
    );
    sshd.write("config", &config);
    let run = |host: &str| {
        let run = Towline::new().args(["connect", "-F", &sshd.path("config")]);
        run.arg(format!("ssh://{host},sh:echo $SSH_CONNECTION | cut -d' ' -f1")).run()
    };
    for host in ["outer", "inner", "piped"] {
        run(host).code(0).stdout("127.0.0.1\n");
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 4);
    run("broken").code(14).stdout("").stderr_has("no way").stderr_has("exit 7");
}

#[test]
fn a_command_ends_as_it_does_over_there() {
    let sshd = Sshd::new();
    let run = |hop: &str| sshd.connect(&[&sshd.then(hop)]).run();
    run("sh:echo out; echo err >&2; exit 3")
        .code(14)
        .stdout("out\n")
        .stderr_has("[echo] err\n")
        .stderr_has("exit 3\n");
    run("sh:kill -9 $$").code(14).stderr_has("ended by signal KILL");
    run("exec:printf %s|%s|%s 'a  b' $HOME ;ls").code(0).stdout("a  b|$HOME|;ls");
    run("pty:tty").code(0).stdout_has("/dev/");
    sshd.connect(&[&sshd.address()]).stdin("echo in; exit 5\n").run().code(14).stdout("in\n");
    run("tcp://127.0.0.1:1").code(4).stderr_has("cannot connect, says the SSH server");
}
