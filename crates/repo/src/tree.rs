//! Directories, as restic stores them: blobs of JSON that name files with their chunks, and further directories.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Go's `os.ModeDir`, which restic writes into `mode`.
const MODE_DIR: u32 = 1 << 31;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeType {
    File,
    Dir,
    /// Symbolic links, devices and what else restic knows.
    #[serde(other)]
    Other,
}

/// An entry of a directory. Of what restic writes besides, nothing is needed to restore.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Escaped as Go's `strconv.Quote` does, without the quotes.
    name: String,
    #[serde(rename = "type")]
    pub(crate) node_type: NodeType,
    /// restic leaves it out if it is zero.
    #[serde(default)]
    mode: u32,
    mtime: Timestamp,
    atime: Timestamp,
    ctime: Timestamp,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) size: u64,
    /// The chunks of a file.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) content: Vec<Id>,
    /// The tree of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subtree: Option<Id>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Id>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Node {
    pub(crate) fn file(name: &str, time: Timestamp, size: u64, content: Vec<Id>) -> Self {
        Node { size, content, ..Node::new(name, time, NodeType::File, 0o600) }
    }

    pub(crate) fn dir(name: &str, time: Timestamp, subtree: Id) -> Self {
        Node { subtree: Some(subtree), ..Node::new(name, time, NodeType::Dir, MODE_DIR | 0o700) }
    }

    fn new(name: &str, time: Timestamp, node_type: NodeType, mode: u32) -> Self {
        Node {
            name: quote(name),
            node_type,
            mode,
            mtime: time,
            atime: time,
            ctime: time,
            uid: 0,
            gid: 0,
            size: 0,
            content: Vec::new(),
            subtree: None,
        }
    }

    /// Is this its name?
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == quote(name)
    }

    /// Its name, as long as that needs no escaping: so it is with all that we make below the root of a point.
    pub(crate) fn plain_name(&self) -> Option<&str> {
        (!self.name.contains('\\')).then_some(self.name.as_str())
    }
}

impl Node {
    /// Its name, for people.
    pub(crate) fn shown_name(&self) -> String {
        self.name.replace(r#"\""#, "\"").replace(r"\\", r"\")
    }
}

impl Tree {
    /// The blob. Nodes must come in the order of their names, for restic compares directories side by side.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("a tree is JSON");
        json.push(b'\n');
        json
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.is_called(name))
    }
}

/// Escapes a name. Go leaves printable letters of all scripts alone, and unquotes what it would have escaped.
fn quote(name: &str) -> String {
    name.replace('\\', r"\\").replace('"', r#"\""#)
}

/// Refuses what cannot be the name of a file or directory in any file system of ours.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let bad = name.is_empty() || name == "." || name == ".." || name.len() > 255;
    if bad || name.chars().any(|char| char == '/' || char.is_control()) {
        return Err(Error::Invalid(format!("{name:?} cannot be the name of a file")));
    }
    Ok(())
}
