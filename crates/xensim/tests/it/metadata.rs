//! `GET /export_metadata` and `PUT /import_metadata`.

use serde_json::json;
use xenkeep_disk::value;
use xenkeep_disk::xva::Reader;

use crate::pool::Pool;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_again_on_disks_that_are_there() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.call("VM.start", json!([vm, false, false])).await;
    let answer = pool.get("/export_metadata", &[("ref", &vm), ("export_snapshots", "false")]).await;
    assert!(answer.head.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string()));
    let ova = Reader::open(&answer.body[..]).await.unwrap().into_ova();
    assert_eq!(ova.vm().unwrap().text("power_state"), "Running");
    pool.call("VM.hard_shutdown", json!([vm])).await;

    // Clones of the disks take their places.
    let mut query = vec![("restore".to_owned(), "true".to_owned())];
    let mut clones = Vec::new();
    for uuid in pool.disks(&vm).await {
        let vdi = pool.call("VDI.get_by_uuid", json!([uuid])).await;
        let clone = pool.call("VDI.clone", json!([vdi])).await;
        let clone = pool.text("VDI.get_uuid", json!([clone])).await;
        query.push((format!("vdi:{uuid}"), clone.clone()));
        clones.push(clone);
    }
    let uuid = pool.text("VM.get_uuid", json!([vm])).await;
    pool.call("VM.destroy", json!([vm])).await;
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();

    let before = pool.inventory().await;
    let task = pool.task().await;
    let dry: Vec<_> = query.iter().copied().chain([("dry_run", "true"), ("task_id", task.as_str())]).collect();
    assert_eq!(pool.put("/import_metadata", &dry, &answer.body).await.status(), 200);
    let (status, result, _) = pool.wait(&task).await;
    assert_eq!(status, "success");
    assert_eq!(value::parse(result.as_bytes()).unwrap().as_array().unwrap().len(), 0);
    assert_eq!(pool.inventory().await, before);

    let task = pool.task().await;
    let real: Vec<_> = query.iter().copied().chain([("task_id", task.as_str())]).collect();
    assert_eq!(pool.put("/import_metadata", &real, &answer.body).await.status(), 200);
    let (status, _, error) = pool.wait(&task).await;
    assert_eq!((status.as_str(), error), ("success", vec![]));
    let back = pool.text("VM.get_by_uuid", json!([uuid])).await;
    assert_eq!(pool.disks(&back).await, clones);
    assert_eq!(pool.text("VM.get_power_state", json!([back])).await, "Halted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_missing_is_told() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    let archive = pool.get("/export_metadata", &[("ref", &vm)]).await.body;
    let gone = pool.disks(&vm).await[0].clone();
    pool.call("VM.destroy", json!([vm])).await;
    pool.call("VDI.destroy", json!([pool.call("VDI.get_by_uuid", json!([gone])).await])).await;
    let before = pool.inventory().await;
    let task = pool.task().await;
    pool.put("/import_metadata", &[("task_id", &task)], &archive).await;
    let (_, _, error) = pool.wait(&task).await;
    assert_eq!((error[0].as_str(), error[2].as_str()), ("VDI_LOCATION_MISSING", gone.as_str()));
    assert_eq!(pool.inventory().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_machines_at_once() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.call("VM.snapshot", json!([vm, "snap"])).await;
    let names = async |query: &[(&str, &str)]| {
        let answer = pool.get("/export_metadata", query).await;
        let ova = Reader::open(&answer.body[..]).await.unwrap().into_ova();
        let mut names: Vec<String> = ova.vms().map(|vm| vm.text("name_label").to_owned()).collect();
        names.sort();
        names
    };
    let all = names(&[("all", "true")]).await;
    assert!(all.contains(&"web".to_owned()) && all.contains(&"snap".to_owned()), "{all:?}");
    assert_eq!(all.iter().filter(|name| name.contains("Control domain")).count(), 2, "{all:?}");
    let few = names(&[("all", "true"), ("include_dom0", "false"), ("export_snapshots", "false")]).await;
    assert_eq!(few, ["web"]);
    let answer = pool.get("/export_metadata", &[("ref", &vm), ("excluded_device_types", "vif,vbd")]).await;
    let ova = Reader::open(&answer.body[..]).await.unwrap().into_ova();
    assert_eq!(ova.of_class("VIF").count() + ova.of_class("VBD").count() + ova.of_class("VDI").count(), 0);
}
