//! The transfers, judged from Python without any code of ours.

use std::process::Command;

use serde_json::json;

use crate::pool::Pool;

#[tokio::test(flavor = "multi_thread")]
async fn plain_python_can_export_and_import() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    let uuid = pool.text("VM.get_uuid", json!([vm])).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transfer.py");
    let (http, https) = (pool.sim.http_url(), pool.sim.https_url());
    let run = move || {
        Command::new("python3")
            .args([script, &http, &https, "root", "xensim", &uuid])
            .output()
            .expect("python3 is needed")
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.pop().as_deref(), Some("imported success"));
    lines.sort();
    let sums = pool.sums(&vm).await;
    assert_eq!(lines, [format!("disk web 0 {}", sums[0]), format!("disk web 1 {}", sums[1])]);
    let copies = pool.call("VM.get_by_name_label", json!(["web"])).await;
    assert_eq!(copies.as_array().unwrap().len(), 2);
    for copy in copies.as_array().unwrap() {
        assert_eq!(pool.sums(copy.as_str().unwrap()).await, sums);
    }
}
