use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{ExportFormat, Job, JobSpec, Placement, Point};

use crate::fixture::{Rig, new_client, refused};
use crate::mover;

/// A point of VM `web` on client `lab`.
async fn backed_up(rig: &Rig) -> Point {
    rig.furnish().await;
    let mover = mover::obliging(rig.engine());
    let job = rig.queue_backup("web").await;
    crate::fixture::eventually("the backup has ended", async || rig.job(job.id).await.state.is_final()).await;
    mover.stop().await;
    rig.get::<Vec<Point>>("/points").await.remove(0)
}

#[tokio::test]
async fn a_restore_knows_its_point_and_its_client() {
    let rig = Rig::start().await;
    let point = backed_up(&rig).await;
    let prefix = &point.id[..10];
    let beside = json!({"point": prefix, "placement": {"mode": "beside", "name": "web2"}, "start": true, "sr": "Fast"});
    let job = rig.start_job("/restores", beside).await;
    let placement = Placement::Beside { name: "web2".to_owned() };
    let JobSpec::Restore { client, datastore, point: id, placement: found, places, start, transport } = job.spec else {
        panic!()
    };
    assert_eq!((client, datastore, id, found), (point.client, point.datastore, point.id.clone(), placement));
    assert_eq!((places.sr.as_deref(), start, transport, job.subject.as_str()), (Some("Fast"), true, None, "web2"));
    let leased = rig.lease().await;
    assert_eq!(leased.point.as_ref(), Some(&point));
    assert!(leased.client.is_some() && leased.datastore.is_some());

    // To another pool.
    let mover = mover::obliging(rig.engine());
    rig.post("/clients", new_client("prod")).await;
    mover.stop().await;
    let over = json!({"point": prefix, "client": "prod", "placement": {"mode": "overwrite"}});
    let job = rig.start_job("/restores", over).await;
    assert_ne!(job.spec.client(), Some(point.client));
    assert_eq!(job.subject, "web");
}

#[tokio::test]
async fn a_restore_that_makes_no_sense_is_refused() {
    let rig = Rig::start().await;
    let point = backed_up(&rig).await;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let with = |key: &str, value: Value| {
        let mut request = json!({"point": point.id, "placement": {"mode": "overwrite"}});
        request[key] = value;
        request
    };
    for (request, status, code) in [
        (with("point", json!("0000")), StatusCode::NOT_FOUND, "point.not_found"),
        (with("point", json!("")), StatusCode::NOT_FOUND, "point.not_found"),
        (with("client", json!("nobody")), StatusCode::NOT_FOUND, "client.not_found"),
        (with("placement", json!({"mode": "beside", "name": ""})), unprocessable, "request.invalid"),
        (with("placement", json!({"mode": "beside"})), unprocessable, "request.invalid"),
        (with("placement", json!({"mode": "elsewhere"})), unprocessable, "request.invalid"),
        (with("sr", json!("")), unprocessable, "request.invalid"),
        (with("force", json!(true)), unprocessable, "request.invalid"),
    ] {
        refused(rig.post("/restores", request).await, status, code).await;
    }
    assert_eq!(rig.send(Method::DELETE, "/clients/lab").await.status(), StatusCode::NO_CONTENT);
    let problem =
        refused(rig.post("/restores", with("start", json!(false))).await, StatusCode::CONFLICT, "client.gone").await;
    assert!(problem.message.contains("lab"), "{problem:?}");
}

#[tokio::test]
async fn an_export_names_a_disk_or_none() {
    let rig = Rig::start().await;
    let point = backed_up(&rig).await;
    let export = |format: &str, disk: Value| json!({"point": point.id, "format": format, "disk": disk});
    let compressed = |format: &str| json!({"point": point.id, "format": format, "disk": "3", "compression": "zstd"});
    rig.start_job("/exports", compressed("qcow2")).await;
    rig.start_job("/exports", export("vhd", json!("3"))).await;
    let job = rig.start_job("/exports", export("raw", json!("3"))).await;
    let JobSpec::Export { format, disk, .. } = job.spec else { panic!() };
    assert_eq!((format, disk.as_deref()), (ExportFormat::Raw, Some("3")));
    rig.start_job("/exports", export("xva", json!(null))).await;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for (request, status, code) in [
        (export("raw", json!(null)), unprocessable, "export.disk_wanted"),
        (export("raw", json!("1")), StatusCode::NOT_FOUND, "disk.not_found"),
        (export("raw", json!("../0")), StatusCode::NOT_FOUND, "disk.not_found"),
        (export("xva", json!("0")), unprocessable, "export.disk_not_wanted"),
        (export("vmdk", json!(null)), unprocessable, "request.invalid"),
        (export("vhd", json!(null)), unprocessable, "export.disk_wanted"),
        (export("qcow2", json!("1")), StatusCode::NOT_FOUND, "disk.not_found"),
        (export("file", json!(null)), unprocessable, "export.no_file"),
        (compressed("vhd"), unprocessable, "export.not_compressible"),
    ] {
        let problem = refused(rig.post("/exports", request).await, status, code).await;
        if code == "disk.not_found" {
            assert_eq!(problem.hint.as_deref(), Some("the point has disks at: 0, 3"));
        }
    }
}

#[tokio::test]
async fn a_backup_names_what_there_is() {
    let rig = Rig::start().await;
    rig.furnish().await;
    for (client, vm, datastore, status, code) in [
        ("lob", "web", "store", StatusCode::NOT_FOUND, "client.not_found"),
        ("lab", "web", "stare", StatusCode::NOT_FOUND, "datastore.not_found"),
        ("lab", "", "store", StatusCode::UNPROCESSABLE_ENTITY, "request.invalid"),
        ("lab", "a\nb", "store", StatusCode::UNPROCESSABLE_ENTITY, "request.invalid"),
    ] {
        let request = json!({"client": client, "vm": vm, "datastore": datastore});
        refused(rig.post("/backups", request).await, status, code).await;
    }
    assert!(rig.get::<Vec<Job>>("/jobs?kind=backup").await.is_empty());
}
