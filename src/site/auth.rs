//! Who may come in: the users of `--basic-auth` and the tokens of `--bearer-auth`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, Digest, SHA256};

use super::Answer;
use crate::accept::Peer;
use crate::error::{Error, Kind, Result, plain};
use crate::http::{Request, basic, credentials};
use crate::lock::lock;
use crate::report;

/// Either list suffices; without a list, everybody may come in.
pub(super) struct Auth {
    basic: Option<Watched>,
    bearer: Option<Watched>,
}

/// A file of secrets, read again when it changes.
struct Watched {
    path: PathBuf,
    parse: fn(&str) -> Result<Entry, &'static str>,
    state: Mutex<State>,
}

struct State {
    entries: Arc<[Entry]>,
    version: Option<Version>,
    checked: Instant,
}

/// A change of a file shows in its time or its length.
type Version = (SystemTime, u64);

struct Entry {
    /// Only the hash is kept: hashes are compared in constant time whatever their secrets' length,
    /// and no password lies in memory.
    secret: Digest,
    /// The user.
    name: Option<Arc<str>>,
}

impl Auth {
    pub(super) fn new(basic: Option<&Path>, bearer: Option<&Path>) -> Result<Self> {
        let watch = |path: Option<&Path>, parse| path.map(|it| Watched::new(it, parse)).transpose();
        Ok(Self { basic: watch(basic, user)?, bearer: watch(bearer, token)? })
    }

    /// Whether anybody is asked who they are.
    pub(super) fn asks(&self) -> bool {
        self.basic.is_some() || self.bearer.is_some()
    }

    /// Lets a peer in, under the name it has logged in with.
    pub(super) fn check(&self, request: &Request, peer: &mut Peer) -> Result<(), Answer> {
        if !self.asks() {
            return Ok(());
        }
        let given = request.fields.get("Authorization").unwrap_or_default();
        let user = self.basic.as_ref().zip(basic(given));
        let token = self.bearer.as_ref().zip(credentials(given, "Bearer"));
        let entry = match (user, token) {
            (Some((list, pair)), _) => find(&list.entries(), &pair),
            (None, Some((list, token))) => find(&list.entries(), token.as_bytes()),
            (None, None) => None,
        };
        match entry {
            Some(name) => {
                peer.name = name;
                Ok(())
            }
            None => Err(self.challenge()),
        }
    }

    fn challenge(&self) -> Answer {
        let mut answer = Answer::text(401, "Unauthorized", "log in first\n");
        if self.basic.is_some() {
            answer = answer.with("WWW-Authenticate", "Basic realm=\"towline\", charset=\"UTF-8\"");
        }
        if self.bearer.is_some() {
            answer = answer.with("WWW-Authenticate", "Bearer realm=\"towline\"");
        }
        answer
    }
}

/// The name of whoever has this secret. Every entry is compared, so that the time tells nothing.
fn find(entries: &[Entry], secret: &[u8]) -> Option<Option<Arc<str>>> {
    let secret = digest::digest(&SHA256, secret);
    entries.iter().fold(None, |found, entry| {
        let same = verify_slices_are_equal(entry.secret.as_ref(), secret.as_ref()).is_ok();
        if same { Some(entry.name.clone()) } else { found }
    })
}

/// `USER:PASSWORD`.
fn user(line: &str) -> Result<Entry, &'static str> {
    match line.split_once(':') {
        Some((name, _)) if !name.is_empty() => {
            Ok(Entry { secret: digest::digest(&SHA256, line.as_bytes()), name: Some(name.into()) })
        }
        _ => Err("a line is written USER:PASSWORD"),
    }
}

fn token(line: &str) -> Result<Entry, &'static str> {
    match line.contains(char::is_whitespace) {
        true => Err("a line is one token"),
        false => Ok(Entry { secret: digest::digest(&SHA256, line.as_bytes()), name: None }),
    }
}

impl Watched {
    fn new(path: &Path, parse: fn(&str) -> Result<Entry, &'static str>) -> Result<Self> {
        let version = version(path);
        let entries = read(path, parse).map_err(|what| Error::new(Kind::Usage, what))?;
        if entries.is_empty() {
            report::warn(format_args!("{}: nobody is listed, so nobody may come", path.display()));
        }
        if is_open_to_others(path) {
            let path = path.display();
            report::warn(format_args!("{path}: other users can read it; try chmod 600 {path}"));
        }
        let state = Mutex::new(State { entries, version, checked: Instant::now() });
        Ok(Self { path: path.to_owned(), parse, state })
    }

    /// The entries of now. A file that cannot be read any more changes nothing.
    fn entries(&self) -> Arc<[Entry]> {
        let mut state = lock(&self.state);
        if state.checked.elapsed() >= Duration::from_secs(1) {
            state.checked = Instant::now();
            let version = version(&self.path);
            if version.is_some() && version != state.version {
                state.version = version;
                match read(&self.path, self.parse) {
                    Ok(entries) => state.entries = entries,
                    Err(what) => report::warn(format_args!("{what}; the old list stays in force")),
                }
            }
        }
        state.entries.clone()
    }
}

/// None for what is no regular file: a pipe can be read only once.
fn version(path: &Path) -> Option<Version> {
    let meta = path.metadata().ok().filter(|meta| meta.is_file())?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(
    path: &Path,
    parse: fn(&str) -> Result<Entry, &'static str>,
) -> Result<Arc<[Entry]>, String> {
    let at = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{at}: {}", plain(&error)))?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(i, line)| parse(line).map_err(|why| format!("{at}, line {}: {why}", i + 1)))
        .collect()
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn login(auth: &Auth, given: &str) -> Result<Option<Arc<str>>, u16> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {given}\r\n\r\n");
        let (request, _) = crate::http::parse_request(head.as_bytes()).unwrap().unwrap();
        let mut peer = Peer::default();
        auth.check(&request, &mut peer).map_err(|answer| answer.status())?;
        Ok(peer.name)
    }

    fn basic(pair: &str) -> String {
        format!("bAsIc {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_user_or_a_token_suffices() {
        let users = file("# ours\n\nann:pass:word\n bob:x \r\n");
        let tokens = file("t0ken\n");
        let auth = Auth::new(Some(users.path()), Some(tokens.path())).unwrap();
        assert_eq!(login(&auth, &basic("ann:pass:word")), Ok(Some("ann".into())));
        assert_eq!(login(&auth, &basic("bob:x")), Ok(Some("bob".into())));
        assert_eq!(login(&auth, "Bearer t0ken"), Ok(None));
        for given in [
            "",
            "Basic",
            "Basic t0ken",
            "Bearer t0ke",
            "Bearer",
            "Digest t0ken",
            &basic("ann:"),
            &basic("# ours"),
        ] {
            assert_eq!(login(&auth, given), Err(401), "{given}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let users = file("ann:x\nbob\n");
        let error = Auth::new(Some(users.path()), None).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.what().ends_with("line 2: a line is written USER:PASSWORD"), "{error}");
        let missing = Auth::new(None, Some(Path::new("/nonexistent/tokens"))).err().unwrap();
        assert_eq!(missing.what(), "/nonexistent/tokens: no such file or directory");
    }
}
