//! Which lines are for a host: Host, Match, and the order in which values win.

use super::parse::Directive;
use super::set::{Draft, set};
use super::{Local, tokens};
use crate::ssh::{Place, pattern};

/// One condition of a Match.
#[derive(Debug)]
pub(super) struct Criterion {
    negated: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    All,
    Canonical,
    Final,
    Host(String),
    OriginalHost(String),
    User(String),
    LocalUser(String),
    /// A condition that we do not try: it would run a program, or is newer than we are.
    Untried(String),
}

impl Criterion {
    pub(super) fn parse(words: &[String]) -> Result<Vec<Self>, String> {
        // `host=NAME` is two words.
        let mut words = words.iter().flat_map(|word| match word.split_once('=') {
            Some((name, value))
                if name.bytes().all(|it| it.is_ascii_alphabetic() || it == b'!') =>
            {
                vec![name, value]
            }
            _ => vec![word.as_str()],
        });
        let mut criteria = Vec::new();
        while let Some(word) = words.next() {
            let (negated, name) = match word.strip_prefix('!') {
                Some(name) => (true, name.to_lowercase()),
                None => (false, word.to_lowercase()),
            };
            let mut value = || {
                let value = words.next().filter(|it| !it.is_empty());
                value.map(str::to_owned).ok_or(format!("{name} has no value"))
            };
            let what = match &*name {
                "all" => What::All,
                "canonical" => What::Canonical,
                "final" => What::Final,
                "host" => What::Host(value()?.to_lowercase()),
                "originalhost" => What::OriginalHost(value()?.to_lowercase()),
                "user" => What::User(value()?),
                "localuser" => What::LocalUser(value()?),
                _ => {
                    value()?;
                    What::Untried(name)
                }
            };
            criteria.push(Self { negated, what });
        }
        let all = criteria.iter().any(|it| matches!(it.what, What::All));
        let others = |it: &Self| !matches!(it.what, What::All | What::Canonical | What::Final);
        match criteria.is_empty() || (all && criteria.iter().any(others)) {
            true => Err("`all` stands alone or there are other conditions".into()),
            false => Ok(criteria),
        }
    }
}

/// One host, and what has been found out about it so far.
pub(super) struct Evaluation<'a> {
    alias: &'a str,
    local: &'a Local,
    /// What Host patterns are held against.
    host: String,
    is_final: bool,
    /// Something asked to be looked at again when the host's real name is known.
    pub(super) wants_final: bool,
    pub(super) draft: Draft,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(alias: &'a str, local: &'a Local, draft: Draft) -> Self {
        Self {
            alias,
            local,
            host: alias.to_owned(),
            is_final: false,
            wants_final: false,
            draft,
            warnings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Prepares for a second run, under the real name.
    pub(super) fn begin_final(&mut self, hostname: &str) {
        self.host = hostname.to_owned();
        self.draft.hostname = Some(hostname.replace('%', "%%"));
        self.is_final = true;
        // They would be said twice.
        self.warnings.clear();
        self.notes.clear();
    }

    pub(super) fn run(&mut self, directives: &[Directive]) {
        let mut active = true;
        for directive in directives {
            match directive {
                Directive::Host(patterns) => {
                    let patterns = patterns.iter().map(String::as_str);
                    active = pattern::any_matches(patterns, &self.host);
                }
                Directive::Match(criteria, place) => active = self.fulfils(criteria, place),
                _ if !active => {}
                Directive::Include(directives) => self.run(directives),
                Directive::Set { keyword, words } => {
                    // It was good when the file was read.
                    let _checked = set(&mut self.draft, keyword, words);
                }
                Directive::Unused { keyword, place } => {
                    self.notes.push(format!("{place}: {keyword} is not used"));
                }
            }
        }
    }

    fn fulfils(&mut self, criteria: &[Criterion], place: &Place) -> bool {
        let mut all = true;
        for Criterion { negated, what } in criteria {
            let fulfilled = match what {
                What::All => true,
                What::Canonical => self.is_final,
                What::Final => {
                    self.wants_final = true;
                    self.is_final
                }
                What::Host(list) => {
                    let hostname = tokens::hostname(self.draft.hostname.as_deref(), self.alias);
                    pattern::list_matches(list, &hostname.unwrap_or_default().to_lowercase())
                }
                What::OriginalHost(list) => pattern::list_matches(list, &self.alias.to_lowercase()),
                What::User(list) => {
                    let user = self.draft.user.as_deref().unwrap_or(&self.local.user);
                    pattern::list_matches(list, user)
                }
                What::LocalUser(list) => pattern::list_matches(list, &self.local.user),
                What::Untried(name) if all => {
                    let what =
                        format!("{place}: `Match {name}` is not tried; the block is skipped");
                    self.warnings.push(what);
                    return false;
                }
                What::Untried(_) => return false,
            };
            all &= fulfilled != *negated;
        }
        all
    }
}
