//! Keys, certificates and hashed names that ssh-keygen made.

use std::process::Command;

use super::*;
use crate::ssh::known_hosts::{self, CertificateVerdict, KnownHosts};

fn keygen(folder: &Path, line: &str) -> String {
    let output = Command::new("ssh-keygen").args(line.split(' ')).current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn certificates_by_authorities_of_every_type() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let now = SystemTime::now();
    let types = ["ed25519", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa -b 3072"];
    for (i, key_type) in types.iter().enumerate() {
        keygen(dir, &format!("-q -t {key_type} -N  -C ca -f ca{i}"));
        keygen(dir, &format!("-q -t {key_type} -N  -C user -f user{i}"));
        keygen(
            dir,
            &format!(
                "-q -s ca{i} -I id -n ann,ops -O clear -O permit-pty -O force-command=say \
                 -O source-address=10.0.0.0/8 user{i}.pub"
            ),
        );
        let cert = Certificate::from_openssh(&text(&format!("user{i}-cert.pub"))).unwrap();
        let keys = keys(&format!("cert-authority {}", text(&format!("ca{i}.pub"))));
        let visitor = Visitor { now, ..ann() };
        let grant = keys.lookup(Credential::Certificate(&cert), visitor).unwrap();
        assert!(grant.pty && !grant.port_forwarding, "{key_type}");
        assert_eq!(grant.command.as_deref(), Some("say"), "{key_type}");
        assert_eq!(grant.expires, None, "it is valid for ever");
        let elsewhere = Visitor { from: IpAddr::from([127, 0, 0, 1]), ..visitor };
        assert!(keys.lookup(Credential::Certificate(&cert), elsewhere).is_err(), "{key_type}");

        keygen(dir, &format!("-q -s ca{i} -I id -h -n box,*.example.com user{i}.pub"));
        let cert = Certificate::from_openssh(&text(&format!("user{i}-cert.pub"))).unwrap();
        let mut known = KnownHosts::default();
        known
            .add(Path::new("known"), &format!("@cert-authority * {}", text(&format!("ca{i}.pub"))));
        let verdict = known.lookup_certificate("a.example.com", 22, &cert, now);
        assert_eq!(verdict, CertificateVerdict::Trusted, "{key_type}");
    }
    // SHA-1 is refused even where the key is long enough.
    keygen(dir, "-q -t ssh-rsa -s ca4 -I id -n ann user4.pub");
    let cert = Certificate::from_openssh(&text("user4-cert.pub")).unwrap();
    let keys = keys(&format!("cert-authority {}", text("ca4.pub")));
    let denied = keys.lookup(Credential::Certificate(&cert), Visitor { now, ..ann() });
    assert_eq!(denied.unwrap_err().why, "the certificate is signed with SHA-1");
}

#[test]
fn ssh_keygen_finds_what_was_learnt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known");
    for (host, port, hashed) in [("box", 22, false), ("hidden", 22, true), ("::1", 2222, true)] {
        known_hosts::append(&file, host, port, &key(1), hashed).unwrap();
    }
    for name in ["box", "hidden", "[::1]:2222"] {
        let found = keygen(dir.path(), &format!("-F {name} -f known"));
        assert!(found.contains(&line(1)), "{name}: {found}");
    }
}
