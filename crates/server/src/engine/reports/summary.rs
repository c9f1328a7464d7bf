//! The daily summary: which VMs have no good point, which tasks have never run, what was not started.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{
    ClientId, DailySummary, JobState, OverdueVm, PointKind, Problem, Report, ReportKind, Source, SummaryFindings,
};
use xenkeep_catalog::PointQuery;

use super::super::Engine;
use super::super::calendar::When;
use super::blank;
use super::endings::TOLD;
use crate::Error;

const SUMMARY: &str = "summary";
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// A VM of which nothing was heard for so long (no point, no try) has gone, and is not named any more.
const GONE: SignedDuration = SignedDuration::from_hours(24 * 30);
/// A summary that could not be written in time is written so late at most.
const LATE: SignedDuration = SignedDuration::from_hours(12);

impl Engine {
    /// When the daily summary is written.
    pub async fn daily_summary(&self) -> Result<DailySummary, Error> {
        let none = || {
            let problem = Problem::new("summary.not_set", "no daily summary is written");
            Error::NotFound(problem.hint("xenkeep report summary set says when one is"))
        };
        Ok(self.0.catalog.report_settings(SUMMARY).await?.ok_or_else(none)?.0)
    }

    /// Says when the daily summary is written.
    pub async fn set_daily_summary(&self, mut summary: DailySummary) -> Result<DailySummary, Error> {
        let zone = self.zone(summary.time_zone.as_deref().filter(|name| !name.is_empty()))?;
        summary.time_zone = Some(zone.iana_name().unwrap_or("UTC").to_owned());
        daily(&summary)?;
        if !(1..=24 * 366).contains(&summary.max_age_hours) {
            return Err(Error::Invalid(Problem::new("request.invalid", "the age of a point is 1 hour to a year")));
        }
        self.0.catalog.set_report_settings(SUMMARY, &summary, None, self.0.clock.now()).await?;
        Ok(summary)
    }

    /// Writes no daily summary any more.
    pub async fn remove_daily_summary(&self) -> Result<(), Error> {
        Ok(self.0.catalog.remove_report_settings(SUMMARY).await?)
    }

    /// Writes a summary now.
    pub async fn send_summary(&self) -> Result<Report, Error> {
        let max_age_hours = match self.0.catalog.report_settings::<DailySummary>(SUMMARY).await? {
            Some((summary, _)) => summary.max_age_hours,
            None => 26,
        };
        let report = self.summary_report(max_age_hours).await?;
        let about = format!("summary:{}", uuid::Uuid::new_v4());
        let reports = self.addressed(&about, &report).await?;
        self.0.catalog.report_jobs(&[], &reports, report.at).await?;
        self.0.post.notify_one();
        Ok(report)
    }

    /// Writes the daily summary if its time has come.
    pub async fn summary_due(&self) -> Result<(), Error> {
        let Some((summary, _)) = self.0.catalog.report_settings::<DailySummary>(SUMMARY).await? else { return Ok(()) };
        let Some(decided) = self.0.catalog.report_settings_decided(SUMMARY).await? else { return Ok(()) };
        let (now, zone, when) = (self.0.clock.now(), self.zone(summary.time_zone.as_deref())?, daily(&summary)?);
        // Of several that were missed only the last is written, and none that is old news.
        let from = decided.max(now.saturating_sub(LATE).unwrap_or(decided));
        let due = when.next_after(&zone, from).filter(|at| *at <= now);
        let Some(at) = due else { return Ok(()) };
        let report = self.summary_report(summary.max_age_hours).await?;
        let reports = self.addressed(&format!("summary:{}", at.as_millisecond()), &report).await?;
        if self.0.catalog.decide_report_settings(SUMMARY, decided, now, &reports).await? {
            self.0.post.notify_one();
        }
        Ok(())
    }

    async fn summary_report(&self, max_age_hours: u32) -> Result<Report, Error> {
        let now = self.0.clock.now();
        let findings = self.findings(max_age_hours, now).await?;
        let bad = !findings.without_point.is_empty() || !findings.not_started.is_empty() || findings.bad_jobs > 0;
        let outcome = match (bad, findings.never_run.is_empty()) {
            (true, _) => JobState::Failed,
            (false, false) => JobState::Warning,
            (false, true) => JobState::Success,
        };
        Ok(Report { outcome, summary: Some(findings), ..blank(ReportKind::Summary, "daily summary", now) })
    }

    async fn findings(&self, max_age_hours: u32, now: Timestamp) -> Result<SummaryFindings, Error> {
        let before = |span: SignedDuration| now.saturating_sub(span).unwrap_or(Timestamp::MIN);
        let vms = self.last_points(before(GONE)).await?;
        let oldest = before(SignedDuration::from_hours(i64::from(max_age_hours)));
        let (with, without): (Vec<_>, Vec<_>) =
            vms.into_iter().partition(|vm| vm.last_point.is_some_and(|at| at >= oldest));
        let ended = self.0.catalog.ended_since(before(DAY), TOLD).await?;
        let count =
            |good: bool| ended.iter().filter(|(state, _)| state.is_good() == good).map(|(_, count)| count).sum();
        Ok(SummaryFindings {
            max_age_hours,
            without_point: without,
            with_point: with.len() as u64,
            never_run: self.tasks_that_never_ran().await?,
            not_started: self.0.catalog.starts_not_made(before(DAY)).await?,
            good_jobs: count(true),
            bad_jobs: count(false),
        })
    }

    /// The VMs of today's clients that were heard of since a time, by name, with their last good points.
    async fn last_points(&self, since: Timestamp) -> Result<Vec<OverdueVm>, Error> {
        let clients: BTreeMap<ClientId, String> =
            self.0.catalog.clients().await?.into_iter().map(|client| (client.id, client.name)).collect();
        // By uuid; the newest name counts.
        let mut by_uuid: BTreeMap<(ClientId, String), (Timestamp, String, Option<Timestamp>)> = BTreeMap::new();
        for point in self.0.catalog.points(&PointQuery::default(), u32::MAX).await? {
            if point.kind != PointKind::Vm || !clients.contains_key(&point.client) {
                continue;
            }
            let good = point.damage.is_none().then_some(point.taken_at);
            let entry = by_uuid
                .entry((point.client, point.source_uuid))
                .or_insert_with(|| (point.taken_at, point.source_name.clone(), None));
            if point.taken_at > entry.0 {
                (entry.0, entry.1) = (point.taken_at, point.source_name);
            }
            entry.2 = entry.2.max(good);
        }
        let tried = self.0.catalog.backups_since(since).await?;
        let tried_lately = |client: ClientId, name: &str, uuid: &str| {
            tried.iter().any(|job| job.client == client && (job.subject == name || job.subject == uuid))
        };
        let mut vms = Vec::new();
        for ((client, uuid), (heard, name, last_point)) in &by_uuid {
            if *heard >= since || tried_lately(*client, name, uuid) {
                vms.push(OverdueVm { client: clients[client].clone(), vm: name.clone(), last_point: *last_point });
            }
        }
        // Tried, and never with success.
        for job in &tried {
            let known = by_uuid.iter().any(|((client, uuid), (_, name, _))| {
                *client == job.client && (*name == job.subject || *uuid == job.subject)
            });
            if let (false, Some(client)) = (known, clients.get(&job.client)) {
                vms.push(OverdueVm { client: client.clone(), vm: job.subject.clone(), last_point: None });
            }
        }
        // Named by a task, and never backed up.
        for task in self.0.catalog.tasks().await?.into_iter().filter(|task| task.enabled) {
            if let Source::Vm { vm, uuid } = task.source
                && !by_uuid.iter().any(|((client, known), (_, name, _))| {
                    *client == task.client && uuid.as_ref().map_or(*name == vm, |uuid| uuid == known)
                })
            {
                vms.push(OverdueVm { client: task.client_name, vm, last_point: None });
            }
        }
        vms.sort_by(|a, b| (&a.client, &a.vm).cmp(&(&b.client, &b.vm)));
        vms.dedup();
        Ok(vms)
    }

    async fn tasks_that_never_ran(&self) -> Result<Vec<String>, Error> {
        let ran = self.0.catalog.tasks_that_ran().await?;
        let tasks = self.0.catalog.tasks().await?.into_iter();
        Ok(tasks.filter(|task| task.enabled && !ran.contains(&task.id)).map(|task| task.name).collect())
    }
}

/// Every day at its time.
fn daily(summary: &DailySummary) -> Result<When, Error> {
    let bad = || {
        let problem = Problem::new("summary.bad_time", "that is no time of day");
        Error::Invalid(problem.hint("such as 07:00"))
    };
    let time = Time::strptime("%H:%M", &summary.at).map_err(|_| bad())?;
    When::parse(&format!("{} {} * * *", time.minute(), time.hour())).map_err(Error::Invalid)
}
