#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

/// Entries lie in databases: what an older mover wrote must be read for ever.
#[test]
fn entries_of_the_first_release_are_read() {
    let job = "5a0c8a9e-7d0c-4d9e-9f0b-6f6a3d0e7a11";
    let snapshot = json!({"made": "snapshot", "job": job, "vm_uuid": "v", "name": "xenkeep j"});
    let Made::Snapshot(made) = serde_json::from_value(snapshot).unwrap() else { panic!("not a snapshot") };
    assert_eq!((made.job.to_string().as_str(), made.vdis.len()), (job, 0));
    let import = json!({"made": "import", "job": job, "task": "OpaqueRef:1", "vdis": ["d"]});
    assert!(matches!(serde_json::from_value(import).unwrap(), Made::Import(ImportMade { task: Some(_), .. })));
    let swap = json!({
        "made": "swap", "import": {"job": job}, "vm_uuid": "v", "vm_name": "web1", "working_uuid": "w",
        "old_metadata": "", "old_disks": [{"position": "0", "vdi_uuid": "a", "name": ""}],
        "new_disks": [], "doomed": ["a"], "macs": [],
    });
    assert!(matches!(serde_json::from_value(swap).unwrap(), Made::Swap(_)));
}

#[test]
fn an_entry_comes_back_as_it_was() {
    let made = Made::Snapshot(SnapshotMade {
        job: JobId::random(),
        vm_uuid: "v".into(),
        name: "n".into(),
        vdis: vec!["d".into()],
        tasks: vec!["t".into()],
    });
    let again: Made = serde_json::from_value(serde_json::to_value(&made).unwrap()).unwrap();
    assert_eq!(again, made);
}
