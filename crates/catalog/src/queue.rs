//! What waits and what bounds it, as far as it matters for choosing the next job.
//!
//! Waiting jobs stand in *lanes*: those of one lane are of one kind and need the same pool, datastores and drive. So what
//! keeps the first of a lane back for one of these reasons keeps all of it back, and of five thousand waiting jobs only
//! the heads of the lanes are read. How jobs are judged is decided elsewhere ([`Rules`]).

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{ClientId, ClientLimits, DatastoreId, JobId, JobKind, Problem};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_number, from_word, id, millis, optional_number, time};
use crate::{Catalog, Error};

/// What stands as `vm_key` of a job that needs no VM but its whole pool.
pub const WHOLE_POOL: &str = "pool:";

/// How many jobs of a lane are read at once when its first may not run.
const PAGE: i64 = 32;

/// What [`entry`] reads.
macro_rules! columns {
    () => {
        "id, number, kind, subject, priority, lane, client_id, datastore_id, target_id, drive, vm_key, not_before_ms, \
         mover, host, srs"
    };
}

/// A queued or running job, as far as it matters for choosing the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The job.
    pub id: JobId,
    /// Order of arrival.
    pub number: i64,
    /// Its kind.
    pub kind: JobKind,
    /// What it is about.
    pub subject: String,
    /// The higher comes first.
    pub priority: i32,
    /// Its pool.
    pub client: Option<ClientId>,
    /// Its datastore.
    pub datastore: Option<DatastoreId>,
    /// The datastore that it writes copies to.
    pub target: Option<DatastoreId>,
    /// The drive whose channel it takes.
    pub drive: Option<u32>,
    /// The VM that it must have for itself.
    pub vm_key: Option<String>,
    /// It starts no sooner than this.
    pub not_before: Timestamp,
    /// While it runs: whose it is.
    pub mover: Option<String>,
    /// While it runs: uuid of the host that it works on.
    pub host: Option<String>,
    /// While it runs: uuids of the SRs that it works on.
    pub srs: Vec<String>,
    /// What it needs beside its VM.
    pub lane: String,
}

/// What bounds the queue, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What runs.
    pub running: Vec<QueueEntry>,
    /// The recoveries that wait: they keep others back.
    pub recoveries: Vec<QueueEntry>,
    /// The jobs that wait for their pool to themselves: those with [`WHOLE_POOL`].
    pub alone: Vec<QueueEntry>,
    /// The channels of each drive.
    pub channels: HashMap<u32, u32>,
    /// The clients for which limits of their own are set.
    pub limits: HashMap<ClientId, ClientLimits>,
}

/// Whether a job may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Now.
    Run,
    /// Not now, and for the same reason none of its lane: same kind, pool, datastores and drive.
    LaneWaits(Problem),
    /// Not now, for a reason of its own.
    JobWaits(Problem),
}

/// How the next job is chosen.
pub trait Rules: Send + Sync {
    /// Kinds of a lower rank come first, whatever their priority.
    fn rank(&self, kind: JobKind) -> u8;

    /// Whether `job` may run on `mover`.
    fn judge(&self, standing: &Standing, mover: &str, job: &QueueEntry) -> Verdict;
}

impl Catalog {
    /// What bounds the queue now.
    pub async fn standing(&self) -> Result<Standing, Error> {
        let mut connection = self.readers().acquire().await?;
        standing(&mut connection).await
    }

    /// Queued jobs, the newest first.
    pub async fn queued(&self, limit: u32) -> Result<Vec<QueueEntry>, Error> {
        const SELECT: &str =
            concat!("SELECT ", columns!(), " FROM jobs WHERE state = 'queued' ORDER BY number DESC LIMIT $1");
        sqlx::query(SELECT).bind(i64::from(limit)).fetch_all(self.readers()).await?.iter().map(entry).collect()
    }

    /// A queued job; none if it does not wait any more.
    pub async fn queue_entry(&self, job: JobId) -> Result<Option<QueueEntry>, Error> {
        const SELECT: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1 AND state = 'queued'");
        let row = sqlx::query(SELECT).bind(job.to_string()).fetch_optional(self.readers()).await?;
        row.as_ref().map(entry).transpose()
    }

    /// How many jobs wait for a drive, and the first of them in the order in which they will run.
    pub async fn queued_for_drive(&self, drive: u32, limit: u32) -> Result<(u64, Vec<QueueEntry>), Error> {
        const SELECT: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE state = 'queued' AND drive = $1 ORDER BY priority DESC, subject, number LIMIT $2"
        );
        let count: i64 = sqlx::query("SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND drive = $1")
            .bind(i64::from(drive))
            .fetch_one(self.readers())
            .await?
            .try_get(0)?;
        let query = sqlx::query(SELECT).bind(i64::from(drive)).bind(i64::from(limit));
        let first = query.fetch_all(self.readers()).await?.iter().map(entry).collect::<Result<_, _>>()?;
        Ok((from_number("jobs", count)?, first))
    }
}

/// What bounds the queue, as a transaction sees it.
pub(crate) async fn standing(tx: &mut Connection) -> Result<Standing, Error> {
    const RUNNING: &str =
        concat!("SELECT ", columns!(), " FROM jobs WHERE state = 'running' ORDER BY started_ms, number");
    const RECOVERIES: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE state = 'queued' AND lane >= 'recover/' AND lane < 'recover0' ORDER BY number"
    );
    const ALONE: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE state = 'queued' AND lane >= 'restore-meta-data/' AND lane < 'restore-meta-data0' \
         AND vm_key = $1 ORDER BY number"
    );
    let entries = |rows: Vec<Row>| rows.iter().map(entry).collect::<Result<Vec<_>, _>>();
    let running = entries(sqlx::query(RUNNING).fetch_all(&mut *tx).await?)?;
    let recoveries = entries(sqlx::query(RECOVERIES).fetch_all(&mut *tx).await?)?;
    let alone = entries(sqlx::query(ALONE).bind(WHOLE_POOL).fetch_all(&mut *tx).await?)?;
    let mut channels = HashMap::new();
    for row in sqlx::query("SELECT number, channels FROM drives").fetch_all(&mut *tx).await? {
        let number = from_number("drives.number", row.try_get(0)?)?;
        channels.insert(number, from_number("drives.channels", row.try_get(1)?)?);
    }
    let mut limits = HashMap::new();
    let query = "SELECT id, max_jobs, max_host_jobs, max_sr_jobs FROM clients \
         WHERE max_jobs IS NOT NULL OR max_host_jobs IS NOT NULL OR max_sr_jobs IS NOT NULL";
    for row in sqlx::query(query).fetch_all(&mut *tx).await? {
        let client: ClientId = id("clients.id", row.try_get("id")?)?;
        limits.insert(client, client_limits(&row)?);
    }
    Ok(Standing { running, recoveries, alone, channels, limits })
}

/// The limits in a row of a client.
pub(crate) fn client_limits(row: &Row) -> Result<ClientLimits, Error> {
    Ok(ClientLimits {
        jobs: optional_number("clients.max_jobs", row.try_get("max_jobs")?)?,
        jobs_per_host: optional_number("clients.max_host_jobs", row.try_get("max_host_jobs")?)?,
        jobs_per_sr: optional_number("clients.max_sr_jobs", row.try_get("max_sr_jobs")?)?,
    })
}

/// The lanes with waiting jobs, of each as many as have been looked at.
#[derive(Debug)]
pub(crate) struct Lanes {
    now: Timestamp,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// In order, without those that were taken.
    jobs: Vec<QueueEntry>,
    /// The last that was read.
    last: QueueEntry,
    /// There are no more than these.
    whole: bool,
}

impl Lanes {
    /// Reads the first due job of each lane.
    pub(crate) async fn read(tx: &mut Connection, now: Timestamp) -> Result<Self, Error> {
        // From lane to lane with one step into the index each; never along the jobs of a lane.
        const HEADS: &str = concat!(
            "WITH RECURSIVE lanes (lane) AS (SELECT MIN(lane) FROM jobs WHERE state = 'queued' UNION ALL \
             SELECT (SELECT MIN(jobs.lane) FROM jobs WHERE state = 'queued' AND jobs.lane > lanes.lane) FROM lanes \
             WHERE lanes.lane IS NOT NULL) SELECT ",
            columns!(),
            " FROM jobs WHERE id IN (SELECT (SELECT head.id FROM jobs AS head WHERE head.state = 'queued' \
             AND head.lane = lanes.lane AND head.not_before_ms <= $1 \
             ORDER BY head.priority DESC, head.subject, head.number LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL)"
        );
        let rows = sqlx::query(HEADS).bind(millis(now)).fetch_all(tx).await?;
        let lane = |row| {
            let head = entry(row)?;
            Ok(Lane { jobs: vec![head.clone()], last: head, whole: false })
        };
        Ok(Self { now, lanes: rows.iter().map(lane).collect::<Result<_, Error>>()? })
    }

    /// Takes out the first job that may run on `mover`.
    pub(crate) async fn take(
        &mut self,
        tx: &mut Connection,
        standing: &Standing,
        mover: &str,
        rules: &dyn Rules,
    ) -> Result<Option<QueueEntry>, Error> {
        // Of each lane the job to look at next; none when it is through.
        let mut next: Vec<Option<usize>> = vec![Some(0); self.lanes.len()];
        for (index, at) in next.iter_mut().enumerate() {
            self.look_at(tx, index, at).await?;
        }
        loop {
            let best = next.iter().enumerate().filter_map(|(lane, at)| Some((lane, (*at)?)));
            let Some((lane, at)) = best.min_by_key(|&(lane, at)| order(rules, &self.lanes[lane].jobs[at])) else {
                return Ok(None);
            };
            match rules.judge(standing, mover, &self.lanes[lane].jobs[at]) {
                Verdict::Run => return Ok(Some(self.lanes[lane].jobs.remove(at))),
                Verdict::LaneWaits(_) => next[lane] = None,
                Verdict::JobWaits(_) => {
                    next[lane] = Some(at + 1);
                    self.look_at(tx, lane, &mut next[lane]).await?;
                }
            }
        }
    }

    /// Sees to it that the job to look at has been read; says so if there is none.
    async fn look_at(&mut self, tx: &mut Connection, lane: usize, at: &mut Option<usize>) -> Result<(), Error> {
        const FURTHER: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE state = 'queued' AND lane = $1 AND not_before_ms <= $2 AND (priority < $3 \
             OR (priority = $3 AND (subject > $4 OR (subject = $4 AND number > $5)))) \
             ORDER BY priority DESC, subject, number LIMIT $6"
        );
        let (lane, Some(index)) = (&mut self.lanes[lane], *at) else { return Ok(()) };
        if index < lane.jobs.len() {
            return Ok(());
        }
        if !lane.whole {
            let last = &lane.last;
            let query = sqlx::query(FURTHER)
                .bind(last.lane.clone())
                .bind(millis(self.now))
                .bind(i64::from(last.priority))
                .bind(last.subject.clone())
                .bind(last.number)
                .bind(PAGE);
            let rows = query.fetch_all(tx).await?;
            lane.whole = (rows.len() as i64) < PAGE;
            for row in &rows {
                lane.jobs.push(entry(row)?);
            }
            lane.last = lane.jobs.last().unwrap_or(&lane.last).clone();
        }
        if index >= lane.jobs.len() {
            *at = None;
        }
        Ok(())
    }
}

/// What decides which of two jobs comes first.
fn order<'a>(rules: &dyn Rules, job: &'a QueueEntry) -> (u8, Reverse<i32>, &'a str, i64) {
    (rules.rank(job.kind), Reverse(job.priority), &job.subject, job.number)
}

fn entry(row: &Row) -> Result<QueueEntry, Error> {
    let client: Option<String> = row.try_get("client_id")?;
    let datastore = |column: &str| -> Result<Option<DatastoreId>, Error> {
        row.try_get::<Option<String>, _>(column)?.map(|text| id(column, &text)).transpose()
    };
    let srs: Option<String> = row.try_get("srs")?;
    Ok(QueueEntry {
        id: id("jobs.id", row.try_get("id")?)?,
        number: row.try_get("number")?,
        kind: from_word("jobs.kind", row.try_get("kind")?)?,
        subject: row.try_get("subject")?,
        priority: from_number("jobs.priority", row.try_get("priority")?)?,
        client: client.map(|text| id("jobs.client_id", &text)).transpose()?,
        datastore: datastore("datastore_id")?,
        target: datastore("target_id")?,
        drive: optional_number("jobs.drive", row.try_get("drive")?)?,
        vm_key: row.try_get("vm_key")?,
        not_before: time("jobs.not_before_ms", row.try_get("not_before_ms")?)?,
        mover: row.try_get("mover")?,
        host: row.try_get("host")?,
        srs: srs.map(|text| from_json("jobs.srs", &text)).transpose()?.unwrap_or_default(),
        lane: row.try_get("lane")?,
    })
}
