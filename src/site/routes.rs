//! Several paths on one listener, each with a target of its own.

use std::sync::Arc;

use super::decoded;
use crate::cli::value::Route;
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind, Result};

/// Prepared such that the first match is the longest.
pub(super) struct Routes(Vec<Entry>);

struct Entry {
    /// As written.
    path: String,
    /// The bytes it stands for, without the final `*`.
    literal: Vec<u8>,
    /// Whether anything may follow.
    open: bool,
    target: Arc<Endpoint>,
}

impl Routes {
    pub(super) fn new(routes: &[Route]) -> Result<Self> {
        let mut entries: Vec<_> = routes.iter().map(Entry::new).collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.literal.len()), entry.open));
        for pair in entries.windows(2) {
            if (&pair[0].literal, pair[0].open) == (&pair[1].literal, pair[1].open) {
                let what = format!("--route has two targets for {}", pair[0].path);
                return Err(Error::new(Kind::Usage, what));
            }
        }
        Ok(Self(entries))
    }

    /// The target of a decoded path.
    pub(super) fn find(&self, path: &[u8]) -> Option<&Arc<Endpoint>> {
        self.0.iter().find(|entry| entry.matches(path)).map(|entry| &entry.target)
    }

    /// Whether a route is for this path and no other.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.0.iter().any(|entry| !entry.open && entry.literal == path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths as written.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.path.as_str())
    }
}

impl Entry {
    fn new(route: &Route) -> Self {
        let literal = route.path.strip_suffix('*');
        Self {
            path: route.path.clone(),
            open: literal.is_some(),
            literal: decoded(literal.unwrap_or(&route.path)).into_owned(),
            target: Arc::new(route.target.clone()),
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        if self.open { path.starts_with(&self.literal) } else { path == self.literal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(written: &[&str]) -> Result<Routes> {
        let routes: Vec<Route> = written.iter().map(|it| it.parse().unwrap()).collect();
        Routes::new(&routes)
    }

    #[test]
    fn the_longest_match_wins() {
        let routes = routes(&[
            "/*=echo:any",
            "/a=echo:a",
            "/a*=echo:a-open",
            "/a/b*=echo:b",
            "/%7Ex=echo:x",
        ])
        .unwrap();
        for (path, want) in [
            ("/", "echo:any"),
            ("/a", "echo:a"),
            ("/ab", "echo:a-open"),
            ("/a/b", "echo:b"),
            ("/a/bc/d", "echo:b"),
            ("/~x", "echo:x"),
            ("/%7ex", "echo:x"),
            ("/z", "echo:any"),
        ] {
            let found = routes.find(&decoded(path)).map(|target| target.to_string());
            assert_eq!(found.as_deref(), Some(want), "{path}");
        }
        assert!(routes.has(b"/a") && !routes.has(b"/ab"));
    }

    #[test]
    fn a_path_has_one_target() {
        assert_eq!(routes(&["/a=echo:", "/a=null:"]).err().unwrap().kind(), Kind::Usage);
        assert!(routes(&["/a=echo:", "/a*=null:"]).is_ok());
    }
}
