//! `xenkeep client check`: what was looked at, what was found, what to do.

use clap::Args;
use xenkeep_api::{Check as Finding, CheckOutcome, ClientCheck};

use super::pool;
use crate::{Exit, cmd::Context, output::one_line};

/// Look at a pool from the outside in: name, ports, certificate, login, rights, hosts, clock, storage, networks, licence,
/// leftovers. Each finding says what to do about it.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Name or id of the pool.
    name: String,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let check = context.api()?.check_client(&self.name).await?;
        context.console.result(&check, || text(&check))?;
        Ok(match worst(&check) {
            CheckOutcome::Failed => Exit::Failed,
            CheckOutcome::Warning => Exit::Warning,
            CheckOutcome::Ok | CheckOutcome::Skipped => Exit::Success,
        })
    }
}

fn worst(check: &ClientCheck) -> CheckOutcome {
    if check.problem.is_some() {
        return CheckOutcome::Failed;
    }
    check.checks.iter().map(|finding| finding.outcome).max().unwrap_or(CheckOutcome::Ok)
}

/// A line each, with reason and cure below where there is something to do.
fn text(check: &ClientCheck) -> String {
    let width = check.checks.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in &check.checks {
        let word = match finding.outcome {
            CheckOutcome::Ok => "ok     ",
            CheckOutcome::Skipped => "skipped",
            CheckOutcome::Warning => "WARNING",
            CheckOutcome::Failed => "FAILED ",
        };
        text += &format!("{word}  {:<width$}  {}\n", finding.id, one_line(&finding.result));
        text += &below(finding, width);
    }
    let name = &check.client.name;
    text += &match worst(check) {
        CheckOutcome::Failed => format!("client {name} can't be used as it is\n"),
        CheckOutcome::Warning => format!("client {name} can be used: {}\n", pool(&check.client)),
        CheckOutcome::Ok | CheckOutcome::Skipped => format!("client {name} is in order: {}\n", pool(&check.client)),
    };
    text
}

fn below(finding: &Finding, width: usize) -> String {
    let indent = " ".repeat(7 + 2 + width + 2);
    let line = |word: &str, text: &Option<String>| match text {
        Some(text) => format!("{indent}{word}: {}\n", one_line(text)),
        None => String::new(),
    };
    if finding.outcome == CheckOutcome::Ok {
        return String::new();
    }
    line("why", &finding.reason) + &line("do", &finding.cure)
}
