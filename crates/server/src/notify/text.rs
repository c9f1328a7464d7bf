//! Reports in words, in two languages; as plain text, and as HTML that shows the same.
//!
//! Names come from pools: they are put into HTML escaped, and into a subject without line breaks.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use xenkeep_api::{JobState, Language, Report, ReportKind, ReportedJob, SummaryFindings};

/// The line that a mail program shows.
pub(super) fn subject(report: &Report, language: Language) -> String {
    let what = match (report.kind, language) {
        (ReportKind::Summary, Language::En) => "daily summary".to_owned(),
        (ReportKind::Summary, Language::De) => "Tagesbericht".to_owned(),
        (ReportKind::Test, Language::En) => "test of reports".to_owned(),
        (ReportKind::Test, Language::De) => "Probe der Berichte".to_owned(),
        _ => one_line(&report.subject),
    };
    format!("[xenkeep] {what}: {}", state(report.outcome, language))
}

/// What the report says, as lines; a heading begins with `# `, a line that stands out with `! `.
fn lines(report: &Report, language: Language) -> Vec<String> {
    let say = |en: &str, de: &str| match language {
        Language::En => en.to_owned(),
        Language::De => de.to_owned(),
    };
    let mut lines = vec![format!("# {}", subject(report, language).trim_start_matches("[xenkeep] "))];
    if report.kind == ReportKind::Test {
        lines.push(say("Reports of xenkeep arrive here.", "Berichte von xenkeep kommen hier an."));
    }
    if let Some(problem) = &report.problem {
        lines.push(format!("! {}", one_line(&problem.message)));
        lines.extend(problem.hint.as_ref().map(|hint| one_line(hint)));
    }
    if let Some(findings) = &report.summary {
        summary(findings, language, &mut lines);
    }
    if report.jobs.len() > 1 {
        let bad = report.jobs.iter().filter(|job| !job.state.is_good()).count();
        let total = report.jobs.len() as u64 + report.more_jobs;
        lines.push(match language {
            Language::En => format!("{total} jobs, {bad} of them not done"),
            Language::De => format!("{total} Aufträge, davon {bad} nicht ausgeführt"),
        });
    }
    for job in &report.jobs {
        lines.push(job_line(job, language));
        if let Some(problem) = &job.problem {
            lines.push(format!("! {}", one_line(&problem.message)));
            lines.extend(problem.hint.as_ref().map(|hint| one_line(hint)));
        }
        lines.extend(job.warnings.iter().map(|warning| format!("! {}", one_line(&warning.message))));
    }
    if report.more_jobs > 0 {
        lines.push(match language {
            Language::En => format!("and {} more jobs", report.more_jobs),
            Language::De => format!("und {} weitere Aufträge", report.more_jobs),
        });
    }
    lines.push(format!("{} {}", say("Written", "Geschrieben"), time(report.at)));
    lines
}

fn job_line(job: &ReportedJob, language: Language) -> String {
    let mut line = format!("{}: {} ({})", one_line(&job.subject), state(job.state, language), kind(job));
    if let (Some(start), Some(end)) = (job.started_at, job.finished_at) {
        let took = Duration::try_from(end.duration_since(start)).unwrap_or_default().as_secs();
        let _ = write!(line, ", {} – {:02}:{:02}:{:02}", time(start), took / 3600, took / 60 % 60, took % 60);
    }
    if job.read_bytes > 0 {
        let (read, stored) = (size(job.read_bytes), size(job.stored_bytes));
        let _ = match language {
            Language::En => write!(line, ", {read} read, {stored} stored"),
            Language::De => write!(line, ", {read} gelesen, {stored} gespeichert"),
        };
    }
    line
}

fn summary(findings: &SummaryFindings, language: Language, lines: &mut Vec<String>) {
    let hours = findings.max_age_hours;
    let (with, without) = (findings.with_point, findings.without_point.len());
    lines.push(match language {
        Language::En => format!("{with} VMs have a good restore point of the last {hours} hours, {without} have none."),
        Language::De => format!(
            "{with} VMs haben einen guten Wiederherstellungspunkt der letzten {hours} Stunden, {without} haben keinen."
        ),
    });
    for vm in &findings.without_point {
        let last = match (vm.last_point, language) {
            (Some(at), Language::En) => format!("last one {}", time(at)),
            (Some(at), Language::De) => format!("der letzte {}", time(at)),
            (None, Language::En) => "never one".to_owned(),
            (None, Language::De) => "noch nie einer".to_owned(),
        };
        lines.push(format!("! {}/{}: {last}", one_line(&vm.client), one_line(&vm.vm)));
    }
    let headed = |en: &str, de: &str, what: &[String], lines: &mut Vec<String>| {
        if !what.is_empty() {
            lines.push(if language == Language::En { en.to_owned() } else { de.to_owned() });
            lines.extend(what.iter().map(|line| format!("! {}", one_line(line))));
        }
    };
    headed("Tasks that have never run:", "Aufgaben, die noch nie gelaufen sind:", &findings.never_run, lines);
    headed("Not started in the last day:", "Am letzten Tag nicht gestartet:", &findings.not_started, lines);
    let (good, bad) = (findings.good_jobs, findings.bad_jobs);
    lines.push(match language {
        Language::En => format!("Jobs of the last day: {good} done, {bad} not done."),
        Language::De => format!("Aufträge des letzten Tages: {good} ausgeführt, {bad} nicht ausgeführt."),
    });
}

/// The report as plain text.
pub(super) fn plain(report: &Report, language: Language) -> String {
    let mut text = String::new();
    for line in lines(report, language) {
        let line = line.strip_prefix("# ").map(str::to_owned).unwrap_or(line);
        let line = line.strip_prefix("! ").map(|line| format!("  ! {line}")).unwrap_or(line);
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text
}

/// The report as HTML.
pub(super) fn html(report: &Report, language: Language) -> String {
    let word = if language == Language::En { "en" } else { "de" };
    let mut text = format!("<!DOCTYPE html>\r\n<html lang=\"{word}\"><body style=\"font-family: sans-serif\">\r\n");
    for line in lines(report, language) {
        let _ = match (line.strip_prefix("# "), line.strip_prefix("! ")) {
            (Some(heading), _) => {
                write!(text, "<h2 style=\"color: {}\">{}</h2>\r\n", colour(report.outcome), escaped(heading))
            }
            (_, Some(loud)) => write!(
                text,
                "<p style=\"color: {}; margin-left: 1em\">{}</p>\r\n",
                colour(JobState::Failed),
                escaped(loud)
            ),
            _ => write!(text, "<p>{}</p>\r\n", escaped(&line)),
        };
    }
    text.push_str("</body></html>\r\n");
    text
}

fn colour(state: JobState) -> &'static str {
    match state {
        JobState::Success => "#1a7f37",
        JobState::Warning => "#9a6700",
        _ => "#b00020",
    }
}

fn state(state: JobState, language: Language) -> &'static str {
    match (state, language) {
        (JobState::Success, Language::En) => "good",
        (JobState::Success, Language::De) => "in Ordnung",
        (JobState::Warning, Language::En) => "warning",
        (JobState::Warning, Language::De) => "Warnung",
        (JobState::Failed, Language::En) => "failed",
        (JobState::Failed, Language::De) => "fehlgeschlagen",
        (JobState::Cancelled, Language::En) => "cancelled",
        (JobState::Cancelled, Language::De) => "abgebrochen",
        (JobState::Interrupted, Language::En) => "interrupted",
        (JobState::Interrupted, Language::De) => "unterbrochen",
        (_, Language::En) => "not ended",
        (_, Language::De) => "nicht beendet",
    }
}

fn kind(job: &ReportedJob) -> String {
    serde_json::to_value(job.kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// In powers of 1024, as everywhere.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
