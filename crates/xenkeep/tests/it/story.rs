//! The main job, from an empty data directory to a restored VM, byte by byte.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use serde_json::Value;

use crate::lab::{Lab, MIB, disk, sha256, sha256_of};

fn originals() -> Vec<String> {
    vec![sha256(&disk(1, 24 * MIB)), sha256(&disk(2, 16 * MIB))]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_comes_back_beside_its_original_and_over_it() {
    let lab = Lab::new().await;

    // A pool and its certificate.
    let added = lab.add_client("lab", &lab.address()).ok();
    let pinned = added.stdout.replace(':', "").to_lowercase();
    assert!(pinned.contains(lab.sim().certificate_sha256()), "{added:#?}");
    let checked = lab.run(&["client", "check", "lab"]);
    assert_eq!(checked.code, 3, "no network of the pool has the purpose nbd: {checked:#?}");
    assert!(checked.stdout.contains("client lab can be used"), "{checked:#?}");

    // A datastore, and one backup of two disks.
    lab.run(&["datastore", "create", "store", "--path", &lab.text("store")]).ok();
    let web1 = lab.vm("web1");
    assert_eq!(lab.disks(&web1).await, originals());
    let backup = lab.run(&["backup", "lab", "web1", "--datastore", "store"]).ok();
    for word in ["backed up web1: point ", "read ", "new ", "stored ", "ratio "] {
        assert!(backup.stdout.contains(word), "{word:?} in {backup:#?}");
    }
    let points = lab.points();
    assert_eq!(points.len(), 1);
    let point = text(&points[0]["id"]).to_owned();
    assert!(backup.stdout.contains(&point), "{backup:#?}");
    let shown = lab.run(&["point", "show", &point[..6]]).ok();
    assert!(shown.stdout.contains(text(&web1["uuid"])), "{shown:#?}");
    assert_eq!(lab.points_of("web1").len(), 1);
    assert_eq!(lab.points_of("idle").len(), 0);
    lab.assert_clean(&["idle", "web1"]).await;

    // Without us: what the recovery sheet says is enough for restic.
    let sheet = lab.json(&["datastore", "recovery-sheet", "store"]);
    let restic = Command::new("restic")
        .env("RESTIC_PASSWORD", text(&sheet["password"]))
        .args(["--no-cache", "--repo", text(&sheet["path"]), "check", "--read-data"])
        .output()
        .unwrap();
    assert!(restic.status.success(), "{restic:?}");
    let file = lab.text("sheet.txt");
    lab.run(&["datastore", "recovery-sheet", "store", "-o", &file]).ok();
    assert!(std::fs::read_to_string(&file).unwrap().contains(text(&sheet["password"])));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Beside: another uuid, the same bytes, running.
    let restored = lab.run(&["restore", &point[..8], "--as", "web1-copy", "--start"]).ok();
    assert!(restored.stdout.contains("restored web1-copy"), "{restored:#?}");
    let copy = lab.vm("web1-copy");
    assert_ne!(copy["uuid"], web1["uuid"]);
    assert_eq!(copy["power_state"], "Running");
    assert_eq!(lab.disks(&copy).await, originals());
    assert_eq!(lab.disks(&lab.vm("web1")).await, originals());

    // Over: what was written since is gone, the uuid stays.
    lab.guest_write("web1", "0", 2 * MIB, "overwritten").await;
    lab.shut_down("web1").await;
    assert_ne!(lab.disks(&lab.vm("web1")).await, originals());
    lab.run(&["restore", &point, "--overwrite", "--yes"]).ok();
    let again = lab.vm("web1");
    assert_eq!(again["uuid"], web1["uuid"]);
    assert_eq!(lab.disks(&again).await, originals());
    lab.assert_clean(&["idle", "web1", "web1-copy"]).await;

    // A second backup shares what it can.
    let job = lab.json(&["backup", "lab", text(&web1["uuid"]), "--datastore", "store"]);
    assert_eq!(job["state"], "success");
    assert_eq!(job["result"]["point"]["new_bytes"], 0, "{job:#}");
    assert_eq!(lab.points().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_names_what_it_removes_and_needs_a_yes() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    let uuid = text(&lab.vm("web1")["uuid"]).to_owned();
    lab.shut_down("web1").await;

    let refused = lab.run(&["restore", &point, "--overwrite"]).complains(2, &["nobody is there to ask"]);
    for word in ["On pool lab this VM will be removed", &uuid, "state    halted", "disks    2, 40.0 MiB"] {
        assert!(refused.stderr.contains(word), "{word:?} in {refused:#?}");
    }
    assert_eq!(lab.json(&["job", "list", "--kind", "restore"]).as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_gone_comes_back_with_its_uuid() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("idle");
    let idle = lab.vm("idle");
    let before = lab.disks(&idle).await;
    lab.destroy("idle").await;
    lab.assert_clean(&["web1"]).await;

    let refused = lab.run(&["restore", &point, "--overwrite"]).complains(2, &["nothing will be removed"]);
    assert!(refused.stderr.contains(text(&idle["uuid"])), "{refused:#?}");
    lab.run(&["restore", &point, "--overwrite", "--yes", "--sr", "Second storage"]).ok();
    let back = lab.vm("idle");
    assert_eq!(back["uuid"], idle["uuid"]);
    assert_eq!(back["disks"][0]["sr"], "Second storage");
    assert_eq!(lab.disks(&back).await, before);
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_what_was_backed_up() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");

    // Raw: a sparse file a disk.
    let dir = lab.text("disks");
    let files = lab.json(&["export", &point, "--format", "raw", "-o", &dir]);
    for (index, original) in originals().iter().enumerate() {
        let file = lab.path("disks").join(format!("web1-{index}.raw"));
        assert_eq!(sha256_of(&file), *original);
        assert_eq!(text(&files[index]["sha256"]), original);
        assert_eq!(text(&files[index]["path"]), file.to_str().unwrap());
        assert!(file.metadata().unwrap().blocks() * 512 < 7 * MIB, "holes are kept");
    }
    assert_eq!(lab.path("disks").read_dir().unwrap().count(), 2, "no other file is left");

    // Never over a file, unless told.
    lab.run(&["export", &point, "--format", "raw", "-o", &dir]).complains(1, &["web1-0.raw exists", "--force"]);
    lab.run(&["export", &point, "--format", "raw", "-o", &dir, "--disk", "1", "--force"]).ok();

    // XVA: to a file, and the same to a pipe.
    let xva = lab.text("web1.xva");
    let told = lab.json(&["export", &point, "--format", "xva", "-o", &xva]);
    let sum = sha256_of(&lab.path("web1.xva"));
    assert_eq!(text(&told[0]["sha256"]), sum);
    lab.run(&["export", &point, "--format", "xva", "-o", &xva]).complains(1, &["web1.xva exists"]);
    let mut to_stdout = lab.command(&["export", &point, "--format", "raw", "--disk", "1", "-o", "-"]);
    let output = tokio::task::block_in_place(|| to_stdout.output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sha256(&output.stdout), originals()[1]);

    // What a pool takes back.
    let uuid = lab.import(std::fs::read(lab.path("web1.xva")).unwrap()).await;
    let vms = lab.json(&["vm", "list", "lab"]);
    let imported = vms.as_array().unwrap().iter().find(|vm| vm["uuid"] == uuid).unwrap();
    assert_eq!(lab.disks(imported).await, originals());
}
