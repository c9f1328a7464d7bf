//! How a job's progress is shown: a bar on a terminal, lines elsewhere, nothing for programs.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use xenkeep_api::{Job, JobState, Progress};

use crate::{
    output::{Console, one_line},
    units,
};

/// One way of showing it, on stderr.
pub(crate) enum View {
    Quiet,
    Lines(Lines),
    Bar(Bar),
}

impl View {
    /// The way that fits: whoever reads JSON wants no lines between.
    pub(crate) fn fitting(console: Console) -> Self {
        if console.is_json() {
            Self::Quiet
        } else if io::stderr().is_terminal() {
            Self::Bar(Bar::new())
        } else {
            Self::Lines(Lines::default())
        }
    }

    pub(crate) fn show(&mut self, job: &Job) {
        match self {
            Self::Quiet => {}
            Self::Lines(lines) => {
                for line in lines.of(job) {
                    say(&line);
                }
            }
            Self::Bar(bar) => bar.show(job),
        }
    }

    /// A line between.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines(_) => say(text),
            Self::Bar(bar) => bar.bar.suspend(|| say(text)),
        }
    }

    /// Leaves the screen to the result.
    pub(crate) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.bar.finish_and_clear();
        }
    }
}

fn say(line: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line when the job starts, at each step, and at each tenth of the bytes.
#[derive(Default)]
pub(crate) struct Lines {
    started: bool,
    step: String,
    tenths: u64,
}

impl Lines {
    fn of(&mut self, job: &Job) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.started {
            self.started = true;
            lines.push(format!("job {}: {}", job.id, describe(job)));
        }
        let progress = &job.progress;
        if !progress.step.is_empty() && progress.step != self.step {
            self.step.clone_from(&progress.step);
            lines.push(format!("{}: {}", job.subject, one_line(&progress.step)));
        }
        let tenths = progress.done_bytes.saturating_mul(10).checked_div(progress.total_bytes).unwrap_or(0);
        if tenths > self.tenths {
            self.tenths = tenths;
            lines.push(format!("{}: {} %, {}", job.subject, tenths * 10, amounts(progress)));
        }
        lines
    }
}

/// What a job does, in a word or two: `backup of web1`.
pub(crate) fn describe(job: &Job) -> String {
    format!(
        "{} of {}{}",
        kind(job),
        one_line(&job.subject),
        if job.state == JobState::Queued { " (queued)" } else { "" }
    )
}

/// Its kind as it is written everywhere else.
pub(crate) fn kind(job: &Job) -> String {
    word(&job.spec.kind())
}

/// The word by which the API calls a value of an enum.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn amounts(progress: &Progress) -> String {
    let mut text = format!("{} of {}", units::size(progress.done_bytes), units::size(progress.total_bytes));
    if progress.new_bytes > 0 || progress.stored_bytes > 0 {
        text += &format!(", new {}, stored {}", units::size(progress.new_bytes), units::size(progress.stored_bytes));
    }
    text
}

/// A bar with numbers behind it.
pub(crate) struct Bar {
    bar: ProgressBar,
    speed: Speed,
    sized: bool,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style("{prefix} {spinner} {wide_msg}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, speed: Speed::default(), sized: false }
    }

    fn show(&mut self, job: &Job) {
        let progress = &job.progress;
        let step = match job.state {
            JobState::Queued => "queued",
            _ if job.cancel_requested => "cancelling",
            _ => &progress.step,
        };
        self.bar.set_prefix(format!("{} {:<9}", one_line(&job.subject), one_line(step)));
        if progress.total_bytes == 0 {
            return;
        }
        if !self.sized {
            self.sized = true;
            self.bar.set_style(style("{prefix} [{bar:24}] {percent:>3} % {wide_msg}"));
        }
        self.bar.set_length(progress.total_bytes);
        self.bar.set_position(progress.done_bytes);
        self.speed.sample(Instant::now(), progress.done_bytes);
        let mut text = amounts(progress);
        if let Some(rate) = self.speed.bytes_per_second().filter(|_| progress.done_bytes < progress.total_bytes) {
            let seconds_left = (progress.total_bytes - progress.done_bytes) as f64 / rate;
            let left = units::duration(Duration::from_secs((seconds_left as u64).max(1)));
            text += &format!(", {}/s, {left} left", units::size(rate as u64));
        }
        self.bar.set_message(text);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are ours").progress_chars("=> ")
}

/// Rate over the last seconds.
#[derive(Default)]
struct Speed {
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(10);

    fn sample(&mut self, at: Instant, bytes: u64) {
        while self.samples.len() > 1 && at.duration_since(self.samples[0].0) > Self::WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back((at, bytes));
    }

    /// None while it is not known, or nothing moves.
    fn bytes_per_second(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let seconds = to.duration_since(*from).as_secs_f64();
        (seconds > 0.5 && last > first).then(|| (last - first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests;
