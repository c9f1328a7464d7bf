#![allow(clippy::unwrap_used)]

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::value::{Struct, Value};
use crate::{Block, Blocks, Data, Error};

mod hostile;
mod layout;
mod roundtrip;

pub(super) const MIB: usize = 1 << 20;

/// `ova.xml` of a VM with these disks.
pub(super) fn ova_xml(disks: &[(&str, usize)]) -> String {
    let record =
        |fields: &[(&str, &str)]| -> Struct { fields.iter().map(|(name, text)| (*name, Value::from(*text))).collect() };
    let mut ova = Ova::new(record(&[("export_vsn", "2")]));
    for (at, (id, size)) in disks.iter().enumerate() {
        ova.push("VDI", *id, record(&[("virtual_size", &size.to_string())]));
        ova.push("VBD", format!("Ref:10{at}"), record(&[("VDI", id), ("type", "Disk")]));
    }
    ova.to_xml()
}

/// A disk as one block for each MiB; zeros as such.
pub(super) fn blocks_of(disk: &[u8]) -> Blocks {
    let disk = Bytes::copy_from_slice(disk);
    let blocks = (0..disk.len()).step_by(MIB).map(move |at| {
        let piece = disk.slice(at..disk.len().min(at + MIB));
        Ok(match crate::is_zero(&piece) {
            true => Block::zero(at as u64, piece.len() as u64),
            false => Block::bytes(at as u64, piece),
        })
    });
    stream::iter(blocks.collect::<Vec<_>>()).boxed()
}

/// An archive of disks, uncompressed.
pub(super) async fn archive(disks: &[(&str, &[u8])], checksum: Checksum) -> Vec<u8> {
    let sizes: Vec<_> = disks.iter().map(|(id, disk)| (*id, disk.len())).collect();
    let mut writer = Writer::new(Vec::new(), ova_xml(&sizes).as_bytes(), checksum).await.unwrap();
    for (id, disk) in disks {
        writer.disk(id, disk.len() as u64, blocks_of(disk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// All disks of an archive, in the order of [`Reader::disks`].
pub(super) async fn read(archive: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    read_with(archive, GapRule::OfDisk).await
}

pub(super) async fn read_with(archive: &[u8], rule: GapRule) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = Reader::open(archive).await?.with_gap_rule(rule);
    let mut disks = vec![Vec::new(); reader.disks().len()];
    while let Some(DiskBlock { disk, block }) = reader.next().await? {
        let disk: &mut Vec<u8> = &mut disks[disk];
        assert_eq!(block.offset, disk.len() as u64, "blocks follow each other");
        match block.data {
            Data::Bytes(bytes) => disk.extend_from_slice(&bytes),
            Data::Zero => disk.resize(disk.len() + block.len as usize, 0),
            Data::Unchanged => panic!("unchanged"),
        }
    }
    for (disk, OvaDisk { virtual_size, .. }) in disks.iter().zip(reader.disks()) {
        assert_eq!(disk.len() as u64, *virtual_size);
    }
    reader.finish().await?;
    Ok(disks)
}

pub(super) async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

pub(super) async fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// An archive of given files, with headers that a tar library makes.
pub(super) fn tar_of(files: &[(&str, &[u8])], header: fn() -> tar::Header) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = header();
        header.set_size(contents.len() as u64);
        header.set_mode(0o400);
        builder.append_data(&mut header, name, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A chunk and its checksum.
pub(super) fn chunk(files: &mut Vec<(String, Vec<u8>)>, name: &str, contents: &[u8]) {
    files.push((name.to_owned(), contents.to_vec()));
    files.push((format!("{name}.xxhash"), Checksum::Xxhash.of(contents).into_bytes()));
}

/// An archive that was put together by hand.
pub(super) fn handmade(disks: &[(&str, usize)], chunks: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files = vec![("ova.xml".to_owned(), ova_xml(disks).into_bytes())];
    chunks.iter().for_each(|(name, contents)| chunk(&mut files, name, contents));
    let files: Vec<_> = files.iter().map(|(name, contents)| (name.as_str(), contents.as_slice())).collect();
    tar_of(&files, tar::Header::new_old)
}
