//! Flags from a file: `--config`.
//!
//! A file says what flags say, in their words: its keys are their long names. It is turned into the
//! words of a command line and read by the same parser, so that neither can say what the other
//! cannot.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Command, CommandFactory};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Cli;
use crate::error::plain;
use crate::stamp::Stamp;

/// What is about the file, and not said in it.
const NOT_IN_A_FILE: [&str; 2] = ["config", "check"];

/// The only flag that can be a table: one key for each of its conditions.
const ROUTE: &str = "route";

/// The flags that hold at the start of a run and never after it, by their headings: what they are
/// about is made once. Of the others, these are such as well.
const AT_START: [&str; 9] = [
    "Listening",
    "Joining",
    "Connecting",
    "WebSocket",
    "SSH",
    "NATS",
    "Child processes",
    "Reporting",
    "Sight",
];
const ALSO_AT_START: [&str; 5] =
    ["listen", "proxy-protocol", "redirect-http", "send-proxy", "threads"];

/// What is taken from a file.
#[derive(Clone, Debug, Default)]
pub struct FromFile {
    flags: Vec<Flag>,
    /// Older than what was read, so that a change in between is seen later.
    pub(crate) stamp: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq)]
struct Flag {
    name: String,
    words: Vec<String>,
    /// Whether it takes a new start to have an effect.
    at_start: bool,
}

impl FromFile {
    /// Takes what a file says, but for the flags that are on the command line of `verb`.
    pub(super) fn read(words: &[OsString], verb: &str, path: &Path) -> Result<Self, clap::Error> {
        let stamp = Stamp::of(path);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format_args!("cannot read {}: {}\n", path.display(), plain(&error));
            clap::Error::raw(ErrorKind::Io, what)
        })?;
        let mut reader = Reader { path, text: &text, verb, command: Cli::command() };
        let mut flags = reader.read()?;
        let given = reader.given(words)?;
        flags.retain(|flag| !given.contains(&flag.name));
        Ok(Self { flags, stamp })
    }

    /// The command line with these flags in it.
    pub(super) fn added_to(&self, words: &[OsString], verb: &str) -> Vec<OsString> {
        let flags = self.flags.iter().flat_map(|flag| &flag.words).map(OsString::from);
        // What stands before the verb holds for all of them, and none of it can be read as one.
        let at = words.iter().position(|word| word == verb).map_or(words.len(), |at| at + 1);
        words[..at].iter().cloned().chain(flags).chain(words[at..].iter().cloned()).collect()
    }

    /// The names of those that are not as at the start, and take a new one.
    pub(crate) fn late<'a>(&'a self, start: &'a Self) -> BTreeSet<&'a str> {
        let differs = |(one, other): (&'a Self, &'a Self)| {
            let flags =
                one.flags.iter().filter(|flag| flag.at_start && !other.flags.contains(flag));
            flags.map(|flag| flag.name.as_str())
        };
        [(self, start), (start, self)].into_iter().flat_map(differs).collect()
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    verb: &'a str,
    command: Command,
}

/// A word, and where in the file it comes from.
type Placed = (String, Range<usize>);

impl Reader<'_> {
    /// The flags of the file.
    fn read(&mut self) -> Result<Vec<Flag>, clap::Error> {
        let table = DeTable::parse(self.text)
            .map_err(|error| self.wrong(&error.span().unwrap_or_default(), error.message()))?;
        let mut flags = Vec::new();
        for (key, value) in in_order(table.get_ref()) {
            let (name, at) = (key.get_ref().to_string(), key.span());
            if NOT_IN_A_FILE.contains(&&*name) {
                return Err(self.wrong(&at, format_args!("`{name}` cannot be said in a file")));
            }
            let placed = self.words(&name, value)?;
            for (word, at) in &placed {
                self.check(&name, at, &[word])?;
            }
            let words: Vec<String> = placed.into_iter().map(|(word, _)| word).collect();
            self.check(&name, &at, &words)?;
            // What is not so is only worth a look at its name.
            let is_off = matches!(value.get_ref(), DeValue::Boolean(false));
            let words = if is_off { Vec::new() } else { words };
            let at_start = self.is_at_start(&name);
            flags.push(Flag { name, words, at_start });
        }
        Ok(flags)
    }

    fn is_at_start(&self, name: &str) -> bool {
        let verb = self.command.find_subcommand(self.verb);
        let flag = verb.and_then(|it| it.get_arguments().find(|it| it.get_long() == Some(name)));
        let heading = flag.and_then(Arg::get_help_heading).unwrap_or_default();
        ALSO_AT_START.contains(&name) || AT_START.contains(&heading)
    }

    /// The flags that are on the command line, also those that addresses stand for.
    fn given(&mut self, words: &[OsString]) -> Result<Vec<String>, clap::Error> {
        let given = self.command.try_get_matches_from_mut(words)?;
        let verb = self.command.find_subcommand(self.verb).zip(given.subcommand_matches(self.verb));
        let Some((verb, given)) = verb else { return Ok(Vec::new()) };
        let is_given = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
        let flags = verb.get_arguments().filter(|flag| is_given(flag.get_id().as_str()));
        let flags = flags.filter_map(Arg::get_long).map(str::to_owned);
        let addresses = given.get_raw("addresses").map_or(0, |addresses| addresses.len());
        let stand_for = ["listen", "backend"].into_iter().take(addresses).map(str::to_owned);
        Ok(flags.chain(stand_for).collect())
    }

    /// The words of one flag.
    fn words(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Placed>, clap::Error> {
        let word = match value.get_ref() {
            DeValue::Boolean(_) => format!("--{name}"),
            DeValue::Array(items) => {
                let words = items.iter().map(|item| self.words(name, item));
                return Ok(words.collect::<Result<Vec<_>, _>>()?.concat());
            }
            DeValue::Table(table) if name == ROUTE => self.route(table, &value.span())?,
            other => format!("--{name}={}", self.text_of(other, &value.span())?),
        };
        Ok(vec![(word, value.span())])
    }

    /// A route whose conditions are keys.
    fn route(&mut self, table: &DeTable<'_>, at: &Range<usize>) -> Result<String, clap::Error> {
        let (mut conditions, mut backends) = (Vec::new(), Vec::new());
        for (key, value) in in_order(table) {
            let key = key.get_ref();
            let items = match value.get_ref() {
                DeValue::Array(items) => items.iter().collect(),
                _ => vec![value],
            };
            for item in items {
                let text = self.text_of(item.get_ref(), &item.span())?;
                // A part is checked in a route that has nothing else, to name its line.
                let part = match key.as_ref() {
                    "backend" => {
                        backends.push(text.clone().into_owned());
                        ["path=*".to_owned(), "->".to_owned(), text.into_owned()]
                    }
                    key => {
                        let condition = format!("{key}={text}");
                        conditions.push(condition.clone());
                        [condition, "->".to_owned(), "null:".to_owned()]
                    }
                };
                let part = self.joined(&part, &item.span())?;
                self.check(ROUTE, &item.span(), &[part])?;
            }
        }
        conditions.push("->".to_owned());
        conditions.append(&mut backends);
        self.joined(&conditions, at)
    }

    /// The flag of a route.
    fn joined(&self, words: &[String], at: &Range<usize>) -> Result<String, clap::Error> {
        let joined = shlex::try_join(words.iter().map(String::as_str));
        joined.map(|it| format!("--{ROUTE}={it}")).map_err(|error| self.wrong(at, error))
    }

    /// A value as a flag has it.
    fn text_of<'v>(
        &self,
        value: &'v DeValue<'_>,
        at: &Range<usize>,
    ) -> Result<Cow<'v, str>, clap::Error> {
        match value {
            DeValue::String(text) => Ok(Cow::Borrowed(text)),
            DeValue::Integer(number) => Ok(number.to_string().into()),
            DeValue::Float(number) => Ok(Cow::Borrowed(number.as_str())),
            other => Err(self
                .wrong(at, format_args!("no flag has a value of this kind: {}", other.type_str()))),
        }
    }

    /// What the parser says of one flag alone.
    fn check(
        &mut self,
        name: &str,
        at: &Range<usize>,
        words: &[impl AsRef<str>],
    ) -> Result<(), clap::Error> {
        let line = ["towline", self.verb].into_iter().chain(words.iter().map(AsRef::as_ref));
        let Err(error) = self.command.try_get_matches_from_mut(line) else { return Ok(()) };
        match error.kind() {
            // Another flag, which it needs, may come with it.
            ErrorKind::MissingRequiredArgument => Ok(()),
            ErrorKind::UnknownArgument | ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let similar = error.get(ContextKind::SuggestedArg).map(ToString::to_string);
                let similar =
                    similar.map(|it| format!("; is it `{}`?", it.trim_start_matches('-')));
                let similar = similar.unwrap_or_default();
                Err(self.wrong(at, format_args!("there is no `{name}`{similar}")))
            }
            _ => Err(self.wrong(at, in_a_line(&error))),
        }
    }

    fn wrong(&self, at: &Range<usize>, what: impl fmt::Display) -> clap::Error {
        let line = self.text[..at.start].matches('\n').count() + 1;
        let what = format_args!("{}:{line}: {what}\n", self.path.display());
        clap::Error::raw(ErrorKind::ValueValidation, what)
    }
}

/// An error that is about the flags of a file together.
pub(super) fn at(path: &Path, error: &clap::Error) -> clap::Error {
    let what = format_args!("{}: {}\n", path.display(), in_a_line(error));
    clap::Error::raw(error.kind(), what)
}

/// An error of the parser without the usage that follows it.
pub(super) fn in_a_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    text.trim_start_matches("error: ").trim_end().replace("\n ", "")
}

/// The entries of a table in the order they are written, so that the first mistake comes first.
fn in_order<'a, 't>(
    table: &'a DeTable<'t>,
) -> Vec<(&'a Spanned<Cow<'t, str>>, &'a Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heading that is not there any more would have its flags taken for such as can change.
    #[test]
    fn the_flags_of_the_start_are_there() {
        let mut command = Cli::command();
        command.build();
        let verb = command.find_subcommand("proxy").unwrap();
        for heading in AT_START {
            let mut flags = verb.get_arguments();
            assert!(flags.any(|it| it.get_help_heading() == Some(heading)), "{heading}");
        }
        for name in ALSO_AT_START {
            assert!(verb.get_arguments().any(|it| it.get_long() == Some(name)), "{name}");
        }
    }
}
