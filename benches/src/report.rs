//! Costs of all contestants, and the table of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::measure::Cost;

const MIB: f64 = (1 << 20) as f64;

/// A goal: this contestant takes at most `limit` times the wall time of that one.
struct Goal {
    contestant: &'static str,
    beside: &'static str,
    limit: f64,
}

const GOALS: [Goal; 5] = [
    Goal { contestant: PIPELINE, beside: ZSTD, limit: 1.6 },
    Goal { contestant: PIPELINE, beside: RESTIC, limit: 0.6 },
    Goal { contestant: BACKUP, beside: ZSTD, limit: 2.2 },
    Goal { contestant: RESTORE, beside: CP, limit: 2.0 },
    Goal { contestant: EXPORT, beside: CP, limit: 2.0 },
];
/// Most memory that a process of ours may have.
const MEMORY_LIMIT_BYTES: u64 = 300 << 20;

pub(crate) const ZSTD: &str = "zstd -1 -T2";
pub(crate) const RESTIC: &str = "restic backup";
pub(crate) const PIPELINE: &str = "pipeline: file → repository";
pub(crate) const CP: &str = "cp and fsync";
pub(crate) const RESTIC_RESTORE: &str = "restic restore";
pub(crate) const RESTORE: &str = "restore: repository → file";
pub(crate) const BACKUP: &str = "xenkeep backup: pool → datastore";
pub(crate) const BACKUP_TLS: &str = "the same over TLS";
pub(crate) const SERVER: &str = "the server behind it";
pub(crate) const EXPORT: &str = "xenkeep export: datastore → file";

/// Who ran, and what each run cost.
pub(crate) struct Report {
    runs: u32,
    head: String,
    rows: Vec<(&'static str, Vec<Cost>)>,
    size: u64,
}

impl Report {
    pub(crate) fn new(disk: &Path, runs: u32) -> Result<Self> {
        let metadata = disk.metadata()?;
        let (size, data) = (metadata.len(), metadata.blocks() * 512);
        let head = format!(
            "A disk of {:.1} GiB with {:.1} GiB of data, {runs} runs each, medians.",
            size as f64 / MIB / 1024.0,
            data as f64 / MIB / 1024.0
        );
        Ok(Report { runs, head, rows: Vec::new(), size })
    }

    /// Runs contestants in turns.
    pub(crate) fn measure(
        &mut self,
        contestants: &mut [(&'static str, &mut dyn FnMut() -> Result<Cost>)],
    ) -> Result<()> {
        for run in 1..=self.runs {
            for (name, contestant) in &mut *contestants {
                let cost = contestant()?;
                println!("run {run}: {:<34} {:>7.2} s", name.trim(), cost.wall.as_secs_f64());
                self.add(name, cost);
            }
        }
        Ok(())
    }

    /// Adds one run.
    pub(crate) fn add(&mut self, name: &'static str, cost: Cost) {
        match self.rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, costs)) => costs.push(cost),
            None => self.rows.push((name, vec![cost])),
        }
    }

    fn wall(&self, name: &str) -> Option<Duration> {
        let (_, costs) = self.rows.iter().find(|(row, _)| *row == name)?;
        let mut walls: Vec<_> = costs.iter().map(|cost| cost.wall).collect();
        walls.sort();
        walls.get(walls.len() / 2).copied().filter(|wall| !wall.is_zero())
    }

    fn ratio(&self, name: &str, beside: &str) -> Option<f64> {
        Some(self.wall(name)?.as_secs_f64() / self.wall(beside)?.as_secs_f64())
    }

    /// Prints the table, and which goals are reached.
    pub(crate) fn print(&self) {
        println!("\n{}\n", self.head);
        println!(
            "{:<34} {:>8} {:>7} {:>8} {:>9} {:>6} {:>9} {:>10}",
            "", "wall", "MiB/s", "of zstd", "of restic", "of cp", "memory", "stored"
        );
        for (name, costs) in &self.rows {
            let wall = self.wall(name).map(|wall| wall.as_secs_f64());
            let ratio = |beside| self.ratio(name, beside).map_or(String::new(), |ratio| format!("{ratio:.2}"));
            println!(
                "{name:<34} {:>8} {:>7} {:>8} {:>9} {:>6} {:>9} {:>10}",
                wall.map_or(String::new(), |wall| format!("{wall:.2} s")),
                wall.map_or(String::new(), |wall| format!("{:.0}", self.size as f64 / MIB / wall)),
                ratio(ZSTD),
                ratio(RESTIC),
                ratio(CP),
                mib(costs.iter().map(|cost| cost.peak_memory_bytes).max()),
                mib(costs.iter().map(|cost| cost.stored_bytes).max()),
            );
        }
        println!();
        for Goal { contestant, beside, limit } in GOALS {
            if let Some(ratio) = self.ratio(contestant, beside) {
                println!("{} {contestant}: {ratio:.2} × {beside} (at most {limit})", verdict(ratio <= limit));
            }
        }
        for name in [PIPELINE, RESTORE, SERVER] {
            let costs = self.rows.iter().find(|(row, _)| *row == name);
            if let Some(peak) = costs.and_then(|(_, costs)| costs.iter().map(|cost| cost.peak_memory_bytes).max()) {
                let name = name.trim();
                println!(
                    "{} {name}: {} of memory (at most 300 MiB)",
                    verdict(peak <= MEMORY_LIMIT_BYTES),
                    mib(Some(peak))
                );
            }
        }
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED " }
}

fn mib(bytes: Option<u64>) -> String {
    bytes.filter(|bytes| *bytes > 0).map_or(String::new(), |bytes| format!("{:.0} MiB", bytes as f64 / MIB))
}
