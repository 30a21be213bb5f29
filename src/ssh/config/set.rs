//! The keywords that are used, and what their values may be.

use std::str::FromStr;
use std::time::Duration;

use super::{HostKeyPolicy, Jump};

/// The values found so far: the first of each kind, as written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) hostname: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) proxy: Option<ProxyDraft>,
    pub(super) identity_files: Option<Vec<String>>,
    pub(super) certificate_files: Option<Vec<String>>,
    pub(super) identities_only: Option<bool>,
    pub(super) identity_agent: Option<String>,
    pub(super) user_known_hosts: Option<Vec<String>>,
    pub(super) global_known_hosts: Option<Vec<String>>,
    pub(super) host_key_alias: Option<String>,
    pub(super) host_key_policy: Option<HostKeyPolicy>,
    pub(super) hash_known_hosts: Option<bool>,
    pub(super) alive_interval: Option<Duration>,
    pub(super) alive_count_max: Option<u32>,
    pub(super) connect_timeout: Option<Option<Duration>>,
    pub(super) batch_mode: Option<bool>,
}

/// ProxyJump and ProxyCommand compete: whichever comes first.
#[derive(Clone, Debug)]
pub(super) enum ProxyDraft {
    None,
    Jump(Vec<Jump>),
    Command(String),
}

/// Takes a value if there is none yet. False for a keyword that is not used.
pub(super) fn set(draft: &mut Draft, keyword: &str, words: &[String]) -> Result<bool, String> {
    fn first<T>(slot: &mut Option<T>, value: T) {
        slot.get_or_insert(value);
    }
    match keyword {
        "hostname" => first(&mut draft.hostname, one(words)?),
        "port" => first(&mut draft.port, port(&one(words)?)?),
        "user" => first(&mut draft.user, one(words)?),
        "proxyjump" => first(&mut draft.proxy, jumps(&one(words)?)?),
        "proxycommand" => first(&mut draft.proxy, command(&one(words)?)),
        "identityfile" => add(&mut draft.identity_files, one(words)?),
        "certificatefile" => add(&mut draft.certificate_files, one(words)?),
        "identitiesonly" => first(&mut draft.identities_only, flag(&one(words)?)?),
        "identityagent" => first(&mut draft.identity_agent, one(words)?),
        "userknownhostsfile" => first(&mut draft.user_known_hosts, files(words)?),
        "globalknownhostsfile" => first(&mut draft.global_known_hosts, files(words)?),
        "hostkeyalias" => first(&mut draft.host_key_alias, one(words)?),
        "stricthostkeychecking" => first(&mut draft.host_key_policy, policy(&one(words)?)?),
        "hashknownhosts" => first(&mut draft.hash_known_hosts, flag(&one(words)?)?),
        "serveraliveinterval" => {
            first(&mut draft.alive_interval, time(&one(words)?)?.unwrap_or_default());
        }
        "serveralivecountmax" => first(&mut draft.alive_count_max, number(&one(words)?)?),
        "connecttimeout" => first(&mut draft.connect_timeout, time(&one(words)?)?),
        "batchmode" => first(&mut draft.batch_mode, flag(&one(words)?)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn add(slot: &mut Option<Vec<String>>, value: String) {
    let list = slot.get_or_insert_default();
    if !list.contains(&value) {
        list.push(value);
    }
}

fn one(words: &[String]) -> Result<String, String> {
    match words {
        [word] if !word.is_empty() => Ok(word.clone()),
        [] | [_] => Err("the value is missing".into()),
        [_, word, ..] => Err(format!("`{word}` is one word too many")),
    }
}

fn files(words: &[String]) -> Result<Vec<String>, String> {
    let is_none = |word: &String| word.eq_ignore_ascii_case("none");
    match words {
        [] => Err("the value is missing".into()),
        _ if words.iter().any(String::is_empty) => Err("a path is empty".into()),
        [_, _, ..] if words.iter().any(is_none) => Err("`none` stands alone".into()),
        _ => Ok(words.to_vec()),
    }
}

fn flag(word: &str) -> Result<bool, String> {
    match &*word.to_lowercase() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("`{word}` is not yes or no")),
    }
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}

fn port(word: &str) -> Result<u16, String> {
    word.parse().ok().filter(|&it| it != 0).ok_or_else(|| format!("`{word}` is not a port"))
}

fn policy(word: &str) -> Result<HostKeyPolicy, String> {
    match &*word.to_lowercase() {
        "yes" | "true" => Ok(HostKeyPolicy::Strict),
        "no" | "false" | "off" => Ok(HostKeyPolicy::Off),
        "accept-new" => Ok(HostKeyPolicy::AcceptNew),
        "ask" => Ok(HostKeyPolicy::Ask),
        _ => Err(format!("`{word}` is not yes, no, ask, accept-new or off")),
    }
}

/// Seconds, or numbers with units as `1h30m`; `none` and 0 are never.
fn time(word: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("`{word}` is not a time, as 30 or 1m30s");
    if word == "none" {
        return Ok(None);
    }
    let (mut seconds, mut rest) = (0u64, word);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next();
        let factor = match unit.map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            Some('w') => 7 * 86400,
            Some(_) => return Err(wrong()),
        };
        let part = number.checked_mul(factor).and_then(|part| seconds.checked_add(part));
        seconds = part.filter(|&it| it <= i32::MAX as u64).ok_or_else(wrong)?;
        rest = &rest[digits + unit.map_or(0, char::len_utf8)..];
    }
    Ok(Some(Duration::from_secs(seconds)).filter(|it| !it.is_zero()))
}

fn command(text: &str) -> ProxyDraft {
    match text.eq_ignore_ascii_case("none") {
        true => ProxyDraft::None,
        false => ProxyDraft::Command(text.to_owned()),
    }
}

fn jumps(text: &str) -> Result<ProxyDraft, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(ProxyDraft::None);
    }
    text.split(',').map(str::parse).collect::<Result<_, _>>().map(ProxyDraft::Jump)
}

/// `[user@]host[:port]` or `ssh://[user@]host[:port]`.
impl FromStr for Jump {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not [USER@]HOST[:PORT]");
        let rest = text.strip_prefix("ssh://").map_or(text, |it| it.trim_end_matches('/'));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, number) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("") }))
            }
            // More than one colon is an address without brackets and without a port.
            None => match rest.split_once(':') {
                Some((host, number)) if !number.contains(':') => (host, Some(number)),
                _ => (rest, None),
            },
        };
        if host.is_empty() || user.as_deref() == Some("") {
            return Err(wrong());
        }
        let port = number.map(port).transpose().map_err(|_| wrong())?;
        Ok(Self { user, host: host.to_owned(), port })
    }
}
