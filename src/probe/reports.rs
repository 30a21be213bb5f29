//! Where the reports of a run go.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::junit;
use super::record::Record;
use super::script::{ReportTo, Script};
use super::session::Session;
use crate::error::{Error, Kind, Result, plain};
use crate::report;
use crate::trace::Facts;

/// The places of `--report` and `--junit`.
pub(super) struct Reports {
    json: Option<Place>,
    junit: Option<Place>,
}

enum Place {
    Stderr,
    File(File, PathBuf),
}

impl Reports {
    /// Creates the files before anything is connected: what a run has found out must not be lost
    /// for want of a folder.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the flag.
    pub(super) fn create(script: &Script) -> Result<Self> {
        let json = match &script.options.report {
            Some(ReportTo::File(path)) => Some(Place::create("--report", path)?),
            Some(ReportTo::Stderr) => Some(Place::Stderr),
            None => None,
        };
        let junit = script.options.junit.as_deref();
        let junit = junit.map(|path| Place::create("--junit", path)).transpose()?;
        Ok(Self { json, junit })
    }

    /// Writes the reports of a run that has ended, with `error` if it has failed.
    pub(super) fn write(
        &self,
        session: &Session<'_>,
        error: Option<&Error>,
        facts: &Facts,
    ) -> Result<()> {
        if let Some(place) = &self.json {
            place.write(&Record::new(session, error, facts).to_line()?)?;
        }
        match &self.junit {
            Some(place) => place.write(&junit::document(session, error)),
            None => Ok(()),
        }
    }
}

impl Place {
    fn create(flag: &str, path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| {
            let at = format!("{flag} {}", path.display());
            Error::new(Kind::Usage, plain(&error)).at(at)
        })?;
        Ok(Self::File(file, path.to_owned()))
    }

    fn write(&self, text: &str) -> Result<()> {
        match self {
            Self::Stderr => report::record(text),
            Self::File(file, path) => {
                let line = format!("{}\n", text.trim_end());
                let written = (&*file).write_all(line.as_bytes());
                written.map_err(|error| Error::io(error).at(path.display()))?;
            }
        }
        Ok(())
    }
}
