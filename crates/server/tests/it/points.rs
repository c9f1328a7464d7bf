use reqwest::{Method, StatusCode};
use xenkeep_api::Point;

use crate::fixture::{Rig, eventually, refused};
use crate::mover;

#[tokio::test]
async fn are_listed_once_their_backup_has_ended() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let listed = async |query: &str| rig.get::<Vec<Point>>(&format!("/points{query}")).await.len();
    let (a, b) = (rig.queue_backup("a").await, rig.queue_backup("b").await);
    assert_eq!(listed("").await, 0);
    assert_eq!(listed("?client=lab").await, 0, "a client without points is no mistake");
    let mover = mover::obliging(rig.engine());
    eventually("both have ended", async || listed("").await == 2).await;
    mover.stop().await;
    for (query, number) in [("?client=lab", 2), ("?vm=a", 1), ("?vm=c", 0), ("?datastore=store&vm=b&client=lab", 1)] {
        assert_eq!(listed(query).await, number, "{query}");
    }
    let id = |job: &xenkeep_api::Job| job.id.0.simple().to_string();
    let point: Point = rig.get(&format!("/points/{}", &id(&a)[..12])).await;
    assert_eq!((point.job, point.source_name.as_str()), (a.id, "a"));
    assert_eq!(rig.get::<Point>(&format!("/points/{}", id(&b).repeat(2).to_uppercase())).await.job, b.id);
    for (path, code) in [
        ("/points?client=lob", "client.not_found"),
        ("/points?datastore=stare", "datastore.not_found"),
        ("/points/zz", "point.not_found"),
        ("/points/..%2f", "point.not_found"),
    ] {
        refused(rig.send(Method::GET, path).await, StatusCode::NOT_FOUND, code).await;
    }
    refused(rig.send(Method::GET, "/points?vn=a").await, StatusCode::BAD_REQUEST, "request.invalid").await;
    // Points outlive their client.
    assert_eq!(rig.send(Method::DELETE, "/clients/lab").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(listed("?client=lab").await, 2);
    let response = rig.send(Method::DELETE, "/datastores/store").await;
    refused(response, StatusCode::CONFLICT, "datastore.in_use").await;
}
