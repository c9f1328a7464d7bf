use super::*;
use crate::{PoolDisk, PoolSummary, PowerState};

fn vm(name: &str, uuid: &str) -> PoolVm {
    PoolVm {
        uuid: uuid.to_owned(),
        name: name.to_owned(),
        power_state: PowerState::Running,
        host: Some("xs1".to_owned()),
        tools: true,
        tags: vec!["prod".to_owned()],
        disks: vec![PoolDisk {
            position: "0".to_owned(),
            vdi_uuid: format!("d-{uuid}"),
            name: "system".to_owned(),
            size_bytes: 7,
            sr: "Shared".to_owned(),
        }],
    }
}

fn lab(vms: Vec<PoolVm>) -> Node {
    let host = PoolHost { uuid: "h1".to_owned(), name: "xs1".to_owned(), master: true, ..PoolHost::default() };
    let pool = PoolSummary { uuid: "p".to_owned(), members: vec![host], ..PoolSummary::default() };
    tree("lab", &PoolInventory { pool, vms, ..PoolInventory::default() })
}

#[test]
fn every_path_leads_back_to_its_node() {
    let root = lab(vec![
        vm("web1", "u1"),
        vm("a/b", "u2"),
        vm("100%", "u3"),
        vm("%2F", "u4"),
        vm("same", "u5"),
        vm("same", "u6"),
    ]);
    let mut todo = vec![&root];
    let mut seen = 0;
    while let Some(node) = todo.pop() {
        assert_eq!(find(&root, &node.path), Some(node), "{}", node.path);
        todo.extend(&node.children);
        seen += 1;
    }
    assert_eq!(seen, 1 + 6 + 1 + 6 + 6 + 1);
    assert_eq!(find(&root, "vms/a%2Fb").and_then(|node| node.uuid.as_deref()), Some("u2"));
    assert_eq!(find(&root, "/vms/u5/0/").map(|node| node.kind), Some(NodeKind::Disk));
    assert_eq!(find(&root, "vms/same"), None, "two have that name");
    assert_eq!(find(&root, "vms/nobody"), None);
}

#[test]
fn what_can_be_backed_up_says_how_it_is_named() {
    let root = lab(vec![vm("web1", "u1")]);
    let source = |path| find(&root, path).and_then(|node| node.source.as_deref());
    assert_eq!(source("vms/web1"), Some("vm:u1"));
    assert_eq!(source("meta-data"), Some("meta-data"));
    assert_eq!(source("host-backup"), Some("host-backup"));
    assert_eq!(source("host-backup/xs1"), Some("host-backup/h1"));
    assert_eq!(source("hosts/xs1"), None);
    assert_eq!(find(&root, "vms/web1").map(|vm| (vm.value("state"), vm.value("size"))), Some(("running", "7")));
}
