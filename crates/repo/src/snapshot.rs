//! Snapshot files: what makes a tree a restore point.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::point::{Meta, PointMeta};
use crate::{Error, Result, SnapshotId, machine};

/// The tag that tells our points from snapshots that somebody made with restic.
const OUR_TAG: &str = "xenkeep";

const PROGRAM_VERSION: &str = concat!("xenkeep ", env!("CARGO_PKG_VERSION"));

#[derive(Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) time: Timestamp,
    pub(crate) tree: Id,
    pub(crate) paths: Vec<String>,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    /// Who wrote it; restic does so since 0.17.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    program_version: String,
    /// Of a copy: the snapshot that it was made from, in whichever repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<Id>,
}

impl Snapshot {
    pub(crate) fn new(meta: Meta, tree: Id) -> Self {
        let mut tags = vec![OUR_TAG.to_owned()];
        tags.extend(meta.tags);
        Snapshot {
            time: meta.time,
            tree,
            paths: vec![meta.root],
            hostname: meta.host,
            username: machine::USER.to_owned(),
            tags: Some(tags),
            program_version: PROGRAM_VERSION.to_owned(),
            original: None,
        }
    }

    /// The same for another repository.
    pub(crate) fn copy_of(self, original: Id) -> Self {
        Snapshot { original: Some(original), program_version: PROGRAM_VERSION.to_owned(), ..self }
    }

    /// What it says of a point; `None` if it is none of ours.
    pub(crate) fn point(self, id: Id) -> Option<PointMeta> {
        let mut tags = self.tags?;
        let ours = tags.iter().position(|tag| tag == OUR_TAG)?;
        tags.remove(ours);
        let [root] = <[String; 1]>::try_from(self.paths).ok()?;
        Some(PointMeta { id: SnapshotId(id), time: self.time, host: self.hostname, tags, root, protected: None })
    }
}

/// Checks what a caller wants to write into a snapshot; returns the components of its root directory.
pub(crate) fn check(meta: &Meta) -> Result<Vec<&str>> {
    let invalid = |why: &str| Err(Error::Invalid(format!("a restore point cannot be named so: {why}")));
    if meta.host.is_empty() {
        return invalid("it has no host");
    }
    if meta.tags.iter().any(|tag| tag.is_empty() || tag.contains(',')) {
        return invalid("a tag is empty or holds a comma");
    }
    let Some(path) = meta.root.strip_prefix('/') else { return invalid("its root is no absolute path") };
    let components: Vec<&str> = path.split('/').collect();
    for component in &components {
        crate::tree::check_name(component)?;
    }
    Ok(components)
}
