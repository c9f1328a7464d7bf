//! Installs what tests, demo and benchmarks need beside a Rust toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run;

/// Debian packages, each with the reason why it is needed.
const PACKAGES: &[(&str, &str)] = &[
    ("restic", "judges our repositories"),
    ("qemu-utils", "judges disk images"),
    ("e2fsprogs", "makes ext4 file systems"),
    ("ntfs-3g", "makes NTFS file systems"),
    ("dosfstools", "makes FAT file systems"),
    ("mtools", "puts files into FAT file systems"),
    ("gdisk", "makes partition tables"),
    ("zstd", "stands beside us in benchmarks"),
    ("curl", "is the plain HTTP client in tests"),
    ("openssl", "is the TLS client that agrees or not"),
    ("g++", "builds libFuzzer"),
    ("iproute2", "joins network namespaces in tests"),
    ("postgresql", "holds the catalogue in tests, in a cluster of their own"),
    ("procps", "sends signals in tests"),
    ("python3-venv", "holds the XenAPI SDK, an S3 server and a mail server"),
];

/// Installs what is missing; returns the Python that has what tests need from PyPI.
pub(crate) fn install(root: &Path) -> Result<PathBuf> {
    let missing: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !is_installed(name)).collect();
    if !missing.is_empty() {
        for package in PACKAGES.iter().filter(|(name, _)| missing.contains(name)) {
            eprintln!("installing {}: {}", package.0, package.1);
        }
        run(apt_get().arg("update"))?;
        run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&missing))
            .context("cannot install the Debian packages; is this Debian, and are you root or in sudoers?")?;
    }
    python(root)
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn apt_get() -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("apt-get");
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    command
}

/// A virtual environment with the packages of `tests/requirements.txt`, made once and again when that file changes.
fn python(root: &Path) -> Result<PathBuf> {
    let (dir, wanted) = (root.join(".venv"), root.join("tests/requirements.txt"));
    let (python, stamp) = (dir.join("bin/python3"), dir.join("requirements.txt"));
    let requirements = std::fs::read(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    if python.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&wanted))?;
    ensure!(python.exists(), "{} was not made", python.display());
    std::fs::write(stamp, requirements)?;
    Ok(python)
}
