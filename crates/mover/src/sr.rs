//! SRs: where a restored VM's disks go, and whether they fit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xapi::{
    HostRef, SrRef,
    record::{Pbd, Sr},
};
use xenkeep_api::{PlannedSr, Problem, RestorePlaces};

use crate::{
    context::Stop,
    point::{DiskFile, MEMORY},
    problem::{self, bytes},
    session::{OrStop, Session},
};

/// An SR that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) sr: SrRef,
    pub(crate) name: String,
}

/// All SRs that can hold disks, with what is needed to judge them.
struct Candidates {
    srs: HashMap<SrRef, Sr>,
    /// The hosts that see an SR now.
    seen_by: HashMap<SrRef, BTreeSet<HostRef>>,
}

/// Which SR each disk of a restore goes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// Position of a disk and its SR, in the order of the point's disks.
    pub(crate) disks: Vec<(String, Chosen)>,
    /// Where a VM without disks is imported to.
    pub(crate) fallback: Option<Chosen>,
}

impl Layout {
    /// The SRs, each with the positions of its disks: that of the first disk comes first.
    pub(crate) fn groups(&self) -> Vec<(Chosen, Vec<String>)> {
        let mut groups: Vec<(Chosen, Vec<String>)> = Vec::new();
        for (position, sr) in &self.disks {
            match groups.iter_mut().find(|(known, _)| known.sr == sr.sr) {
                Some((_, positions)) => positions.push(position.clone()),
                None => groups.push((sr.clone(), vec![position.clone()])),
            }
        }
        if groups.is_empty() {
            groups.extend(self.fallback.iter().map(|sr| (sr.clone(), Vec::new())));
        }
        groups
    }
}

/// SRs of a restore, as far as they could be found, and what speaks against them.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) layout: Layout,
    /// uuid and name of the SR of each disk.
    pub(crate) by_position: BTreeMap<String, (String, String)>,
    pub(crate) srs: Vec<PlannedSr>,
    pub(crate) refusals: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Only the removal of the original's disks beforehand makes room.
    pub(crate) needs_freed: bool,
}

/// What the removal of the original's disks beforehand would free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freed {
    pub(crate) by_sr: HashMap<SrRef, u64>,
    /// It was asked for.
    pub(crate) asked: bool,
}

/// Finds the SRs of a restore (name-label or uuid for single disks, or for all; else the pool's default SR), and looks
/// whether they have room.
pub(crate) async fn plan(
    session: &Session,
    places: &RestorePlaces,
    disks: &[DiskFile],
    freed: &Freed,
) -> Result<Planned, Stop> {
    let mut candidates = Candidates::of(session).await?;
    let mut planned = Planned::default();
    let mut common = None;
    let places_own =
        |file: &DiskFile| file.disk.position == MEMORY || places.disk_srs.contains_key(&file.disk.position);
    let without_own =
        disks.iter().any(|file| !places_own(file)) || disks.iter().all(|file| file.disk.position == MEMORY);
    if without_own {
        let found = match &places.sr {
            Some(wanted) => candidates.named(session, wanted),
            None => candidates.default(session, disks).await,
        };
        common = keep(found, &mut planned.refusals)?;
    }
    let mut chosen: Vec<(&DiskFile, SrRef)> = Vec::new();
    for file in disks {
        // The memory goes along with the VM itself, and so with its first disk.
        if let (MEMORY, Some((_, first))) = (file.disk.position.as_str(), chosen.first()) {
            let first = first.clone();
            chosen.push((file, first));
            continue;
        }
        let found = match places.disk_srs.get(&file.disk.position) {
            Some(wanted) => keep(candidates.named(session, wanted), &mut planned.refusals)?,
            None => common.clone(),
        };
        chosen.extend(found.map(|(reference, _)| (file, reference)));
    }
    let mut used: Vec<SrRef> = Vec::new();
    for reference in chosen.iter().map(|(_, sr)| sr).chain(common.iter().map(|(sr, _)| sr)) {
        if !used.contains(reference) {
            used.push(reference.clone());
        }
    }
    for reference in &used {
        // What a scan long ago found says little about today.
        if let Ok(fresh) = session.pool.sr_refreshed(reference).await {
            candidates.srs.insert(reference.clone(), fresh);
        }
        let there: Vec<DiskFile> =
            chosen.iter().filter(|(_, sr)| sr == reference).map(|(file, _)| (*file).clone()).collect();
        candidates.judge(reference, &there, freed, &mut planned);
    }
    for (file, reference) in chosen {
        let Some(sr) = candidates.srs.get(&reference) else { continue };
        let position = file.disk.position.clone();
        planned.by_position.insert(position.clone(), (sr.uuid.clone(), sr.name_label.clone()));
        planned.layout.disks.push((position, Chosen { sr: reference.clone(), name: sr.name_label.clone() }));
    }
    planned.layout.fallback = common.map(|(sr, record)| Chosen { sr, name: record.name_label });
    if let Some(warning) = candidates.no_common_host(&used) {
        planned.warnings.push(warning);
    }
    Ok(planned)
}

/// What was found; a refusal is put to the others.
fn keep<T>(found: Result<T, Stop>, refusals: &mut Vec<Problem>) -> Result<Option<T>, Stop> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Problem(problem)) if problem.code.starts_with("sr.") => {
            if !refusals.contains(&problem) {
                refusals.push(*problem);
            }
            Ok(None)
        }
        Err(stop) => Err(stop),
    }
}

/// An import into `chosen` ran out of room in mid-stream: says so, with today's numbers.
pub(crate) async fn full(session: &Session, chosen: &Chosen, disks: &[DiskFile]) -> Problem {
    let fallback = || problem::api(&session.client, "SR_FULL", &[]);
    let Ok(candidates) = Candidates::of(session).await else { return fallback() };
    match candidates.srs.get(&chosen.sr) {
        Some(sr) => {
            let sr = session.pool.sr_refreshed(&chosen.sr).await.unwrap_or_else(|_| sr.clone());
            candidates.ran_full(&sr, disks)
        }
        None => fallback(),
    }
}

impl Candidates {
    async fn of(session: &Session) -> Result<Self, Stop> {
        let mut srs: HashMap<SrRef, Sr> = session.pool.records().await.or_stop(session)?;
        srs.retain(|_, sr| sr.holds_disks());
        let pbds: HashMap<_, Pbd> = session.pool.records().await.or_stop(session)?;
        let mut seen_by: HashMap<SrRef, BTreeSet<HostRef>> = HashMap::new();
        for pbd in pbds.into_values().filter(|pbd| pbd.currently_attached) {
            seen_by.entry(pbd.sr).or_default().insert(pbd.host);
        }
        Ok(Self { srs, seen_by })
    }

    fn named(&self, session: &Session, wanted: &str) -> Result<(SrRef, Sr), Stop> {
        let found: Vec<(&SrRef, &Sr)> =
            self.srs.iter().filter(|(_, sr)| sr.uuid == wanted || sr.name_label == wanted).collect();
        match found.as_slice() {
            [(reference, sr)] => Ok(((*reference).clone(), (*sr).clone())),
            [] => Err(Problem::new(
                "sr.not_found",
                format!("pool {} has no SR {wanted:?} for disks", session.client.name),
            )
            .hint(format!("choose one of: {}", self.names(|_, _| true)))
            .about(wanted)
            .into()),
            several => {
                let mut uuids: Vec<&str> = several.iter().map(|(_, sr)| sr.uuid.as_str()).collect();
                uuids.sort_unstable();
                Err(Problem::new(
                    "sr.name_ambiguous",
                    format!(
                        "pool {} has {} SRs called {wanted:?}: {}",
                        session.client.name,
                        uuids.len(),
                        uuids.join(", ")
                    ),
                )
                .hint("name it by its uuid")
                .about(wanted)
                .into())
            }
        }
    }

    async fn default(&self, session: &Session, disks: &[DiskFile]) -> Result<(SrRef, Sr), Stop> {
        let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
        match self.srs.get(&pool.default_sr) {
            Some(sr) => Ok((pool.default_sr, sr.clone())),
            None => Err(Problem::new("sr.no_default", format!("pool {} has no default SR", session.client.name))
                .hint(format!("choose one with --sr: {}", self.names(|reference, sr| self.fits(reference, sr, disks))))
                .into()),
        }
    }

    /// Puts the SR and what speaks against it to the plan.
    fn judge(&self, reference: &SrRef, disks: &[DiskFile], freed: &Freed, planned: &mut Planned) {
        let Some(sr) = self.srs.get(reference) else { return };
        let wanted = needed(sr, disks);
        let would_free = freed.by_sr.get(reference).copied().unwrap_or(0);
        planned.srs.push(PlannedSr {
            uuid: sr.uuid.clone(),
            name: sr.name_label.clone(),
            free_bytes: sr.free_bytes(),
            needed_bytes: wanted,
            freed_bytes: if freed.asked { would_free } else { 0 },
        });
        if !self.is_attached(reference) {
            let problem = Problem::new("sr.not_attached", format!("SR {} is not attached to any host", sr.name_label));
            planned.refusals.push(
                problem
                    .hint(format!("plug the SR, or choose another one with --sr: {}", self.would_do(sr, disks)))
                    .about(&sr.uuid),
            );
            return;
        }
        let Some(free) = sr.free_bytes().filter(|free| *free < wanted) else { return };
        let enough_afterwards = free.saturating_add(would_free) >= wanted;
        if enough_afterwards && freed.asked {
            planned.needs_freed = true;
            return;
        }
        let mut problem = self.too_small(sr, disks);
        if enough_afterwards && let Some(hint) = &mut problem.hint {
            hint.push_str(&format!(
                "; or let the original's disks there, {}, be removed before the restore: --destroy-first",
                bytes(would_free)
            ));
        }
        planned.refusals.push(problem);
    }

    /// A VM runs on a host that sees all of its SRs.
    fn no_common_host(&self, used: &[SrRef]) -> Option<Problem> {
        let mut sets = used.iter().filter_map(|sr| self.seen_by.get(sr));
        let mut common = sets.next()?.clone();
        for set in sets {
            common.retain(|host| set.contains(host));
        }
        let names: Vec<&str> = used.iter().filter_map(|sr| Some(self.srs.get(sr)?.name_label.as_str())).collect();
        common.is_empty().then(|| {
            Problem::new("sr.no_common_host", format!("no host sees all of the SRs {}", names.join(", ")))
                .hint("the VM can be restored, but not started, until its disks are on SRs of one host")
        })
    }

    fn too_small(&self, sr: &Sr, disks: &[DiskFile]) -> Problem {
        let free = sr.free_bytes().map_or_else(|| "an unknown amount".to_owned(), bytes);
        let needed = bytes(needed(sr, disks));
        self.no_room(
            "sr.too_small",
            format!("SR {} has {free} free, the disks need {needed}", sr.name_label),
            sr,
            disks,
        )
    }

    /// By now the pool has undone the import, and what it took is free again.
    fn ran_full(&self, sr: &Sr, disks: &[DiskFile]) -> Problem {
        let free = sr.free_bytes().map_or_else(String::new, |free| format!("; without them {} are free", bytes(free)));
        let needed = bytes(needed(sr, disks));
        let text = format!("SR {} ran full while the disks, which need {needed}, were written{free}", sr.name_label);
        self.no_room("sr.full", text, sr, disks)
    }

    fn no_room(&self, code: &str, text: String, sr: &Sr, disks: &[DiskFile]) -> Problem {
        let would_do = self.would_do(sr, disks);
        let hint = if would_do.is_empty() {
            "no other SR of the pool has enough room: free some space".to_owned()
        } else {
            format!("free some space, or choose another SR with --sr: {would_do}")
        };
        Problem::new(code, text).hint(hint).about(&sr.uuid)
    }

    fn would_do(&self, sr: &Sr, disks: &[DiskFile]) -> String {
        self.names(|reference, other| other.uuid != sr.uuid && self.fits(reference, other, disks))
    }

    fn fits(&self, reference: &SrRef, sr: &Sr, disks: &[DiskFile]) -> bool {
        self.is_attached(reference) && sr.free_bytes().is_none_or(|free| free >= needed(sr, disks))
    }

    fn is_attached(&self, reference: &SrRef) -> bool {
        self.seen_by.get(reference).is_some_and(|hosts| !hosts.is_empty())
    }

    fn names(&self, which: impl Fn(&SrRef, &Sr) -> bool) -> String {
        let mut names: Vec<String> = self
            .srs
            .iter()
            .filter(|(reference, sr)| which(reference, sr))
            .map(|(_, sr)| match sr.free_bytes() {
                Some(free) => format!("{} ({} free)", sr.name_label, bytes(free)),
                None => sr.name_label.clone(),
            })
            .collect();
        names.sort();
        names.join(", ")
    }
}

/// Logical volumes take a disk's full size at once, files only what is written to them.
pub(crate) fn is_thick(sr: &Sr) -> bool {
    sr.kind.starts_with("lvm")
}

fn needed(sr: &Sr, disks: &[DiskFile]) -> u64 {
    let of = |file: &DiskFile| if is_thick(sr) { file.disk.size_bytes } else { file.data_bytes };
    disks.iter().map(of).sum()
}
