//! The queue: how many jobs a second are handed out to many movers, while some of them die.
//!
//! The jobs do nothing, and the server's own engine hands them out: what is measured is choosing, claiming, and writing
//! it down. A mover that is killed is not heard of again until its lease has run out, and then says that it had finished
//! after all: that must count for nothing, and the job must have been done by somebody else, once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use xenkeep_api::{
    BackupOptions, BackupType, Client, ClientId, ClientLimits, DatastoreId, JobId, JobReport, JobResult, JobSpec,
    JobState, LeasedJob, NewDatastore, Origin, Point, PointKind, Progress, RetryPolicy, Secret, TaskId, Transport,
};
use xenkeep_catalog::{Catalog, JobFilter, NewJob};
use xenkeep_server::{Engine, Error, Server, ServerConfig};
use xenkeep_tests::{Durability, Postgres};

/// Pools among which the jobs are spread.
const POOLS: usize = 50;
/// How long a mover is trusted that is not heard of.
const LEASE: Duration = Duration::from_secs(3);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) jobs: usize,
    pub(crate) movers: usize,
    pub(crate) seed: u64,
}

/// Hands the jobs out on both databases, and prints how fast that was.
pub(crate) async fn measure(scratch: &Path, size: Size) -> Result<()> {
    println!("{} jobs, {} movers of which {} are killed, seed {}", size.jobs, size.movers, size.movers / 4, size.seed);
    let postgres = Postgres::start(scratch, Durability::Disk)?;
    let databases = [("SQLite", None), ("PostgreSQL", Some(Secret::new(postgres.database()?)))];
    for (name, url) in databases {
        let dir = tempfile::tempdir_in(scratch)?;
        let outcome = hand_out(dir.path(), url, size).await.with_context(|| format!("on {name}"))?;
        println!(
            "{name:<12} {:>7.0} leases/s   {} leases in {:.1} s, {} of killed movers taken over, {} late reports refused; \
             every job ended exactly once",
            outcome.leases as f64 / outcome.elapsed.as_secs_f64(),
            outcome.leases,
            outcome.elapsed.as_secs_f64(),
            outcome.interrupted,
            outcome.refused,
        );
    }
    Ok(())
}

struct Outcome {
    /// Until every job had been handed out once.
    leases: usize,
    elapsed: Duration,
    interrupted: usize,
    refused: usize,
}

/// What the movers count together.
#[derive(Debug, Default)]
struct Tally {
    leases: AtomicUsize,
    done: AtomicUsize,
    refused: AtomicUsize,
}

async fn hand_out(dir: &Path, url: Option<Secret>, size: Size) -> Result<Outcome> {
    let mut config = ServerConfig::new(dir, "127.0.0.1:0".parse()?);
    config.database_url = url.clone();
    config.limits.lease = LEASE;
    config.limits.lease_wait = Duration::from_millis(500);
    config.limits.jobs_per_client = size.movers;
    let server = Server::start(config).await?;
    // Beside the server, as another one would be: what it is given must be there at once, not by and by.
    let catalog = match &url {
        Some(url) => Catalog::connect(dir, url).await?,
        None => Catalog::open(dir).await?,
    };
    let jobs = fill(&catalog, size.jobs).await?;
    let tally = Arc::new(Tally::default());
    let mut chance = StdRng::seed_from_u64(size.seed);
    let started = Instant::now();
    let movers: Vec<_> = (0..size.movers)
        .map(|number| {
            // One in four dies somewhere on its way.
            let dies_at = (number % 4 == 0).then(|| chance.random_range(1..=(size.jobs / size.movers).max(1)));
            tokio::spawn(work(server.engine().clone(), format!("mover-{number}"), dies_at, tally.clone(), size.jobs))
        })
        .collect();
    while tally.leases.load(Ordering::SeqCst) < size.jobs {
        ensure!(started.elapsed() < Duration::from_secs(1800), "the queue stands still");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (leases, elapsed) = (tally.leases.load(Ordering::SeqCst), started.elapsed());
    for mover in movers {
        mover.await??;
    }
    let interrupted = judge(&catalog, &jobs).await?;
    catalog.close().await;
    server.shutdown().await?;
    Ok(Outcome { leases, elapsed, interrupted, refused: tally.refused.load(Ordering::SeqCst) })
}

/// Pools, a datastore, and the jobs.
async fn fill(catalog: &Catalog, count: usize) -> Result<Vec<JobId>> {
    let now = Timestamp::now();
    let datastore = DatastoreId::random();
    let new = NewDatastore::directory("store", "/nowhere");
    catalog.insert_datastore(datastore, &new, &Secret::new("none"), now).await?;
    let mut clients = Vec::new();
    for number in 0..POOLS {
        let client = Client {
            id: ClientId::random(),
            name: format!("pool{number}"),
            address: "pool.example".to_owned(),
            user: "root".to_owned(),
            transport: Transport::Https,
            certificate_sha256: None,
            pool: None,
            mover: None,
            limits: ClientLimits::default(),
            created_at: now,
        };
        catalog.insert_client(&client, &Secret::new("none")).await?;
        clients.push(client.id);
    }
    let mut jobs = Vec::with_capacity(count);
    for number in 0..count {
        let spec = JobSpec::Backup {
            client: clients[number % POOLS],
            vm: format!("vm{number:05}"),
            datastore,
            transport: None,
            backup_type: BackupType::default(),
            options: BackupOptions::default(),
        };
        let job = NewJob {
            vm_key: Some(format!("name:vm{number:05}")),
            origin: Origin { task: Some(TaskId::random()), ..Origin::default() },
            retry: RetryPolicy { retries: 9, wait_seconds: 0 },
            ..NewJob::new(spec, format!("vm{number:05}"))
        };
        jobs.push(job.id);
        catalog.insert_job(&job, now).await?;
    }
    Ok(jobs)
}

/// A mover: takes jobs and ends them, until all are done; or until it dies with one in its hands.
async fn work(engine: Engine, name: String, dies_at: Option<usize>, tally: Arc<Tally>, jobs: usize) -> Result<()> {
    let mut taken = 0;
    while tally.done.load(Ordering::SeqCst) < jobs {
        let Some(job) = engine.lease(&name).await? else { continue };
        let report = report(&job);
        let real = !matches!(job.spec, JobSpec::Recover { .. });
        if real {
            tally.leases.fetch_add(1, Ordering::SeqCst);
            taken += 1;
        }
        if real && dies_at == Some(taken) {
            tokio::time::sleep(LEASE * 2).await;
            match engine.finish(job.id, job.fence, &report).await {
                Err(Error::LeaseLost(_)) => tally.refused.fetch_add(1, Ordering::SeqCst),
                other => anyhow::bail!("a dead mover's report was taken: {other:?}"),
            };
            return Ok(());
        }
        engine.finish(job.id, job.fence, &report).await?;
        if real {
            tally.done.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

fn report(job: &LeasedJob) -> JobReport {
    let result = match (&job.spec, &job.client, &job.datastore) {
        (JobSpec::Backup { vm, .. }, Some(client), Some(datastore)) => JobResult::Point {
            point: Point {
                id: job.id.0.simple().to_string().repeat(2),
                datastore: datastore.id,
                client: client.id,
                client_name: client.name.clone(),
                job: job.id,
                kind: PointKind::Vm,
                source_uuid: job.id.to_string(),
                source_name: vm.clone(),
                taken_at: Timestamp::UNIX_EPOCH,
                size_bytes: 1 << 30,
                new_bytes: 1 << 20,
                stored_bytes: 1 << 19,
                disks: Vec::new(),
                protection: None,
                damage: None,
                summary: None,
                backup_type: None,
                consistency: None,
                left_out: Vec::new(),
            },
        },
        _ => JobResult::Recovered { undone: Vec::new(), points: Vec::new() },
    };
    JobReport {
        state: JobState::Success,
        problem: None,
        warnings: Vec::new(),
        result: Some(result),
        progress: Progress::default(),
        pool: None,
    }
}

/// Every job has ended well exactly once, itself or in one of its further tries. Tells how many were interrupted.
async fn judge(catalog: &Catalog, jobs: &[JobId]) -> Result<usize> {
    let all = catalog.jobs(&JobFilter::default(), u32::MAX).await?;
    let mut good: HashMap<&str, usize> = HashMap::new();
    let mut interrupted = 0;
    for job in all.iter().filter(|job| matches!(job.spec, JobSpec::Backup { .. })) {
        match job.state {
            JobState::Success => *good.entry(&job.subject).or_default() += 1,
            JobState::Interrupted => interrupted += 1,
            state => anyhow::bail!("job {} ({}) is {state:?}", job.id, job.subject),
        }
    }
    ensure!(good.len() == jobs.len(), "{} of {} jobs have ended", good.len(), jobs.len());
    let twice: Vec<_> = good.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(twice.is_empty(), "ended more than once: {twice:?}");
    Ok(interrupted)
}
