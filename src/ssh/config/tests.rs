#[cfg(feature = "interop")]
mod openssh;

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn local() -> Local {
    Local {
        home: "/home/me".into(),
        user: "me".into(),
        uid: 1000,
        hostname: "here.example.com".into(),
        env: |name| match name {
            "SSH_AUTH_SOCK" => Some("/run/agent".into()),
            "DIR" => Some("/dir".into()),
            _ => None,
        },
    }
}

#[track_caller]
fn host(text: &str, alias: &str) -> Host {
    Config::parse(text, local()).unwrap().for_host(alias, None, None).unwrap()
}

#[track_caller]
fn error(text: &str) -> String {
    let config = Config::parse(text, local());
    let host = config.and_then(|config| config.for_host("box", None, None));
    host.unwrap_err().to_string()
}

fn command(text: &str, alias: &str, user: Option<&str>) -> Result<Host> {
    Config::parse(text, local()).unwrap().for_host(alias, user, None)
}

#[test]
fn nothing_said_is_the_usual() {
    let host = host("", "Box");
    assert_eq!((&*host.hostname, host.port, &*host.user), ("box", 22, "me"));
    assert_eq!(host.proxy, Proxy::None);
    assert_eq!(host.identity_agent, Some("/run/agent".into()));
    assert_eq!(host.user_known_hosts[0], PathBuf::from("/home/me/.ssh/known_hosts"));
    assert!(!host.identity_files_written && host.identity_files.len() == 3);
    assert_eq!((host.alive_interval, host.alive_count_max, host.host_key_policy), (None, 3, None));
}

#[test]
fn the_first_value_wins_and_files_add_up() {
    let text = "
        Host box !other
          Port=2222 # comment
          IdentityFile ~/one
        Host *
          port 1
          User = \"some one\"
          identityfile %d/two-%h-%r
          IdentityFile ~/one";
    let host = host(text, "box");
    assert_eq!((host.port, &*host.user), (2222, "some one"));
    let files = ["/home/me/one", "/home/me/two-box-some one"].map(PathBuf::from);
    assert_eq!(host.identity_files, files);
    let host = Config::parse(text, local()).unwrap().for_host("x", Some("you"), Some(7)).unwrap();
    assert_eq!((host.port, &*host.user), (7, "you"));
}

#[test]
fn blocks_of_match() {
    let text = "
        Match originalhost box exec \"true\"
          Port 1
        Match host *.example.com !user root
          Port 2
        Match all
          HostName %h.example.com
        Match final host=box.example.com
          Port 3
        Match !all
          Port 4";
    let found = host(text, "box");
    assert_eq!((&*found.hostname, found.port), ("box.example.com", 2));
    assert_eq!(found.warnings, ["config:2: `Match exec` is not tried; the block is skipped"]);
    let text =
        "HostName %h.example.com\nMatch final host box.example.com\nPort 3\nHost box\nPort 4";
    assert_eq!(host(text, "box").port, 4, "the first run is the first to say");
    assert_eq!(host(&text.replace("Host box", "Host x"), "box").port, 3);
    assert_eq!(error("Match host"), "config:1: host has no value");
    assert!(error("Match all user x").starts_with("config:1: `all` stands alone"));
}

#[test]
fn proxies() {
    let jump = |user: Option<&str>, host: &str, port| Jump {
        user: user.map(str::to_owned),
        host: host.into(),
        port,
    };
    assert_eq!(
        host("ProxyJump a,me@b:22,ssh://you@[::1]:7,%h.gate\nProxyCommand x", "box").proxy,
        Proxy::Jump(vec![
            jump(None, "a", None),
            jump(Some("me"), "b", Some(22)),
            jump(Some("you"), "::1", Some(7)),
            jump(None, "box.gate", None),
        ])
    );
    let text = "ProxyCommand nc -X \"5\" %h %p %% %r # not a comment";
    let expected = "nc -X \"5\" box 22 % me # not a comment";
    assert_eq!(host(text, "box").proxy, Proxy::Command(expected.into()));
    assert_eq!(host("ProxyJump none\nProxyCommand x", "box").proxy, Proxy::None);
    assert!(error("ProxyJump a:b").ends_with("`a:b` is not [USER@]HOST[:PORT]"));
}

#[test]
fn names_that_a_shell_would_read_stay_out_of_commands() {
    for alias in ["a;b", "$(id)", "`id`", "-oX", "a b", "a\nb", "a|b", "a'b", ""] {
        assert!(command("ProxyCommand nc %h", alias, None).is_err(), "{alias:?}");
        assert!(
            command("HostName safe\nProxyCommand nc %n", alias, None).is_err() || alias.is_empty()
        );
    }
    for user in ["a;b", "$(id)", "-x", "a\nb", "a\\"] {
        assert!(command("ProxyCommand nc %h -l %r", "box", Some(user)).is_err(), "{user:?}");
        assert!(command("ProxyCommand nc %h %%r", "box", Some(user)).is_ok(), "{user:?}");
    }
    assert!(command("ProxyJump %n\nHostName safe", "-oX", None).is_err());
}

#[test]
fn values_of_all_kinds() {
    assert_eq!(host("ServerAliveInterval 0", "box").alive_interval, Some(Duration::ZERO));
    let text = "
        ServerAliveInterval 1m30s
        ServerAliveCountMax 5
        ConnectTimeout 10
        StrictHostKeyChecking accept-new
        UserKnownHostsFile ~/a \"/b c\" ${DIR}/%k
        GlobalKnownHostsFile none
        IdentityFile none
        IdentityAgent $DIR
        IdentitiesOnly yes
        HostKeyAlias Alias
        HashKnownHosts true
        BatchMode no
        ForwardAgent yes";
    let host = host(text, "box");
    assert_eq!(host.alive_interval, Some(Duration::from_secs(90)));
    assert_eq!(host.alive_count_max, 5);
    assert_eq!(host.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(host.host_key_policy, Some(HostKeyPolicy::AcceptNew));
    assert_eq!(host.user_known_hosts, ["/home/me/a", "/b c", "/dir/alias"].map(PathBuf::from));
    assert!(host.global_known_hosts.is_empty() && host.identity_files.is_empty());
    assert_eq!(host.identity_agent, Some("/dir".into()));
    assert!(host.identities_only && host.hash_known_hosts && !host.batch_mode);
    assert_eq!(host.notes, ["config:14: forwardagent is not used"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        ("\nPort x", "config:2: port: `x` is not a port"),
        ("Host nobody\nPort 0", "config:2: port: `0` is not a port"),
        ("Port", "config:1: port has no value"),
        ("Port 1 2", "config:1: port: `2` is one word too many"),
        ("User \"a", "config:1: a quote is not closed"),
        (
            "ServerAliveInterval 1y",
            "config:1: serveraliveinterval: `1y` is not a time, as 30 or 1m30s",
        ),
        ("BatchMode maybe", "config:1: batchmode: `maybe` is not yes or no"),
        ("IdentityFile %x", "`%x`: there is no %x here"),
        ("IdentityFile ${NOPE}/x", "`${NOPE}/x`: NOPE is not in the environment"),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn files_include_one_another_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    std::fs::create_dir_all(path(".ssh/config.d")).unwrap();
    write(".ssh/config", "Include config.d/*.conf\nInclude missing\nPort 3\nUser last\n");
    write(".ssh/config.d/a.conf", "Host other\nPort 1\n");
    write(".ssh/config.d/b.conf", "Host box\nPort 2\n");
    let here = || Local { home: dir.path().into(), uid: Local::here().uid, ..local() };
    let host = |file: Option<&Path>| Config::load(file, here())?.for_host("box", None, None);
    let found = host(None).unwrap();
    assert_eq!((found.port, &*found.user), (2, "last"), "the Host of a file ends with it");
    assert_eq!(host(Some(Path::new("none"))).unwrap().port, 22);
    assert!(
        host(Some(&path("missing"))).unwrap_err().what().ends_with("no such file or directory")
    );
    write(".ssh/config.d/b.conf", "\nInclude config.d/b.conf\n");
    let error = host(None).unwrap_err();
    assert!(error.what().ends_with("b.conf:2: more than 16 files include one another"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".ssh/config");
    std::fs::create_dir(dir.path().join(".ssh")).unwrap();
    std::fs::write(&file, "Port 3").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
    let here = || Local { home: dir.path().into(), uid: Local::here().uid, ..local() };
    assert!(Config::load(None, here()).unwrap_err().what().ends_with("others can change it"));
    assert!(Config::load(Some(&file), here()).is_ok(), "who names a file has looked at it");
}

proptest! {
    #[test]
    fn nothing_panics(text in "(?s).{0,60}", word in r#"[ -~]{0,20}"#) {
        prop_assume!(!text.to_lowercase().contains("include"));
        for keyword in ["", "Host ", "Match ", "ProxyJump ", "IdentityFile ", "ConnectTimeout "] {
            if let Ok(config) = Config::parse(&format!("{keyword}{word}\n{text}"), local()) {
                let _host = config.for_host("box", None, None);
            }
        }
    }

    #[test]
    fn a_quoted_value_is_taken_as_it_is(value in "[a-z #=\t]{0,10}[a-z]") {
        prop_assert_eq!(host(&format!("User \"{value}\""), "box").user, value);
    }
}
