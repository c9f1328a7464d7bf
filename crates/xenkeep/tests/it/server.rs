//! The server as a process: how it is found, who is let in.

use std::{os::unix::fs::PermissionsExt, process::Command};

use crate::program::{self, Running};

fn start(data: &std::path::Path, listen: &str) -> Running {
    let mut server = Running::start(&mut program::xenkeep(data, &["server", "--listen", listen]));
    server.hear("listening");
    server
}

fn client_list(data: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = program::xenkeep(data, &["client", "list"]);
    command.args(arguments);
    command
}

#[test]
fn it_says_where_it_is_and_goes_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    program::run(&mut client_list(&data, &[])).complains(1, &["no xenkeep server runs on"]);
    let server = start(&data, "127.0.0.1:0");
    let listed = program::run(&mut client_list(&data, &[])).ok();
    assert_eq!(listed.stdout, "no clients yet: add a pool with `xenkeep client add`\n");
    let token = data.join("token");
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let second = program::run(&mut program::xenkeep(&data, &["server", "--listen", "127.0.0.1:0"]));
    second.complains(1, &["another server"]);

    server.signal("TERM");
    let ended = server.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.stdout.contains("listens on http://127.0.0.1:"), "{ended:#?}");
    assert!(ended.stdout.contains(token.to_str().unwrap()), "{ended:#?}");
    program::run(&mut client_list(&data, &[])).complains(1, &["no xenkeep server runs on"]);
}

#[test]
fn elsewhere_it_speaks_https_with_a_certificate_that_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = start(&data, "0.0.0.0:0");
    // Found in the data directory, with its certificate.
    program::run(&mut client_list(&data, &[])).ok();

    // From another machine: address, token and certificate by hand.
    let running: serde_json::Value = serde_json::from_slice(&std::fs::read(data.join("server.json")).unwrap()).unwrap();
    let url = running["url"].as_str().unwrap();
    let pin = running["certificate_sha256"].as_str().unwrap();
    assert!(url.starts_with("https://"), "{url}");
    let nothing = dir.path().join("nothing");
    let token = data.join("token");
    let token = token.to_str().unwrap();
    let list = |arguments: &[&str]| {
        let mut all = vec!["--server", url];
        all.extend(arguments);
        program::run(&mut client_list(&nothing, &all))
    };
    list(&["--token-file", token, "--server-certificate", pin]).ok();
    list(&["--server-certificate", pin]).complains(2, &["needs a token"]);
    list(&["--token-file", token]).complains(1, &["no answer from the xenkeep server"]);
    let wrong = list(&["--token-file", token, "--server-certificate", &"ab".repeat(32)]);
    wrong.complains(1, &["the server shows the certificate", pin]);

    let bad_token = dir.path().join("bad");
    std::fs::write(&bad_token, "xk_wrong").unwrap();
    list(&["--token-file", bad_token.to_str().unwrap(), "--server-certificate", pin]).complains(1, &["token"]);
    server.signal("INT");
    assert_eq!(server.end().code, 0);
}

#[test]
fn nothing_answers() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "t").unwrap();
    std::fs::write(dir.path().join("server.json"), r#"{"url":"http://127.0.0.1:9","pid":1}"#).unwrap();
    let ran = program::run(&mut client_list(dir.path(), &[]));
    ran.complains(1, &["no answer from the xenkeep server at http://127.0.0.1:9/"]);

    let mut json = client_list(dir.path(), &["--output", "json"]);
    let ran = program::run(&mut json);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let problem: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(problem["code"], "server.unreachable");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = program::run(&mut program::xenkeep(dir.path(), &["server", "--listen", &address]));
    ran.complains(1, &[&address]);
}

#[test]
fn a_completion_script_knows_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = program::run(&mut program::xenkeep(dir.path(), &["completion", shell])).ok();
        assert!(ran.stdout.contains("restore") && ran.stdout.contains("overwrite"), "{shell}");
    }
}
