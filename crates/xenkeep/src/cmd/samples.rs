//! Records that the tests of the commands print.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use uuid::Uuid;
use xenkeep_api::{
    Client, ClientId, ClientLimits, Datastore, DatastoreId, DatastoreState, DiskProgress, Job, JobId, JobResult,
    JobSpec, JobState, Origin, Point, PointDisk, PointKind, PoolDisk, PoolSummary, PoolVm, PowerState, Problem,
    Progress, RestoredVm, Transport,
};

pub(crate) const GIB: u64 = 1 << 30;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1234_5678_0000_4000_8000_0000_0000_0000 | number)
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

pub(crate) fn client() -> Client {
    Client {
        id: ClientId(id(1)),
        name: "lab".into(),
        address: "10.0.0.5".into(),
        user: "root".into(),
        transport: Transport::Https,
        certificate_sha256: Some("ab".repeat(32)),
        pool: Some(PoolSummary {
            uuid: "1f0c5d5e-0000-4000-8000-000000000001".into(),
            name: String::new(),
            master: "xen1".into(),
            product: "XCP-ng 8.3.0".into(),
            hosts: 2,
            certificate_sha256: Some("ab".repeat(32)),
            ..PoolSummary::default()
        }),
        mover: None,
        limits: ClientLimits::default(),
        created_at: at(0),
    }
}

pub(crate) fn vm() -> PoolVm {
    let disk = |position: &str, size_bytes| PoolDisk {
        position: position.into(),
        vdi_uuid: format!("7d1c0000-0000-4000-8000-00000000000{position}"),
        name: format!("disk {position}"),
        size_bytes,
        sr: "fast".into(),
    };
    PoolVm {
        uuid: "5bb2e1a6-6f0c-4d3c-9a51-6b1a1f6f7d10".into(),
        name: "web1".into(),
        power_state: PowerState::Running,
        host: None,
        tools: true,
        tags: vec!["prod".into(), "web".into()],
        disks: vec![disk("0", 4 * GIB), disk("1", 12 * GIB)],
    }
}

pub(crate) fn datastore() -> Datastore {
    Datastore {
        id: DatastoreId(id(2)),
        name: "store".into(),
        path: "/backup/store".into(),
        s3: None,
        repository_id: "c0ffee".into(),
        created_at: at(0),
        movers: Vec::new(),
        state: DatastoreState::default(),
    }
}

pub(crate) fn point() -> Point {
    let disk = |position: &str, size_bytes| PointDisk {
        position: position.into(),
        name: format!("disk {position}"),
        vdi_uuid: format!("7d1c0000-0000-4000-8000-00000000000{position}"),
        size_bytes,
        ova_id: format!("Ref:{position}"),
        bootable: position == "0",
    };
    Point {
        id: format!("3f2a91c0{}", "0".repeat(56)),
        datastore: datastore().id,
        client: client().id,
        client_name: "lab".into(),
        job: JobId(id(3)),
        kind: PointKind::Vm,
        source_uuid: vm().uuid,
        source_name: "web1".into(),
        taken_at: at(60),
        size_bytes: 16 * GIB,
        new_bytes: 5 * GIB,
        stored_bytes: 2 * GIB,
        disks: vec![disk("0", 4 * GIB), disk("1", 12 * GIB)],
        protection: None,
        damage: None,
        summary: None,
        backup_type: None,
        consistency: None,
        left_out: Vec::new(),
    }
}

/// A backup that runs.
pub(crate) fn job() -> Job {
    let disk =
        |position: &str, total_bytes, done_bytes| DiskProgress { position: position.into(), total_bytes, done_bytes };
    Job {
        id: JobId(id(3)),
        spec: JobSpec::Backup {
            client: client().id,
            vm: "web1".into(),
            datastore: datastore().id,
            transport: None,
            backup_type: Default::default(),
            options: Default::default(),
        },
        subject: "web1".into(),
        state: JobState::Running,
        cancel_requested: false,
        created_at: at(58),
        started_at: Some(at(59)),
        finished_at: None,
        progress: Progress {
            step: "read".into(),
            total_bytes: 16 * GIB,
            done_bytes: 4 * GIB,
            moved_bytes: 2 * GIB,
            new_bytes: GIB,
            stored_bytes: GIB / 2,
            disks: vec![disk("0", 4 * GIB, 4 * GIB), disk("1", 12 * GIB, 0)],
        },
        problem: None,
        warnings: Vec::new(),
        result: None,
        origin: Origin::default(),
        priority: 0,
        drive: None,
        mover: Some("local".into()),
        waiting: None,
        not_before: None,
        attempt: 0,
        retry_of: None,
        time_limit_seconds: None,
    }
}

pub(crate) fn finished_job() -> Job {
    let progress = Progress { step: "cleanup".into(), done_bytes: 16 * GIB, moved_bytes: 8 * GIB, ..job().progress };
    Job {
        state: JobState::Success,
        finished_at: Some(at(99)),
        progress,
        result: Some(JobResult::Point { point: point() }),
        ..job()
    }
}

pub(crate) fn restored_job() -> Job {
    let vm = RestoredVm {
        uuid: vm().uuid,
        name: "web1-copy".into(),
        power_state: PowerState::Running,
        addresses: vec!["10.0.0.77".into(), "fe80::1".into()],
    };
    Job { result: Some(JobResult::Vm { vm }), ..finished_job() }
}

pub(crate) fn failed_job() -> Job {
    let problem =
        Problem::new("sr.full", "SR fast has 1.0 GiB free, 4.0 GiB are needed").hint("choose another SR with `--sr`");
    Job { state: JobState::Failed, finished_at: Some(at(61)), problem: Some(problem), ..job() }
}
