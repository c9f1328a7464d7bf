//! What was found, in words.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::report::{AffectedPoint, DamagedFile, FileKind, VerifyReport};
use super::run::Damaged;
use super::trace::{Number, Traced, UNNAMED};
use crate::id::Id;
use crate::index::IdMap;
use crate::store::Name;

/// Damaged packs that a report lists one by one.
const MAX_LISTED: Number = 1000;

/// Damaged packs in the order of a report: those first with which most is lost.
fn in_order(damaged: &BTreeMap<Id, Damaged>) -> Vec<(&Id, &Damaged)> {
    let mut packs: Vec<_> = damaged.iter().collect();
    packs.sort_by_key(|(_, damaged)| Reverse(damaged.lost_chunks));
    packs
}

/// Numbers for damaged packs. All that a report has no room for share the one of the last pack in it.
pub(super) fn numbers(damaged: &BTreeMap<Id, Damaged>) -> IdMap<Number> {
    in_order(damaged).into_iter().zip(0..).map(|((pack, _), number)| (*pack, number.min(MAX_LISTED - 1))).collect()
}

/// Lists damaged packs, and what no index file names.
pub(super) fn add_packs(report: &mut VerifyReport, damaged: &BTreeMap<Id, Damaged>, traced: &mut Traced) {
    // Who needs a chunk, lost directories do not tell.
    let is_blind = traced.affected.values().flat_map(|points| points.values()).any(|point| point.whole);
    let mut points = |number| traced.affected.remove(&number).unwrap_or_default().into_values().collect();
    let packs = in_order(damaged);
    for ((pack, damaged), number) in packs.iter().zip(0..MAX_LISTED) {
        report.damaged.push(pack_file(**pack, damaged, points(number), is_blind));
    }
    report.more_damaged = packs.len().saturating_sub(MAX_LISTED as usize) as u64;
    let points: Vec<AffectedPoint> = points(UNNAMED);
    // Points that were removed meanwhile need nothing.
    if !points.is_empty() {
        let file = unnamed(report, traced.unnamed_count, points);
        report.damaged.push(file);
    }
}

fn pack_file(pack: Id, damaged: &Damaged, points: Vec<AffectedPoint>, is_blind: bool) -> DamagedFile {
    let Damaged { finding, chunks, lost_chunks } = damaged;
    let remedy = if *lost_chunks == 0 {
        "nothing is lost: every chunk can be read, here or in another pack; the next prune clears it up".to_owned()
    } else if points.is_empty() && !is_blind {
        "no point needs what is lost; the next prune clears it up".to_owned()
    } else {
        let salvage = if finding.missing {
            String::new()
        } else {
            format!(", or save the rest with `restic repair packs {pack}`")
        };
        format!(
            "check the medium; copy the file back from another copy of the repository{salvage}; a later backup that \
             reads the same data again stores it anew and heals these points; until then restore from other points"
        )
    };
    DamagedFile {
        name: Name::Pack(pack).to_string(),
        kind: FileKind::Pack,
        why: finding.why.clone(),
        chunks: *chunks,
        lost_chunks: *lost_chunks,
        points,
        remedy,
    }
}

fn unnamed(report: &VerifyReport, chunks: u64, points: Vec<AffectedPoint>) -> DamagedFile {
    let remedy = match report.unindexed_packs {
        0 => "copy missing index files and packs back from another copy of the repository; a later backup that reads the \
              same data again stores it anew"
            .to_owned(),
        packs => format!("{packs} packs are in no index file: `restic repair index` finds again what is in them"),
    };
    DamagedFile {
        name: "index".to_owned(),
        kind: FileKind::Chunks,
        why: format!("{chunks} chunks that points need are named by no index file"),
        chunks,
        lost_chunks: chunks,
        points,
        remedy,
    }
}
