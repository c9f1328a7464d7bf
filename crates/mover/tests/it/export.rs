//! Exports of points.

use xenkeep_api::*;
use xenkeep_disk::{Data, xva::Reader};

use crate::rig::{Machine, Rig, code_of};

async fn export(rig: &Rig, point: &Point, format: ExportFormat, disk: Option<&str>) -> (Vec<u8>, JobReport) {
    let job = rig.job(JobSpec::Export {
        datastore: rig.datastore.id,
        point: point.id.clone(),
        format,
        disk: disk.map(str::to_owned),
    });
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
    for (disk, code) in [(Some("7".to_owned()), "export.disk_unknown"), (None, "export.disk_missing")] {
        let spec =
            JobSpec::Export { datastore: rig.datastore.id, point: point.id.clone(), format: ExportFormat::Raw, disk };
        assert_eq!(code_of(&rig.run(spec).await.1), code);
    }
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
    let spec = JobSpec::Export { datastore: rig.datastore.id, point: point.id, format: ExportFormat::Xva, disk: None };
    let (_, report) = rig.run(spec).await;
    assert_eq!(code_of(&report), "export.no_reader");
}
