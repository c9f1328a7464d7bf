use super::*;

/// Names and sizes of all files, as a tar library reads them.
fn listing(archive: &[u8]) -> Vec<(String, u64)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.path().unwrap().to_str().unwrap().to_owned(), entry.size())).collect()
}

fn chunks(archive: &[u8]) -> Vec<String> {
    listing(archive).into_iter().map(|(name, _)| name).filter(|name| !name.contains('.')).collect()
}

#[tokio::test]
async fn zeros_are_left_out_but_at_the_edges() {
    let mut disk = vec![0; 5 * MIB + 10];
    disk[2 * MIB] = 1;
    let archive = archive(&[("Ref:7", &disk)], Checksum::Xxhash).await;
    let names = listing(&archive);
    let expected = [
        ("ova.xml".to_owned(), ova_xml(&[("Ref:7", disk.len())]).len() as u64),
        ("Ref:7/00000000".to_owned(), MIB as u64),
        ("Ref:7/00000000.xxhash".to_owned(), 16),
        ("Ref:7/00000002".to_owned(), MIB as u64),
        ("Ref:7/00000002.xxhash".to_owned(), 16),
        ("Ref:7/00000005".to_owned(), 10),
        ("Ref:7/00000005.xxhash".to_owned(), 16),
    ];
    assert_eq!(names, expected);
    assert!(archive.ends_with(&[0; 1024]));
    // V7: no magic, type NUL.
    assert_eq!(archive[156], 0);
    assert_eq!(&archive[257..263], &[0; 6]);
    assert!(read(&archive).await.unwrap() == [disk]);
}

#[tokio::test]
async fn no_gap_follows_a_tiny_first_disk() {
    let large = [vec![1; MIB], vec![0; 3 * MIB], vec![2; 5]].concat();
    let tiny = archive(&[("Ref:1", &[9; 700]), ("Ref:2", &large)], Checksum::Xxhash).await;
    assert_eq!(chunks(&tiny).len(), 1 + 5);
    let last = archive(&[("Ref:1", &large), ("Ref:2", &[9; 700])], Checksum::Xxhash).await;
    assert_eq!(chunks(&last).len(), 2 + 1);
    for archive in [tiny, last] {
        assert!(read(&archive).await.unwrap() == read_with(&archive, GapRule::OfArchive).await.unwrap());
    }
}

#[tokio::test]
async fn gaps_behind_a_tiny_first_disk_are_read_right() {
    let chunks: [(&str, &[u8]); 3] =
        [("Ref:1/00000000", &[9; 700]), ("Ref:2/00000000", &[1; MIB]), ("Ref:2/00000003", &[2; MIB])];
    let archive = handmade(&[("Ref:1", 700), ("Ref:2", 4 * MIB)], &chunks);
    let expected = [vec![9; 700], [vec![1; MIB], vec![0; 2 * MIB], vec![2; MIB]].concat()];
    assert!(read(&archive).await.unwrap() == expected);
    // By the rule of xapi's import, the last chunk lands in the middle.
    assert!(matches!(read_with(&archive, GapRule::OfArchive).await, Err(Error::Damaged(_))));
}

#[tokio::test]
async fn empty_chunks_use_numbers_up_but_move_nothing() {
    // As xapi writes them: an empty chunk where the next one was due, and all later ones one higher.
    let chunks: [(&str, &[u8]); 7] = [
        ("Ref:1/00000000", b""),
        ("Ref:1/00000001", &[1; MIB]),
        ("Ref:1/00000003", b""),
        ("Ref:1/00000004", b""),
        ("Ref:1/00000005", &[2; MIB]),
        ("Ref:1/00000006", b""),
        ("Ref:1/00000008", &[3; 9]),
    ];
    let archive = handmade(&[("Ref:1", 4 * MIB + 9)], &chunks);
    let expected = [vec![1; MIB], vec![0; MIB], vec![2; MIB], vec![0; MIB], vec![3; 9]].concat();
    assert!(read(&archive).await.unwrap() == [expected]);
}

#[tokio::test]
async fn the_writer_numbers_empty_chunks_like_xapi() {
    let xml = ova_xml(&[("Ref:1", 3 * MIB)]);
    let mut writer = Writer::new(Vec::new(), xml.as_bytes(), Checksum::Xxhash).await.unwrap();
    writer.begin("Ref:1", 3 * MIB as u64).unwrap();
    writer.keepalive().await.unwrap();
    writer.push(Block::zero(0, MIB as u64 + 5)).await.unwrap();
    writer.keepalive().await.unwrap();
    writer.push(Block::zero(MIB as u64 + 5, 2 * MIB as u64 - 5)).await.unwrap();
    writer.end().unwrap();
    let archive = writer.finish().await.unwrap();
    let expected = ["Ref:1/00000000", "Ref:1/00000001", "Ref:1/00000002", "Ref:1/00000004"];
    assert_eq!(chunks(&archive), expected);
    assert!(read(&archive).await.unwrap() == [vec![0; 3 * MIB]]);
}

#[tokio::test]
async fn headers_of_all_kinds_are_read() {
    let xml = ova_xml(&[("Ref:1", 5)]);
    let sum = Checksum::Sha1.of(b"hello");
    let files: [(&str, &[u8]); 3] =
        [("ova.xml", xml.as_bytes()), ("Ref:1/00000000", b"hello"), ("Ref:1/00000000.checksum", sum.as_bytes())];
    for header in [tar::Header::new_old, tar::Header::new_ustar, tar::Header::new_gnu] {
        assert_eq!(read(&tar_of(&files, header)).await.unwrap(), [b"hello"]);
    }
    // GNU tar pads to 10 KiB, knows binary sizes, writes directories, and names that begin with "./".
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        if name.ends_with('0') {
            let mut directory = tar::Header::new_gnu();
            directory.set_entry_type(tar::EntryType::Directory);
            directory.set_size(0);
            builder.append_data(&mut directory, "Ref:1/", std::io::empty()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len() + 2].copy_from_slice(format!("./{name}").as_bytes());
        header.as_mut_bytes()[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, contents.len() as u8]);
        if contents.len() > 200 {
            header.set_size(contents.len() as u64);
        }
        header.set_cksum();
        builder.append(&header, contents).unwrap();
    }
    let mut archive = builder.into_inner().unwrap();
    archive.resize(archive.len().next_multiple_of(10240), 0);
    assert_eq!(read(&archive).await.unwrap(), [b"hello"]);
}

#[tokio::test]
async fn the_prefix_of_ustar_is_part_of_the_name() {
    let xml = ova_xml(&[("Ref:1", 5)]);
    let mut archive = tar_of(&[("ova.xml", xml.as_bytes())], tar::Header::new_old);
    archive.truncate(archive.len() - 1024);
    for (name, contents) in
        [("00000000", b"hello".to_vec()), ("00000000.checksum", Checksum::Sha1.of(b"hello").into_bytes())]
    {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.as_ustar_mut().unwrap().prefix[..5].copy_from_slice(b"Ref:1");
        header.set_size(contents.len() as u64);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(&contents);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    assert_eq!(read(&archive).await.unwrap(), [b"hello"]);
}

#[tokio::test]
async fn disks_without_a_byte_have_no_chunks() {
    let archive = archive(&[("Ref:1", b""), ("Ref:2", b"x"), ("Ref:3", b"")], Checksum::Xxhash).await;
    assert_eq!(chunks(&archive), ["Ref:2/00000000"]);
    assert_eq!(read(&archive).await.unwrap(), [b"".to_vec(), b"x".to_vec(), b"".to_vec()]);
}

#[tokio::test]
async fn old_archives_end_with_a_list_of_sums() {
    let xml = ova_xml(&[("Ref:1", 5)]);
    let older = |version: &str| {
        xml.replace("<name>export_vsn</name><value>2", &format!("<name>export_vsn</name><value>{version}"))
    };
    let sum = Checksum::Sha1.of(b"hello");
    let archive = |version: &str| {
        let xml = older(version);
        let files: [(&str, &[u8]); 4] = [
            ("ova.xml", xml.as_bytes()),
            ("Ref:1/00000000", b"hello"),
            ("Ref:1/00000000.checksum", sum.as_bytes()),
            ("checksum.xml", b"<value><struct/></value>"),
        ];
        tar_of(&files, tar::Header::new_old)
    };
    assert_eq!(read(&archive("1")).await.unwrap(), [b"hello"]);
    assert!(matches!(read(&archive("0")).await, Err(Error::Unsupported(_))));
    assert!(matches!(read(&archive("2")).await, Err(Error::Damaged(_))));
}

#[tokio::test]
async fn large_holes_cost_nothing() {
    let size = 1_u64 << 60;
    let xml = ova_xml(&[("Ref:1", size as usize)]);
    let mut writer = Writer::new(Vec::new(), xml.as_bytes(), Checksum::Xxhash).await.unwrap();
    writer.disk("Ref:1", size, stream::iter([Ok(Block::zero(0, size))]).boxed()).await.unwrap();
    let archive = writer.finish().await.unwrap();
    assert_eq!(chunks(&archive), ["Ref:1/00000000", "Ref:1/1099511627775"]);
    let mut reader = Reader::open(archive.as_slice()).await.unwrap();
    reader.next().await.unwrap();
    let hole = reader.next().await.unwrap().unwrap().block;
    assert_eq!((hole.len, hole.data), (size - 2 * MIB as u64, Data::Zero));
    reader.finish().await.unwrap();
}
