use super::*;

/// Writes a number and makes the sum of the structure right again.
fn patched(image: &[u8], structure: usize, len: usize, sum_at: usize, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = image.to_vec();
    for (at, bytes) in patches {
        image[structure + at..][..bytes.len()].copy_from_slice(bytes);
    }
    let sum = checksum(&image[structure..structure + len], sum_at);
    image[structure + sum_at..][..4].copy_from_slice(&sum.to_be_bytes());
    image
}

async fn sample() -> Vec<u8> {
    let runs = [Run::Bytes(10, 1), Run::Zero(5000), Run::Bytes(3000, 2)];
    image(plan(&runs, None), &runs).await
}

/// Neither way of reading panics; both say the same of whether it can be read.
async fn read_both(image: &[u8]) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, image).unwrap();
    if let Ok(disk) = open(&[path]).await {
        let _: Result<Vec<Block>, Error> = disk.blocks().try_collect().await;
    }
    read_stream(image, &[]).await
}

#[tokio::test]
async fn lies_in_the_footer_and_the_header_are_found() {
    let sample = sample().await;
    assert!(read_both(&sample).await.is_ok());
    let footer = |patches| patched(&sample, 0, 512, 64, patches);
    let header = |patches| patched(&sample, 512, 1024, 36, patches);
    let cases = [
        ("no cookie", footer(&[(0, b"x")])),
        ("version", footer(&[(12, &[9])])),
        ("type", footer(&[(63, &[9])])),
        ("fixed", footer(&[(63, &[2])])),
        ("header behind the end", footer(&[(16, &[0, 0, 0, 0, 0x70, 0, 0, 0])])),
        ("header at the end of numbers", footer(&[(16, &[0xff; 8])])),
        ("header within the footer", footer(&[(16, &[0, 0, 0, 0, 0, 0, 0, 8])])),
        ("empty", footer(&[(48, &[0; 8])])),
        ("size without end", footer(&[(48, &[0xff; 8])])),
        ("size not in sectors", footer(&[(55, &[1])])),
        ("size beyond the table", footer(&[(48, &[0, 0, 0, 1])])),
        ("no header", header(&[(0, b"x")])),
        ("table behind the end", header(&[(16, &[0xff; 8])])),
        ("no blocks", header(&[(28, &[0; 4])])),
        ("blocks of nothing", header(&[(32, &[0; 4])])),
        ("blocks of 3 MiB", header(&[(32, &[0, 0x30, 0, 0])])),
        ("blocks without end", header(&[(32, &[0x80, 0, 0, 0])])),
    ];
    for (what, image) in cases {
        assert!(read_both(&image).await.is_err(), "{what}");
    }
    let mut spoiled = sample.clone();
    spoiled[30] ^= 1;
    assert!(matches!(read_both(&spoiled).await, Err(Error::Checksum { .. })));
}

#[tokio::test]
async fn lies_in_the_table_are_found() {
    let sample = sample().await;
    let entry = |at: usize, sector: u32| {
        let mut image = sample.clone();
        image[2048 + 4 * at..][..4].copy_from_slice(&sector.to_be_bytes());
        image
    };
    let (first, second) = (u32_at(&sample, 2048), u32_at(&sample, 2052));
    for (what, image) in [
        ("within the head", entry(0, 1)),
        ("twice the same", entry(1, first)),
        ("overlapping", entry(1, first + 100)),
        ("out of order", entry(0, second + 9000)),
        ("behind the end", entry(1, 0x7fff_0000)),
    ] {
        assert!(read_both(&image).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_no_image() {
    let sample = sample().await;
    for len in [0, 1, 511, 512, 1000, 1536, 2049, 2052, 2560, 3000, 3072, 5000, 2 << 20, sample.len() - 512] {
        let error = read_both(&sample[..len]).await.unwrap_err();
        assert!(error.is_transient(), "{len}: {error}");
    }
    assert!(read_both(&sample[..sample.len() - 1]).await.is_err());
    assert!(read_both(&[&sample[..], b"x"].concat()).await.is_err());
    // A server that could not go on.
    let answer = b"HTTP/1.1 500 Internal Error\r\ncontent-length: 0\r\n\r\n";
    for len in [600, 1 << 20, sample.len() - 512] {
        let error = read_stream(&[&sample[..len], answer].concat(), &[]).await.unwrap_err();
        assert!(matches!(error, Error::SenderFailed { .. }), "{len}: {error}");
    }
}

#[tokio::test]
async fn what_others_put_between_is_skipped() {
    let sample = sample().await;
    // The first block 3 sectors later, a batmap before the footer, as blktap's tools write them.
    let mut image = sample[..2560].to_vec();
    for at in [2048, 2052] {
        let sector = u32_at(&sample, at) + 3;
        image[at..at + 4].copy_from_slice(&sector.to_be_bytes());
    }
    image.extend_from_slice(&[0xaa; 3 * 512]);
    image.extend_from_slice(&sample[2560..sample.len() - 512]);
    image.extend_from_slice(&[0xbb; 5000]);
    image.extend_from_slice(&sample[sample.len() - 512..]);
    assert!(read_both(&image).await.unwrap() == read_both(&sample).await.unwrap());
}
