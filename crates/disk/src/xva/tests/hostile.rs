use super::*;

const SECOND_ANSWER: &[u8] = b"HTTP/1.1 500 Internal Error\r\ncontent-length: 266\r\nconnection: close\r\n\r\n\
    <html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred; please wait a while and try again.\
    If the problem persists, please contact your support representative.<h1> Additional information </h1>VDI_IO_ERROR: \
    [ Device I/O errors ]</body></html>";

async fn small() -> Vec<u8> {
    archive(&[("Ref:1", &[7; 600]), ("Ref:2", b"x")], Checksum::Xxhash).await
}

#[tokio::test]
async fn every_cut_is_found() {
    let plain = small().await;
    let (gzip, zstd) = (gzip(&plain).await, zstd(&plain).await);
    for (name, archive) in [("plain", plain), ("gzip", gzip), ("zstd", zstd)] {
        for cut in 0..archive.len() {
            let result = read(&archive[..cut]).await;
            assert!(matches!(result, Err(Error::Truncated { .. })), "{name} cut at {cut}: {result:?}");
        }
    }
}

#[tokio::test]
async fn a_second_answer_is_found_wherever_it_comes() {
    let plain = small().await;
    let (gzip, zstd) = (gzip(&plain).await, zstd(&plain).await);
    for (name, archive) in [("plain", plain), ("gzip", gzip), ("zstd", zstd)] {
        // Before that, it is no archive at all.
        for cut in 4..=archive.len() {
            let result = read(&[&archive[..cut], SECOND_ANSWER].concat()).await;
            match result {
                Err(Error::SenderFailed { status }) => assert_eq!(status, "500 Internal Error"),
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_second_answer_in_a_large_chunk_is_found() {
    let archive = archive(&[("Ref:1", &[7; 2 * MIB])], Checksum::Xxhash).await;
    let result = read(&[&archive[..MIB], SECOND_ANSWER].concat()).await;
    assert!(matches!(result, Err(Error::SenderFailed { .. })), "{result:?}");
}

#[tokio::test]
async fn nothing_else_may_follow() {
    let archive = small().await;
    let follow = |tail: &[u8]| [&archive, tail].concat();
    assert!(read(&follow(&[0; 10240])).await.is_ok());
    assert!(matches!(read(&follow(b"x")).await, Err(Error::Trailing)));
    assert!(matches!(read(&follow(&vec![0; 3 * MIB])).await, Err(Error::Trailing)));
    // A good answer is no reason to call it a failure of the sender.
    assert!(matches!(read(&follow(b"HTTP/1.1 200 OK\r\n\r\n")).await, Err(Error::Trailing)));
}

#[tokio::test]
async fn no_changed_byte_changes_a_disk_unseen() {
    let plain = small().await;
    let expected = read(&plain).await.unwrap();
    let (gzip, zstd) = (gzip(&plain).await, zstd(&plain).await);
    for archive in [plain, gzip, zstd] {
        for at in 0..archive.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = archive.clone();
                changed[at] ^= flip;
                if let Ok(disks) = read(&changed).await {
                    assert_eq!(disks, expected, "byte {at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn wrong_sums_are_found() {
    let mut archive = archive(&[("Ref:1", &[7; 600])], Checksum::Xxhash).await;
    let at = archive.windows(600).position(|window| window == [7; 600]).unwrap();
    archive[at + 599] = 8;
    let result = read(&archive).await;
    assert!(matches!(&result, Err(Error::Checksum { what }) if what == "Ref:1/00000000"), "{result:?}");
}

#[tokio::test]
async fn rules_of_the_format_are_enforced() {
    let one = [("Ref:1", 2 * MIB)];
    let (mib, tiny): (&[u8], &[u8]) = (&[1; MIB], b"x");
    let cases: [(&str, Vec<u8>); 14] = [
        ("no chunk at all", handmade(&one, &[])),
        ("the last chunk is missing", handmade(&one, &[("Ref:1/00000000", mib)])),
        ("the end lies inside", handmade(&one, &[("Ref:1/00000000", mib), ("Ref:1/00000001", tiny)])),
        ("one chunk too many", handmade(&[("Ref:1", MIB)], &[("Ref:1/00000000", mib), ("Ref:1/00000001", tiny)])),
        ("a gap behind the end", handmade(&one, &[("Ref:1/00000000", mib), ("Ref:1/00000009", mib)])),
        ("the largest number", handmade(&one, &[("Ref:1/00000000", mib), ("Ref:1/999999999999999999", tiny)])),
        ("a number twice", handmade(&one, &[("Ref:1/00000000", mib), ("Ref:1/00000000", mib)])),
        ("no number", handmade(&one, &[("Ref:1/0000000x", mib)])),
        ("a number too short", handmade(&one, &[("Ref:1/0", mib)])),
        ("no such disk", handmade(&one, &[("Ref:2/00000000", mib)])),
        ("no directory", handmade(&one, &[("00000000", mib)])),
        (
            "disks mixed up",
            handmade(&[("Ref:1", 2 * MIB), ("Ref:2", 1)], &[("Ref:1/00000000", mib), ("Ref:2/00000000", tiny)]),
        ),
        (
            "a disk twice",
            handmade(
                &[("Ref:1", 1), ("Ref:2", 1)],
                &[("Ref:1/00000000", tiny), ("Ref:2/00000000", tiny), ("Ref:1/00000001", tiny)],
            ),
        ),
        ("chunks of a disk without a byte", handmade(&[("Ref:1", 0)], &[("Ref:1/00000000", tiny)])),
    ];
    for (name, archive) in cases {
        let result = read(&archive).await;
        assert!(matches!(result, Err(Error::Damaged(_))), "{name}: {result:?}");
    }
}

#[tokio::test]
async fn checksums_must_be_there() {
    let xml = ova_xml(&[("Ref:1", 5)]);
    let sum = Checksum::Xxhash.of(b"hello");
    let archive = |files: &[(&str, &[u8])]| {
        let mut all = vec![("ova.xml", xml.as_bytes()), ("Ref:1/00000000", b"hello".as_slice())];
        all.extend_from_slice(files);
        tar_of(&all, tar::Header::new_old)
    };
    assert!(read(&archive(&[("Ref:1/00000000.xxhash", sum.to_lowercase().as_bytes())])).await.is_ok());
    for files in [vec![], vec![("Ref:1/00000001.xxhash", sum.as_bytes())], vec![("Ref:1/00000000.md5", sum.as_bytes())]]
    {
        let result = read(&archive(&files)).await;
        assert!(matches!(result, Err(Error::Damaged(_))), "{files:?}: {result:?}");
    }
    let result = read(&archive(&[("Ref:1/00000000.xxhash", b"")])).await;
    assert!(matches!(result, Err(Error::Checksum { .. })), "{result:?}");
    let result = read(&archive(&[("Ref:1/00000000.xxhash", &[b'0'; 5000])])).await;
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
}

/// A header that promises more than there is.
fn promise(name: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[tokio::test]
async fn giant_promises_are_refused_before_memory_is_taken() {
    let mut archive = tar_of(&[("ova.xml", ova_xml(&[("Ref:1", 1 << 50)]).as_bytes())], tar::Header::new_old);
    archive.truncate(archive.len() - 1024);
    for size in [super::super::MAX_OVA_BYTES, 1 << 40, u64::MAX] {
        let result = read(&[archive.clone(), promise("Ref:1/00000000", size)].concat()).await;
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
        let result = read(&promise("ova.xml", size.saturating_add(1))).await;
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    for bytes in [b"x".repeat(600), b"HTTP/1.1 404 Not Found\r\n\r\n".repeat(40), vec![0; 1024]] {
        assert!(read(&bytes).await.is_err());
    }
    let first = tar_of(&[("other.xml", b"<value/>")], tar::Header::new_old);
    assert!(matches!(read(&first).await, Err(Error::Damaged(_))));
    let long = tar_of(&[(&"long/".repeat(40), b"")], tar::Header::new_gnu);
    assert!(matches!(read(&long).await, Err(Error::Unsupported(_))));
    let mut half = small().await;
    half.extend_from_slice(b"x");
    let at = half.len() - 513;
    half[at + 5] = 1;
    assert!(read(&half).await.is_err());
}

#[tokio::test]
async fn the_writer_keeps_to_the_description() {
    let xml = ova_xml(&[("Ref:1", 10), ("Ref:2", 5)]);
    let zeros = |len| stream::iter([Ok(Block::zero(0, len))]).boxed();
    let writer = async || Writer::new(Vec::new(), xml.as_bytes(), Checksum::Xxhash).await.unwrap();
    assert!(writer().await.finish().await.is_err(), "disks are missing");
    assert!(writer().await.disk("Ref:3", 10, zeros(10)).await.is_err(), "no such disk");
    assert!(writer().await.disk("Ref:1", 11, zeros(11)).await.is_err(), "another size");
    assert!(writer().await.disk("Ref:1", 10, zeros(9)).await.is_err(), "too short");
    assert!(writer().await.disk("Ref:1", 10, zeros(11)).await.is_err(), "too long");
    let unchanged = Block { offset: 0, len: 10, data: Data::Unchanged };
    assert!(writer().await.disk("Ref:1", 10, stream::iter([Ok(unchanged)]).boxed()).await.is_err(), "unchanged");
    let mut twice = writer().await;
    twice.disk("Ref:1", 10, zeros(10)).await.unwrap();
    assert!(twice.disk("Ref:1", 10, zeros(10)).await.is_err(), "twice");
    let mut apart = writer().await;
    assert!(apart.push(Block::zero(0, 1)).await.is_err(), "no disk was begun");
    apart.begin("Ref:1", 10).unwrap();
    assert!(apart.begin("Ref:2", 5).is_err(), "two at once");
    assert!(apart.push(Block::zero(1, 1)).await.is_err(), "a gap");
    apart.push(Block::zero(0, 9)).await.unwrap();
    assert!(apart.push(Block::zero(9, u64::MAX)).await.is_err(), "past the end");
    assert!(apart.end().is_err(), "not complete");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Blocks with valid headers in any order and of any size, and garbage between them.
    #[test]
    fn no_stream_of_blocks_makes_the_reader_panic(
        blocks in proptest::collection::vec((0..9_u8, 0..5_u64, proptest::prelude::any::<u64>()), 0..12),
        lossy in proptest::prelude::any::<bool>(),
    ) {
        let mut archive = tar_of(&[("ova.xml", ova_xml(&[("Ref:1", 1500), ("Ref:2", 3)]).as_bytes())], tar::Header::new_old);
        archive.truncate(archive.len() - 1024);
        for (kind, number, size) in blocks {
            let small = size % 2000;
            match kind {
                0 => archive.extend([0; 512]),
                1 => archive.extend(size.to_le_bytes().repeat(64)),
                2 => archive.extend(promise(&format!("Ref:1/{number:08}"), size)),
                3 => archive.extend(promise(&format!("Ref:1/{number:08}.xxhash"), 16)),
                4 => archive.extend(promise("checksum.xml", small)),
                _ => {
                    let contents = vec![number as u8; small as usize];
                    let name = format!("Ref:{}/{number:08}", 1 + kind % 2);
                    let sum = Checksum::Xxhash.of(&contents);
                    let files: [(&str, &[u8]); 2] = [(&name, &contents), (&format!("{name}.xxhash"), sum.as_bytes())];
                    let files = tar_of(&files, tar::Header::new_old);
                    archive.extend(&files[..files.len() - if lossy { 1023 } else { 1024 }]);
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(disks) = runtime.block_on(read(&archive)) {
            assert_eq!(disks.iter().map(Vec::len).collect::<Vec<_>>(), [1500, 3]);
        }
    }
}
