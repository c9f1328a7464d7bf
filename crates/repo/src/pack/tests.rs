use super::*;

#[test]
fn a_pack_is_laid_out_as_restic_wants_it() {
    let key = Key::random();
    let mut pack = PackBuffer::new(BytesMut::new());
    let blobs: [(BlobKind, &[u8], Option<u32>); 4] = [
        (BlobKind::Data, b"first", None),
        (BlobKind::Tree, b"tree", None),
        (BlobKind::Data, b"zipped", Some(1 << 19)),
        (BlobKind::Tree, b"zipped tree", Some(77)),
    ];
    for (kind, sealed, raw_len) in blobs {
        pack.add(kind, Id::of(sealed), sealed, raw_len);
    }
    let (mut file, entries) = pack.close(&key);
    assert_eq!(entries[2].offset, 9);

    let end = file.len() - 4;
    let (rest, len) = file.split_at_mut(end);
    let header_len = u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize;
    let (body, header) = rest.split_at_mut(rest.len() - header_len);
    assert_eq!(body, b"firsttreezippedzipped tree");
    let header = key.open_in_place(header).expect("our own seal");
    assert_eq!(header.len(), 37 + 37 + 41 + 41);
    assert_eq!(header[..5], [0, 5, 0, 0, 0]);
    assert_eq!(header[5..37], *Id::of(b"first").as_bytes());
    assert_eq!(header[37..42], [1, 4, 0, 0, 0]);
    assert_eq!(header[74..83], [2, 6, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!(header[115..124], [3, 11, 0, 0, 0, 77, 0, 0, 0]);
}
