//! OpenSSH through a WebSocket: `sshd -i` behind `towline serve`, `towline connect` as the
//! ProxyCommand of ssh.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Running, Towline, noise, peers};

/// An SSH server for whoever runs this, and all that a client needs to log in.
struct Ssh {
    _server: Running,
    /// `ssh` options, the login included.
    options: Vec<String>,
    dir: TempDir,
}

impl Ssh {
    /// Serves at an address of a WebSocket; `proxy` says how a client connects to it.
    #[track_caller]
    fn serve(listen: &[&str], proxy: impl FnOnce(&Running) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().display();
        for name in ["host", "key"] {
            let make = peers::program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            make.arg(dir.path().join(name)).run().code(0);
        }
        let host = fs::read_to_string(dir.path().join("host.pub")).unwrap();
        fs::write(dir.path().join("known_hosts"), format!("towline {host}")).unwrap();
        let config = format!(
            "HostKey {path}/host\nAuthorizedKeysFile {path}/key.pub\nPidFile none\n\
             UsePAM no\nStrictModes no\nPermitRootLogin yes\nLogLevel ERROR\n\
             Subsystem sftp internal-sftp\nSetEnv PATH={}\n",
            std::env::var("PATH").unwrap()
        );
        fs::write(dir.path().join("sshd_config"), config).unwrap();
        if rustix::process::getuid().is_root() {
            // A daemon's own start script makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let sshd = peers::path("sshd");
        let sshd = format!("exec:{} -i -f {path}/sshd_config", sshd.display());
        let server = Towline::serve(listen.iter().copied().chain([&*sshd]));
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        // sshd says 255 of every client that leaves, which may be heard before ssh ends its proxy.
        let proxy = format!("{} connect -q {}", env!("CARGO_BIN_EXE_towline"), proxy(&server));
        let options = [
            format!("User={}", String::from_utf8(user).unwrap().trim()),
            format!("IdentityFile={path}/key"),
            format!("UserKnownHostsFile={path}/known_hosts"),
            format!("ProxyCommand={proxy}"),
            "StrictHostKeyChecking=yes".to_owned(),
            "BatchMode=yes".to_owned(),
        ];
        let options = options.into_iter().flat_map(|it| ["-o".to_owned(), it]);
        let options = ["-F", "none"].map(str::to_owned).into_iter().chain(options).collect();
        Self { _server: server, options, dir }
    }

    #[track_caller]
    fn plain() -> Self {
        Self::serve(&["ws://127.0.0.1:0/ssh"], Running::address)
    }

    /// `ssh`, `scp` or `sftp`, without its last arguments.
    #[track_caller]
    fn client(&self, program: &str) -> Towline {
        peers::program(program).args(&self.options)
    }

    #[track_caller]
    fn run(&self, command: &str) -> Towline {
        self.client("ssh").args(["towline", command])
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[test]
fn ssh_gets_every_byte_through_both_ways() {
    let ssh = Ssh::plain();
    let bytes = noise(50 << 20);
    ssh.run("cat").stdin(bytes.clone()).run().code(0).stdout_bytes(bytes).stderr_is_empty();
}

#[test]
fn ssh_gets_the_exit_status() {
    let ssh = Ssh::plain();
    let run = ssh.run("echo out; echo err >&2; exit 7").run();
    run.code(7).stdout("out\n").stderr_is("err\n");
}

#[test]
fn ssh_gets_through_tls_to_a_pinned_certificate() {
    let listen = ["--tls-self-signed", "wss://127.0.0.1:0/ssh"];
    let ssh = Ssh::serve(&listen, |server| {
        let line = server.stderr_line(|line| line.starts_with("certificate fingerprint "));
        let pin = line.rsplit(' ').next().unwrap();
        format!("{} --pin {pin}", server.address())
    });
    ssh.run("cat").stdin("over TLS\n").run().code(0).stdout("over TLS\n");
}

#[test]
fn files_are_copied_by_scp_and_sftp() {
    let ssh = Ssh::plain();
    let bytes = noise(1 << 20);
    let at = |name: &str| ssh.path().join(name).display().to_string();
    fs::write(at("file"), &bytes).unwrap();
    let to = |name: &str| format!("towline:{}", at(name));
    ssh.client("scp").args(["-q", &at("file"), &to("up")]).run().code(0).stderr_is_empty();
    ssh.client("scp").args(["-q", "-O", &to("up"), &at("down")]).run().code(0).stderr_is_empty();
    assert!(fs::read(at("down")).unwrap() == bytes);

    let batch = format!("put {} {put}\nget {put} {}\n", at("file"), at("got"), put = at("put"));
    ssh.client("sftp").args(["-q", "-b", "-", "towline"]).stdin(batch).run().code(0);
    assert!(fs::read(at("got")).unwrap() == bytes);
}

#[test]
fn a_repository_is_cloned_and_pushed_to() {
    let ssh = Ssh::plain();
    let repository = ssh.path().join("repository");
    let quoted = ssh.options.iter().map(|it| format!(" '{it}'")).collect::<String>();
    let git = |args: &[&str]| {
        let git = peers::program("git").env("GIT_SSH_COMMAND", format!("ssh{quoted}"));
        let me = ["-c", "user.name=me", "-c", "user.email=me@example.com"];
        git.dir(ssh.path()).args(me).args(args).run().code(0);
    };
    git(&["init", "-q", "--bare", "repository"]);
    let url = format!("ssh://towline{}", repository.display());
    git(&["clone", "-q", &url, "first"]);
    fs::write(ssh.path().join("first/file"), noise(1 << 20)).unwrap();
    git(&["-C", "first", "add", "file"]);
    git(&["-C", "first", "commit", "-q", "-m", "A file"]);
    git(&["-C", "first", "push", "-q", "origin", "HEAD:main"]);
    git(&["clone", "-q", "--branch", "main", &url, "second"]);
    assert!(fs::read(ssh.path().join("second/file")).unwrap() == noise(1 << 20));
}
