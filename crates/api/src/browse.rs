//! A pool as a tree: what `client browse` shows, and what its nodes are called where a source is asked for.
//!
//! ```text
//! lab ─┬─ hosts ─── xs1
//!      ├─ vms ───── web1 ─── 0 (disk)
//!      ├─ srs, networks
//!      ├─ meta-data
//!      └─ host-backup ─── xs1
//! ```

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{PoolHost, PoolInventory, PoolVm};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// The pool itself.
    Pool,
    /// A place for nodes of one kind.
    Folder,
    /// A host.
    Host,
    /// A VM.
    Vm,
    /// A disk of a VM.
    Disk,
    /// An SR.
    Sr,
    /// A network.
    Network,
    /// The pool's database.
    MetaData,
    /// The control domains of all hosts, or of one.
    HostBackup,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Where it stands: what `client browse CLIENT/PATH` takes. Slashes in names are written `%2F`, percent signs `%25`;
    /// where several have one name, the uuid stands for it.
    pub path: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// XAPI's uuid, if it has one.
    pub uuid: Option<String>,
    /// What a task takes as its source to back this up: `vm:UUID`, `meta-data`, `host-backup`, `host-backup/UUID`.
    pub source: Option<String>,
    /// What there is to know of it, name and value each.
    pub facts: Vec<Fact>,
    /// What is in it.
    #[schema(no_recursion)]
    pub children: Vec<Node>,
}

/// Something to know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// What: `state`, `tools`, `size`, `sr` …
    pub name: String,
    /// Sizes in bytes, as text.
    pub value: String,
}

/// A name as one step of a path.
#[must_use]
pub fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// The name that a step of a path means.
#[must_use]
pub fn unescape(step: &str) -> String {
    step.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
}

/// The whole tree of a client's pool.
#[must_use]
pub fn tree(client: &str, inventory: &PoolInventory) -> Node {
    let pool = &inventory.pool;
    let mut root = Node::new(String::new(), client, NodeKind::Pool)
        .with_uuid(&pool.uuid)
        .fact("name", &pool.name)
        .fact("product", &pool.product);
    root.children = vec![
        folder("hosts", hosts(&pool.members)),
        folder("vms", vms(&inventory.vms)),
        folder("srs", srs(inventory)),
        folder("networks", networks(inventory)),
        Node {
            source: Some("meta-data".to_owned()),
            ..Node::new("meta-data".to_owned(), "meta-data", NodeKind::MetaData)
        },
        host_backup(&pool.members),
    ];
    root
}

/// The node at `path`: steps are names as [`escape`] writes them, or uuids. None if there is none, or if a name is that
/// of several nodes.
#[must_use]
pub fn find<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    let mut node = root;
    for step in path.split('/').filter(|step| !step.is_empty()) {
        let name = unescape(step);
        let by_uuid = node.children.iter().find(|child| child.uuid.as_deref() == Some(&name));
        node = match by_uuid {
            Some(child) => child,
            None => {
                let mut named = node.children.iter().filter(|child| child.name == name);
                match (named.next(), named.next()) {
                    (Some(child), None) => child,
                    _ => return None,
                }
            }
        };
    }
    Some(node)
}

impl Node {
    fn new(path: String, name: &str, kind: NodeKind) -> Self {
        Self { path, name: name.to_owned(), kind, uuid: None, source: None, facts: Vec::new(), children: Vec::new() }
    }

    fn with_uuid(mut self, uuid: &str) -> Self {
        self.uuid = Some(uuid.to_owned());
        self
    }

    fn fact(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push(Fact { name: name.to_owned(), value });
        }
        self
    }

    /// The value of a fact; empty if there is none.
    #[must_use]
    pub fn value(&self, fact: &str) -> &str {
        self.facts.iter().find(|known| known.name == fact).map_or("", |known| known.value.as_str())
    }
}

fn folder(name: &str, children: Vec<Node>) -> Node {
    Node { children, ..Node::new(name.to_owned(), name, NodeKind::Folder) }
}

/// One step of a path for each: the name, or the uuid where others have the same name.
fn steps<'a>(things: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<String> {
    let alone = |name: &str| things.clone().filter(|(other, _)| *other == name).count() == 1 && !name.is_empty();
    things.clone().map(|(name, uuid)| if alone(name) { escape(name) } else { uuid.to_owned() }).collect()
}

fn hosts(members: &[PoolHost]) -> Vec<Node> {
    let steps = steps(members.iter().map(|host| (host.name.as_str(), host.uuid.as_str())));
    members
        .iter()
        .zip(steps)
        .map(|(host, step)| {
            let management: Vec<String> = host
                .interfaces
                .iter()
                .filter(|card| card.management)
                .map(|card| format!("{} {} ({})", card.device, card.address, card.network))
                .collect();
            Node::new(format!("hosts/{step}"), &host.name, NodeKind::Host)
                .with_uuid(&host.uuid)
                .fact("role", if host.master { "master" } else { "member" })
                .fact("state", if host.live { "up" } else { "down" })
                .fact("address", &host.address)
                .fact("management", management.join(", "))
                .fact("product", &host.product)
        })
        .collect()
}

fn vms(vms: &[PoolVm]) -> Vec<Node> {
    let steps = steps(vms.iter().map(|vm| (vm.name.as_str(), vm.uuid.as_str())));
    vms.iter().zip(steps).map(|(vm, step)| vm_node(vm, &format!("vms/{step}"))).collect()
}

fn vm_node(vm: &PoolVm, path: &str) -> Node {
    let mut node = Node::new(path.to_owned(), &vm.name, NodeKind::Vm)
        .with_uuid(&vm.uuid)
        .fact("state", format!("{:?}", vm.power_state).to_lowercase())
        .fact("host", vm.host.clone().unwrap_or_default())
        .fact("tools", if vm.tools { "yes" } else { "no" })
        .fact("size", vm.size_bytes().to_string())
        .fact("tags", vm.tags.join(","));
    node.source = Some(format!("vm:{}", vm.uuid));
    node.children = vm
        .disks
        .iter()
        .map(|disk| {
            Node::new(format!("{path}/{}", escape(&disk.position)), &disk.position, NodeKind::Disk)
                .with_uuid(&disk.vdi_uuid)
                .fact("label", &disk.name)
                .fact("size", disk.size_bytes.to_string())
                .fact("sr", &disk.sr)
        })
        .collect();
    node
}

fn srs(inventory: &PoolInventory) -> Vec<Node> {
    let steps = steps(inventory.srs.iter().map(|sr| (sr.name.as_str(), sr.uuid.as_str())));
    let nodes = inventory.srs.iter().zip(steps).map(|(sr, step)| {
        let number = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        Node::new(format!("srs/{step}"), &sr.name, NodeKind::Sr)
            .with_uuid(&sr.uuid)
            .fact("type", &sr.kind)
            .fact("state", if sr.attached { "attached" } else { "detached" })
            .fact("default", if sr.default { "yes" } else { "" })
            .fact("shared", if sr.shared { "yes" } else { "no" })
            .fact("size", number(sr.size_bytes))
            .fact("free", number(sr.free_bytes))
    });
    nodes.collect()
}

fn networks(inventory: &PoolInventory) -> Vec<Node> {
    let steps = steps(inventory.networks.iter().map(|network| (network.name.as_str(), network.uuid.as_str())));
    let nodes = inventory.networks.iter().zip(steps).map(|(network, step)| {
        Node::new(format!("networks/{step}"), &network.name, NodeKind::Network)
            .with_uuid(&network.uuid)
            .fact("bridge", &network.bridge)
            .fact("management", if network.management { "yes" } else { "" })
            .fact("purpose", network.purpose.join(","))
    });
    nodes.collect()
}

fn host_backup(members: &[PoolHost]) -> Node {
    let mut node = Node::new("host-backup".to_owned(), "host-backup", NodeKind::HostBackup);
    node.source = Some("host-backup".to_owned());
    let steps = steps(members.iter().map(|host| (host.name.as_str(), host.uuid.as_str())));
    node.children = members
        .iter()
        .zip(steps)
        .map(|(host, step)| Node {
            source: Some(format!("host-backup/{}", host.uuid)),
            ..Node::new(format!("host-backup/{step}"), &host.name, NodeKind::HostBackup).with_uuid(&host.uuid)
        })
        .collect();
    node
}

#[cfg(test)]
mod tests;
