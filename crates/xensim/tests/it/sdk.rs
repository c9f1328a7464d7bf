//! The calls, judged with the official Python SDK (`XenAPI` from PyPI).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pool::Pool;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/admin.py");

/// A Python that has the SDK: the one that `XENKEEP_PYTHON` names, or one of our own beside the workspace's sources.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("XENKEEP_PYTHON") {
        return python.into();
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    let python = venv.join("bin/python");
    let has_sdk = |python: &Path| {
        Command::new(python).args(["-c", "import XenAPI"]).output().is_ok_and(|output| output.status.success())
    };
    if !has_sdk(&python) {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().expect("python3 is needed");
        assert!(made.success(), "python3 -m venv is needed (package python3-venv)");
        let got = Command::new(&python).args(["-m", "pip", "install", "--quiet", "XenAPI==26.21.1"]).status().unwrap();
        assert!(got.success(), "pip could not install XenAPI");
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_can_run_the_pool() {
    let pool = Pool::start_with(|mut config| {
        config.timing.wrong_password = std::time::Duration::ZERO;
        config.timing.guest_boot = std::time::Duration::from_millis(200);
        config
    })
    .await;
    let member = format!("http://{}", pool.address(1));
    let member_tls = format!("https://{}", pool.sim.host_https(1));
    for (url, member) in [(pool.sim.http_url(), member), (pool.sim.https_url(), member_tls)] {
        let address = pool.sim.host_https(0).to_string();
        let run = move || Command::new(python()).args([SCRIPT, &url, &member, &address, "root", "xensim"]).output();
        let output = tokio::task::spawn_blocking(run).await.unwrap().expect("a Python with XenAPI is needed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.lines().last(), Some("all done"));
    }
}
