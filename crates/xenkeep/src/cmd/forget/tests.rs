use xenkeep_api::PointProtection;

use super::*;
use crate::cmd::samples;

#[test]
fn a_plan_says_of_each_point_what_becomes_of_it() {
    let point =
        |letter: &str, seconds| Point { id: letter.repeat(64), taken_at: samples::at(seconds), ..samples::point() };
    let protection = PointProtection { reason: "before the upgrade".into(), since: samples::at(0) };
    let protected = Point { protection: Some(protection), ..point("c", 0) };
    let planned_point = |point, kept: &[KeepReason]| PlannedPoint { point, kept: kept.to_vec() };
    let group = RetentionGroup {
        client_name: "lab".into(),
        source_uuid: samples::vm().uuid,
        source_name: "web1".into(),
        datastore: samples::datastore().id,
        points: vec![
            planned_point(point("a", 200_000), &[KeepReason::Last, KeepReason::Daily]),
            planned_point(point("b", 100_000), &[]),
            planned_point(protected, &[KeepReason::Protected]),
        ],
    };
    let plan = RetentionPlan {
        policy: RetentionPolicy { keep_last: 1, keep_daily: 1, ..RetentionPolicy::default() },
        time_zone: "Europe/Vienna".into(),
        groups: vec![group.clone(), RetentionGroup { source_name: "db1".into(), ..group }],
    };
    insta::assert_snapshot!("plan", planned(&plan, &names(&[samples::datastore()])));
}

#[test]
fn points_that_go_are_listed() {
    insta::assert_snapshot!("doomed", doomed(&[samples::point()], &names(&[samples::datastore()])));
}
