#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::cli::Format;

fn global(data: &Path) -> Global {
    Global { server: None, data: data.to_owned(), token_file: None, server_certificate: None, output: Format::Table }
}

fn data(url: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "xk_local\n").unwrap();
    let running = serde_json::json!({ "url": url, "pid": 1, "certificate_sha256": "ab".repeat(32) });
    std::fs::write(dir.path().join("server.json"), running.to_string()).unwrap();
    dir
}

fn code(error: &anyhow::Error) -> String {
    match (error.downcast_ref::<Problem>(), error.downcast_ref::<Usage>()) {
        (Some(problem), _) => problem.code.clone(),
        (_, Some(usage)) => usage.0.code.clone(),
        _ => format!("{error:#}"),
    }
}

#[test]
fn a_local_server_is_found_in_its_data_directory() {
    let dir = data("https://127.0.0.1:7443");
    assert_eq!(open(&global(dir.path())).unwrap().url(), "https://127.0.0.1:7443/");
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(&global(dir.path())).unwrap_err();
    assert_eq!(code(&error), "server.not_found");
    assert!(error.to_string().contains(&dir.path().display().to_string()));
}

#[test]
fn a_named_server_gets_no_token_but_its_own() {
    let dir = data("https://127.0.0.1:7443");
    let elsewhere = Global { server: Some("https://elsewhere:7443".into()), ..global(dir.path()) };
    assert_eq!(code(&open(&elsewhere).unwrap_err()), "usage");

    let here = Global { server: Some("https://127.0.0.1:7443/".into()), ..global(dir.path()) };
    open(&here).unwrap();

    let with_token = Global { token_file: Some(dir.path().join("token")), ..elsewhere };
    assert_eq!(open(&with_token).unwrap().url(), "https://elsewhere:7443/");
}

#[test]
fn what_is_no_token_or_no_file_is_named() {
    let dir = data("http://127.0.0.1:7443");
    let with = |path: PathBuf| Global { token_file: Some(path), ..global(dir.path()) };
    assert_eq!(code(&open(&with(dir.path().join("none"))).unwrap_err()), "server.token_not_found");
    std::fs::write(dir.path().join("empty"), " \n").unwrap();
    assert_eq!(code(&open(&with(dir.path().join("empty"))).unwrap_err()), "server.token_malformed");
    std::fs::write(dir.path().join("lines"), "a\nb").unwrap();
    assert_eq!(code(&open(&with(dir.path().join("lines"))).unwrap_err()), "server.token_malformed");

    std::fs::write(dir.path().join("server.json"), "{").unwrap();
    let error = open(&global(dir.path())).unwrap_err();
    assert!(error.to_string().ends_with("server.json can't be understood"), "{error}");
}
