//! The S3 server that tests talk to: moto (from PyPI), started once a process, or another one that the environment names.
//!
//! This file is a module of several test programs, which use different parts of it.

#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A part of a bucket that nobody else uses.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) region: Option<String>,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Place {
    /// restic's address of it.
    pub(crate) fn restic(&self) -> String {
        format!("s3:{}/{}/{}", self.endpoint, self.bucket, self.prefix)
    }
}

/// A place of its own for a test.
pub(crate) fn place() -> Place {
    static SERVER: OnceLock<Place> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(|| named_by_environment().unwrap_or_else(start));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("{}test-{}-{number}/repo", server.prefix, std::process::id());
    Place { prefix, ..server.clone() }
}

/// `XENKEEP_TEST_S3_ENDPOINT` and its sisters.
fn named_by_environment() -> Option<Place> {
    let variable = |name: &str| std::env::var(format!("XENKEEP_TEST_S3_{name}")).ok();
    let wanted = |name: &str| variable(name).unwrap_or_else(|| panic!("XENKEEP_TEST_S3_{name} must be set, too"));
    Some(Place {
        endpoint: variable("ENDPOINT")?,
        bucket: wanted("BUCKET"),
        prefix: variable("PREFIX").map_or_else(String::new, |prefix| format!("{prefix}/")),
        region: variable("REGION"),
        access_key_id: wanted("ACCESS_KEY_ID"),
        secret_access_key: wanted("SECRET_ACCESS_KEY"),
    })
}

/// The server ends when the pipe to it does: with this process, however that dies.
const SERVE: &str = "
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
";

fn start() -> Place {
    let python = python();
    let missing = format!(
        "the S3 server `moto` must be installed for {}: run `cargo xtask setup`, or name another S3 server with XENKEEP_TEST_S3_ENDPOINT",
        python.display()
    );
    let mut server = Command::new(&python)
        .args(["-c", SERVE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{missing} ({error})"));
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("{missing}"));
    // Its standard input stays open as long as we live.
    std::mem::forget(server);
    make_bucket(port, "xenkeep-test");
    Place {
        endpoint: format!("http://127.0.0.1:{port}"),
        bucket: "xenkeep-test".to_owned(),
        prefix: String::new(),
        region: None,
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret-of-the-test".to_owned(),
    }
}

/// The Python that `XENKEEP_PYTHON` names, or the one that `cargo xtask setup` made.
fn python() -> PathBuf {
    let own = || {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let venv = |dir: &Path| Some(dir.join(".venv/bin/python3")).filter(|python| python.exists());
        crate_dir.ancestors().find_map(venv).unwrap_or_else(|| "python3".into())
    };
    std::env::var_os("XENKEEP_PYTHON").map_or_else(own, PathBuf::from)
}

fn make_bucket(port: u16, name: &str) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request =
        format!("PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    server.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "moto makes no bucket: {answer}");
}
