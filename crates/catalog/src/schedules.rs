//! Schedules, and what became of each of their starts.
//!
//! A start happens once, whoever decides it and however often: its row and its jobs are written in one transaction, which
//! first takes the schedule from the moment up to which its starts were decided. Who finds another moment there comes late.

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{FollowUpState, Problem, RunId, Schedule, ScheduleId, ScheduleSettings, ScheduleStart, StartOutcome};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_word, id, json, millis, time, word};
use crate::{Catalog, Error, NewJob, jobs, names, reports};

/// A schedule of which a start is due.
#[derive(Debug, Clone)]
pub struct DueSchedule {
    /// Its id.
    pub id: ScheduleId,
    /// Its name.
    pub name: String,
    /// What starts, and when.
    pub settings: ScheduleSettings,
    /// Its starts have been decided up to here.
    pub decided_until: Timestamp,
}

/// A start about which something is still to be done.
#[derive(Debug, Clone)]
pub struct PendingStart {
    /// Its schedule, as it is now.
    pub schedule: DueSchedule,
    /// What is known of it.
    pub start: ScheduleStart,
}

/// What has been decided of a start.
#[derive(Debug, Clone)]
pub struct NewStart {
    /// What became of it.
    pub start: ScheduleStart,
    /// Its jobs.
    pub jobs: Vec<NewJob>,
    /// What people are told about it, each for one place.
    pub reports: Vec<crate::NewReport>,
}

impl Catalog {
    /// Adds a schedule. Starts before `now` are none of its.
    pub async fn insert_schedule(&self, schedule: &Schedule, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO schedules (id, name, settings, created_ms, decided_ms, next_ms) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(schedule.id.to_string())
        .bind(&schedule.name)
        .bind(json(&schedule.settings))
        .bind(millis(schedule.created_at))
        .bind(millis(now))
        .bind(schedule.next_start.map(millis))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            let problem = Problem::new("schedule.exists", format!("there is a schedule {} already", schedule.name));
            return Err(Error::Exists(problem.hint("choose another name").about(schedule.name.clone())));
        }
        Ok(tx.commit().await?)
    }

    /// All schedules, by name; `cron` is left empty.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        let mut connection = self.readers().acquire().await?;
        let rows =
            sqlx::query("SELECT id, name, settings, created_ms, decided_ms, next_ms FROM schedules ORDER BY name")
                .fetch_all(&mut *connection)
                .await?;
        let mut schedules = Vec::with_capacity(rows.len());
        for row in &rows {
            schedules.push(schedule(&mut connection, row).await?);
        }
        Ok(schedules)
    }

    /// The schedule of a name or an id; `cron` is left empty.
    pub async fn schedule(&self, name_or_id: &str) -> Result<Schedule, Error> {
        let schedules = self.schedules().await?;
        let known: Vec<String> = schedules.iter().map(|schedule| schedule.name.clone()).collect();
        let lower = name_or_id.to_ascii_lowercase();
        schedules.into_iter().find(|one| one.name == name_or_id || one.id.to_string() == lower).ok_or_else(|| {
            Error::NotFound(names::not_found("schedule", name_or_id, &known, "xenkeep schedule create makes one"))
        })
    }

    /// Changes a schedule. Starts up to `now` that have not been decided are none of its any more.
    pub async fn set_schedule(
        &self,
        schedule: ScheduleId,
        settings: &ScheduleSettings,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE schedules SET settings = $2, decided_ms = $3, next_ms = $4 WHERE id = $1")
            .bind(schedule.to_string())
            .bind(json(settings))
            .bind(millis(now))
            .bind(next.map(millis))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes a schedule with the memory of its starts; their jobs stay.
    pub async fn remove_schedule(&self, schedule: ScheduleId) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM schedules WHERE id = $1").bind(schedule.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// The last starts of a schedule, the newest first.
    pub async fn schedule_starts(&self, schedule: ScheduleId, limit: u32) -> Result<Vec<ScheduleStart>, Error> {
        let mut connection = self.readers().acquire().await?;
        starts(&mut connection, schedule, limit).await
    }

    /// The schedules that have something to decide at `now`.
    pub async fn due_schedules(&self, now: Timestamp) -> Result<Vec<DueSchedule>, Error> {
        let query = sqlx::query(
            "SELECT id, name, settings, created_ms, decided_ms, next_ms FROM schedules WHERE next_ms <= $1 ORDER BY next_ms, name",
        );
        query.bind(millis(now)).fetch_all(self.readers()).await?.iter().map(due).collect()
    }

    /// The starts that wait, or whose follow-up does.
    pub async fn pending_starts(&self) -> Result<Vec<PendingStart>, Error> {
        let mut connection = self.readers().acquire().await?;
        let rows = sqlx::query(
            "SELECT schedule_id, nominal_ms, at_ms, outcome, run_id, problem, follow_up, follow_up_run \
             FROM schedule_starts WHERE pending = 1 ORDER BY nominal_ms LIMIT 1000",
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut pending = Vec::with_capacity(rows.len());
        for row in &rows {
            let query =
                sqlx::query("SELECT id, name, settings, created_ms, decided_ms, next_ms FROM schedules WHERE id = $1");
            let key: String = row.try_get("schedule_id")?;
            if let Some(schedule) = query.bind(key).fetch_optional(&mut *connection).await? {
                pending.push(PendingStart { schedule: due(&schedule)?, start: start(row)? });
            }
        }
        Ok(pending)
    }

    /// Whether a job of an earlier start of the schedule has not ended.
    pub async fn schedule_is_busy(&self, schedule: ScheduleId) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND run_id IN \
             (SELECT run_id FROM schedule_starts WHERE schedule_id = $1 AND run_id IS NOT NULL) LIMIT 1",
        )
        .bind(schedule.to_string())
        .fetch_optional(self.readers())
        .await?;
        Ok(row.is_some())
    }

    /// Writes what was decided of the starts up to `until`, with their jobs. Nothing, and `false`, if somebody else has.
    pub async fn record_starts(
        &self,
        schedule: &DueSchedule,
        until: Timestamp,
        next: Option<Timestamp>,
        starts: &[NewStart],
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let taken = sqlx::query("UPDATE schedules SET decided_ms = $3, next_ms = $4 WHERE id = $1 AND decided_ms = $2")
            .bind(schedule.id.to_string())
            .bind(millis(schedule.decided_until))
            .bind(millis(until))
            .bind(next.map(millis))
            .execute(&mut *tx)
            .await?;
        if taken.rows_affected() == 0 {
            return Ok(false);
        }
        for new in starts {
            let pending = is_pending(&new.start);
            let done = sqlx::query(
                "INSERT INTO schedule_starts (schedule_id, nominal_ms, at_ms, outcome, run_id, problem, follow_up, \
                 follow_up_run, pending) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8) \
                 ON CONFLICT (schedule_id, nominal_ms) DO NOTHING",
            )
            .bind(schedule.id.to_string())
            .bind(millis(new.start.at))
            .bind(millis(new.start.decided_at))
            .bind(word(&new.start.outcome))
            .bind(new.start.run.map(|run| run.to_string()))
            .bind(new.start.problem.as_ref().map(json))
            .bind(new.start.follow_up.as_ref().map(word))
            .bind(i64::from(pending))
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 1 {
                insert_all(&mut tx, new, now).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Writes what was decided of a start that waited, or of its follow-up. Nothing, and `false`, if somebody else has.
    pub async fn settle_start(
        &self,
        schedule: ScheduleId,
        before: &ScheduleStart,
        new: &NewStart,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE schedule_starts SET at_ms = $5, outcome = $6, run_id = $7, problem = $8, follow_up = $9, \
             follow_up_run = $10, pending = $11 \
             WHERE schedule_id = $1 AND nominal_ms = $2 AND outcome = $3 AND COALESCE(follow_up, '') = $4 AND pending = 1",
        )
        .bind(schedule.to_string())
        .bind(millis(before.at))
        .bind(word(&before.outcome))
        .bind(before.follow_up.as_ref().map(word).unwrap_or_default())
        .bind(millis(new.start.decided_at))
        .bind(word(&new.start.outcome))
        .bind(new.start.run.map(|run| run.to_string()))
        .bind(new.start.problem.as_ref().map(json))
        .bind(new.start.follow_up.as_ref().map(word))
        .bind(new.start.follow_up_run.map(|run| run.to_string()))
        .bind(i64::from(is_pending(&new.start)))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        insert_all(&mut tx, new, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn insert_all(tx: &mut Connection, new: &NewStart, now: Timestamp) -> Result<(), Error> {
    for job in &new.jobs {
        jobs::insert(tx, job, now).await?;
    }
    for report in &new.reports {
        reports::insert(tx, report, now).await?;
    }
    Ok(())
}

fn is_pending(start: &ScheduleStart) -> bool {
    start.outcome == StartOutcome::Waiting || start.follow_up == Some(FollowUpState::Waiting)
}

async fn starts(connection: &mut Connection, schedule: ScheduleId, limit: u32) -> Result<Vec<ScheduleStart>, Error> {
    let query = sqlx::query(
        "SELECT schedule_id, nominal_ms, at_ms, outcome, run_id, problem, follow_up, follow_up_run FROM schedule_starts \
         WHERE schedule_id = $1 ORDER BY nominal_ms DESC LIMIT $2",
    );
    query.bind(schedule.to_string()).bind(i64::from(limit)).fetch_all(connection).await?.iter().map(start).collect()
}

async fn schedule(connection: &mut Connection, row: &Row) -> Result<Schedule, Error> {
    let schedule = due(row)?;
    let next: Option<i64> = row.try_get("next_ms")?;
    Ok(Schedule {
        id: schedule.id,
        name: schedule.name,
        settings: schedule.settings,
        cron: Vec::new(),
        created_at: time("schedules.created_ms", row.try_get("created_ms")?)?,
        next_start: next.map(|next| time("schedules.next_ms", next)).transpose()?,
        last_start: starts(connection, schedule.id, 1).await?.pop(),
    })
}

fn due(row: &Row) -> Result<DueSchedule, Error> {
    Ok(DueSchedule {
        id: id("schedules.id", row.try_get("id")?)?,
        name: row.try_get("name")?,
        settings: from_json("schedules.settings", row.try_get("settings")?)?,
        decided_until: time("schedules.decided_ms", row.try_get("decided_ms")?)?,
    })
}

fn start(row: &Row) -> Result<ScheduleStart, Error> {
    let run = |column: &str| -> Result<Option<RunId>, Error> {
        row.try_get::<Option<String>, _>(column)?.map(|text| id(column, &text)).transpose()
    };
    let problem: Option<String> = row.try_get("problem")?;
    let follow_up: Option<String> = row.try_get("follow_up")?;
    Ok(ScheduleStart {
        at: time("schedule_starts.nominal_ms", row.try_get("nominal_ms")?)?,
        decided_at: time("schedule_starts.at_ms", row.try_get("at_ms")?)?,
        outcome: from_word("schedule_starts.outcome", row.try_get("outcome")?)?,
        run: run("run_id")?,
        problem: problem.map(|text| from_json("schedule_starts.problem", &text)).transpose()?,
        follow_up: follow_up.map(|text| from_word("schedule_starts.follow_up", text)).transpose()?,
        follow_up_run: run("follow_up_run")?,
    })
}
