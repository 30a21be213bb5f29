use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with its path under `src/`, without its comments and its unit tests.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, files),
                false if path.extension().is_some_and(|it| it == "rs") => files.push(path),
                false => {}
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let code = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    };
    files
        .iter()
        .map(|path| (path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), code(path)))
        .collect()
}

/// Only the files under one of these paths (without `.rs`) say one of these words.
#[track_caller]
fn only(places: &[&str], words: &[&str]) {
    let mut seen = false;
    for (path, code) in sources() {
        let stem = path.trim_end_matches(".rs");
        let allowed = places.iter().any(|it| stem == *it || stem.starts_with(&format!("{it}/")));
        let found = words.iter().find(|word| code.contains(**word));
        seen |= found.is_some();
        assert!(allowed || found.is_none(), "src/{path} says {found:?}; only {places:?} may");
    }
    assert!(seen, "nobody says any of {words:?}: the invariant has lost its meaning");
}

#[test]
fn only_ws_knows_the_websocket_library() {
    only(&["endpoint/ws"], &["tungstenite"]);
}

#[test]
fn only_http2_knows_the_http2_library() {
    only(&["http2"], &["use h2::", "::h2::", "use http::", "http::Request<"]);
}

#[test]
fn only_ssh_knows_the_ssh_library() {
    only(&["ssh"], &["russh"]);
}

#[test]
fn only_nats_knows_the_nats_library() {
    only(&["endpoint/nats"], &["async_nats"]);
}

#[test]
fn only_tls_knows_the_tls_library() {
    only(&["tls"], &["rustls::", "rustls_native_certs", "rcgen::", "x509_parser"]);
}

#[test]
fn only_report_speaks_on_stderr() {
    only(&["report"], &["stderr().lock()", "stderr().write", "eprint"]);
}

#[test]
fn only_report_and_the_console_write_to_stdout() {
    let writes = ["tokio::io::stdout", "stdout().lock()", "stdout().write", "print!(", "println!("];
    only(&["report", "endpoint/stdio", "console"], &writes);
}

#[test]
fn only_cli_and_the_types_of_flags_know_the_parser() {
    only(&["main", "cli", "framing", "probe"], &["clap::"]);
}

#[test]
fn only_endpoint_knows_which_schemes_there_are() {
    only(&["endpoint"], &["Hop::"]);
}

#[test]
fn only_relay_moves_data_between_ends() {
    only(&["relay"], &["splice(", "copy_bidirectional"]);
}

#[test]
fn only_main_ends_the_process() {
    only(&["main"], &["process::exit(", "ExitCode::"]);
}

#[test]
fn nothing_is_unsafe() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    assert!(sources().iter().all(|(_, code)| !code.contains("allow(unsafe")));
}

#[test]
fn the_map_is_short_and_complete() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = map.lines().count();
    assert!(lines <= 100, "ARCHITECTURE.md has {lines} lines, not 100 at most");
    let sources = sources();
    for (path, _) in &sources {
        // A folder is described with the file of its name, but each scheme has a line.
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(folder, "" | "endpoint" | "command") {
            assert!(map.contains(file), "ARCHITECTURE.md does not name src/{path}");
        }
    }
    let words = map.split(|c: char| !(c.is_alphanumeric() || "._/-".contains(c)));
    for word in words.filter(|word| word.ends_with(".rs") && !word.contains("NAME")) {
        let known = sources.iter().any(|(path, _)| path.ends_with(word.trim_start_matches("src/")));
        let known =
            known || root().join(word).exists() || root().join("tests/it").join(word).exists();
        assert!(known, "ARCHITECTURE.md names {word}, which is not there");
    }
}
