//! Records to fill a catalogue with.

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use xenkeep_api::{
    Client, ClientId, ClientLimits, DatastoreId, JobId, JobKind, JobReport, JobResult, JobSpec, JobState, NewDatastore,
    Point, PointDisk, PointKind, PoolSummary, Problem, Progress, Secret, Transport,
};
use xenkeep_catalog::{Catalog, Claimed, Ended, FollowUps, NewJob, QueueEntry, Rules, Standing, Verdict};
use xenkeep_tests::Postgres;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const NO_RECOVERY: FollowUps<'static> = &|_| Vec::new();

/// An empty catalogue on the database that this copy of the suite is for.
pub(crate) async fn catalog() -> (Catalog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = match module_path!() {
        path if path.contains("::postgres::") => Catalog::connect(dir.path(), &database().await).await,
        _ => Catalog::open(dir.path()).await,
    };
    (catalog.unwrap(), dir)
}

/// An empty database of PostgreSQL.
pub(crate) async fn database() -> Secret {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().database().unwrap());
    Secret::new(url.await.unwrap())
}

/// Lets jobs run as a closure says.
pub(crate) struct May<F>(pub(crate) F);

impl<F: Fn(&Standing, &QueueEntry) -> bool + Send + Sync> Rules for May<F> {
    fn rank(&self, _: JobKind) -> u8 {
        0
    }

    fn judge(&self, standing: &Standing, _: &str, job: &QueueEntry) -> Verdict {
        match (self.0)(standing, job) {
            true => Verdict::Run,
            false => Verdict::JobWaits(Problem::new("test", "it may not")),
        }
    }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn client(name: &str) -> Client {
    Client {
        id: ClientId::random(),
        name: name.to_owned(),
        address: "pool.example".to_owned(),
        user: "root".to_owned(),
        transport: Transport::Https,
        certificate_sha256: None,
        pool: None,
        mover: None,
        limits: ClientLimits::default(),
        created_at: at(0),
    }
}

pub(crate) fn pool() -> PoolSummary {
    PoolSummary {
        uuid: "b6b1c1f7-0000-4000-8000-000000000001".to_owned(),
        name: "lab".to_owned(),
        master: "xen1".to_owned(),
        product: "XCP-ng 8.3.0".to_owned(),
        hosts: 2,
        certificate_sha256: Some("ab".repeat(32)),
        ..PoolSummary::default()
    }
}

/// A client that has been checked.
pub(crate) async fn ready_client(catalog: &Catalog, name: &str) -> Client {
    let client = client(name);
    catalog.insert_client(&client, &Secret::new(PASSWORD)).await.unwrap();
    let claimed = run(catalog, JobSpec::CheckClient { client: client.id }).await;
    let result = JobResult::Pool { pool: Some(pool()), checks: Vec::new() };
    catalog.finish(claimed.id, claimed.fence, &good(result), at(2), NO_RECOVERY).await.unwrap();
    catalog.client(name).await.unwrap()
}

/// A datastore whose repository has been created.
pub(crate) async fn ready_datastore(catalog: &Catalog, name: &str) -> DatastoreId {
    let id = DatastoreId::random();
    let new = NewDatastore::directory(name, format!("/srv/{name}"));
    catalog.insert_datastore(id, &new, &Secret::new(PASSWORD), at(0)).await.unwrap();
    let claimed = run(catalog, JobSpec::CreateDatastore { datastore: id }).await;
    let result = JobResult::Datastore { repository_id: format!("repo-{name}") };
    catalog.finish(claimed.id, claimed.fence, &good(result), at(2), NO_RECOVERY).await.unwrap();
    id
}

pub(crate) fn new_job(spec: JobSpec) -> NewJob {
    NewJob { vm_key: Some("name:web".to_owned()), ..NewJob::new(spec, "web") }
}

pub(crate) fn backup(client: ClientId, datastore: DatastoreId) -> JobSpec {
    JobSpec::Backup {
        client,
        vm: "web".to_owned(),
        datastore,
        transport: None,
        backup_type: Default::default(),
        options: Default::default(),
    }
}

pub(crate) fn any_backup() -> JobSpec {
    backup(ClientId::random(), DatastoreId::random())
}

/// Adds a job and claims it until second 30.
pub(crate) async fn run(catalog: &Catalog, spec: JobSpec) -> Claimed {
    let job = new_job(spec);
    catalog.insert_job(&job, at(0)).await.unwrap();
    claim(catalog, job.id).await
}

/// Claims whatever comes first for so many seconds from a time on.
pub(crate) async fn claim_any(catalog: &Catalog, now: i64) -> Option<Claimed> {
    catalog.claim(&["local"], at(now), at(now + 30), &May(|_: &Standing, _: &QueueEntry| true)).await.unwrap().remove(0)
}

/// Claims a queued job until second 30.
pub(crate) async fn claim(catalog: &Catalog, job: JobId) -> Claimed {
    let rules = May(move |_: &Standing, waiting: &QueueEntry| waiting.id == job);
    let claimed = catalog.claim(&["local"], at(1), at(30), &rules).await.unwrap().remove(0);
    claimed.expect("the job was queued")
}

pub(crate) fn report(state: JobState, result: Option<JobResult>) -> JobReport {
    JobReport { state, problem: None, warnings: Vec::new(), result, progress: Progress::default(), pool: None }
}

pub(crate) fn good(result: JobResult) -> JobReport {
    report(JobState::Success, Some(result))
}

pub(crate) fn failed() -> JobReport {
    report(JobState::Failed, None)
}

/// A decision to recover every ended job.
pub(crate) fn recover_always(ended: &Ended) -> Vec<NewJob> {
    let spec = JobSpec::Recover {
        interrupted: ended.job.id,
        client: ended.job.spec.client(),
        datastore: ended.job.spec.datastore(),
    };
    vec![NewJob { vm_key: ended.vm_key.clone(), ..new_job(spec) }]
}

pub(crate) fn point(id: &str, client: &Client, datastore: DatastoreId, job: JobId, taken: i64) -> Point {
    Point {
        id: id.repeat(64 / id.len()),
        datastore,
        client: client.id,
        client_name: client.name.clone(),
        job,
        kind: PointKind::Vm,
        source_uuid: "0f1e2d3c-0000-4000-8000-00000000000a".to_owned(),
        source_name: "web".to_owned(),
        taken_at: at(0) + SignedDuration::from_secs(taken),
        size_bytes: 5 << 40,
        new_bytes: 1 << 30,
        stored_bytes: 1 << 29,
        disks: vec![PointDisk {
            position: "0".to_owned(),
            name: "root".to_owned(),
            vdi_uuid: "0f1e2d3c-0000-4000-8000-00000000000b".to_owned(),
            size_bytes: 5 << 40,
            ova_id: "Ref:7".to_owned(),
            bootable: true,
        }],
        protection: None,
        damage: None,
        summary: None,
        backup_type: None,
        consistency: None,
        left_out: Vec::new(),
    }
}

/// A finished backup, with its point.
pub(crate) async fn add_point(
    catalog: &Catalog,
    id: &str,
    client: &Client,
    datastore: DatastoreId,
    taken: i64,
) -> Point {
    let claimed = run(catalog, backup(client.id, datastore)).await;
    let point = point(id, client, datastore, claimed.id, taken);
    let report = good(JobResult::Point { point: point.clone() });
    catalog.finish(claimed.id, claimed.fence, &report, at(9), NO_RECOVERY).await.unwrap();
    point
}
