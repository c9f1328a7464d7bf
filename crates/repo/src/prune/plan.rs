//! What goes, what is repacked, and what stays.

use std::collections::BTreeMap;

use super::census::{Census, PackInfo};
use super::mark::MarkedPack;
use super::report::{PackClass, PackTotals, PruneOptions, Why};
use crate::id::Id;
use crate::index::IdSet;
use crate::pack::{PACK_BYTES, TREE_PACK_BYTES};

/// Small packs are put together when there are so many of them.
const MANY_SMALL: usize = 16;

/// A pack is small below this part of what it could be.
const SMALL_DIVISOR: u64 = 4;

/// Blobs that are taken out of packs in one run, at most: what must be remembered of each bounds memory.
const MAX_REPACKED_BLOBS: u64 = 2 << 20;

/// What a prune is going to do.
#[derive(Default)]
pub(super) struct Plan {
    /// Packs of which nothing is needed.
    pub(super) delete: Vec<MarkedPack>,
    /// Packs out of which the needed part is taken first.
    pub(super) repack: Vec<MarkedPack>,
    /// Packs that no index file names.
    pub(super) orphans: Vec<MarkedPack>,
    /// Index entries of packs that are not there, and that nobody needs.
    pub(super) missing: Vec<MarkedPack>,
    /// Bytes that are needed of what is repacked.
    pub(super) rewritten_bytes: u64,
    pub(super) used_bytes: u64,
    pub(super) unused_bytes: u64,
    classes: BTreeMap<Why, PackClass>,
}

struct Candidate<'a> {
    id: Id,
    pack: &'a PackInfo,
    why: Why,
}

impl Plan {
    /// `fresh` are packs of sessions of this process that still run, or did when the points were listed.
    pub(super) fn make(census: &Census, fresh: &IdSet, options: &PruneOptions) -> Self {
        let mut plan = Plan::default();
        let mut partly = Vec::new();
        let mut small: [Vec<Candidate<'_>>; 2] = Default::default();
        for (id, pack) in census.packs.iter().filter(|(id, _)| !fresh.contains(id)) {
            let marked = MarkedPack { id: *id, bytes: pack.bytes };
            if census.missing.contains(id) {
                plan.missing.push(marked);
                continue;
            }
            plan.used_bytes += pack.bytes - pack.unused_bytes().min(pack.bytes);
            plan.unused_bytes += pack.unused_bytes();
            if pack.used_blobs == 0 {
                let why = if pack.copied_bytes > 0 { Why::Duplicate } else { Why::NotNeeded };
                plan.delete.push(marked);
                plan.note(why, pack.bytes, pack.bytes);
            } else if pack.is_damaged && pack.lost_blobs == 0 {
                // However little that is: it would be damaged for ever.
                plan.rewritten_bytes += pack.used_bytes;
                plan.repack.push(marked);
                plan.note(Why::Mended, pack.bytes, pack.unused_bytes());
            } else if pack.is_damaged || !pack.is_whole() {
                if pack.is_damaged || pack.unused_bytes() > 0 {
                    plan.note(Why::Damaged, pack.bytes, pack.unused_bytes());
                }
            } else if is_small(pack) {
                small[usize::from(pack.holds_trees)].push(Candidate { id: *id, pack, why: Why::Small });
            } else if pack.unused_bytes() > 0 {
                partly.push(Candidate { id: *id, pack, why: Why::PartlyNeeded });
            }
        }
        for small in small {
            let many = small.len() >= MANY_SMALL;
            let worth = small.into_iter().filter(|small| many || small.pack.unused_bytes() > 0);
            partly.extend(
                worth.map(|small| Candidate { why: if many { small.why } else { Why::PartlyNeeded }, ..small }),
            );
        }
        plan.choose(partly, options);
        for (id, bytes) in census.orphans.iter().filter(|(id, _)| !fresh.contains(id)) {
            plan.orphans.push(MarkedPack { id: *id, bytes: *bytes });
            plan.unused_bytes += bytes;
            plan.note(Why::NotIndexed, *bytes, *bytes);
        }
        for packs in [&mut plan.delete, &mut plan.repack, &mut plan.missing] {
            packs.sort_unstable_by_key(|pack| pack.id);
        }
        plan
    }

    /// Repacks where it pays most, until little enough is unused.
    fn choose(&mut self, mut candidates: Vec<Candidate<'_>>, options: &PruneOptions) {
        // In whole numbers, so that the order is the same each time: a / b > c / d.
        candidates.sort_by(|a, b| {
            let (ours, theirs) = (u128::from(a.pack.unused_bytes()), u128::from(b.pack.unused_bytes()));
            (theirs * u128::from(a.pack.bytes)).cmp(&(ours * u128::from(b.pack.bytes))).then(a.id.cmp(&b.id))
        });
        let mut unused: u64 = candidates.iter().map(|candidate| candidate.pack.unused_bytes()).sum();
        let allowed = allowed_unused(self.used_bytes, options.max_unused_percent);
        let (mut blobs, limit) = (0, options.max_repack_bytes.unwrap_or(u64::MAX));
        for Candidate { id, pack, why } in candidates {
            if unused <= allowed && why != Why::Small {
                self.note(Why::WorthKeeping, pack.bytes, pack.unused_bytes());
            } else if self.rewritten_bytes + pack.used_bytes > limit || blobs + pack.used_blobs > MAX_REPACKED_BLOBS {
                self.note(Why::RepackLimit, pack.bytes, pack.unused_bytes());
            } else {
                unused -= pack.unused_bytes();
                blobs += pack.used_blobs;
                self.rewritten_bytes += pack.used_bytes;
                self.repack.push(MarkedPack { id, bytes: pack.bytes });
                self.note(why, pack.bytes, pack.unused_bytes());
            }
        }
    }

    fn note(&mut self, why: Why, bytes: u64, unused_bytes: u64) {
        let new = || PackClass { why, packs: PackTotals::default(), unused_bytes: 0 };
        let class = self.classes.entry(why).or_insert_with(new);
        class.packs.add(bytes);
        class.unused_bytes += unused_bytes;
    }

    pub(super) fn classes(&self) -> Vec<PackClass> {
        self.classes.values().cloned().collect()
    }

    /// All packs that are going to be deleted, as far as index files name them.
    pub(super) fn doomed(&self) -> impl Iterator<Item = &MarkedPack> {
        self.delete.iter().chain(&self.repack).chain(&self.missing)
    }
}

fn is_small(pack: &PackInfo) -> bool {
    let full = if pack.holds_trees { TREE_PACK_BYTES } else { PACK_BYTES } as u64;
    pack.bytes < full / SMALL_DIVISOR
}

/// How many bytes may be unused beside so many used ones.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of bytes"
)]
fn allowed_unused(used_bytes: u64, percent: f64) -> u64 {
    let share = (percent / 100.0).clamp(0.0, 1.0);
    if share >= 1.0 || !share.is_finite() {
        return u64::MAX;
    }
    (used_bytes as f64 * share / (1.0 - share)) as u64
}
