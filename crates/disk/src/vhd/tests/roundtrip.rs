use proptest::prelude::*;

use super::*;

/// Runs of some sectors, or of about a block, or of several.
fn run() -> impl Strategy<Value = Run> {
    let len = prop_oneof![1..100_u64, 4090..4100_u64, 1..20_000_u64];
    (len, 0..4_u8, 0..4_u8).prop_map(|(len, kind, byte)| match kind {
        0 => Run::Zero(len),
        1 => Run::Unchanged(len),
        _ => Run::Bytes(len, byte),
    })
}

fn run_in<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(runs in prop::collection::vec(run(), 1..8)) {
        run_in(async {
            let base: Vec<u8> = (0..contents(&runs, &[]).len()).map(|at| (at / 300) as u8 | 1).collect();
            let dir = tempfile::tempdir().unwrap();
            // As a whole disk, where unchanged is zero …
            let whole: Vec<Run> =
                runs.iter().map(|run| if let Run::Unchanged(len) = run { Run::Zero(*len) } else { *run }).collect();
            let bytes = image(plan(&whole, None), &whole).await;
            assert!(read_stream(&bytes, &[]).await.unwrap() == contents(&whole, &[]));
            let path = dir.path().join("whole.vhd");
            std::fs::write(&path, &bytes).unwrap();
            let disk = open(&[path]).await.unwrap();
            assert!(read_disk(disk).await == contents(&whole, &[]));
            // … and as a difference.
            let bytes = image(plan(&runs, Some(ImageId([1; 16]))), &runs).await;
            assert!(read_stream(&bytes, &base).await.unwrap() == contents(&runs, &base));
        });
    }
}

#[tokio::test]
async fn a_head_tells_what_will_come() {
    let runs = [Run::Zero(8192), Run::Bytes(4096, 1), Run::Bytes(1, 2), Run::Zero(16000), Run::Bytes(100, 3)];
    let plan = plan(&runs, None);
    let image = image(plan.clone(), &runs).await;
    let mut start = Vec::new();
    while (start.len() as u64) < Head::bytes_needed(&start).unwrap() {
        let needed = Head::bytes_needed(&start).unwrap() as usize;
        start = image[..needed].to_vec();
    }
    assert_eq!(start.len(), 2048 + 7 * 4);
    let head = Head::parse(&start).unwrap();
    assert_eq!((head.size(), head.id(), head.kind()), (plan.size(), ID, &Kind::Dynamic));
    let blocks: Vec<_> = head.allocated().collect();
    assert_eq!(blocks, [4 * MIB..8 * MIB, 12 * MIB..plan.size()]);
    assert_eq!(head.allocated_bytes(), 4 * MIB + plan.size() - 12 * MIB);
    assert_eq!(head.stream_bytes(), plan.total_bytes());
    let mut stream = &image[..];
    assert_eq!(Head::read(&mut stream).await.unwrap(), head);
    assert_eq!(stream.len(), image.len() - start.len(), "it read more than it needs");
}

#[tokio::test]
async fn the_layout_is_that_of_xapi() {
    let runs = [Run::Zero(4096), Run::Bytes(4096, 9), Run::Zero(4096)];
    let image = image(plan(&runs, None).created_by(*b"caml").created_at(1_767_225_600), &runs).await;
    assert_eq!(&image[..8], b"conectix");
    assert_eq!(&image[28..32], b"caml");
    assert_eq!(u32_at(&image, 24), 820_540_800);
    assert_eq!(&image[512..520], b"cxsparse");
    assert_eq!(u64_at(&image, 512 + 16), 2048);
    assert_eq!(image[2048..2060], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff]);
    assert!(image[2060..2560].iter().all(|byte| *byte == 0xff), "the table is padded to a sector");
    assert!(image[2560..3072].iter().all(|byte| *byte == 0xff), "all sectors of a block are marked");
    assert!(image[3072..][..2 << 20].iter().all(|byte| *byte == 9));
    assert_eq!(image[3072 + (2 << 20)..], image[..512]);
}

#[tokio::test]
async fn a_huge_empty_disk_costs_its_table() {
    let size = MAX_SIZE;
    let runs = [Run::Zero(size / SECTOR_BYTES)];
    let image = image(plan(&runs, None), &runs).await;
    assert_eq!(image.len(), 2048 + 1020 * 1024 * 4 + 512);
    let mut reader = Reader::open(&image[..]).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Some(Block::zero(0, size)));
    reader.finish().await.unwrap();
    assert!(matches!(Plan::new(size + 512, ID), Err(Error::TooLarge { .. })));
    assert!(matches!(Plan::new(1000, ID), Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn a_disk_that_is_not_as_planned_is_refused() {
    let runs = [Run::Zero(4096), Run::Bytes(4096, 9)];
    let plan = Plan::new(4 * MIB, ID).unwrap();
    assert!(matches!(plan.write(blocks(&runs), &mut Vec::new()).await, Err(Error::Damaged(_))));
    // Zeros as bytes are as good as a hole; a difference must say that it does not know them.
    let zeros = [Run::Bytes(8192, 0)];
    Plan::new(4 * MIB, ID).unwrap().write(blocks(&zeros), &mut Vec::new()).await.unwrap();
    let difference = || Plan::new(4 * MIB, ID).unwrap().differing_from(ImageId([1; 16]), "");
    for runs in [&zeros[..], &[Run::Zero(8192)]] {
        assert!(matches!(difference().write(blocks(runs), &mut Vec::new()).await, Err(Error::Damaged(_))));
    }
    difference().write(blocks(&[Run::Unchanged(8192)]), &mut Vec::new()).await.unwrap();
    let mut whole = Plan::new(4 * MIB, ID).unwrap();
    whole.include(0..4 * MIB);
    let runs = [Run::Bytes(1, 1), Run::Unchanged(8191)];
    assert!(matches!(whole.write(blocks(&runs), &mut Vec::new()).await, Err(Error::Unsupported(_))));
}
