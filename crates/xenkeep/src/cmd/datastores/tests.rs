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
