#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_tree_is_written_as_restic_reads_it() {
    let tree = Tree {
        nodes: vec![
            Node::file("0", Timestamp::UNIX_EPOCH, 3, vec![Id::from_bytes([0xab; 32])]),
            Node::dir(r#"a "b\c""#, Timestamp::UNIX_EPOCH, Id::from_bytes([1; 32])),
        ],
    };
    let expected = [
        r#"{"nodes":[{"name":"0","type":"file","mode":384,"#,
        r#""mtime":"1970-01-01T00:00:00Z","atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","#,
        r#""uid":0,"gid":0,"size":3,"content":["abababababababababababababababababababababababababababababababab"]},"#,
        r#"{"name":"a \\\"b\\\\c\\\"","type":"dir","mode":2147484096,"#,
        r#""mtime":"1970-01-01T00:00:00Z","atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","#,
        r#""uid":0,"gid":0,"content":[],"subtree":"0101010101010101010101010101010101010101010101010101010101010101"}]}"#,
        "\n",
    ];
    assert_eq!(String::from_utf8(tree.to_json()).unwrap(), expected.concat());
}

#[test]
fn a_tree_of_restic_is_read() {
    let json = br#"{"nodes":[{"name":"tmp","type":"dir","mode":2148532735,"mtime":"2026-11-24T17:45:27.880975568Z",
        "atime":"2026-11-24T17:45:27.880975568Z","ctime":"2026-11-24T17:45:27.880975568Z","uid":0,"gid":0,"user":"root",
        "group":"root","inode":246951,"device_id":65024,"content":null,
        "subtree":"1c56898f12c09f9fabba2af688abcbd03b50e6e1ac7d9b74aa26f39b145066d2"},
        {"name":"l","type":"symlink","mode":134218239,"mtime":"2026-11-24T17:45:27+01:00","atime":"2026-11-24T17:45:27Z",
        "ctime":"2026-11-24T17:45:27Z","uid":0,"gid":0,"linktarget":"x","content":null}]}"#;
    let tree = Tree::from_json(json).unwrap();
    assert!(tree.find("tmp").unwrap().subtree.is_some());
    assert_eq!(tree.find("l").unwrap().node_type, NodeType::Other);
    assert!(tree.find("other").is_none());
}

#[test]
fn names_that_would_leave_their_directory_are_refused() {
    for bad in ["", ".", "..", "a/b", "a\0", "a\n", &"x".repeat(256)] {
        assert!(check_name(bad).is_err(), "{bad:?}");
    }
    for good in ["point.json", "Münchner Pool 1", "a\"b", "日本"] {
        check_name(good).unwrap();
    }
}
