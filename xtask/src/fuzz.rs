//! Runs the fuzz targets of `fuzz/`, guided by coverage, with the stable compiler.
//!
//! `cargo fuzz` wants a nightly one for its address sanitizer, which safe code can do without. What guides libFuzzer are
//! the counters that LLVM puts into each branch, and any compiler can be asked for those. Only our own crates are built
//! with them (generic code such as serde_json's comes with its users): dependencies stay as they were built for the tests.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::command;

/// Each target lies in `fuzz/fuzz_targets`, its seeds in `fuzz/seeds`.
const TARGETS: [&str; 5] = ["pack_header", "index_file", "tree", "snapshot", "small_file"];

/// Set where cargo calls this program in the place of rustc.
const RUSTC: &str = "XTASK_FUZZ_RUSTC";

/// Counters for branches, and calls at comparisons, as `cargo fuzz` asks for them.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// What a target may take: hostile files must not cost more.
const MEMORY_LIMIT_MIB: u32 = 512;
const INPUT_SECONDS: u32 = 10;
const INPUT_BYTES: u32 = 32 << 10;

/// Stands in for rustc, if cargo calls this program for that.
pub(crate) fn stand_in_for_rustc() -> Option<Result<()>> {
    env::var_os(RUSTC)?;
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (rustc, arguments) = arguments.split_first()?;
    let error = Command::new(rustc).args(arguments).args(COVERAGE).exec();
    Some(Err(error).context("cannot run rustc"))
}

/// Fuzzes each target (or those named) for some seconds, as many at once as there are cores.
pub(crate) fn fuzz(root: &Path, this: &Path, targets: &[String], seconds: u32) -> Result<()> {
    let chosen: Vec<&str> = match targets {
        [] => TARGETS.to_vec(),
        targets => targets.iter().map(String::as_str).collect(),
    };
    let programs = build(root, this, &chosen)?;
    let waiting = Mutex::new(programs.into_iter().rev().collect::<Vec<_>>());
    let next = || waiting.lock().map_or(None, |mut waiting| waiting.pop());
    let work = || -> Result<()> {
        while let Some((target, program)) = next() {
            fuzz_one(root, target, &program, seconds)?;
        }
        Ok(())
    };
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")));
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Builds the targets, with coverage. All of the workspace is named, so that dependencies have the features that they
/// have in the tests and are not built again.
fn build<'a>(root: &Path, this: &Path, targets: &[&'a str]) -> Result<Vec<(&'a str, PathBuf)>> {
    let mut build = command(root, &["build", "--workspace", "--message-format=json-render-diagnostics"]);
    for target in targets {
        build.args(["--bin", target]);
    }
    build.env("RUSTC_WORKSPACE_WRAPPER", this).env(RUSTC, "1").stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the fuzz targets cannot be built: {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let executables: Vec<PathBuf> = messages.lines().filter_map(executable).map(PathBuf::from).collect();
    let find = |target: &&'a str| {
        let path = executables.iter().find(|path| path.file_name().is_some_and(|name| name == *target));
        let path = path.with_context(|| format!("cargo did not say where it put {target}"))?;
        Ok((*target, path.clone()))
    };
    targets.iter().map(find).collect()
}

/// The path in a line such as `{…,"executable":"/…/debug/tree",…}`.
fn executable(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    rest.split_once('"').map(|(path, _)| path)
}

fn fuzz_one(root: &Path, target: &str, program: &Path, seconds: u32) -> Result<()> {
    let dir = root.join("fuzz");
    // What was found earlier on this machine is a start, too; neither of the two is committed.
    let (found, artifacts) = (dir.join("corpus").join(target), dir.join("artifacts").join(target));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut log = File::options().read(true).write(true).create(true).truncate(true).open(artifacts.join("log"))?;
    let status = Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"))
        .arg(format!("-max_len={INPUT_BYTES}"))
        .arg(format!("-dict={}", dir.join("json.dict").display()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .args([&found, &dir.join("seeds").join(target)])
        .stderr(log.try_clone()?)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut lines = String::new();
    log.rewind()?;
    log.read_to_string(&mut lines)?;
    if !status.success() {
        eprintln!("{lines}");
        bail!(
            "fuzz target {target} failed ({status}); if an input did it, that lies in {}, and belongs into fuzz/seeds",
            artifacts.display()
        );
    }
    let last = |name: &str| lines.lines().rev().find_map(|line| line.split_once(name)).map(|(_, rest)| rest.trim());
    let inputs = last("stat::number_of_executed_units:").unwrap_or("no");
    let branches = last(" cov: ").and_then(|rest| rest.split(' ').next()).unwrap_or("0");
    // Without coverage, it would have tried inputs at random and found nothing.
    ensure!(branches.parse::<u32>().is_ok_and(|branches| branches > 50), "{target} was built without coverage");
    println!("fuzz target {target}: {inputs} inputs, {branches} branches, no failure");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_file_and_its_seeds() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz");
        let mut files: Vec<_> = fs::read_dir(dir.join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut targets = TARGETS.to_vec();
        targets.sort_unstable();
        assert_eq!(files, targets);
        for target in targets {
            assert!(fs::read_dir(dir.join("seeds").join(target)).unwrap().next().is_some(), "{target} has no seeds");
        }
    }
}
