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

/// A pack as the writer makes it.
fn pack(key: &Key) -> (Vec<u8>, Vec<Entry>) {
    let mut pack = PackBuffer::new(BytesMut::new());
    for (number, raw_len) in [(0_u8, None), (1, Some(1 << 19)), (2, None), (3, Some(77))] {
        let kind = if number < 2 { BlobKind::Data } else { BlobKind::Tree };
        let sealed = key.seal(&[number; 9]);
        pack.add(kind, Id::of(&sealed), &sealed, raw_len);
    }
    let (file, entries) = pack.close(key);
    (file.to_vec(), entries)
}

#[test]
fn a_header_lists_what_was_written() {
    let key = Key::random();
    let (file, entries) = pack(&key);
    assert_eq!(read_header(&key, &file), Ok(entries.clone()));

    let len = header::header_len(file.len() as u64, *file.last_chunk().expect("4 bytes")).expect("a header");
    let end = file.len() - 4;
    let mut sealed = file[end - len..end].to_vec();
    assert_eq!(header::parse_header(&key, &mut sealed, (end - len) as u64), Ok(entries));
}

#[test]
fn a_pack_that_is_cut_off_has_no_header() {
    let key = Key::random();
    let (file, _) = pack(&key);
    for len in 0..file.len() {
        assert!(read_header(&key, &file[..len]).is_err(), "cut off at {len}");
        assert!(read_header(&key, &file[file.len() - len..]).is_err(), "the last {len} bytes");
    }
    assert!(read_header(&Key::random(), &file).is_err());
}

#[test]
fn a_header_that_cannot_be_true_is_refused() {
    let id = Id::of(b"x");
    let entry = |sealed_len, raw_len| Entry { kind: BlobKind::Data, id, offset: 0, sealed_len, raw_len };
    for (entries, blobs_len) in [
        (vec![entry(31, None)], 31),
        (vec![entry(40, Some(0))], 40),
        (vec![entry(40, Some(MAX_BLOB_BYTES + 1))], 40),
        (vec![entry(MAX_BLOB_BYTES + 1, None)], u64::from(MAX_BLOB_BYTES) + 1),
        (vec![entry(40, None); 2], 79),
        (vec![entry(40, None); 2], 81),
        (vec![entry(u32::MAX / 8, None); 9], u64::from(u32::MAX)),
    ] {
        assert!(header::parse(&header::of(&entries), blobs_len).is_err(), "{entries:?} in {blobs_len}");
    }
    let mut unknown = header::of(&[entry(40, None)]);
    assert!(header::parse(&unknown, 40).is_ok());
    unknown[0] = 4;
    assert!(header::parse(&unknown, 40).is_err());
    for length in [0, 1, 68, 101, u32::MAX] {
        assert!(header::header_len(100, length.to_le_bytes()).is_err(), "{length}");
    }
    assert!(header::header_len(1 << 40, 100_u32.to_le_bytes()).is_err());
}
