#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;

use super::*;

fn stream_of(blocks: Vec<Block>) -> Blocks {
    stream::iter(blocks.into_iter().map(Ok)).boxed()
}

async fn gapless(blocks: Vec<Block>, size: u64) -> Result<Vec<Block>, Error> {
    Gapless::new(stream_of(blocks), size).try_collect().await
}

#[tokio::test]
async fn blocks_in_order_pass() {
    let blocks = vec![Block::bytes(0, Bytes::from_static(b"abc")), Block::zero(3, 5), Block::zero(8, 0)];
    assert_eq!(gapless(blocks.clone(), 8).await.unwrap(), blocks);
    assert_eq!(gapless(vec![], 0).await.unwrap(), vec![]);
}

#[tokio::test]
async fn gaps_overlaps_and_wrong_ends_are_found() {
    let lie = Block { offset: 0, len: 9, data: Data::Bytes(Bytes::from_static(b"abc")) };
    let giant = Bytes::from(vec![1; MAX_BLOCK_BYTES + 1]);
    let cases = [
        ("empty", vec![], 1),
        ("hole at the start", vec![Block::zero(1, 7)], 8),
        ("gap", vec![Block::zero(0, 2), Block::zero(3, 5)], 8),
        ("overlap", vec![Block::zero(0, 4), Block::zero(3, 5)], 8),
        ("too short", vec![Block::zero(0, 7)], 8),
        ("too long", vec![Block::zero(0, 9)], 8),
        ("overflow", vec![Block::zero(0, 8), Block::zero(8, u64::MAX)], 8),
        ("length of the bytes", vec![lie], 9),
        ("block too large", vec![Block::bytes(0, giant)], MAX_BLOCK_BYTES as u64 + 1),
    ];
    for (name, blocks, size) in cases {
        let result = gapless(blocks, size).await;
        assert!(matches!(result, Err(Error::Gap { .. })), "{name}: {result:?}");
    }
}

#[tokio::test]
async fn nothing_comes_after_an_error() {
    let mut gapless = Gapless::new(stream_of(vec![Block::zero(1, 1), Block::zero(0, 2)]), 2);
    assert!(gapless.next().await.unwrap().is_err());
    assert!(gapless.next().await.is_none());
}

struct Counting(u64);

#[async_trait]
impl DiskRead for Counting {
    fn size(&self) -> u64 {
        self.0
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        check_range(offset, buf.len() as u64, self.0)?;
        buf.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = at as u8);
        Ok(())
    }
}

#[tokio::test]
async fn a_disk_is_read_from_end_to_end() {
    for size in [0, 1, MAX_BLOCK_BYTES as u64, MAX_BLOCK_BYTES as u64 * 2 + 17] {
        let disk = Arc::new(Counting(size));
        let blocks: Vec<_> = Gapless::new(disk.blocks(), size).try_collect().await.unwrap();
        let bytes: Vec<u8> = blocks
            .iter()
            .flat_map(|block| match &block.data {
                Data::Bytes(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(bytes.iter().zip(0_u64..).all(|(byte, at)| *byte == at as u8));
        assert_eq!(bytes.len() as u64, size);
    }
}

#[test]
fn zeros_are_known_at_every_length_and_place() {
    for len in [0, 1, 63, 64, 65, 127, 128, 200] {
        let mut bytes = vec![0; len];
        assert!(is_zero(&bytes), "{len}");
        for at in 0..len {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at} of {len}");
            bytes[at] = 0;
        }
    }
}

#[test]
fn ranges_are_checked_without_overflow() {
    assert!(check_range(0, 8, 8).is_ok());
    assert!(check_range(8, 0, 8).is_ok());
    assert!(check_range(7, 2, 8).is_err());
    assert!(check_range(u64::MAX, 2, 8).is_err());
}
