//! Disk images with real file systems and real files, made without root and without mounting anything.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const MIB: u64 = 1 << 20;

/// Runs a tool to its end; its output is part of the error when it fails.
///
/// # Errors
/// When the tool is missing or ends with a code other than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?} failed with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A tool of the system's administrator, also where `PATH` leaves `/sbin` out.
fn admin_tool(name: &str) -> Command {
    for dir in ["/usr/sbin", "/sbin"] {
        let path = Path::new(dir).join(name);
        if path.exists() {
            return Command::new(path);
        }
    }
    Command::new(name)
}

/// Writes `count` files of pseudo-random, half compressible content below `dir`: the same for the same `seed`.
///
/// # Errors
/// When the directory cannot be written.
pub fn fill_directory(dir: &Path, seed: u64, count: usize, bytes_each: usize) -> Result<()> {
    let mut state = seed | 1;
    let mut next = move || {
        // xorshift64*: enough to make content that neither repeats nor compresses.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    for index in 0..count {
        let sub = dir.join(format!("d{:02}", index % 16));
        fs::create_dir_all(&sub)?;
        let mut content = Vec::with_capacity(bytes_each + 64);
        while content.len() < bytes_each {
            if content.len() % 8192 < 4096 {
                content.extend_from_slice(&next().to_le_bytes());
            } else {
                content.extend_from_slice(format!("line {} of file {index}\n", content.len()).as_bytes());
            }
        }
        content.truncate(bytes_each);
        fs::write(sub.join(format!("file-{index:05}.dat")), content)?;
    }
    Ok(())
}

/// An ext4 file system that holds the files below `from`.
///
/// # Errors
/// When `mke2fs` is missing or the files do not fit.
pub fn ext4(image: &Path, size_bytes: u64, from: &Path) -> Result<()> {
    File::create(image)?.set_len(size_bytes)?;
    run(admin_tool("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(from).arg(image))
}

/// An NTFS with the given files in its root directory.
///
/// # Errors
/// When `mkntfs` or `ntfscp` is missing or a file does not fit.
pub fn ntfs(image: &Path, size_bytes: u64, files: &[PathBuf]) -> Result<()> {
    File::create(image)?.set_len(size_bytes)?;
    run(admin_tool("mkntfs").args(["-F", "-Q", "-q", "-L", "DATA"]).arg(image))?;
    for file in files {
        let name = file.file_name().context("a file without a name")?;
        run(admin_tool("ntfscp").arg("-q").arg(image).arg(file).arg(name))?;
    }
    Ok(())
}

/// A FAT32 file system with the given files in its root directory.
///
/// # Errors
/// When `mkfs.vfat` or `mcopy` is missing or a file does not fit.
pub fn fat(image: &Path, size_bytes: u64, files: &[PathBuf]) -> Result<()> {
    File::create(image)?.set_len(size_bytes)?;
    run(admin_tool("mkfs.vfat").args(["-F", "32", "-n", "BOOT"]).arg(image))?;
    for file in files {
        run(Command::new("mcopy").arg("-i").arg(image).arg(file).arg("::/"))?;
    }
    Ok(())
}

/// A disk with a GPT whose partitions are the given images, each aligned to 1 MiB; `kinds` are sgdisk's type codes.
///
/// # Errors
/// When `sgdisk` is missing or an image cannot be read.
pub fn gpt(image: &Path, partitions: &[(&Path, &str)]) -> Result<()> {
    let mut offset = MIB;
    let mut placed = Vec::new();
    for (part, kind) in partitions {
        let length = fs::metadata(part)?.len();
        ensure!(length % MIB == 0, "{} is not a whole number of MiB", part.display());
        placed.push((*part, *kind, offset, length));
        offset += length;
    }
    File::create(image)?.set_len(offset + MIB)?;
    let mut sgdisk = admin_tool("sgdisk");
    sgdisk.args(["--clear", "--set-alignment=2048"]);
    for (index, (_, kind, start, length)) in placed.iter().enumerate() {
        let number = index + 1;
        sgdisk.arg(format!("--new={number}:{}:{}", start / 512, (start + length) / 512 - 1));
        sgdisk.arg(format!("--typecode={number}:{kind}"));
    }
    run(sgdisk.arg(image))?;
    for (part, _, start, _) in placed {
        copy_sparse(part, image, start)?;
    }
    Ok(())
}

/// A qcow2 image with the content of a raw one.
///
/// # Errors
/// When `qemu-img` is missing or fails.
pub fn qcow2(raw: &Path, image: &Path) -> Result<()> {
    run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(image))
}

/// Writes `from` into `to` at `offset`, leaving holes where it is zero.
fn copy_sparse(from: &Path, to: &Path, offset: u64) -> Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).open(to)?;
    let mut buffer = vec![0_u8; MIB as usize];
    let mut position = offset;
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if buffer[..length].iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(position))?;
            target.write_all(&buffer[..length])?;
        }
        position += length as u64;
    }
}

/// SHA-256 of a file as lower-case hex, by Debian's `sha256sum`: not by the code that is judged.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg("--").arg(file).output().context("cannot run sha256sum")?;
    ensure!(output.status.success(), "sha256sum: {}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout)?;
    Ok(line.split_whitespace().next().context("sha256sum said nothing")?.trim_start_matches('\\').to_owned())
}

/// What a directory takes on disk.
///
/// # Errors
/// When it cannot be read.
pub fn usage_bytes(dir: &Path) -> Result<u64> {
    let output = Command::new("du").args(["-s", "--block-size=1", "--"]).arg(dir).output().context("cannot run du")?;
    ensure!(output.status.success(), "du: {}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout)?;
    Ok(line.split_whitespace().next().context("du said nothing")?.parse()?)
}
