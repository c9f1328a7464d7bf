//! tar and Python read the archives that we write, and we read those that they write.

use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::io::AsyncReadExt;
use xenkeep_disk::value::{Struct, Value};
use xenkeep_disk::xva::{Checksum, Ova, Reader, Writer};
use xenkeep_disk::{Block, Data};

use crate::{noise, run};

const MIB: usize = 1 << 20;

fn ova(sizes: &[usize]) -> Ova {
    let record =
        |fields: &[(&str, &str)]| -> Struct { fields.iter().map(|(name, text)| (*name, Value::from(*text))).collect() };
    let mut ova = Ova::new(record(&[("export_vsn", "2")]));
    for (at, size) in sizes.iter().enumerate() {
        ova.push("VDI", format!("Ref:{at}"), record(&[("virtual_size", &size.to_string())]));
        ova.push("VBD", format!("Ref:1{at}"), record(&[("VDI", &format!("Ref:{at}")), ("type", "Disk")]));
    }
    ova
}

async fn archive(disks: &[Vec<u8>], checksum: Checksum) -> Vec<u8> {
    let ova = ova(&disks.iter().map(Vec::len).collect::<Vec<_>>());
    let mut writer = Writer::new(Vec::new(), ova.to_xml().as_bytes(), checksum).await.unwrap();
    for (at, disk) in disks.iter().enumerate() {
        let disk = Bytes::from(disk.clone());
        let size = disk.len();
        let blocks =
            (0..size).step_by(MIB).map(move |at| Ok(Block::bytes(at as u64, disk.slice(at..size.min(at + MIB)))));
        writer.disk(&format!("Ref:{at}"), size as u64, stream::iter(blocks).boxed()).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::open(archive).await.unwrap();
    let mut disks = vec![Vec::new(); reader.disks().len()];
    while let Some(next) = reader.next().await.unwrap() {
        match next.block.data {
            Data::Bytes(bytes) => disks[next.disk].extend_from_slice(&bytes),
            _ => disks[next.disk].resize(next.block.end() as usize, 0),
        }
    }
    reader.finish().await.unwrap();
    disks
}

fn disks() -> Vec<Vec<u8>> {
    vec![[noise(1, MIB), vec![0; 2 * MIB], noise(2, 777)].concat(), noise(3, 2 * MIB)]
}

#[tokio::test]
async fn tar_lists_and_unpacks_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    std::fs::write(&path, archive(&disks(), Checksum::Xxhash).await).unwrap();
    let (path, dir) = (path.to_str().unwrap(), dir.path());
    let listing = String::from_utf8(run("tar", &["-tf", path]).stdout).unwrap();
    let expected = [
        "ova.xml",
        "Ref:0/00000000",
        "Ref:0/00000000.xxhash",
        "Ref:0/00000003",
        "Ref:0/00000003.xxhash",
        "Ref:1/00000000",
        "Ref:1/00000000.xxhash",
        "Ref:1/00000001",
        "Ref:1/00000001.xxhash",
    ];
    assert_eq!(listing.lines().collect::<Vec<_>>(), expected);
    run("tar", &["-xf", path, "-C", dir.to_str().unwrap()]);
    assert!(std::fs::read(dir.join("Ref:0/00000000")).unwrap() == noise(1, MIB));
    assert!(std::fs::read(dir.join("Ref:0/00000003")).unwrap() == noise(2, 777));
}

#[tokio::test]
async fn python_finds_every_checksum_right() {
    let script = "
import hashlib, sys, tarfile, xmlrpc.client
archive = tarfile.open(sys.argv[1])
members = archive.getmembers()
assert members[0].name == 'ova.xml', members[0].name
xml = archive.extractfile(members[0]).read().decode()
((description,), _) = xmlrpc.client.loads('<params><param>' + xml + '</param></params>')
assert [o['class'] for o in description['objects']] == ['VDI', 'VBD'] * 2
for chunk, checksum in zip(members[1::2], members[2::2]):
    assert checksum.name == chunk.name + '.checksum'
    data = archive.extractfile(chunk).read()
    assert hashlib.sha1(data).hexdigest() == archive.extractfile(checksum).read().decode()
print(len(members))
";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    std::fs::write(&path, archive(&disks(), Checksum::Sha1).await).unwrap();
    let output = run("python3", &["-c", script, path.to_str().unwrap()]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "9");
}

#[tokio::test]
async fn archives_that_tar_packs_again_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    std::fs::write(&path, archive(&disks(), Checksum::Xxhash).await).unwrap();
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    run("tar", &["-xf", path.to_str().unwrap(), "-C", files.to_str().unwrap()]);
    for format in ["v7", "ustar", "gnu", "oldgnu"] {
        for compress in ["--no-auto-compress", "--gzip", "--zstd"] {
            let packed = dir.path().join("packed");
            let arguments = [
                &format!("--format={format}"),
                compress,
                "--sort=name",
                "-cf",
                packed.to_str().unwrap(),
                "-C",
                files.to_str().unwrap(),
                "ova.xml",
                "Ref:0",
                "Ref:1",
            ];
            run("tar", &arguments);
            assert!(read(&std::fs::read(&packed).unwrap()).await == disks(), "{format} {compress}");
        }
    }
}

/// As XenServer compresses exports: through the command line tools.
#[tokio::test]
async fn streams_of_gzip_and_zstd_are_read_as_they_come() {
    let plain = archive(&disks(), Checksum::Xxhash).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.xva");
    std::fs::write(&path, &plain).unwrap();
    for program in ["gzip", "zstd"] {
        let input = std::fs::File::open(&path).unwrap();
        let mut child = tokio::process::Command::from({
            let mut command = Command::new(program);
            command.arg("-c").stdin(input).stdout(Stdio::piped());
            command
        })
        .spawn()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
        let mut compressed = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut compressed).await.unwrap();
        assert!(child.wait().await.unwrap().success());
        assert!(compressed.len() < plain.len());
        assert!(read(&compressed).await == disks(), "{program}");
    }
}
