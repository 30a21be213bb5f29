//! `%h`, `${NAME}` and `~` in values, and what must never reach a shell.

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{Jump, Local};

/// What the tokens stand for.
pub(super) struct Tokens<'a> {
    pub(super) alias: &'a str,
    pub(super) hostname: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) key_alias: Option<&'a str>,
    pub(super) local: &'a Local,
}

/// The value of HostName, in which `%h` is the name that was asked for.
pub(super) fn hostname(written: Option<&str>, alias: &str) -> Result<String, String> {
    match written {
        None => Ok(alias.to_owned()),
        Some(text) => expand(text, |token| (token == 'h').then(|| alias.to_owned())),
    }
}

/// Whether a name can be resolved and means nothing to a shell or as a flag (CVE-2023-51385).
pub(super) fn is_hostname(name: &str) -> bool {
    !name.is_empty() && is_harmless(name)
}

fn is_harmless(text: &str) -> bool {
    let special =
        |c: char| c.is_whitespace() || c.is_control() || "'`\"$\\;&<>|(){}[]*?!#~".contains(c);
    !text.starts_with('-') && !text.contains(special)
}

impl Tokens<'_> {
    /// Expands the path of a file.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = self.local.expand_tilde(text)?;
        let text = expand(&text, |token| self.token(token))?;
        self.expand_env(&text).map(PathBuf::from)
    }

    /// The socket of the agent.
    pub(super) fn agent(&self, written: Option<&str>) -> Result<Option<PathBuf>, String> {
        let env = |name: &str| (self.local.env)(name).map(PathBuf::from);
        match written {
            None | Some("SSH_AUTH_SOCK") => Ok(env("SSH_AUTH_SOCK")),
            Some(none) if none.eq_ignore_ascii_case("none") => Ok(None),
            Some(text) => match text.strip_prefix('$') {
                Some(name) if !name.starts_with('{') => Ok(env(name)),
                _ => self.path(text).map(Some),
            },
        }
    }

    /// Expands a command. Names that come from elsewhere, as out of a submodule's URL, must not
    /// become commands of their own.
    pub(super) fn command(&self, text: &str) -> Result<String, String> {
        expand(text, |token| self.remote(token).map(|(_, value)| value)).and_then(|command| {
            // Only what is used is in the way.
            let used = text.replace("%%", "");
            for token in ['h', 'n', 'r'] {
                if let Some((what, value)) = self.remote(token)
                    && used.contains(&format!("%{token}"))
                    && !is_harmless(&value)
                {
                    return Err(format!("the {what} {value:?} is not put into a ProxyCommand"));
                }
            }
            Ok(command)
        })
    }

    pub(super) fn jump(&self, jump: Jump) -> Result<Jump, String> {
        let expand = |text: &str| expand(text, |token| self.remote(token).map(|(_, value)| value));
        let host = expand(&jump.host)?;
        if !is_hostname(&host) {
            return Err(format!("{host:?} is not a host name"));
        }
        Ok(Jump { user: jump.user.as_deref().map(expand).transpose()?, host, port: jump.port })
    }

    /// The tokens of commands.
    fn remote(&self, token: char) -> Option<(&'static str, String)> {
        Some(match token {
            'h' => ("host name", self.hostname.to_owned()),
            'n' => ("host name", self.alias.to_owned()),
            'p' => ("port", self.port.to_string()),
            'r' => ("user name", self.user.to_owned()),
            _ => return None,
        })
    }

    /// The tokens of paths.
    fn token(&self, token: char) -> Option<String> {
        let local = self.local;
        Some(match token {
            'C' => {
                let all = format!("{}{}{}{}", local.hostname, self.hostname, self.port, self.user);
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, all.as_bytes());
                hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
            'd' => local.home.display().to_string(),
            'i' => local.uid.to_string(),
            'k' => self.key_alias.unwrap_or(self.alias).to_owned(),
            'L' => local.hostname.split('.').next().unwrap_or_default().to_owned(),
            'l' => local.hostname.clone(),
            'u' => local.user.clone(),
            token => return self.remote(token).map(|(_, value)| value),
        })
    }

    fn expand_env(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(format!("`{text}` lacks a `}}`"))?;
            let value = (self.local.env)(name);
            let value =
                value.ok_or_else(|| format!("`{text}`: {name} is not in the environment"))?;
            expanded.push_str(before);
            expanded.push_str(&value);
            rest = after;
        }
        Ok(expanded + rest)
    }
}

fn expand(text: &str, value: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('%')) => expanded.push('%'),
            ('%', Some(token)) => {
                let value = value(token).ok_or(format!("`{text}`: there is no %{token} here"))?;
                expanded.push_str(&value);
            }
            ('%', None) => return Err(format!("`{text}` ends in a single %")),
            (c, _) => expanded.push(c),
        }
    }
    Ok(expanded)
}
