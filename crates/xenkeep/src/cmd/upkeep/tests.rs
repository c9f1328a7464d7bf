use xenkeep_api::{PruneClass, PruneWaiting, UndecidedFile};

use super::*;
use crate::cmd::samples::{self, GIB};

fn packs(packs: u64, bytes: u64) -> PackCount {
    PackCount { packs, bytes }
}

#[test]
fn a_prune_says_what_goes_and_what_waits() {
    let prune = PruneSummary {
        points: 12,
        used_bytes: 50 * GIB,
        unused_bytes: 2 * GIB,
        classes: vec![
            PruneClass { why: "no point refers to any of it".into(), count: packs(30, GIB), unused_bytes: GIB },
            PruneClass { why: "much of it is unused".into(), count: packs(3, GIB / 8), unused_bytes: GIB / 9 },
        ],
        to_delete: packs(33, GIB + GIB / 8),
        repacked: packs(3, GIB / 8),
        rewritten_bytes: GIB / 16,
        stored_bytes: 53 * GIB,
        reclaimable_bytes: GIB,
        marked: packs(33, GIB + GIB / 8),
        rescued_packs: 1,
        waiting: vec![
            PruneWaiting {
                count: packs(33, GIB + GIB / 8),
                reason: "the grace time is not over".into(),
                until: Some(samples::at(3600)),
            },
            PruneWaiting { count: packs(1, 9), reason: "restic on backup2 works in the datastore".into(), until: None },
        ],
        ..PruneSummary::default()
    };
    insta::assert_snapshot!("pruned", pruned("store", &prune));
    let dry = PruneSummary { dry_run: true, points: 1, used_bytes: GIB, ..PruneSummary::default() };
    insta::assert_snapshot!("prune_dry_run", pruned("store", &dry));
}

#[test]
fn a_verification_names_what_is_touched_and_what_can_be_done() {
    let good = VerifySummary { points: 3, packs_total: 40, bytes_total: 2 * GIB, ..VerifySummary::default() };
    insta::assert_snapshot!("verified_good", verified("store", &good));
    let touched = |point: &str, source_name: Option<&str>, disks: &[&str], whole| TouchedPoint {
        point: point.repeat(64),
        client_name: "lab".into(),
        source_uuid: samples::vm().uuid,
        source_name: source_name.map(Into::into),
        taken_at: samples::at(0),
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        files: if whole { Vec::new() } else { vec!["point.json".into()] },
        whole,
    };
    let bad = VerifySummary {
        request: VerifyRequest { depth: VerifyDepth::Full, ..VerifyRequest::default() },
        packs_read: 40,
        bytes_read: 2 * GIB,
        files: vec![DamagedFile {
            name: "data/ab/abcd".into(),
            why: "its content is not what its name says".into(),
            chunks: 3,
            lost_chunks: 2,
            points: 2,
            remedy: "back the VMs up again".into(),
        }],
        more_files: 7,
        undecided: vec![UndecidedFile { name: "data/cd/cdef".into(), why: "permission denied".into() }],
        touched: vec![touched("a", Some("web1"), &["0", "1"], false), touched("b", None, &[], true)],
        healed_chunks: 1,
        ..good
    };
    insta::assert_snapshot!("verified_bad", verified("store", &bad));
}

#[test]
fn a_copy_names_the_new_points() {
    let copy = CopySummary { points: vec![samples::point()], present: 1, read_bytes: GIB, stored_bytes: GIB / 2 };
    insta::assert_snapshot!("copied", copied("store to offsite", &copy));
}

#[test]
fn times_and_shares() {
    for (text, expected) in [("0s", 0), ("30m", 1800), ("1h", 3600), ("30d", 2_592_000), ("2w", 1_209_600)] {
        assert_eq!(seconds(text), Ok(expected), "{text}");
    }
    for bad in ["", "1", "h", "-1h", "1.5h", "1x", "99999999999999999999w", "99999999999999999w", "1é", "+1h"] {
        assert!(seconds(bad).is_err(), "{bad}");
    }
    for (text, expected) in [("5%", 5.0), ("0.5 %", 0.5), ("100", 100.0), ("0", 0.0)] {
        assert_eq!(percent(text), Ok(expected), "{text}");
    }
    for bad in ["", "%", "101", "-1", "NaN", "x%", "inf"] {
        assert!(percent(bad).is_err(), "{bad}");
    }
}
