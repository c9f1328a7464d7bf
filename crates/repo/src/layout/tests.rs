#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const CHUNK: u32 = 512 << 10;

fn ids(count: u64) -> Vec<Id> {
    (0..count).map(|number| Id::of(&number.to_le_bytes())).collect()
}

#[test]
fn sizes_are_as_documented() {
    let layout = Layout::new(2 << 40, CHUNK).unwrap();
    assert_eq!((layout.chunks(), layout.extents(), layout.regions()), (4 << 20, 16 << 10, 64));
    assert_eq!(SEGMENT_CHUNKS * layout.chunk_bytes(), 8 << 20);
    assert_eq!(EXTENT_CHUNKS * layout.chunk_bytes(), 128 << 20);
    assert_eq!(REGION_CHUNKS * layout.chunk_bytes(), 32 << 30);
    assert!(Layout::new(u64::MAX, CHUNK).is_none());
    assert!(Layout::new(2 << 50, CHUNK).is_some());
    assert!(Layout::new((2 << 50) + 1, CHUNK).is_none());
}

#[test]
fn an_empty_disk_has_nothing() {
    let layout = Layout::new(0, CHUNK).unwrap();
    assert_eq!((layout.chunks(), layout.extents(), layout.regions()), (0, 0, 0));
}

#[test]
fn equal_extents_are_equal_trees() {
    let layout = Layout::new(1 << 40, CHUNK).unwrap();
    let chunks = ids(EXTENT_CHUNKS);
    assert_eq!(layout.extent_tree(0, &chunks).to_json(), layout.extent_tree(77, &chunks).to_json());
}

#[test]
fn numbered_directories_are_checked() {
    let tree = numbered_tree(&ids(300), 4);
    assert_eq!(numbered_subtrees(&tree, 4).unwrap(), ids(300));
    assert!(numbered_subtrees(&tree, 2).is_none());
    let mut holed = numbered_tree(&ids(3), 2);
    holed.nodes.remove(1);
    assert!(numbered_subtrees(&holed, 2).is_none());
}

#[test]
fn a_tree_of_another_size_is_no_extent() {
    let layout = Layout::new(100 * u64::from(CHUNK) + 5, CHUNK).unwrap();
    let tree = || layout.extent_tree(0, &ids(101));
    assert!(layout.extent_chunks(0, tree()).is_some());
    for size in [99, 100, 102, 200] {
        let other = Layout::new(size * u64::from(CHUNK), CHUNK).unwrap();
        assert!(other.extent_chunks(0, tree()).is_none(), "{size}");
    }
    let mut short = tree();
    short.nodes[3].content.pop();
    assert!(layout.extent_chunks(0, short).is_none());
    let mut long = tree();
    long.nodes[6].content.extend(ids(100));
    assert!(layout.extent_chunks(0, long).is_none());
}

proptest! {
    #[test]
    fn an_extent_survives(size in 1_u64..300 * u64::from(CHUNK), extent in 0_u64..2) {
        let layout = Layout::new(size, CHUNK).unwrap();
        prop_assume!(extent < layout.extents());
        let range = layout.extent(extent);
        let chunks = ids(range.end - range.start);
        let tree = layout.extent_tree(extent, &chunks);
        let total: u64 = tree.nodes.iter().map(|node| node.size).sum();
        let expected: u64 = range.map(|chunk| layout.chunk_len(chunk) as u64).sum();
        prop_assert_eq!(total, expected);
        prop_assert_eq!(layout.extent_chunks(extent, tree).unwrap(), chunks);
    }
}
