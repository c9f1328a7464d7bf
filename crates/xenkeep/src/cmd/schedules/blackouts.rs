//! `xenkeep schedule blackout`: days and hours on which a schedule starts nothing.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use xenkeep_api::{Blackout, BlackoutRequest, DayOrTime};

use super::change;
use crate::{Exit, cmd::Context, report::Usage};

/// Days or hours on which a schedule starts nothing.
#[derive(Debug, Subcommand)]
pub(crate) enum Blackouts {
    Add(AddBlackouts),
    Clear(ClearBlackouts),
}

const BLACKOUT_NOTES: &str = "\
Examples:
  xenkeep schedule blackout add nightly --from 2026-12-24 --to 2026-12-26 --reason Christmas
  xenkeep schedule blackout add nightly --from 2026-12-01T20:00 --to 2026-12-01T23:30 --reason maintenance
  xenkeep schedule blackout add nightly --ics holidays.ics

Of a calendar file (RFC 5545) all events are taken: all-day and timed ones, recurring ones for five years. If one of them \
can't be understood, nothing is taken, and it is said which.";

/// Add days or hours on which a schedule starts nothing.
#[derive(Debug, Args)]
#[command(after_help = BLACKOUT_NOTES)]
pub(crate) struct AddBlackouts {
    /// Name or id of the schedule.
    name: String,
    /// First day (2026-12-24), or first moment (2026-12-24T20:00), by the schedule's wall clock.
    #[arg(long, value_name = "DAY|TIME", required_unless_present = "ics")]
    from: Option<DayOrTime>,
    /// Last day, or first moment after it; without it the day of --from alone.
    #[arg(long, value_name = "DAY|TIME", requires = "from")]
    to: Option<DayOrTime>,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "blackout")]
    reason: String,
    /// Calendar file whose events are the blackouts.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    ics: Option<PathBuf>,
}

/// Take all blackouts from a schedule.
#[derive(Debug, Args)]
pub(crate) struct ClearBlackouts {
    /// Name or id of the schedule.
    name: String,
}

impl Blackouts {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::Clear(ClearBlackouts { name }) => change(context, &name, |settings| settings.blackouts.clear()).await,
        }
    }
}

impl AddBlackouts {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let request = match (self.from, self.ics) {
            (Some(from), _) => {
                let to = match (self.to, from) {
                    (Some(to), _) => to,
                    (None, DayOrTime::Day(day)) => DayOrTime::Day(day),
                    (None, DayOrTime::Time(_)) => {
                        return Err(Usage::new("a blackout that begins at a time needs an end: --to").into());
                    }
                };
                BlackoutRequest { blackouts: vec![Blackout { from, to, reason: self.reason }], calendar: None }
            }
            (None, Some(path)) => {
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                BlackoutRequest { blackouts: Vec::new(), calendar: Some(String::from_utf8_lossy(&bytes).into_owned()) }
            }
            (None, None) => return Err(Usage::new("neither days nor a calendar file are given").into()),
        };
        let schedule = context.api()?.add_blackouts(&self.name, &request).await?;
        context.console.result(&schedule, || {
            format!("schedule {} has {} blackouts", schedule.name, schedule.settings.blackouts.len())
        })?;
        Ok(Exit::Success)
    }
}
