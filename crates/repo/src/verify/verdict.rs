//! What was found, in words.

use std::collections::BTreeMap;

use super::report::{DamagedFile, FileKind, VerifyReport};
use super::run::Damaged;
use super::trace::{Traced, UNNAMED};
use crate::id::Id;
use crate::store::Name;

/// Damaged files that a report lists one by one.
const MAX_LISTED: usize = 1000;

/// Lists damaged packs, those first that touch most points, and what no index file names.
pub(super) fn add_packs(report: &mut VerifyReport, damaged: &BTreeMap<Id, Damaged>, traced: &mut Traced) {
    let mut files: Vec<DamagedFile> = Vec::new();
    for ((pack, damaged), number) in damaged.iter().zip(0..) {
        let points = traced.affected.remove(&number).unwrap_or_default().into_values().collect();
        files.push(pack_file(*pack, damaged, points));
    }
    if traced.unnamed_count > 0 {
        let points = traced.affected.remove(&UNNAMED).unwrap_or_default().into_values().collect();
        files.push(unnamed(report, traced.unnamed_count, points));
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.points.len()));
    let rest = files.split_off(files.len().min(MAX_LISTED));
    report.damaged.append(&mut files);
    report.more_damaged = rest.len() as u64;
    if let Some(last) = report.damaged.last_mut() {
        for point in rest.into_iter().flat_map(|file| file.points) {
            match last.points.iter_mut().find(|known| known.id == point.id) {
                Some(known) => known.merge(&point),
                None => last.points.push(point),
            }
        }
    }
}

fn pack_file(pack: Id, damaged: &Damaged, points: Vec<super::AffectedPoint>) -> DamagedFile {
    let Damaged { finding, chunks, lost_chunks } = damaged;
    let remedy = if *lost_chunks == 0 {
        "nothing is lost: every chunk can be read, here or in another pack; the next prune clears it up".to_owned()
    } else if points.is_empty() {
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

fn unnamed(report: &VerifyReport, chunks: u64, points: Vec<super::AffectedPoint>) -> DamagedFile {
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
