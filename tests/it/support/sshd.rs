//! OpenSSH's sshd, for whoever runs the tests: on a port, with keys and a configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{ClosedPort, Running, Towline, peers};

/// A server, and all that a client needs to log in.
pub(crate) struct Sshd {
    server: Option<Running>,
    port: ClosedPort,
    dir: TempDir,
}

impl Sshd {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(|_| String::new())
    }

    /// With more lines for its configuration; what they name is made in the folder that is passed.
    #[track_caller]
    pub(crate) fn with(more: impl FnOnce(&Path) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().display();
        for name in ["host", "key"] {
            key(dir.path(), name, &["-t", "ed25519"]);
        }
        fs::copy(dir.path().join("key.pub"), dir.path().join("authorized_keys")).unwrap();
        if rustix::process::getuid().is_root() {
            // A daemon's own start script makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = ClosedPort::new();
        let path_of_commands = std::env::var("PATH").unwrap();
        let config = format!(
            "{}\nListenAddress 127.0.0.1:{}\nHostKey {path}/host\nPidFile none\n\
             AuthorizedKeysFile {path}/authorized_keys\nStrictModes no\nPermitRootLogin yes\n\
             UsePAM no\nMaxAuthTries 20\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\n\
             SetEnv PATH={path_of_commands}\n",
            more(dir.path()),
            port.port,
        );
        fs::write(dir.path().join("sshd_config"), config).unwrap();
        let mut sshd = Self { server: None, port, dir };
        let host = sshd.read("host.pub");
        sshd.write("known_hosts", &format!("{} {host}", sshd.name()));
        sshd.start();
        sshd
    }

    /// Starts it, for the first time or again.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        let sshd = peers::program("sshd").args(["-D", "-e", "-f"]).arg(self.path("sshd_config"));
        self.server = Some(peers::daemon(&self.port, sshd));
    }

    /// Stops it and all its sessions, without a word to the clients.
    pub(crate) fn stop(&mut self) {
        self.cut();
        self.server = None;
    }

    /// Ends all sessions, without a word to the clients.
    pub(crate) fn cut(&self) {
        for session in self.sessions() {
            let _ = kill_process(session, Signal::KILL);
        }
    }

    /// The processes of its sessions.
    pub(crate) fn sessions(&self) -> Vec<Pid> {
        let Some(server) = &self.server else { return Vec::new() };
        let pid = server.pid().as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        self.server.as_ref().map(Running::stderr).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.port
    }

    /// As it is called in known_hosts.
    pub(crate) fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port())
    }

    /// As a hop.
    pub(crate) fn address(&self) -> String {
        format!("ssh://127.0.0.1:{}", self.port())
    }

    /// Something on its far side.
    pub(crate) fn then(&self, hop: &str) -> String {
        format!("{},{hop}", self.address())
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    #[track_caller]
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Makes a key that it does not know; `how` are options of ssh-keygen.
    #[track_caller]
    pub(crate) fn key(&self, name: &str, how: &[&str]) -> String {
        key(self.dir.path(), name, how).display().to_string()
    }

    /// Makes a key that it lets in.
    #[track_caller]
    pub(crate) fn authorized_key(&self, name: &str, how: &[&str]) -> String {
        let file = self.key(name, how);
        let known = self.read("authorized_keys") + &self.read(&format!("{name}.pub"));
        self.write("authorized_keys", &known);
        file
    }

    /// Fingerprint of a public key, as everybody writes it.
    #[track_caller]
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let said = peers::program("ssh-keygen").args(["-l", "-f", &self.path(name)]).run();
        String::from_utf8(said.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    /// `towline VERB`, told of the server's key and of nothing that this machine has.
    pub(crate) fn verb(&self, verb: &str) -> Towline {
        let login = ["--login", user()];
        let towline = Towline::new().arg(verb).args(["--ssh-config", "none"]).args(login);
        towline.args(["--known-hosts", &self.path("known_hosts")])
    }

    /// `towline connect ARGS`, with the key that it lets in.
    pub(crate) fn connect(&self, args: &[&str]) -> Towline {
        self.verb("connect").args(["-i", &self.path("key")]).args(args)
    }

    /// `towline tunnel ARGS` to it, once its forwards are up, which are as many as there are
    /// options.
    #[track_caller]
    pub(crate) fn tunnel(&self, forwards: &[(&str, &str)]) -> Running {
        let tunnel = self.verb("tunnel").args(["-i", &self.path("key"), "--drain", "0s", "-v"]);
        let options = forwards.iter().flat_map(|(option, value)| [*option, *value]);
        let tunnel = tunnel.args(options).arg(self.address()).spawn();
        tunnel.listeners(forwards.len());
        tunnel
    }

    /// `ssh`, `scp` or `sftp`, without its last arguments.
    pub(crate) fn openssh(&self, program: &str) -> Towline {
        peers::program(program).args(self.openssh_options())
    }

    /// What `ssh` is told, in pairs of words.
    pub(crate) fn openssh_options(&self) -> Vec<String> {
        let options = [
            format!("User={}", user()),
            format!("Port={}", self.port()),
            format!("IdentityFile={}", self.path("key")),
            format!("UserKnownHostsFile={}", self.path("known_hosts")),
            "StrictHostKeyChecking=yes".to_owned(),
            "BatchMode=yes".to_owned(),
        ];
        let options = options.into_iter().flat_map(|it| ["-o".to_owned(), it]);
        ["-F", "none"].map(str::to_owned).into_iter().chain(options).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who runs this.
pub(crate) fn user() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let name = Command::new("id").arg("-un").output().unwrap().stdout;
        String::from_utf8(name).unwrap().trim().to_owned()
    })
}

#[track_caller]
fn key(dir: &Path, name: &str, how: &[&str]) -> PathBuf {
    let file = dir.join(name);
    let passphrase: &[&str] = if how.contains(&"-N") { &[] } else { &["-N", ""] };
    let make = peers::program("ssh-keygen").arg("-q").args(how).args(passphrase);
    make.arg("-f").arg(&file).run().code(0);
    file
}
