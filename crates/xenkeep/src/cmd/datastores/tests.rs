use xenkeep_api::{DatastoreState, VerifyDepth, VerifyRequest};

use super::*;
use crate::cmd::samples::{self, GIB};

#[test]
fn what_is_known_of_a_datastore_is_listed_and_shown() {
    let verify = |seconds, depth, damaged_files, touched_points| LastVerify {
        at: samples::at(seconds),
        job: samples::job().id,
        request: VerifyRequest {
            depth,
            share_percent: (depth == VerifyDepth::Full).then_some(10.0),
            older_than_seconds: None,
        },
        damaged_files,
        touched_points,
    };
    let kept = Datastore {
        state: DatastoreState {
            points: 12,
            stored_bytes: Some(50 * GIB),
            verified_quick: Some(verify(1000, VerifyDepth::Quick, 0, 0)),
            verified_full: Some(verify(2000, VerifyDepth::Full, 2, 3)),
            pruned: Some(LastPrune {
                at: samples::at(3000),
                job: samples::job().id,
                deleted_bytes: 3 * GIB,
                reclaimable_bytes: GIB,
            }),
        },
        ..samples::datastore()
    };
    insta::assert_snapshot!("listing", listing(&[kept.clone(), samples::datastore()]));
    insta::assert_snapshot!("shown", shown(&kept));
    insta::assert_snapshot!("shown_new", shown(&samples::datastore()));
}

#[test]
fn a_recovery_sheet_says_all_that_is_needed() {
    let sheet = RecoverySheet {
        datastore: "store".into(),
        path: "/backup/store".into(),
        s3: None,
        repository_id: "c0ffee".into(),
        password: xenkeep_api::Secret::new("7d1c"),
    };
    insta::assert_snapshot!("sheet", sheet_text(&sheet));
    let s3 = S3Place {
        endpoint: Some("https://s3.example:9000".into()),
        bucket: "backup".into(),
        prefix: "lab/a".into(),
        region: Some("eu-1".into()),
        access_key_id: "AKID".into(),
        ca_certificate: Some("PEM".into()),
    };
    let sheet = RecoverySheet { path: s3.address(), s3: Some(s3), ..sheet };
    insta::assert_snapshot!("sheet_s3", sheet_text(&sheet));
}
