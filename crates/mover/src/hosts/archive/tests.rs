use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content).unwrap();
}

fn whole() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut directory = Header::new_gnu();
    directory.set_entry_type(EntryType::Directory);
    tar.append_data(&mut directory, "./etc/", std::io::empty()).unwrap();
    file(&mut tar, &"long/".repeat(60), b"passed over");
    file(
        &mut tar,
        "./etc/xensource-inventory",
        b"PRODUCT_BRAND='XCP-ng'\nPRODUCT_VERSION='8.3.0'\nBUILD_NUMBER='cloud'\n",
    );
    file(&mut tar, "./var/backup/pool-database-2026", b"<database>");
    file(&mut tar, "./etc/empty", b"");
    tar.into_inner().unwrap()
}

#[test]
fn the_summary_says_which_release_it_is() {
    let summary = read(&gzip(&whole())[..]).unwrap();
    assert_eq!(
        (summary.product.as_str(), summary.version.as_str(), summary.build.as_str()),
        ("XCP-ng", "8.3.0", "cloud")
    );
    assert_eq!(summary.files, 4);
    assert_eq!(summary.pool_database.as_deref(), Some("var/backup/pool-database-2026"));
}

#[test]
fn any_other_end_is_refused() {
    let whole = gzip(&whole());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} of {}", whole.len());
    }
    let failed = [&whole[..], b"HTTP/1.1 500 Internal Error\r\n"].concat();
    assert!(read(&failed[..]).unwrap_err().contains("follows its end"));
}

#[test]
fn any_flipped_bit_is_found() {
    let plain = whole();
    let whole = gzip(&plain);
    let unpacked = |bytes: &[u8]| {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut GzDecoder::new(bytes), &mut content).map(|_| content)
    };
    // The ten bytes of gzip's header say nothing of the content; nor do some bits of a table of codes that are not used.
    for at in 10..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 4;
        if !matches!(unpacked(&bad), Ok(content) if content == plain) {
            assert!(read(&bad[..]).is_err(), "byte {at}");
        }
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let mut tar = Builder::new(Vec::new());
    file(&mut tar, "./etc/hostname", b"h");
    assert!(read(&gzip(&tar.into_inner().unwrap())[..]).unwrap_err().contains("inventory"));
    let inventory = whole();
    let at = inventory.windows(9).position(|window| window == b"inventory").unwrap() / 512 * 512;
    for size in [&b"7777777777\0\0"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"not a number"] {
        let mut bad = inventory.clone();
        bad[at + 124..at + 136].copy_from_slice(size);
        assert!(read(&gzip(&bad)[..]).is_err());
    }
    assert!(read(&gzip(b"no archive at all")[..]).is_err());
    assert!(read(&b"not even compressed"[..]).is_err());
}

#[test]
fn a_sparse_file_of_gnu_tar_is_passed_over() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("etc");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("xensource-inventory"), "PRODUCT_VERSION='8.2.1'\n").unwrap();
    let sparse = std::fs::File::create(path.join("sparse")).unwrap();
    // Enough pieces for a list that goes on behind the header.
    for piece in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", piece << 20).unwrap();
    }
    sparse.set_len(64 << 20).unwrap();
    let output = std::process::Command::new("tar")
        .args(["-c", "--gzip", "--sparse", "--one-file-system", "-C"])
        .arg(temp.path())
        .arg(".")
        .output()
        .expect("tar must be installed");
    assert!(output.status.success());
    let summary = read(&output.stdout[..]).unwrap();
    assert_eq!((summary.version.as_str(), summary.files), ("8.2.1", 2));
    assert_eq!(summary.content_bytes, (64 << 20) + 24);
    assert!(output.stdout.len() < 1 << 20);
}
