//! SRs: where a restored VM's disks go, and whether they fit.

use std::collections::HashMap;

use xapi::{
    SrRef,
    record::{Pbd, Sr},
};
use xenkeep_api::Problem;

use crate::{
    context::Stop,
    point::DiskFile,
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
    attached: HashMap<SrRef, bool>,
}

/// Finds the SR for `disks`: the one called `wanted` (name-label or uuid), or the pool's default SR; checks that it has
/// room.
pub(crate) async fn choose(session: &Session, wanted: Option<&str>, disks: &[DiskFile]) -> Result<Chosen, Stop> {
    let candidates = Candidates::of(session).await?;
    let (reference, sr) = match wanted {
        Some(wanted) => candidates.named(session, wanted)?,
        None => candidates.default(session, disks).await?,
    };
    // What a scan long ago found says little about today.
    let sr = session.pool.sr_refreshed(&reference).await.unwrap_or(sr);
    candidates.check(&reference, &sr, disks)?;
    Ok(Chosen { sr: reference, name: sr.name_label })
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
        let mut attached = HashMap::new();
        for pbd in pbds.into_values() {
            *attached.entry(pbd.sr).or_insert(false) |= pbd.currently_attached;
        }
        Ok(Self { srs, attached })
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

    fn check(&self, reference: &SrRef, sr: &Sr, disks: &[DiskFile]) -> Result<(), Stop> {
        if !self.is_attached(reference) {
            return Err(Problem::new("sr.not_attached", format!("SR {} is not attached to any host", sr.name_label))
                .hint("plug the SR, or choose another one with --sr")
                .about(&sr.uuid)
                .into());
        }
        match sr.free_bytes() {
            Some(free) if free < needed(sr, disks) => Err(self.too_small(sr, disks).into()),
            _ => Ok(()),
        }
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
        let would_do = self.names(|reference, other| other.uuid != sr.uuid && self.fits(reference, other, disks));
        let hint = if would_do.is_empty() {
            "no other SR of the pool has enough room: free some space".to_owned()
        } else {
            format!("free some space, or choose another SR with --sr: {would_do}")
        };
        Problem::new(code, text).hint(hint).about(&sr.uuid)
    }

    fn fits(&self, reference: &SrRef, sr: &Sr, disks: &[DiskFile]) -> bool {
        self.is_attached(reference) && sr.free_bytes().is_none_or(|free| free >= needed(sr, disks))
    }

    fn is_attached(&self, reference: &SrRef) -> bool {
        self.attached.get(reference).copied().unwrap_or(false)
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
