//! ssh and curl at the one port of `any:`.

use std::fs;

use tempfile::TempDir;

use crate::support::ssh::HOST;
use crate::support::{Towline, keys, noise, peers};

#[test]
fn ssh_and_curl_come_to_one_port() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("keys"), keys::public(1)).unwrap();
    let [host, key] = [HOST, 1].map(|key| keys::write(key, dir.path()));
    let run = Towline::new().args(["serve", "any://127.0.0.1:0", "echo:", "--tls-self-signed"]);
    let run = run.arg("--authorized-keys").arg(dir.path().join("keys"));
    let run = run.arg("--host-key").arg(host).spawn();
    let port = run.port().to_string();
    let known = dir.path().join("known_hosts");
    fs::write(&known, format!("[127.0.0.1]:{port} {}\n", keys::public(HOST))).unwrap();
    let ssh = |options: &[&str]| {
        let ssh = peers::program("ssh").args(["-F", "none", "-T", "-o", "BatchMode=yes", "-i"]);
        let ssh = ssh.arg(&key).args(["-o", &format!("UserKnownHostsFile={}", known.display())]);
        ssh.args(options).args(["-p", &port, "me@127.0.0.1"])
    };
    let bytes = noise(5 << 20);
    ssh(&[]).stdin(bytes.clone()).run().code(0).stdout_bytes(&bytes);
    // Within TLS as well, whatever name is asked for.
    let tls =
        format!("ProxyCommand=openssl s_client -quiet -servername x -connect 127.0.0.1:{port}");
    ssh(&["-o", &tls]).stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
    for scheme in ["http", "https"] {
        let page = format!("{scheme}://127.0.0.1:{port}/healthz");
        let curl = Towline::program("curl").args(["--silent", "--insecure", "--noproxy", "*"]);
        curl.arg(page).run().code(0).stdout("ok\n");
    }
}
