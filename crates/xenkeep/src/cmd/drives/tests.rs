use xenkeep_api::{Drive, JobId, Problem};

use super::*;
use crate::cmd::samples;

fn job(n: u128, subject: &str, waiting: Option<&str>) -> DriveJob {
    DriveJob {
        job: JobId(uuid::Uuid::from_u128(n << 96)),
        subject: subject.to_owned(),
        priority: 0,
        started_at: waiting.is_none().then(|| samples::job().created_at),
        waiting: waiting.map(|message| Problem::new("queue.drive_full", message)),
    }
}

fn state() -> DriveState {
    let drive = Drive {
        number: 13,
        name: Some("nightly".to_owned()),
        datastore: samples::datastore().id,
        datastore_name: "store".to_owned(),
        channels: 3,
        created_at: samples::job().created_at,
    };
    let waiting = job(3, "web3", Some("drive 13 has no free channel: 2 of 2 are taken"));
    DriveState { drive, running: vec![job(1, "web1", None), job(2, "web2", None)], waiting: 98, next: vec![waiting] }
}

#[test]
fn shows_channels_and_who_waits_why() {
    insta::assert_snapshot!("shown", shown(&state()));
    insta::assert_snapshot!("listed", listing(&[state()]));
}

#[test]
fn a_drive_narrower_than_its_jobs_shows_all_of_them() {
    let mut narrow = state();
    narrow.drive.channels = 1;
    let text = channels(&narrow);
    assert!(text.contains("web1") && text.contains("web2") && !text.contains("free"), "{text}");
}
