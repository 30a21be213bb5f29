//! Files to directives: Host, Match, Include and settings, each checked where it stands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::matching::Criterion;
use super::set::{Draft, set};
use super::{Local, glob, words};
use crate::error::{Error, Kind, Result, plain};
use crate::ssh::Place;

/// As OpenSSH.
const MAX_DEPTH: usize = 16;

/// One line.
#[derive(Debug)]
pub(super) enum Directive {
    /// What follows is for hosts that match these patterns.
    Host(Vec<String>),
    /// What follows is for connections that fulfil all of these.
    Match(Vec<Criterion>, Place),
    /// The directives of one file; its Host and Match end with it.
    Include(Vec<Self>),
    /// A keyword and its words.
    Set { keyword: String, words: Vec<String> },
    /// A keyword that is not used.
    Unused { keyword: String, place: Place },
}

/// Whose file it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Named on the command line: it must be there.
    Named,
    /// Below ~/.ssh: others must not be able to write it.
    User,
    System,
}

pub(super) struct Reader<'a> {
    local: &'a Local,
    directives: Vec<Directive>,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(local: &'a Local) -> Self {
        Self { local, directives: Vec::new(), depth: 0 }
    }

    /// All that was read. Each file is an Include, so that the Host of one does not reach into
    /// the next.
    pub(super) fn finish(self) -> Vec<Directive> {
        self.directives
    }

    pub(super) fn read(&mut self, file: &Path, origin: Origin) -> Result<()> {
        let failed = |why: &str| Error::new(Kind::Usage, format!("{}: {why}", file.display()));
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && origin != Origin::Named => {
                return Ok(());
            }
            Err(error) => return Err(failed(&plain(&error))),
        };
        if origin == Origin::User && !self.local.owns(file) {
            let hint = format!("chmod go-w {}", file.display());
            return Err(failed("others can change it").hint(hint));
        }
        self.parse(file, &String::from_utf8_lossy(&bytes), origin)
    }

    pub(super) fn parse(&mut self, file: &Path, text: &str, origin: Origin) -> Result<()> {
        let outer = std::mem::take(&mut self.directives);
        let file: Arc<Path> = file.into();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim_matches(words::is_space);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.clone(), line: i + 1 };
            self.line(line, &place, origin)?;
        }
        let inner = std::mem::replace(&mut self.directives, outer);
        self.directives.push(Directive::Include(inner));
        Ok(())
    }

    fn line(&mut self, line: &str, place: &Place, origin: Origin) -> Result<()> {
        let wrong = |why: String| Error::new(Kind::Usage, format!("{place}: {why}"));
        let (keyword, rest) = words::keyword(line);
        if rest.is_empty() {
            return Err(wrong(format!("{keyword} has no value")));
        }
        let words = words::split(rest).map_err(wrong)?;
        match &*keyword {
            "host" if words.iter().any(String::is_empty) => {
                return Err(wrong("a pattern is empty".into()));
            }
            "host" => self.directives.push(Directive::Host(words)),
            "match" => {
                let criteria = Criterion::parse(&words).map_err(wrong)?;
                self.directives.push(Directive::Match(criteria, place.clone()));
            }
            "include" => {
                for path in words {
                    for file in self.included(&path, origin).map_err(wrong)? {
                        self.include(&file, origin)?;
                    }
                }
            }
            _ => {
                // The rest of the line, quotes and all, is for the shell.
                let words = if keyword == "proxycommand" { vec![rest.to_owned()] } else { words };
                let known = set(&mut Draft::default(), &keyword, &words);
                let known = known.map_err(|why| wrong(format!("{keyword}: {why}")))?;
                self.directives.push(match known {
                    true => Directive::Set { keyword, words },
                    false => Directive::Unused { keyword, place: place.clone() },
                });
            }
        }
        Ok(())
    }

    /// The files that an Include names: relative to the folder of who wrote it.
    fn included(&self, path: &str, origin: Origin) -> Result<Vec<PathBuf>, String> {
        if path.is_empty() || (path.starts_with('~') && origin == Origin::System) {
            return Err(format!("`{path}` cannot be included"));
        }
        if self.depth >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} files include one another"));
        }
        let path = match origin {
            _ if path.starts_with(['/', '~']) => self.local.expand_tilde(path)?,
            Origin::System => format!("/etc/ssh/{path}"),
            Origin::User | Origin::Named => {
                self.local.home.join(".ssh").join(path).display().to_string()
            }
        };
        Ok(glob::glob(&path))
    }

    fn include(&mut self, file: &Path, origin: Origin) -> Result<()> {
        let origin = if origin == Origin::Named { Origin::User } else { origin };
        self.depth += 1;
        let result = self.read(file, origin);
        self.depth -= 1;
        result
    }
}
