//! Movers made of a few lines.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xenkeep_api::{
    CopySummary, HostRestored, JobReport, JobResult, JobSpec, JobState, LeasedJob, MetaDataRestored, Placement, Point,
    PointDisk, PointKind, PointProtection, PoolInventory, PoolSummary, PoolVm, PowerState, Problem, Progress,
    PruneSummary, RescanSummary, RestorePlan, RestoredVm, Selected, SelectedHost, SelectedVm, Source, VerifySummary,
};
use xenkeep_server::Engine;

pub(crate) struct FakeMover {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl FakeMover {
    /// Runs every job through `work`, one after the other.
    pub(crate) fn start(engine: &Engine, work: impl Fn(&LeasedJob) -> JobReport + Send + Sync + 'static) -> Self {
        let (stop, engine, work) = (CancellationToken::new(), engine.clone(), Arc::new(work));
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let leased = tokio::select! {
                    () = stopping.cancelled() => return,
                    leased = engine.lease("local") => leased,
                };
                let Ok(leased) = leased else { return };
                if let Some(job) = leased {
                    engine.finish(job.id, job.fence, &work(&job)).await.unwrap();
                }
            }
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Everything succeeds at once.
pub(crate) fn obliging(engine: &Engine) -> FakeMover {
    FakeMover::start(engine, |job| good(result(job)))
}

/// Everything fails with this problem.
pub(crate) fn failing(engine: &Engine, problem: Problem) -> FakeMover {
    FakeMover::start(engine, move |_| bad(problem.clone()))
}

pub(crate) fn good(result: JobResult) -> JobReport {
    report(JobState::Success, None, Some(result))
}

pub(crate) fn bad(problem: Problem) -> JobReport {
    report(JobState::Failed, Some(problem), None)
}

pub(crate) fn report(state: JobState, problem: Option<Problem>, result: Option<JobResult>) -> JobReport {
    JobReport { state, problem, warnings: Vec::new(), result, progress: Progress::default(), pool: None }
}

/// What a job that went well has to show.
pub(crate) fn result(job: &LeasedJob) -> JobResult {
    match &job.spec {
        JobSpec::CheckClient { .. } => JobResult::Pool { pool: Some(pool()), checks: Vec::new() },
        JobSpec::BrowseClient { .. } => JobResult::Inventory {
            inventory: Box::new(PoolInventory { pool: pool(), vms: vec![vm()], ..PoolInventory::default() }),
        },
        JobSpec::CreateDatastore { .. } => JobResult::Datastore { repository_id: "repo".to_owned() },
        JobSpec::AttachDatastore { datastore } => JobResult::Datastore { repository_id: datastore.to_string() },
        JobSpec::RescanDatastore { .. } => JobResult::Rescanned { rescan: RescanSummary::default() },
        JobSpec::DatastoreKeys { .. } => JobResult::Keys { keys: Vec::new() },
        JobSpec::Backup { vm, .. } => JobResult::Point { point: point(job, vm) },
        JobSpec::ExpandSelection { source, .. } => JobResult::Selected { selected: selected(source) },
        JobSpec::BackupMetaData { .. } => {
            JobResult::Point { point: Point { kind: PointKind::MetaData, disks: Vec::new(), ..point(job, "lab pool") } }
        }
        JobSpec::BackupHost { host, .. } => JobResult::Points {
            points: vec![Point {
                kind: PointKind::Host,
                disks: Vec::new(),
                ..point(job, host.as_deref().unwrap_or("host1"))
            }],
        },
        JobSpec::RestoreMetaData { dry_run, .. } => JobResult::MetaDataRestored {
            restored: MetaDataRestored { dry_run: *dry_run, master: "host1".to_owned(), steps: Vec::new() },
        },
        JobSpec::RestoreHost { host, .. } => JobResult::HostRestored {
            restored: HostRestored { uuid: String::new(), name: host.clone(), steps: Vec::new() },
        },
        JobSpec::Restore { .. } => JobResult::Vm { vm: restored() },
        JobSpec::PlanRestore { placement, point, .. } => {
            JobResult::RestorePlan { plan: Box::new(plan(point, placement)) }
        }
        JobSpec::Export { .. } => JobResult::Export { bytes: 0, sha256: "00".repeat(32) },
        JobSpec::ForgetPoints { points, .. } => JobResult::Forgotten { points: points.clone() },
        JobSpec::ProtectPoint { point, reason, .. } => JobResult::Protection {
            point: point.clone(),
            protection: reason.clone().map(|reason| PointProtection { reason, since: at_noon() }),
        },
        JobSpec::PruneDatastore { request, .. } => {
            JobResult::Pruned { prune: PruneSummary { dry_run: request.dry_run, ..PruneSummary::default() } }
        }
        JobSpec::VerifyDatastore { request, .. } => {
            JobResult::Verified { verify: VerifySummary { request: request.clone(), ..VerifySummary::default() } }
        }
        JobSpec::CopyPoints { .. } => JobResult::Copied { copy: CopySummary::default() },
        JobSpec::Recover { .. } => JobResult::Recovered { undone: Vec::new(), points: Vec::new() },
    }
}

/// A plan without anything in it.
fn plan(point: &str, placement: &Placement) -> RestorePlan {
    RestorePlan {
        point: point.to_owned(),
        client: "lab".to_owned(),
        vm_name: "web".to_owned(),
        vm_uuid: None,
        placement: placement.clone(),
        replaced: None,
        disks: Vec::new(),
        srs: Vec::new(),
        networks: Vec::new(),
        point_version: String::new(),
        pool_version: String::new(),
        start: false,
        warnings: Vec::new(),
        refusals: Vec::new(),
        ok: true,
    }
}

/// A pool with the VMs `web`, `db` and twice `twin`, and one host.
pub(crate) fn selected(source: &Source) -> Selected {
    let vm = |name: &str, number: u32| SelectedVm {
        uuid: format!("0f1e2d3c-0000-4000-8000-{number:012}"),
        name: name.to_owned(),
        power_state: PowerState::Running,
        tags: Vec::new(),
    };
    let all = [vm("db", 11), vm("twin", 12), vm("twin", 13), vm("web", 10)];
    let meant = |found: &SelectedVm| match source {
        Source::Vm { vm, .. } => *vm == found.name || *vm == found.uuid,
        Source::Selection(_) => found.name != "twin",
        _ => false,
    };
    let host = SelectedHost { uuid: "host-uuid".to_owned(), name: "host1".to_owned() };
    let hosts = if matches!(source, Source::HostBackup { .. }) { vec![host] } else { Vec::new() };
    Selected { vms: all.into_iter().filter(meant).collect(), hosts }
}

/// The point of a backup; its id says which job made it.
pub(crate) fn point(job: &LeasedJob, vm: &str) -> Point {
    let client = job.client.as_ref().unwrap();
    Point {
        id: job.id.0.simple().to_string().repeat(2),
        datastore: job.datastore.as_ref().unwrap().id,
        client: client.id,
        client_name: client.name.clone(),
        job: job.id,
        kind: PointKind::Vm,
        source_uuid: "0f1e2d3c-0000-4000-8000-00000000000a".to_owned(),
        source_name: vm.to_owned(),
        taken_at: at_noon(),
        size_bytes: 1 << 30,
        new_bytes: 1 << 20,
        stored_bytes: 1 << 19,
        disks: ["0", "3"].map(disk).to_vec(),
        protection: None,
        damage: None,
        summary: None,
        backup_type: None,
        consistency: None,
        left_out: Vec::new(),
    }
}

pub(crate) fn at_noon() -> jiff::Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn disk(position: &str) -> PointDisk {
    PointDisk {
        position: position.to_owned(),
        name: "root".to_owned(),
        vdi_uuid: "0f1e2d3c-0000-4000-8000-00000000000b".to_owned(),
        size_bytes: 1 << 29,
        ova_id: "Ref:7".to_owned(),
        bootable: position == "0",
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

fn vm() -> PoolVm {
    PoolVm {
        uuid: "0f1e2d3c-0000-4000-8000-00000000000a".to_owned(),
        name: "web".to_owned(),
        power_state: PowerState::Running,
        host: None,
        tools: true,
        tags: Vec::new(),
        disks: Vec::new(),
    }
}

fn restored() -> RestoredVm {
    RestoredVm {
        uuid: "0f1e2d3c-0000-4000-8000-00000000000c".to_owned(),
        name: "web".to_owned(),
        power_state: PowerState::Halted,
        addresses: Vec::new(),
    }
}
