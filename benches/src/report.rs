//! Costs of all contestants, and the table of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;

use crate::measure::Cost;

const MIB: f64 = (1 << 20) as f64;

/// What is compared: this contestant takes so many times what that one takes.
struct Comparison {
    what: What,
    contestant: &'static str,
    beside: &'static str,
    /// The goal: at most so much.
    limit: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Wall,
    Cpu,
    Stored,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Wall => "wall",
            What::Cpu => "CPU",
            What::Stored => "stored",
        }
    }

    fn of(self, cost: &Cost) -> f64 {
        match self {
            What::Wall => cost.wall.as_secs_f64(),
            What::Cpu => cost.cpu.as_secs_f64(),
            What::Stored => cost.stored_bytes as f64,
        }
    }
}

const fn compare(what: What, contestant: &'static str, beside: &'static str, limit: f64) -> Comparison {
    Comparison { what, contestant, beside, limit: Some(limit) }
}

const fn show(what: What, contestant: &'static str, beside: &'static str) -> Comparison {
    Comparison { what, contestant, beside, limit: None }
}

const COMPARISONS: [Comparison; 25] = [
    compare(What::Wall, PIPELINE, ZSTD, 1.6),
    compare(What::Wall, PIPELINE, RESTIC, 0.6),
    show(What::Wall, PIPELINE, RUSTIC),
    compare(What::Cpu, PIPELINE, RESTIC, 0.5),
    show(What::Cpu, PIPELINE, RUSTIC),
    compare(What::Stored, PIPELINE, RUSTIC, 1.03),
    show(What::Stored, PIPELINE, RESTIC),
    show(What::Wall, NEXT, RESTIC_NEXT),
    show(What::Wall, NEXT, RUSTIC_NEXT),
    compare(What::Cpu, NEXT, RESTIC_NEXT, 0.5),
    compare(What::Stored, NEXT, RUSTIC_NEXT, 1.03),
    show(What::Wall, NEXT_CHANGED, RESTIC_NEXT),
    show(What::Wall, NEXT_CHANGED, RUSTIC_NEXT),
    compare(What::Cpu, NEXT_CHANGED, RESTIC_NEXT, 0.5),
    compare(What::Stored, NEXT_CHANGED, RUSTIC_NEXT, 1.03),
    compare(What::Wall, FAR, NEAR, 1.5),
    compare(What::Wall, BACKUP, ZSTD, 2.2),
    show(What::Wall, BACKUP_TLS, ZSTD),
    compare(What::Wall, RESTORE, CP, 2.0),
    show(What::Wall, RESTORE, RESTIC_RESTORE),
    compare(What::Wall, EXPORT, CP, 2.0),
    show(What::Wall, VERIFY, SHA256SUM),
    show(What::Cpu, VERIFY, SHA256SUM),
    show(What::Wall, VERIFY, RESTIC_CHECK),
    show(What::Cpu, VERIFY, RESTIC_CHECK),
];
/// Most memory that a process of ours may have.
const MEMORY_LIMIT_MIB: f64 = 300.0;

pub(crate) const SHA256SUM: &str = "sha256sum of all packs";
pub(crate) const RESTIC_CHECK: &str = "restic check --read-data";
pub(crate) const VERIFY: &str = "full verification";
pub(crate) const VERIFY_QUICK: &str = "quick verification";
pub(crate) const ZSTD: &str = "zstd -1 -T2";
pub(crate) const RESTIC: &str = "restic backup";
pub(crate) const RUSTIC: &str = "rustic backup, level 1";
pub(crate) const PIPELINE: &str = "pipeline: file → repository";
pub(crate) const RESTIC_NEXT: &str = "restic, next backup";
pub(crate) const RUSTIC_NEXT: &str = "rustic, next backup";
pub(crate) const NEXT: &str = "next backup, all is read";
pub(crate) const NEXT_CHANGED: &str = "next backup, changed blocks";
pub(crate) const NEAR: &str = "full, store at hand";
pub(crate) const FAR: &str = "full, 300 ms a request";
pub(crate) const CP: &str = "cp and fsync";
pub(crate) const RESTIC_RESTORE: &str = "restic restore";
pub(crate) const RESTORE: &str = "restore: repository → file";
pub(crate) const BACKUP: &str = "xenkeep backup: pool → datastore";
pub(crate) const BACKUP_TLS: &str = "the same over TLS";
pub(crate) const SERVER: &str = "the server behind it";
pub(crate) const EXPORT: &str = "xenkeep export: datastore → file";

/// Something that was measured and is no comparison of two contestants, such as the time of a look-up.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// The goal: at most so much.
    limit: Option<f64>,
}

/// Who runs, and how.
pub(crate) type Contestant<'a> = (&'static str, &'a mut dyn FnMut() -> Result<Cost>);

/// Who ran, and what each run cost.
pub(crate) struct Report {
    runs: u32,
    rows: Vec<Row>,
    figures: Vec<Figure>,
    /// What they work on now: a size, and that in words.
    disk: (u64, String),
}

/// A contestant, and each of its runs over one disk.
struct Row {
    name: &'static str,
    disk: (u64, String),
    costs: Vec<Cost>,
}

impl Report {
    pub(crate) fn new(runs: u32) -> Self {
        Report { runs, rows: Vec::new(), figures: Vec::new(), disk: (0, String::new()) }
    }

    /// How often each contestant runs.
    pub(crate) fn runs(&self) -> u32 {
        self.runs
    }

    /// What the contestants work on.
    pub(crate) fn set_disk(&mut self, disk: &Path) -> Result<()> {
        let metadata = disk.metadata()?;
        let (size, data) = (metadata.len(), metadata.blocks() * 512);
        let gib = |bytes: u64| bytes as f64 / MIB / 1024.0;
        self.disk = (size, format!("a disk of {:.1} GiB with {:.1} GiB of data", gib(size), gib(data)));
        Ok(())
    }

    /// Runs contestants in turns.
    pub(crate) fn measure(&mut self, contestants: &mut [Contestant<'_>]) -> Result<()> {
        for run in 1..=self.runs {
            for (name, contestant) in &mut *contestants {
                let cost = contestant()?;
                println!("run {run}: {name:<34} {:>7.2} s", cost.wall.as_secs_f64());
                self.add(name, cost);
            }
        }
        Ok(())
    }

    /// Adds one run.
    pub(crate) fn add(&mut self, name: &'static str, cost: Cost) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.costs.push(cost),
            None => self.rows.push(Row { name, disk: self.disk.clone(), costs: vec![cost] }),
        }
    }

    /// Adds what was measured otherwise: it shall be at most `limit`, if there is a goal for it.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str, limit: Option<f64>) {
        let name = name.into();
        println!("{name}: {value:.2} {unit}");
        self.figures.push(Figure { name, value, unit, limit });
    }

    /// The median of what was measured, if it was.
    fn median(&self, name: &str, what: What) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        let mut values: Vec<f64> = row.costs.iter().map(|cost| what.of(cost)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().filter(|value| *value > 0.0)
    }

    fn peak_memory(&self, name: &str) -> Option<u64> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        row.costs.iter().map(|cost| cost.peak_memory_bytes).max()
    }

    /// Prints who took what, and behind it what that means: each comparison with its goal.
    pub(crate) fn print(&self) {
        let mut disk = "";
        for Row { name, disk: (size, of), .. } in &self.rows {
            if of != disk {
                let (wall, cpu, memory, stored) = ("wall", "CPU", "memory", "stored");
                println!("\nMedians of {} runs over {of}:\n", self.runs);
                println!("{:<34} {wall:>9} {:>7} {cpu:>9} {memory:>8} {stored:>9}", "", "MiB/s");
                disk = of;
            }
            let seconds = |what| self.median(name, what).map_or(String::new(), |value| format!("{value:.2} s"));
            let rate = self.median(name, What::Wall).map(|wall| *size as f64 / MIB / wall);
            println!(
                "{name:<34} {:>9} {:>7} {:>9} {:>8} {:>9}",
                seconds(What::Wall),
                rate.map_or(String::new(), |rate| format!("{rate:.0}")),
                seconds(What::Cpu),
                mib(self.peak_memory(name).map(|bytes| bytes as f64)),
                mib(self.median(name, What::Stored)),
            );
        }
        println!("\n{:<62} {:>12} {:>9}", "", "", "at most");
        for Comparison { what, contestant, beside, limit } in COMPARISONS {
            if let (Some(value), Some(other)) = (self.median(contestant, what), self.median(beside, what)) {
                line(&format!("{contestant}: {} of {beside}", what.name()), value / other, "×", limit);
            }
        }
        for name in [PIPELINE, FAR, RESTORE, SERVER] {
            if let Some(peak) = self.peak_memory(name) {
                line(&format!("{name}: memory"), peak as f64 / MIB, "MiB", Some(MEMORY_LIMIT_MIB));
            }
        }
        for Figure { name, value, unit, limit } in &self.figures {
            line(name, *value, unit, *limit);
        }
    }
}

fn line(name: &str, value: f64, unit: &str, limit: Option<f64>) {
    let value_text = if value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") };
    let (limit_text, verdict) = match limit {
        Some(limit) => (limit.to_string(), if value <= limit { "reached" } else { "MISSED" }),
        None => ("–".to_owned(), ""),
    };
    println!("{name:<62} {value_text:>12} {limit_text:>9}  {verdict}");
}

fn mib(bytes: Option<f64>) -> String {
    bytes.filter(|bytes| *bytes > 0.0).map_or(String::new(), |bytes| format!("{:.0} MiB", bytes / MIB))
}
