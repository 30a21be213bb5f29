//! What `ssh -G` says of the same files.

use std::process::Command;

use super::super::*;

/// Files in which it is easy to err, each for the host `box`.
const FILES: &[&str] = &[
    "Host box\nPort=2222\nHost *\nPort 1\nUser = someone",
    "Host * !box\nPort 1\nHost b?x\nPort 2",
    "Host !box *\nPort 1",
    "Host \"box\" other\nPort 7",
    "host BOX\nport 1\nHost box\nPORT 2 # comment",
    "HostName %h.Example.COM\nUser \"a user\"",
    "HostName a%%b",
    "User a\\ b",
    "User \"a\\\"b\"",
    "User 'a b'#c",
    "Port =\t2222",
    "IdentityFile ~/.ssh/%h-%r-%p-%u-%i\nIdentityFile \"/with space/%n\"\nIdentityFile ~/.ssh/%k\nHostKeyAlias Alias",
    "IdentityFile /x/%C/%L/%l/%d\nPort 5\nUser root\nHostName elsewhere",
    "IdentityFile /a\nIdentityFile /a\nIdentityFile /b\nCertificateFile ~/c\nCertificateFile /d",
    "UserKnownHostsFile ~/a /b \"/c d\"\nUserKnownHostsFile /e\nGlobalKnownHostsFile /x /y",
    "ServerAliveInterval 1m30s\nServerAliveCountMax 5\nConnectTimeout 2H\nIdentitiesOnly TRUE",
    "ServerAliveInterval 0\nConnectTimeout none\nHashKnownHosts yes\nBatchMode true",
    "StrictHostKeyChecking no",
    "StrictHostKeyChecking accept-new",
    "StrictHostKeyChecking yes\nStrictHostKeyChecking no",
    "ProxyCommand nc -X \"5\" %h 22 # kept\nProxyJump gate",
    "ProxyCommand=exec nc %h",
    "ProxyJump a,b@c:2222,d\nProxyCommand x",
    "ProxyJump b@[::1]:22",
    "ProxyJump none\nProxyCommand x",
    "ProxyCommand none\nProxyJump x",
    "Match host box\nPort 1",
    "Match host *.example.com\nPort 1\nMatch all\nHostName %h.example.com",
    "HostName box.example.com\nMatch host *.example.com user root\nPort 1",
    "HostName box.example.com\nMatch originalhost=BOX !user nobody\nPort 2",
    "HostName box.example.com\nMatch final host *.example.com\nPort 3\nUser final",
    "HostName box.example.com\nHost box.example.com\nPort 3\nMatch final all\nUser final",
    "Match canonical\nPort 3",
    "Match !final host box\nPort 4",
    "Match !all\nPort 3",
    "Match user alice,root,!bob\nPort 9\nMatch localuser nobody\nUser x",
    "User bob\nMatch user !bob\nPort 9\nMatch user *,!bob\nPort 10",
    "IdentityAgent none",
    "IdentityAgent ~/agent-%u",
    "Port 0",
    "Port x",
    "Port 1 2",
    "Port",
    "User \"a",
    "ServerAliveInterval 1y",
    "ServerAliveInterval -1",
    "StrictHostKeyChecking maybe",
    "UserKnownHostsFile none /x",
    "ProxyJump a:b",
    "ProxyJump @a",
    "ProxyCommand echo it's",
    "Match all user x",
    "Match",
    "Match host",
    "Host",
    "Host \"\"",
    "Host nobody\nPort x",
];

#[test]
fn ssh_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let mut differences = Vec::new();
    for text in FILES {
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let config = Config::load(Some(&file), Local::here());
        let ours = config.and_then(|config| config.for_host("box", None, None));
        let ssh = Command::new("ssh").arg("-G").arg("-F").arg(&file).arg("box").output().unwrap();
        let said = String::from_utf8(ssh.stdout).unwrap();
        match (&ours, ssh.status.success()) {
            (Err(_), false) => {}
            (Ok(host), true) => differences.extend(compare(text, host, &said)),
            _ => differences.push(format!(
                "{text:?}: {:?}, but ssh {} {}",
                ours.map(|_| "read"),
                ssh.status,
                String::from_utf8_lossy(&ssh.stderr)
            )),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Compares what `ssh -G` prints as it is, before tokens of paths are expanded.
fn compare(text: &str, host: &Host, said: &str) -> Vec<String> {
    let values = |keyword: &str| -> Vec<&str> {
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(name, _)| *name == keyword).map(|(_, value)| value).collect()
    };
    let local = Local::here();
    let tokens = Tokens {
        alias: "box",
        hostname: &host.hostname,
        port: host.port,
        user: &host.user,
        key_alias: host.host_key_alias.as_deref(),
        local: &local,
    };
    let expanded = |values: Vec<&str>| -> Vec<String> {
        let paths = values.into_iter().filter(|it| *it != "none");
        paths.map(|it| tokens.path(it).unwrap().display().to_string()).collect()
    };
    let shown = |paths: &[PathBuf]| paths.iter().map(|it| it.display().to_string()).collect();
    let seconds = |time: Option<Duration>| time.map_or(0, |it| it.as_secs()).to_string();
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let policy = host.host_key_policy.unwrap_or(HostKeyPolicy::Ask);
    let mut pairs = vec![
        ("hostname", vec![host.hostname.clone()]),
        ("port", vec![host.port.to_string()]),
        ("user", vec![host.user.clone()]),
        ("identitiesonly", vec![yes(host.identities_only)]),
        ("hashknownhosts", vec![yes(host.hash_known_hosts)]),
        ("batchmode", vec![yes(host.batch_mode)]),
        ("serveraliveinterval", vec![seconds(host.alive_interval)]),
        ("serveralivecountmax", vec![host.alive_count_max.to_string()]),
        ("hostkeyalias", host.host_key_alias.iter().cloned().collect()),
        (
            "stricthostkeychecking",
            vec![
                match policy {
                    HostKeyPolicy::Ask => "ask",
                    HostKeyPolicy::Strict => "true",
                    HostKeyPolicy::AcceptNew => "accept-new",
                    HostKeyPolicy::Off => "false",
                }
                .to_owned(),
            ],
        ),
    ];
    pairs.push((
        "connecttimeout",
        match host.connect_timeout {
            Some(time) => vec![seconds(Some(time))],
            None => vec!["none".to_owned()],
        },
    ));
    pairs.push((
        "proxyjump",
        match &host.proxy {
            Proxy::Jump(jumps) => vec![jumps.iter().map(written).collect::<Vec<_>>().join(",")],
            _ => Vec::new(),
        },
    ));
    let mut differences: Vec<String> = pairs
        .into_iter()
        .filter(|(keyword, ours)| *ours != values(keyword))
        .map(|(keyword, ours)| {
            format!("{text:?}: {keyword} {ours:?}, but ssh {:?}", values(keyword))
        })
        .collect();
    let mut check = |keyword: &str, ours: Vec<String>, theirs: Vec<String>| {
        if ours != theirs {
            differences.push(format!("{text:?}: {keyword} {ours:?}, but ssh {theirs:?}"));
        }
    };
    if host.identity_files_written {
        check("identityfile", shown(&host.identity_files), expanded(values("identityfile")));
    }
    check("certificatefile", shown(&host.certificate_files), expanded(values("certificatefile")));
    for (keyword, ours) in [
        ("userknownhostsfile", &host.user_known_hosts),
        ("globalknownhostsfile", &host.global_known_hosts),
    ] {
        // `ssh -G` separates them with spaces, which they may have themselves.
        let theirs = values(keyword).join(" ");
        let ours: Vec<String> = shown(ours);
        let theirs = theirs.replace("~/", &format!("{}/", local.home.display()));
        check(keyword, vec![ours.join(" ")], vec![theirs]);
    }
    if let Proxy::Command(ours) = &host.proxy {
        let theirs = values("proxycommand").into_iter();
        check(
            "proxycommand",
            vec![ours.clone()],
            theirs.map(|it| tokens.command(it).unwrap()).collect(),
        );
    }
    differences
}

fn written(jump: &Jump) -> String {
    let user = jump.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
    let host = match (&jump.host, jump.port) {
        (host, Some(_)) if host.contains(':') => format!("[{host}]"),
        (host, _) => host.clone(),
    };
    let port = jump.port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{user}{host}{port}")
}
