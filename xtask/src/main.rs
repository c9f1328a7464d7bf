//! `cargo xtask …`: what a developer of xenkeep does with one command. No build logic lives in shell.

mod fuzz;
mod setup;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

/// Tasks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing, build, and show the main job on real disks: back up, delete, restore, compare.
    Demo {
        /// End when done instead of staying up until Ctrl-C; 0 only when everything was compared equal.
        #[arg(long)]
        exit: bool,
    },
    /// Install what is missing, check style and licences, and run every test.
    Test {
        /// Run the tests alone, without rustfmt, clippy and cargo-deny.
        #[arg(long)]
        no_lint: bool,
        /// Leave out the fuzz targets, which run for some seconds each.
        #[arg(long)]
        no_fuzz: bool,
    },
    /// Fuzz the parsers of what a hostile repository may hold; with new finds of theirs kept in `fuzz/corpus`.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Targets to run instead of all: files of `fuzz/fuzz_targets`.
        targets: Vec<String>,
    },
    /// Install what is missing and measure xenkeep beside zstd, restic and cp, all in one run.
    Bench {
        /// Handed to the benchmark; `--help` lists what it takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install the Debian and Python packages that tests, demo and benchmarks use.
    Setup,
}

/// How long each fuzz target runs among the tests.
const FUZZ_SECONDS: u32 = 20;

fn main() -> Result<()> {
    if let Some(compiled) = fuzz::stand_in_for_rustc() {
        return compiled;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?;
    // Asked for now: once cargo has built this program anew, the system says of its path that it was deleted.
    let this = std::env::current_exe().context("this program has no path")?;
    match Arguments::parse().task {
        Task::Demo { exit } => demo(root, exit),
        Task::Test { no_lint, no_fuzz } => test(root, &this, no_lint, no_fuzz),
        Task::Fuzz { seconds, targets } => {
            setup::install(root).and_then(|_| fuzz::fuzz(root, &this, &targets, seconds))
        }
        Task::Bench { arguments } => bench(root, &arguments),
        Task::Setup => setup::install(root).map(drop),
    }
}

fn demo(root: &Path, exit: bool) -> Result<()> {
    setup::install(root)?;
    cargo(root, &["build", "--workspace", "--exclude", "xenkeep-fuzz", "--bins"])?;
    let mut arguments = vec!["run", "--quiet", "--package", "xenkeep-tests", "--bin", "demo", "--"];
    if exit {
        arguments.push("--exit");
    }
    cargo(root, &arguments)
}

fn test(root: &Path, this: &Path, no_lint: bool, no_fuzz: bool) -> Result<()> {
    let python = setup::install(root)?;
    if !no_lint {
        lint(root)?;
    }
    cargo(root, &["build", "--workspace", "--bins"])?;
    let mut command = command(root, &["test", "--workspace"]);
    run(command.env("XENKEEP_PYTHON", python))?;
    if no_fuzz { Ok(()) } else { fuzz::fuzz(root, this, &[], FUZZ_SECONDS) }
}

fn lint(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    if Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success()) {
        cargo(root, &["deny", "check", "bans", "licenses", "sources"])
    } else {
        eprintln!("cargo-deny is not installed: licences and sources of the dependencies are not checked");
        Ok(())
    }
}

fn bench(root: &Path, arguments: &[String]) -> Result<()> {
    setup::install(root)?;
    // rustic is a peer in benchmarks alone: nothing else builds it.
    let features = ["--features", "xenkeep-benches/rustic"];
    cargo(
        root,
        &[&["build", "--release", "--workspace", "--exclude", "xenkeep-fuzz", "--bins"][..], &features].concat(),
    )?;
    let run =
        ["run", "--release", "--quiet", "--package", "xenkeep-benches", "--bin", "bench", "--features", "rustic", "--"];
    let mut all = run.to_vec();
    all.extend(arguments.iter().map(String::as_str));
    cargo(root, &all)
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    run(&mut command(root, arguments))
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(cargo);
    command.current_dir(root).args(arguments);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
