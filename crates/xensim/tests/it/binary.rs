//! The program.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::pool::noise;

struct Program {
    child: Child,
    said: HashMap<String, String>,
}

impl Program {
    /// Starts it on free ports, and waits until it is ready.
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xensim"))
            .args(["--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = HashMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "ready" {
                break;
            }
            let (key, value) = line.split_once('=').unwrap();
            said.insert(key.to_owned(), value.to_owned());
        }
        Self { child, said }
    }

    fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_where_it_is_and_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    std::fs::write(&raw, noise(1, 4 << 20)).unwrap();
    let qcow2 = dir.path().join("disk.qcow2");
    let made = Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &qcow2]).status();
    assert!(made.expect("qemu-img is needed").success());
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();

    let vm = format!("web={},{},8M", raw.display(), qcow2.display());
    let mut program = Program::start(&["--vm", &vm, "--running", "web"]);
    for key in ["http", "https", "certificate_sha256", "control", "vm", "member_http"] {
        assert!(program.said.contains_key(key), "{key} is missing");
    }
    let control = &program.said["control"];
    let state = Command::new("curl").args(["-sSf", &format!("{control}/state")]).output().expect("curl is needed");
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    let web = state["vms"].as_array().unwrap().iter().find(|vm| vm["name"] == "web").unwrap();
    assert_eq!(web["power_state"], "Running");
    let sums: Vec<String> = web["disks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|uuid| {
            let url = format!("{control}/vdi/{}/sha256", uuid.as_str().unwrap());
            let sum = Command::new("curl").args(["-sSf", &url]).output().unwrap();
            String::from_utf8(sum.stdout).unwrap()
        })
        .collect();
    assert_eq!(sums[0], sums[1]);
    assert_ne!(sums[0], sums[2]);
    assert!(program.signal("-TERM").success());
}

#[test]
fn its_own_storage_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_xensim"))
        .args(["--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--vm", "a=1M"])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn help_shows_the_way() {
    let help = Command::new(env!("CARGO_BIN_EXE_xensim")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in [
        "xensim --vm web=system.qcow2,data.raw",
        "login_with_password",
        "/export?uuid=",
        "cut_export",
        "--password-file",
    ] {
        assert!(help.contains(word), "{word} is missing");
    }
}

#[test]
fn mistakes_end_with_a_sentence() {
    let wrong = Command::new(env!("CARGO_BIN_EXE_xensim")).args(["--vm", "a=/nowhere/x.raw"]).output().unwrap();
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("/nowhere/x.raw"));
}
