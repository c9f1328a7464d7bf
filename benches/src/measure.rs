//! Runs programs, and takes their time and the most memory that they had.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a process is looked at. The kernel itself keeps the peak of its memory, only the last look must come
/// shortly before the end.
const LOOK: Duration = Duration::from_millis(2);

/// What one run of one contestant cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub wall: Duration,
    /// Of the program and all that it started and waited for: user and system together.
    pub cpu: Duration,
    pub peak_memory_bytes: u64,
    pub stored_bytes: u64,
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<Cost> {
    settle()?;
    let cpu_before = children_cpu()?;
    let start = Instant::now();
    let mut child = start_quietly(command)?;
    let mut peak_memory_bytes = 0;
    let status = loop {
        peak_memory_bytes = peak_memory(child.id()).unwrap_or(0).max(peak_memory_bytes);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(LOOK);
    };
    let wall = start.elapsed();
    if !status.success() {
        bail!("{} failed: {}", command.get_program().display(), errors_of(&mut child));
    }
    let cpu = children_cpu()?.saturating_sub(cpu_before);
    Ok(Cost { wall, cpu, peak_memory_bytes, stored_bytes: 0 })
}

/// Ticks of `/proc`: the kernel counts in these on every machine that we build for.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of all children of this process that have ended, and of theirs.
fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold anything, but the last bracket closes it. Fields 16 and 17, counted from 1.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(13).take(2));
    let ticks = fields.into_iter().flatten().map(str::parse::<u32>).sum::<Result<u32, _>>();
    Ok(TICK * ticks.context("/proc/self/stat is not understood")?)
}

/// Runs a program whose time doesn't count, and gives what it printed.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until nothing is left to be written of what others did before.
pub(crate) fn settle() -> Result<()> {
    succeed(&mut Command::new("sync")).map(drop)
}

/// The most memory that a process has had so far, in bytes.
pub(crate) fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Size of a file, or of all files below a directory.
pub(crate) fn size_of(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(path.metadata()?.len());
    }
    fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}

/// Removes a file or a directory, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match path.is_dir() {
        true => fs::remove_dir_all(path)?,
        false if path.exists() => fs::remove_file(path)?,
        false => {}
    }
    Ok(())
}

fn start_quietly(command: &mut Command) -> Result<Child> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn errors_of(child: &mut Child) -> String {
    child.stderr.take().and_then(|errors| std::io::read_to_string(errors).ok()).unwrap_or_default()
}
