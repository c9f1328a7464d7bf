//! Prints how fast XVAs are written and read, in memory: `cargo run --release -p xenkeep-disk --example xva_speed`.

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt, stream};
use xenkeep_disk::value::{Struct, Value};
use xenkeep_disk::xva::{Checksum, Ova, Reader, Writer};
use xenkeep_disk::{Block, Blocks, Error};

const SIZE: u64 = 2 << 30;
const BLOCK: u64 = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    for checksum in [Checksum::Xxhash, Checksum::Sha1] {
        let pattern: Vec<u8> = (0..BLOCK as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let pattern = Bytes::from(pattern);
        let xml = ova().to_xml();
        let start = Instant::now();
        let mut writer = Writer::new(tokio::io::sink(), xml.as_bytes(), checksum).await?;
        writer.disk("Ref:1", SIZE, blocks(&pattern)).await?;
        writer.finish().await?;
        report("written", checksum, start);

        let mut writer = Writer::new(Vec::with_capacity(SIZE as usize * 2), xml.as_bytes(), checksum).await?;
        writer.disk("Ref:1", SIZE, blocks(&pattern)).await?;
        let archive = writer.finish().await?;
        let start = Instant::now();
        let mut reader = Reader::open(archive.as_slice()).await?;
        let mut bytes = 0;
        while let Some(next) = reader.next().await? {
            bytes += next.block.len;
        }
        reader.finish().await?;
        assert_eq!(bytes, SIZE);
        report("read", checksum, start);
    }
    Ok(())
}

fn blocks(pattern: &Bytes) -> Blocks {
    let pattern = pattern.clone();
    let offsets = (0..SIZE).step_by(BLOCK as usize);
    stream::iter(offsets).map(move |offset| Ok(Block::bytes(offset, pattern.clone()))).boxed()
}

fn report(what: &str, checksum: Checksum, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what} with {checksum:?}: {:.2} GB/s", SIZE as f64 / 1e9 / seconds);
}

fn ova() -> Ova {
    let record =
        |fields: &[(&str, &str)]| -> Struct { fields.iter().map(|(name, text)| (*name, Value::from(*text))).collect() };
    let mut ova = Ova::new(record(&[("export_vsn", "2")]));
    ova.push("VDI", "Ref:1", record(&[("virtual_size", &SIZE.to_string())]));
    ova.push("VBD", "Ref:2", record(&[("VDI", "Ref:1"), ("type", "Disk")]));
    ova
}
