//! Foreign tools judge what this crate reads and writes.
#![allow(clippy::unwrap_used)]

mod judge_qcow2;
mod judge_vhd;
mod judge_xva;

use std::process::{Command, Output};

/// Runs a tool that must be there and succeed.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// qemu finds in the image what the raw disk holds, and as much of it.
fn assert_equal(raw: &str, format: &str, image: &str) {
    let said = run("qemu-img", &["compare", "-f", "raw", "-F", format, raw, image]).stdout;
    // A size that differs by zeros alone is no more than a remark there.
    assert_eq!(String::from_utf8_lossy(&said).trim(), "Images are identical.", "{format}");
}

/// Bytes that look random and repeat only after a long while.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
