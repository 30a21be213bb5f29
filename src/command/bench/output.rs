//! Where a report goes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::bench::report::{self, Asked, Gate, HdrLog, Report};
use crate::bench::tally::Tally;
use crate::cli::bench::OutputArgs;
use crate::error::{Error, Kind, Result, plain};
use crate::report::{Ink, page};

/// All that was asked to be made of a report.
#[derive(Debug)]
pub(crate) struct Output {
    json: Option<Place>,
    csv: Option<Place>,
    hdr_log: Option<Place>,
    html: Option<Place>,
    gates: Vec<Gate>,
    baseline: Option<Baseline>,
}

/// What a report is compared with.
#[derive(Debug)]
struct Baseline {
    path: PathBuf,
    report: Report,
    margin: Option<f64>,
}

/// Where something is written to.
#[derive(Debug)]
pub(super) enum Place {
    Stdout,
    File(File, PathBuf),
}

/// `--hdr-log`, while it is written.
#[derive(Debug)]
pub(crate) struct Log {
    log: HdrLog<BufWriter<File>>,
    path: PathBuf,
}

impl Output {
    /// Creates the files: what a run has found out must not be lost for want of a folder.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the flag.
    pub(crate) fn create(args: &OutputArgs) -> Result<Self> {
        let file = |flag, path: &Option<PathBuf>| {
            path.as_deref().map(|path| Place::create(flag, path)).transpose()
        };
        let baseline = args.baseline.as_ref().map(|path| {
            let margin = args.fail_on_regression.map(|percent| percent.0);
            Ok(Baseline { path: path.clone(), report: read(path)?, margin })
        });
        Ok(Self {
            baseline: baseline.transpose()?,
            json: args.json.as_deref().map(Place::of_json).transpose()?,
            csv: file("--csv", &args.csv)?,
            hdr_log: file("--hdr-log", &args.hdr_log)?,
            html: file("--html", &args.html)?,
            gates: args.gate.clone(),
        })
    }

    /// Whether a run that asks for this can be compared with the baseline; to learn that after it
    /// would be late.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) fn check(&self, asked: &Asked) -> Result<()> {
        self.baseline.as_ref().map_or(Ok(()), |baseline| {
            let name = baseline.path.display().to_string();
            report::comparable((&name, &baseline.report.asked()), ("this run", asked))
        })
    }

    /// Begins the log of histograms, if one is wanted; the measured part began at `started`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn begin_log(&mut self, started: SystemTime) -> Result<Option<Log>> {
        let Some(Place::File(file, path)) = self.hdr_log.take() else { return Ok(None) };
        match HdrLog::begin(BufWriter::new(file), started) {
            Ok(log) => Ok(Some(Log { log, path })),
            Err(error) => Err(error.at(path.display())),
        }
    }

    /// Judges a report, and writes it wherever it is to go.
    ///
    /// # Errors
    /// Something cannot be written, or not be compared with the baseline.
    pub(crate) fn write(&self, report: &mut Report) -> Result<()> {
        report::judge(report, &self.gates);
        let compared = self.baseline.as_ref().map_or(Ok(()), |baseline| baseline.compare(report));
        if let Some(place) = &self.json {
            place.write(&report.to_json())?;
        }
        if let Some(place) = &self.csv {
            place.write(&report::csv(report))?;
        }
        if let Some(place) = &self.html {
            place.write(&report::html(report))?;
        }
        if !matches!(self.json, Some(Place::Stdout)) {
            page(report::text(report, Ink::stdout()).as_bytes())?;
        }
        // What was measured is told, even if there is nothing to compare it with.
        compared
    }
}

impl Baseline {
    fn compare(&self, report: &mut Report) -> Result<()> {
        let name = self.path.display().to_string();
        let (before, after) = ((name.as_str(), &self.report), ("this run", &*report));
        report.comparison = Some(report::compare(before, after, self.margin)?);
        match self.margin {
            Some(_) => report::believed(before),
            None => Ok(()),
        }
    }
}

impl Log {
    /// Writes what was measured in a second.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn interval(
        &mut self,
        start: Duration,
        length: Duration,
        tally: &Tally,
    ) -> Result<()> {
        let written = self.log.interval(start, length, tally);
        written.map_err(|error| error.at(self.path.display()))
    }
}

impl Place {
    /// That of `--json`, which may be stdout.
    pub(super) fn of_json(path: &Path) -> Result<Self> {
        match path == Path::new("-") {
            true => Ok(Self::Stdout),
            false => Self::create("--json", path),
        }
    }

    pub(super) fn create(flag: &str, path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| {
            let at = format!("{flag} {}", path.display());
            Error::new(Kind::Usage, plain(&error)).at(at)
        })?;
        Ok(Self::File(file, path.to_owned()))
    }

    pub(super) fn write(&self, text: &str) -> Result<()> {
        match self {
            Self::Stdout => page(text.as_bytes()),
            Self::File(file, path) => {
                let written = (&*file).write_all(text.as_bytes());
                written.map_err(|error| Error::io(error).at(path.display()))
            }
        }
    }
}

/// Reads a report that `--json` has written.
///
/// # Errors
/// [`Kind::Usage`], naming the file.
pub(super) fn read(path: &Path) -> Result<Report> {
    let wrong = |what: String| Error::new(Kind::Usage, what).at(path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(plain(&error)))?;
    Report::from_json(&text).map_err(wrong)
}
