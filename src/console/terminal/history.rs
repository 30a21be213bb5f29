//! What was entered before, in `$XDG_STATE_HOME/towline/history`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Editor, Helper};

use crate::report;

/// How many lines are kept.
pub(super) const LONGEST: usize = 1000;

/// The file; none where there is no place for it, or it has failed once.
pub(super) struct File(Option<PathBuf>);

impl File {
    /// Reads it.
    pub(super) fn open<H: Helper>(editor: &mut Editor<H, DefaultHistory>) -> Self {
        let Some(path) = path() else { return Self(None) };
        match editor.load_history(&path) {
            Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                report::verbose(format_args!("{}: {error}", path.display()));
                return Self(None);
            }
            Ok(()) => {}
        }
        Self(Some(path))
    }

    /// Appends a line. The file is the owner's alone: lines hold tokens and passwords.
    pub(super) fn add<H: Helper>(&mut self, editor: &mut Editor<H, DefaultHistory>, line: &str) {
        if !matches!(editor.add_history_entry(line), Ok(true)) {
            return;
        }
        let Some(path) = &self.0 else { return };
        let folder = path
            .parent()
            .map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        let saved = match folder {
            Some(Err(error)) => Err(error.into()),
            _ => editor.append_history(path),
        };
        if let Err(error) = saved {
            report::verbose(format_args!("{}: {error}", path.display()));
            self.0 = None;
        }
    }
}

/// XDG Base Directory Specification: an empty or relative variable counts as unset.
fn path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("towline/history"))
}
