//! Pools' databases, and hosts: backed up, and put back.

use std::process::{Command, Stdio};

use xenkeep_api::*;
use xensim::config::HostConfig;
use xensim::fault::{Fault, FaultKind};

use crate::rig::{Rig, code_of, config, point_of};

/// A pool of two hosts.
async fn rig() -> Rig {
    Rig::with(|dir| {
        let mut config = config(dir);
        config.hosts = vec![HostConfig::new("host-1"), HostConfig::new("host-2")];
        config.timing.restart = std::time::Duration::ZERO;
        config
    })
    .await
}

fn meta_data(rig: &Rig) -> JobSpec {
    JobSpec::BackupMetaData { client: rig.client.id, datastore: rig.datastore.id, transport: None }
}

fn hosts(rig: &Rig, host: Option<&str>) -> JobSpec {
    let host = host.map(str::to_owned);
    JobSpec::BackupHost { client: rig.client.id, host, datastore: rig.datastore.id, transport: None }
}

fn restore_meta_data(rig: &Rig, point: &Point, dry_run: bool) -> JobSpec {
    let (client, datastore, point) = (rig.client.id, rig.datastore.id, point.id.clone());
    JobSpec::RestoreMetaData { client, datastore, point, dry_run, transport: None }
}

fn restore_host(rig: &Rig, point: &Point, host: &str, force: bool) -> JobSpec {
    let (client, datastore, point) = (rig.client.id, rig.datastore.id, point.id.clone());
    JobSpec::RestoreHost { client, host: host.to_owned(), datastore, point, force, transport: None }
}

fn points_of(report: &JobReport) -> Vec<Point> {
    match &report.result {
        Some(JobResult::Points { points }) => points.clone(),
        _ => panic!("{report:#?}"),
    }
}

/// Nothing of ours is left on the pool.
async fn assert_clean(rig: &Rig) {
    let admin = rig.admin().await;
    let tasks: std::collections::HashMap<xapi::TaskRef, xapi::record::Task> = admin.records().await.unwrap();
    let ours: Vec<_> = tasks.values().filter(|task| task.name_label.starts_with("xenkeep ")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

/// What restic gives of a point.
fn restic_dump(rig: &Rig, point: &Point, file: &str) -> Vec<u8> {
    let path = format!("/lab/{}/{file}", point.source_uuid);
    let output = Command::new("restic")
        .args(["-r", &rig.datastore.path, "--no-cache", "dump", &point.id, &path])
        .env("RESTIC_PASSWORD", rig.datastore.password.expose())
        .output()
        .expect("restic must be installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What Python says of some bytes.
fn python(script: &str, input: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 must be installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_a_point_that_can_be_read() {
    let rig = rig().await;
    let (id, report) = rig.run(meta_data(&rig)).await;
    let point = point_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", rig.desk.log(id)));
    assert_eq!((point.kind, point.disks.len()), (PointKind::MetaData, 0));
    let Some(PointSummary::MetaData(summary)) = &point.summary else { panic!("{point:#?}") };
    assert_eq!(summary.hosts, ["host-1", "host-2"]);
    assert_eq!((summary.master.as_str(), summary.vms.as_slice()), ("host-1", &["web1".to_owned()][..]));
    assert!(summary.srs.contains(&"Tiny".to_owned()) && summary.product.starts_with("XCP-ng"), "{summary:?}");

    let xml = restic_dump(&rig, &point, "pool-database.xml");
    assert_eq!(xml.len() as u64, point.size_bytes);
    let script = "import sys, xml.etree.ElementTree as e\n\
        root = e.parse(sys.stdin.buffer).getroot()\n\
        rows = root.findall(\"table[@name='VM']/row\")\n\
        print(root.tag, len(root.findall('table/row')), any(r.get('name__label') == 'web1' for r in rows))";
    assert_eq!(python(script, &xml), format!("database {} True", summary.rows));
    assert_clean(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_come_whole_is_no_point() {
    let rig = rig().await;
    for (kind, at_byte) in [
        (FaultKind::CutExport, 5000),
        (FaultKind::TailExport, 5000),
        (FaultKind::FailExportTask, 0),
        (FaultKind::StubDatabase, 0),
        (FaultKind::RefuseExport, 0),
    ] {
        rig.sim.faults().arm(Fault::new(kind).at_byte(at_byte));
        let (_, report) = rig.run(meta_data(&rig)).await;
        assert_eq!(report.state, JobState::Failed, "{kind:?}: {report:#?}");
        assert_clean(&rig).await;
    }
    for (kind, at_byte, code) in [
        (FaultKind::FailBackupScript, 40_000, "host.backup_script_failed"),
        (FaultKind::CorruptExport, 40_000, "data.damaged"),
    ] {
        rig.sim.faults().arm(Fault::new(kind).at_byte(at_byte));
        let (_, report) = rig.run(hosts(&rig, Some("host-1"))).await;
        assert_eq!(code_of(&report), code, "{report:#?}");
        assert_clean(&rig).await;
    }
    assert!(rig.points().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_is_a_point_read_from_itself() {
    let rig = rig().await;
    let (_, report) = rig.run(hosts(&rig, None)).await;
    let points = points_of(&report);
    assert_eq!(points.iter().map(|point| point.source_name.as_str()).collect::<Vec<_>>(), ["host-1", "host-2"]);
    for point in &points {
        let Some(PointSummary::Host(summary)) = &point.summary else { panic!("{point:#?}") };
        assert_eq!((summary.product.as_str(), summary.version.as_str()), ("XCP-ng", "8.3.0"));
        assert!(summary.pool_database.is_some(), "{summary:?}");
        let archive = restic_dump(&rig, point, "host-backup.xbk");
        let script = "import sys, io, tarfile\n\
            t = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), mode='r:gz')\n\
            files = [m for m in t.getmembers() if m.isreg()]\n\
            inventory = t.extractfile('./etc/xensource-inventory').read().decode()\n\
            print(len(files), sum(m.size for m in files))\n\
            print(inventory.split(\"INSTALLATION_UUID='\")[1].split(\"'\")[0])";
        let expected = format!("{} {}\n{}", summary.files, summary.content_bytes, point.source_uuid);
        assert_eq!(python(script, &archive), expected);
    }
    let (_, report) = rig.run(hosts(&rig, Some("nowhere"))).await;
    assert_eq!(code_of(&report), "host.not_found");
    assert_clean(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_does_not_keep_the_others_back() {
    let rig = rig().await;
    rig.sim.faults().arm(Fault::new(FaultKind::FailBackupScript).at_byte(1000));
    let (_, report) = rig.run(hosts(&rig, None)).await;
    assert_eq!((report.state, code_of(&report)), (JobState::Failed, "hosts.incomplete"));
    let points = points_of(&report);
    assert_eq!((points.len(), points[0].source_name.as_str()), (1, "host-2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_looked_at_first_and_then_put_back() {
    let rig = rig().await;
    let (_, report) = rig.run(meta_data(&rig)).await;
    let point = point_of(&report).unwrap();
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(&rig.uuid("web1").await).await.unwrap();
    admin.run("VM.set_name_label", xapi::params![vm, "renamed"]).await.unwrap();

    let (_, report) = rig.run(restore_meta_data(&rig, &point, true)).await;
    assert!(matches!(&report.result, Some(JobResult::MetaDataRestored { restored }) if restored.dry_run), "{report:#?}");
    assert!(rig.state().await.vm_named("renamed").is_some(), "a dry run changes nothing");
    assert_clean(&rig).await;

    let (_, report) = rig.run(restore_meta_data(&rig, &point, false)).await;
    let Some(JobResult::MetaDataRestored { restored }) = &report.result else { panic!("{report:#?}") };
    assert!(!restored.dry_run && restored.steps.len() > 2, "{restored:?}");
    let restarts = || rig.sim.world().restarts.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while restarts() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(rig.state().await.vm_named("web1").is_some());
    assert_eq!(rig.admin().await.hosts().await.unwrap().len(), 1, "the members were forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_takes_its_backup_if_the_release_fits() {
    let rig = rig().await;
    let (_, report) = rig.run(hosts(&rig, Some("host-2"))).await;
    let point = points_of(&report).remove(0);
    let (_, report) = rig.run(restore_host(&rig, &point, "host-2", false)).await;
    let Some(JobResult::HostRestored { restored }) = &report.result else { panic!("{report:#?}") };
    assert_eq!((restored.name.as_str(), restored.uuid.as_str()), ("host-2", point.source_uuid.as_str()));
    let world = rig.sim.world();
    assert!(world.backup_partition(0).is_none(), "only the host that was meant");
    assert!(world.backup_partition(1).unwrap() == restic_dump(&rig, &point, "host-backup.xbk"));

    let host = world.hosts[1].clone();
    world.db.write(|t| t.map_insert(&host, "software_version", "product_version", "8.4.0"));
    let (_, report) = rig.run(restore_host(&rig, &point, "host-2", false)).await;
    assert_eq!(code_of(&report), "host.version_differs");
    let (_, report) = rig.run(restore_host(&rig, &point, "host-2", true)).await;
    assert_eq!(report.state, JobState::Warning, "{report:#?}");
    rig.sim.faults().arm(Fault::new(FaultKind::NoBackupPartition));
    let (_, report) = rig.run(restore_host(&rig, &point, "host-1", true)).await;
    assert_eq!(code_of(&report), "host.restore_script_failed");
    assert_clean(&rig).await;
}
