//! Exports of points.

use xenkeep_api::*;
use xenkeep_disk::{Data, xva::Reader};

use crate::rig::{Machine, Rig, code_of};

async fn export(rig: &Rig, point: &Point, format: ExportFormat, disk: Option<&str>) -> (Vec<u8>, JobReport) {
    read(rig, spec(rig, point, format, disk, None)).await
}

fn spec(
    rig: &Rig,
    point: &Point,
    format: ExportFormat,
    disk: Option<&str>,
    compression: Option<ExportCompression>,
) -> JobSpec {
    let (point, disk) = (point.id.clone(), disk.map(str::to_owned));
    JobSpec::Export { datastore: rig.datastore.id, point, format, disk, compression }
}

async fn read(rig: &Rig, spec: JobSpec) -> (Vec<u8>, JobReport) {
    let job = rig.job(spec);
    let id = job.id;
    let mut content = rig.desk.read(id);
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = content.recv().await {
        bytes.extend_from_slice(&piece);
    }
    let report = rig.desk.report(id).await;
    machine.stop().await;
    (bytes, report)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_comes_out_byte_by_byte() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let expected = rig.contents(&point.source_uuid).await;
    for (position, sum) in expected.iter().enumerate() {
        let (bytes, report) = export(&rig, &point, ExportFormat::Raw, Some(&position.to_string())).await;
        assert_eq!(&sha256(&bytes), sum);
        let size = point.disks[position].size_bytes;
        assert_eq!(report.result, Some(JobResult::Export { bytes: size, sha256: sum.clone() }));
        assert_eq!(report.progress.done_bytes, size);
    }
    for (disk, code) in [(Some("7"), "export.disk_unknown"), (None, "export.disk_missing")] {
        let spec = spec(&rig, &point, ExportFormat::Raw, disk, None);
        assert_eq!(code_of(&rig.run(spec).await.1), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_finds_the_disk_in_every_image() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (raw, _) = export(&rig, &point, ExportFormat::Raw, Some("0")).await;
    assert_eq!(sha256(&raw), rig.contents(&point.source_uuid).await[0]);
    std::fs::write(path("raw"), &raw).unwrap();
    let mut lens = Vec::new();
    for (format, driver, compression) in [
        (ExportFormat::Vhd, "vpc", None),
        (ExportFormat::Qcow2, "qcow2", None),
        (ExportFormat::Qcow2, "qcow2", Some(ExportCompression::Zstd)),
        (ExportFormat::Qcow2, "qcow2", Some(ExportCompression::Zlib)),
    ] {
        let (image, report) = read(&rig, spec(&rig, &point, format, Some("0"), compression)).await;
        assert_eq!(report.result, Some(JobResult::Export { bytes: image.len() as u64, sha256: sha256(&image) }));
        assert_eq!(report.progress.done_bytes, point.disks[0].size_bytes, "{driver} {compression:?}");
        std::fs::write(path("image"), &image).unwrap();
        let said = qemu_img(&["compare", "-f", "raw", "-F", driver, &path("raw"), &path("image")]);
        assert_eq!(said.trim(), "Images are identical.", "a size that differs is a remark there");
        if driver == "qcow2" {
            qemu_img(&["check", "-f", driver, &path("image")]);
        }
        lens.push(image.len());
        let (again, _) = read(&rig, spec(&rig, &point, format, Some("0"), compression)).await;
        assert!(again == image, "the same point gives the same image");
    }
    assert!(lens[2] <= lens[1] && lens[3] <= lens[1], "{lens:?}");
}

fn qemu_img(arguments: &[&str]) -> String {
    let output = std::process::Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xva_is_the_original_vm_with_its_disks() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let (bytes, report) = export(&rig, &point, ExportFormat::Xva, None).await;
    assert_eq!(report.result, Some(JobResult::Export { bytes: bytes.len() as u64, sha256: sha256(&bytes) }));
    let mut reader = Reader::open(&bytes[..]).await.unwrap();
    let vm = &reader.ova().vm().unwrap().snapshot;
    assert_eq!((vm.text("name_label"), vm.text("uuid")), (Some("web1"), Some(point.source_uuid.as_str())));
    assert_eq!(vm.flag("is_a_template"), Some(false));
    assert!(!reader.ova().to_xml().contains("xenkeep:"));
    let mut disks: Vec<Vec<u8>> = reader.disks().iter().map(|disk| vec![0; disk.virtual_size as usize]).collect();
    let positions: Vec<usize> = reader.disks().iter().map(|disk| disk.userdevice.parse().unwrap()).collect();
    while let Some(piece) = reader.next().await.unwrap() {
        if let Data::Bytes(bytes) = piece.block.data {
            let at = piece.block.offset as usize;
            disks[piece.disk][at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    reader.finish().await.unwrap();
    let expected = rig.contents(&point.source_uuid).await;
    for (disk, position) in disks.iter().zip(positions) {
        assert_eq!(sha256(disk), expected[position]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_nothing_is_exported() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let (_, report) = rig.run(spec(&rig, &point, ExportFormat::Xva, None, None)).await;
    assert_eq!(code_of(&report), "export.no_reader");
}
