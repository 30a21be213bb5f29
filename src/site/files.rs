//! The files of `--static`: nothing outside the directory, nothing hidden.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Answer;
use crate::error::{Error, Kind, Result, plain};
use crate::http::{Request, Response};

/// What may stand in a segment of a path (RFC 3986 section 3.3), without what HTML gives a meaning.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// Content types by extension; what is not here is downloaded.
const KINDS: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ndjson", "application/x-ndjson"),
    ("ogg", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// A directory that is served.
pub(super) struct Files {
    /// Without symbolic links, so that a file's real place can be compared with it.
    root: PathBuf,
}

/// What a path leads to.
enum Found {
    File(File, Metadata, &'static str),
    /// A directory with an index; relative links need the slash.
    WithoutSlash(String),
}

impl Files {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let wrong =
            |what: &str| Error::new(Kind::Usage, format!("--static {}: {what}", dir.display()));
        let root = dir.canonicalize().map_err(|error| wrong(&plain(&error)))?;
        match root.is_dir() {
            true => Ok(Self { root }),
            false => Err(wrong("not a directory")),
        }
    }

    /// The answer for a decoded path, if there is such a file.
    pub(super) async fn get(&self, request: &Request, path: &[u8]) -> Option<Answer> {
        let path = str::from_utf8(path).ok()?.to_owned();
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || locate(&root, &path)).await.ok()??;
        Some(match found {
            Found::File(file, meta, kind) => answer(request, file, &meta, kind),
            Found::WithoutSlash(mut path) => {
                if !request.query().is_empty() {
                    path += &format!("?{}", request.query());
                }
                Answer::text(301, "Moved Permanently", format!("see {path}\n"))
                    .with("Location", path)
            }
        })
    }
}

fn locate(root: &Path, path: &str) -> Option<Found> {
    // Decoding came first, so an encoded slash or dot is one like any other.
    if path.contains(['\0', '\\']) {
        return None;
    }
    let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    if segments.iter().any(|it| it.starts_with('.')) {
        return None;
    }
    let wanted = real(root, &segments.iter().fold(root.to_owned(), |dir, it| dir.join(it)))?;
    let is_dir = wanted.is_dir();
    let file = if is_dir { real(root, &wanted.join("index.html"))? } else { wanted };
    let meta = file.metadata().ok().filter(Metadata::is_file)?;
    match (is_dir, path.ends_with('/')) {
        (true, false) => {
            let path = segments.iter().map(|it| format!("/{}", utf8_percent_encode(it, SEGMENT)));
            Some(Found::WithoutSlash(path.collect::<String>() + "/"))
        }
        (false, true) => None,
        _ => Some(Found::File(File::open(&file).ok()?, meta, kind(&file))),
    }
}

/// Where a path really leads, unless a symbolic link leads out of the root.
fn real(root: &Path, path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.starts_with(root))
}

fn kind(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(extension));
    known.map_or("application/octet-stream", |(_, kind)| kind)
}

fn answer(request: &Request, file: File, meta: &Metadata, kind: &str) -> Answer {
    let len = meta.len();
    let modified = meta.modified().unwrap_or(UNIX_EPOCH);
    let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = format!("\"{:x}-{len:x}\"", age.as_nanos());
    let date = httpdate::fmt_http_date(modified);
    let part = if is_current(request, &tag, &date) { range(request, len) } else { Part::Whole };
    let (status, reason) = match part {
        _ if is_unchanged(request, &tag, modified) => (304, "Not Modified"),
        Part::Whole => (200, "OK"),
        Part::Range { .. } => (206, "Partial Content"),
        Part::Outside => (416, "Range Not Satisfiable"),
    };
    let head = Response::new(status, reason)
        .with("ETag", tag)
        .with("Last-Modified", date)
        .with("Accept-Ranges", "bytes")
        // To be asked for again each time: what is served here is being worked on.
        .with("Cache-Control", "no-cache")
        .with("Content-Type", kind);
    match (status, part) {
        (304, _) => Answer::file(head, file, 0, 0),
        (_, Part::Whole) => Answer::file(head, file, 0, len),
        (_, Part::Range { first, last }) => {
            let head = head.with("Content-Range", format!("bytes {first}-{last}/{len}"));
            Answer::file(head, file, first, last - first + 1)
        }
        (_, Part::Outside) => {
            Answer::text(416, "Range Not Satisfiable", format!("the file has {len} bytes\n"))
                .with("Content-Range", format!("bytes */{len}"))
        }
    }
}

/// RFC 9110 section 13.2.2: a tag, where there is one, is asked and the date is not.
fn is_unchanged(request: &Request, tag: &str, modified: SystemTime) -> bool {
    if request.fields.get("If-None-Match").is_some() {
        let mut known = request.fields.list("If-None-Match");
        return known.any(|it| it == "*" || it.trim_start_matches("W/") == tag);
    }
    let since =
        request.fields.get("If-Modified-Since").and_then(|it| httpdate::parse_http_date(it).ok());
    // The header has whole seconds.
    since.is_some_and(|since| {
        modified.duration_since(since).is_ok_and(|newer| newer.as_secs() == 0) || modified <= since
    })
}

/// Whether the part asked for belongs to this version of the file (RFC 9110 section 13.1.5).
fn is_current(request: &Request, tag: &str, date: &str) -> bool {
    request.fields.get("If-Range").is_none_or(|known| known == tag || known == date)
}

#[derive(Debug, PartialEq)]
enum Part {
    Whole,
    Range { first: u64, last: u64 },
    Outside,
}

/// One range; several, or what is not understood, may be answered with everything (RFC 9110
/// section 14.2).
fn range(request: &Request, len: u64) -> Part {
    if request.method != "GET" {
        return Part::Whole;
    }
    let parsed = request.fields.get("Range").and_then(parse_range);
    let (first, last) = match parsed {
        None => return Part::Whole,
        Some((Some(first), last)) => (first, last.unwrap_or(u64::MAX).min(len.saturating_sub(1))),
        Some((None, Some(0))) => return Part::Outside,
        Some((None, suffix)) => {
            (len.saturating_sub(suffix.unwrap_or_default()), len.saturating_sub(1))
        }
    };
    if first < len { Part::Range { first, last } } else { Part::Outside }
}

fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        // `parse` alone would take a sign.
        _ if text.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    let (first, last) = (number(first)?, number(last)?);
    let ordered = match (first, last) {
        (None, None) => false,
        (Some(first), Some(last)) => first <= last,
        _ => true,
    };
    (unit.eq_ignore_ascii_case("bytes") && ordered).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let asked = |range: &str, len| {
            let head = format!("GET / HTTP/1.1\r\nRange: {range}\r\n\r\n");
            let (request, _) = crate::http::parse_request(head.as_bytes()).unwrap().unwrap();
            super::range(&request, len)
        };
        for (text, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=2-4", 2, 4),
            ("Bytes=5-", 5, 9),
            ("bytes=5-99999999999999999999", 5, 9),
            ("bytes=-3", 7, 9),
            ("bytes=-99", 0, 9),
        ] {
            assert_eq!(asked(text, 10), Part::Range { first, last }, "{text}");
        }
        for text in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(asked(text, 10), Part::Outside, "{text}");
        }
        for text in [
            "lines=0-1",
            "bytes=4-2",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=-",
            "bytes",
            "bytes=a-b",
        ] {
            assert_eq!(asked(text, 10), Part::Whole, "{text}");
        }
        assert_eq!(asked("bytes=0-", 0), Part::Outside);
        assert_eq!(asked("bytes=-5", 0), Part::Outside);
    }

    #[test]
    fn nothing_outside_or_hidden_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("www");
        std::fs::create_dir_all(root.join("sub/.git")).unwrap();
        for (name, text) in [
            ("www/a.txt", "a"),
            ("www/index.html", "i"),
            ("www/.secret", "s"),
            ("www/sub/.git/config", "g"),
            ("www2", "outside, though its name begins the same"),
        ] {
            std::fs::write(root.parent().unwrap().join(name), text).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../www2", root.join("out")).unwrap();
            std::os::unix::fs::symlink("/", root.join("slash")).unwrap();
            std::os::unix::fs::symlink("a.txt", root.join("in.txt")).unwrap();
            assert!(matches!(locate(&root, "/in.txt"), Some(Found::File(..))));
        }
        assert!(matches!(locate(&root, "/"), Some(Found::File(_, _, "text/html; charset=utf-8"))));
        assert!(matches!(locate(&root, "//a.txt"), Some(Found::File(..))));
        for path in [
            "/..",
            "/../www2",
            "/../../etc/passwd",
            "/sub/../../www2",
            "/./a.txt",
            "/.secret",
            "/sub/.git/config",
            "/sub",
            "/sub/",
            "/a.txt/",
            "/a.txt\0",
            "/sub\\..\\a.txt",
            "/out",
            "/slash/etc/passwd",
            "/missing",
        ] {
            assert!(locate(&root, path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn the_table_of_kinds_is_sorted() {
        assert!(KINDS.is_sorted());
    }
}
