use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::ssh::testing::{certificate, key, line};

fn read(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("known"), text);
    known
}

fn at(line: usize) -> Place {
    Place { file: Path::new("known").into(), line }
}

#[test]
fn names_ports_and_wildcards() {
    let known = read(&format!(
        "# comment\n\n  a,B \t{} and a comment # more\n*.c,!x.c {}\r\n[d]:2222 {}\n[::1]:22 {0}\n::1 {0}",
        line(1),
        line(2),
        line(3),
    ));
    assert!(known.notes().is_empty(), "{:?}", known.notes());
    for (host, port, seed) in
        [("a", 22, 1), ("A", 22, 1), ("b", 22, 1), ("y.c", 22, 2), ("d", 2222, 3), ("::1", 22, 1)]
    {
        assert_eq!(known.lookup(host, port, &key(seed)), Verdict::Known, "{host}");
    }
    for (host, port) in [("x.c", 22), ("c", 22), ("d", 22), ("d", 2223), ("aa", 22)] {
        assert_eq!(known.lookup(host, port, &key(1)), Verdict::Unknown, "{host}");
    }
}

#[test]
fn a_key_of_the_host_is_good_on_its_other_ports_and_another_is_no_change() {
    let known = read(&format!("a {}", line(1)));
    assert_eq!(known.lookup("a", 2222, &key(1)), Verdict::Known);
    assert_eq!(known.lookup("a", 2222, &key(2)), Verdict::Unknown);
}

#[test]
fn a_name_that_ssh_keygen_hashed() {
    // `ssh-keygen -H` over a file with `box.example.com` and `[box.example.com]:2222`.
    let names = [
        "|1|o7M8QP7f/AvYsRbQkzvESXDY3Ug=|fUBiv5ZF+3s6fZcHpfCOBzrGjhc=",
        "|1|1iV3hYmkqMeN/p38L1tyY9vf9Cw=|WNR8KA3mea86azpkuMgam/OHUog=",
    ];
    let text = names.map(|names| format!("{names} {}\n", line(1))).concat();
    let known = read(&text);
    assert_eq!(known.lookup("box.example.com", 22, &key(1)), Verdict::Known);
    assert_eq!(known.lookup("box.example.com", 2222, &key(1)), Verdict::Known);
    assert_eq!(known.lookup("example.com", 22, &key(1)), Verdict::Unknown);
}

#[test]
fn another_key_is_a_change_whatever_its_type() {
    // A type that nobody knows: a length, its name, and rubbish.
    let odd = "odd AAAAA29kZAAAAAA=";
    let known = read(&format!("a {}\nb {odd}\n", line(1)));
    assert!(known.notes().is_empty(), "{:?}", known.notes());
    let Verdict::Changed(keys) = known.lookup("a", 22, &key(2)) else { panic!() };
    let hash = key(1).fingerprint(russh::keys::HashAlg::Sha256);
    assert_eq!(keys[0].to_string(), format!("ssh-ed25519 {hash} at known:1"));
    let Verdict::Changed(keys) = known.lookup("b", 22, &key(2)) else { panic!() };
    assert_eq!((&*keys[0].algorithm, keys[0].place.line), ("odd", 2));
    assert_eq!(known.algorithms("a", 2222), [Algorithm::Ed25519]);
}

#[test]
fn one_of_several_keys_is_enough() {
    let known = read(&format!("a {}\n* {}\n", line(1), line(2)));
    assert_eq!(known.lookup("a", 22, &key(2)), Verdict::Known);
}

#[test]
fn a_revoked_key_is_revoked_though_known() {
    let known = read(&format!("a {0}\n@revoked * {0}\n@revoked * {1}\n", line(1), line(9)));
    assert_eq!(known.lookup("a", 22, &key(1)), Verdict::Revoked(at(2)));
    assert_eq!(known.lookup("b", 2222, &key(1)), Verdict::Revoked(at(2)));
    assert_eq!(known.lookup("b", 22, &key(2)), Verdict::Unknown, "nothing is known of b");
}

#[test]
fn bad_lines_are_skipped_and_said() {
    let known = read(&format!(
        "a\na ssh-ed25519 !\na ssh-rsa {0}\n@new a {1}\n|1|x {1}\na {1}",
        line(1).split(' ').nth(1).unwrap(),
        line(1)
    ));
    assert_eq!(known.notes().len(), 5, "{:?}", known.notes());
    assert!(known.notes()[2].starts_with("known:3: the key is not of type ssh-rsa"));
    assert_eq!(known.lookup("a", 22, &key(1)), Verdict::Known);
}

#[test]
fn a_file_that_cannot_be_read_is_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(KnownHosts::read([dir.path().join("missing")]).is_ok());
    let error = KnownHosts::read([dir.path()]).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn certificates_of_hosts() {
    let known = read(&format!("@cert-authority *.example.com {}", line(9)));
    let verdict = |names: &[&str], host: &str, port, now, cert_type| {
        let cert = certificate(cert_type, names, |_| ());
        known.lookup_certificate(host, port, &cert, UNIX_EPOCH + Duration::from_secs(now))
    };
    let host = |names: &[&str], host: &str, now| verdict(names, host, 22, now, CertType::Host);
    let refused = |why: &str| CertificateVerdict::Refused(why.into());
    assert_eq!(host(&["a.example.com"], "A.example.com", 1000), CertificateVerdict::Trusted);
    assert_eq!(host(&["b", "*.example.com"], "a.example.com", 1999), CertificateVerdict::Trusted);
    assert_eq!(
        verdict(&["a.example.com"], "a.example.com", 2222, 1500, CertType::Host),
        CertificateVerdict::Trusted
    );
    assert_eq!(host(&["a"], "a", 1500), CertificateVerdict::UnknownAuthority);
    assert_eq!(host(&["b"], "a.example.com", 1500), refused("the certificate is for b"));
    assert_eq!(
        host(&["a.example.com"], "a.example.com", 999),
        refused("the certificate is not valid yet")
    );
    assert_eq!(
        host(&["a.example.com"], "a.example.com", 2000),
        refused("the certificate has expired")
    );
    assert_eq!(
        verdict(&["a.example.com"], "a.example.com", 22, 1500, CertType::User),
        refused("the certificate is not a host certificate")
    );
    let odd = certificate(CertType::Host, &["a.example.com"], |it| {
        it.critical_option("odd", "").unwrap();
    });
    let now = UNIX_EPOCH + Duration::from_secs(1500);
    let verdict = known.lookup_certificate("a.example.com", 22, &odd, now);
    assert_eq!(verdict, refused("the certificate has the unknown critical option odd"));
    assert!(known.has_authority("a.example.com", 2222) && !known.has_authority("a", 22));
}

#[test]
fn a_certificate_without_names_or_with_a_revoked_key() {
    let now = UNIX_EPOCH + Duration::from_secs(1500);
    let cert = certificate(CertType::Host, &["a"], |_| ());
    for seed in [1, 9] {
        let known = read(&format!("@cert-authority * {}\n@revoked a {}", line(9), line(seed)));
        let verdict = known.lookup_certificate("a", 22, &cert, now);
        assert_eq!(verdict, CertificateVerdict::Revoked(at(2)));
    }
    let known = read(&format!("@cert-authority * {}", line(9)));
    let all = certificate(CertType::Host, &[], |it| {
        it.all_principals_valid().unwrap();
    });
    let verdict = known.lookup_certificate("a", 22, &all, now);
    assert_eq!(verdict, CertificateVerdict::Refused("the certificate names no host".into()));
}

proptest! {
    #[test]
    fn nothing_panics(text in any::<String>(), host in any::<String>()) {
        read(&text).lookup(&host, 22, &key(1));
    }

    #[test]
    fn a_listed_name_is_known(host in "[a-z0-9.:-]{1,20}", port in 1u16..) {
        let known = read(&format!("x,{},y {}", name(&host, port), line(1)));
        prop_assert_eq!(known.lookup(&host, port, &key(1)), Verdict::Known);
    }
}
