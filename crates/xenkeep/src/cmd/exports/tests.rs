#![allow(clippy::unwrap_used)]

use super::*;
use crate::cmd::samples;

fn export(format: FormatArg, out: &str, disk: Option<&str>) -> Export {
    Export {
        point: "3f".into(),
        to: None,
        format: Some(format),
        out: Some(out.into()),
        disk: disk.map(ToOwned::to_owned),
        compress: None,
        force: false,
    }
}

fn paths(export: &Export) -> Vec<String> {
    let pieces = export.pieces(&samples::point(), export.format.unwrap()).unwrap();
    pieces.iter().map(|piece| piece.path.as_ref().map_or("-".into(), |path| path.display().to_string())).collect()
}

#[test]
fn raw_writes_a_file_a_disk_and_xva_one() {
    assert_eq!(paths(&export(FormatArg::Raw, "out", None)), ["out/web1-0.raw", "out/web1-1.raw"]);
    assert_eq!(paths(&export(FormatArg::Raw, "out", Some("1"))), ["out/web1-1.raw"]);
    assert_eq!(paths(&export(FormatArg::Raw, "-", Some("1"))), ["-"]);
    assert_eq!(paths(&export(FormatArg::Qcow2, "out", Some("0"))), ["out/web1-0.qcow2"]);
    assert_eq!(paths(&export(FormatArg::Vhd, "out", None)), ["out/web1-0.vhd", "out/web1-1.vhd"]);
    assert_eq!(paths(&export(FormatArg::Xva, "web1.xva", None)), ["web1.xva"]);
    assert_eq!(paths(&export(FormatArg::Xva, "-", None)), ["-"]);
}

#[test]
fn what_can_t_be_written_is_refused_before_a_byte_flows() {
    for (export, text) in [
        (export(FormatArg::Raw, "-", None), "stdout takes one disk, and the point has 2"),
        (export(FormatArg::Raw, "out", Some("7")), "the point of web1 has no disk 7"),
        (export(FormatArg::Xva, "/", None), "/ is a directory"),
    ] {
        assert_eq!(export.pieces(&samples::point(), export.format.unwrap()).err().unwrap().to_string(), text);
    }
}

#[test]
fn a_name_of_a_vm_can_t_leave_the_directory() {
    for (vm, name) in [
        ("web1", "web1-0.raw"),
        ("../../etc/passwd", "_.._etc_passwd-0.raw"),
        ("..", "disk-0.raw"),
        ("", "disk-0.raw"),
        ("Büro: PC\n1", "Büro_ PC_1-0.raw"),
    ] {
        assert_eq!(file_name(vm, "0", "raw"), name);
    }
    assert_eq!(file_name("a", "../x", "raw"), "a-.._x.raw");
}

#[test]
fn only_the_bytes_that_were_sent_are_kept() {
    let written = |bytes, sha256: &str| Written::without_file(bytes, sha256);
    let result = JobResult::Export { bytes: 3, sha256: "aa".into() };
    let job = Job { result: Some(result), ..samples::finished_job() };
    compare(&job, &written(3, "aa")).unwrap();
    for bad in [written(2, "aa"), written(3, "bb")] {
        let error = compare(&job, &bad).unwrap_err();
        assert_eq!(error.downcast_ref::<Problem>().unwrap().code, "export.differs");
    }
    assert!(compare(&Job { result: None, ..job }, &written(3, "aa")).is_err());
}

#[test]
fn a_failed_job_tells_more_than_a_cut_stream() {
    let own = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert!(knows_better(&own, &samples::failed_job()));
    let said = anyhow::Error::from(http::Error::Problem { status: 409, problem: Problem::new("x", "x") });
    assert!(!knows_better(&said, &samples::failed_job()));
    assert!(knows_better(&said, &samples::job()));
}
