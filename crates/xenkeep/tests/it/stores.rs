//! Datastores on an S3 server, and what a new server makes of datastores that are there already.

use std::process::Command;

use serde_json::Value;

use crate::lab::{Lab, MIB, disk, sha256};
use crate::moto::{self, Place};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn restic(repository: &str, password: &str, place: Option<&Place>, args: &[&str]) -> bool {
    let mut restic = Command::new("restic");
    restic.args(["--no-cache", "--repo", repository]).args(args).env("RESTIC_PASSWORD", password);
    if let Some(place) = place {
        restic.env("AWS_ACCESS_KEY_ID", &place.access_key_id).env("AWS_SECRET_ACCESS_KEY", &place.secret_access_key);
    }
    restic.output().expect("restic must be installed").status.success()
}

/// Throws away everything that the server knew, and starts one that knows nothing.
fn start_anew(lab: &mut Lab) {
    lab.stop_server();
    std::fs::remove_dir_all(lab.data()).unwrap();
    lab.start_server(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_restores_from_a_bucket_that_another_one_has_filled() {
    let mut lab = Lab::new().await;
    lab.add_client("lab", &lab.address()).ok();
    let place = moto::place();
    let keys = lab.text("access-key");
    std::fs::write(&keys, format!("{}\n{}\n", place.access_key_id, place.secret_access_key)).unwrap();
    let at = ["--s3-endpoint", &place.endpoint, "--bucket", &place.bucket, "--prefix", &place.prefix];
    let at = [&at[..], &["--access-key-file", &keys]].concat();
    let created = lab.run(&[&["datastore", "create", "store"], &at[..]].concat()).ok();
    assert!(created.stdout.contains(&place.restic()), "{created:#?}");
    let point = lab.back_up("web1");

    // What the sheet says is enough for restic; the secret of the access key is nowhere.
    let sheet = lab.json(&["datastore", "recovery-sheet", "store"]);
    let password = text(&sheet["password"]).to_owned();
    assert!(restic(text(&sheet["path"]), &password, Some(&place), &["check", "--read-data"]));
    let printed = lab.run(&["datastore", "recovery-sheet", "store"]).ok();
    let shown = lab.run(&["datastore", "show", "store", "--output", "json"]).ok();
    for said in [&printed, &shown] {
        assert!(said.stdout.contains(&place.access_key_id), "{said:#?}");
        assert!(!said.stdout.contains(&place.secret_access_key), "{said:#?}");
    }
    for entry in std::fs::read_dir(lab.data()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let secret = place.secret_access_key.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
    }
    // Neither the same place nor one within it can be had twice.
    let within = format!("{}/within", place.prefix);
    let mut nested = at.clone();
    nested[5] = &within;
    lab.run(&[&["datastore", "create", "other"], &nested[..]].concat()).complains(1, &["overlaps with"]);

    start_anew(&mut lab);
    let key_file = lab.text("password.txt");
    std::fs::write(&key_file, format!("{password}\n")).unwrap();
    let wrong = lab.text("wrong.txt");
    std::fs::write(&wrong, "wrong\n").unwrap();
    let attach = |file: &str| lab.run(&[&["datastore", "attach", "found"], &at[..], &["--key-file", file]].concat());
    attach(&wrong).complains(1, &["password opens none of the keys"]);
    let attached = attach(&key_file).ok();
    assert!(attached.stdout.contains("1 restore points, 1 of them new"), "{attached:#?}");
    let points = lab.points();
    assert_eq!((points.len(), text(&points[0]["id"])), (1, point.as_str()));
    lab.run(&[&["datastore", "attach", "twice"], &at[..], &["--key-file", &key_file]].concat())
        .complains(1, &["overlaps with"]);

    // A pool of another name, which this server has never backed up.
    let refused = lab.run(&["restore", &point, "--as", "web1-copy"]).complains(1, &["has been removed"]);
    assert!(refused.stderr.contains("--client"), "{refused:#?}");
    lab.add_client("rebuilt", &lab.address()).ok();
    lab.run(&["restore", &point, "--as", "web1-copy", "--client", "rebuilt"]).ok();
    let vms = lab.json(&["vm", "list", "rebuilt"]);
    let copy = vms.as_array().unwrap().iter().find(|vm| vm["name"] == "web1-copy").unwrap();
    assert_eq!(lab.disks(copy).await, [sha256(&disk(1, 24 * MIB)), sha256(&disk(2, 16 * MIB))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_makes_the_catalogue_agree_with_the_repository() {
    let lab = Lab::new().await;
    lab.set_up();
    let points = [lab.back_up("web1"), lab.back_up("idle"), lab.back_up("idle")];
    let sheet = lab.json(&["datastore", "recovery-sheet", "store"]);
    let (path, password) = (text(&sheet["path"]), text(&sheet["password"]));
    // Somebody removes one with restic, and another one's snapshot file rots.
    assert!(restic(path, password, None, &["forget", &points[0]]));
    let snapshot = lab.path("store/snapshots").join(&points[1]);
    let good = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, b"rot").unwrap();
    let rescan = lab.run(&["datastore", "rescan", "store"]);
    assert_eq!(rescan.code, 3, "{rescan:#?}");
    for word in ["1 restore points", "1 are gone", "1 can't be read"] {
        assert!(rescan.stdout.contains(word), "{word}: {rescan:#?}");
    }
    assert!(rescan.stderr.contains(&points[1][..8]), "{rescan:#?}");
    let listed = |lab: &Lab| {
        let mut ids: Vec<_> = lab.points().iter().map(|point| text(&point["id"]).to_owned()).collect();
        ids.sort();
        ids
    };
    let mut left = points[1..].to_vec();
    left.sort();
    assert_eq!(listed(&lab), left, "what is damaged is not forgotten");

    std::fs::write(&snapshot, good).unwrap();
    let rescan = lab.run(&["datastore", "rescan", "store"]).ok();
    assert!(rescan.stdout.contains("2 restore points, 0 of them new"), "{rescan:#?}");
    assert_eq!(listed(&lab), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_password_opens_for_restic_and_the_last_one_stays() {
    let lab = Lab::new().await;
    lab.set_up();
    let path = lab.text("store");
    let file = lab.text("auditor.txt");
    std::fs::write(&file, "for the auditor\n").unwrap();
    let short = lab.text("short.txt");
    std::fs::write(&short, "short\n").unwrap();
    let add = |file: &str| lab.run(&["datastore", "key", "add", "store", "--name", "auditor", "--password-file", file]);
    add(&short).complains(1, &["at least 8 characters"]);
    add(&file).ok();
    assert!(restic(&path, "for the auditor", None, &["cat", "config"]));
    let keys = lab.json(&["datastore", "key", "list", "store"]);
    let keys = keys.as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let find = |in_use: bool| keys.iter().find(|key| key["in_use"] == in_use).unwrap();
    assert_eq!(find(false)["name"], "auditor");
    let ours = text(&find(true)["id"]);
    lab.run(&["datastore", "key", "remove", "store", &ours[..8]]).complains(1, &["the one that xenkeep itself uses"]);
    lab.run(&["datastore", "key", "remove", "store", &text(&find(false)["id"])[..8]]).ok();
    assert!(!restic(&path, "for the auditor", None, &["cat", "config"]));
    lab.run(&["datastore", "key", "remove", "store", "00000000"]).complains(1, &["has no key"]);
    // No password is left in what is kept of jobs.
    for entry in std::fs::read_dir(lab.data()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(15).any(|window| window == b"for the auditor"));
    }
}
