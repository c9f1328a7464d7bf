use futures::StreamExt;
use reqwest::Method;
use xenkeep_api::{Job, JobState, Progress};

use crate::fixture::Rig;
use crate::mover;

/// The jobs in a stream of events, as they come.
fn jobs(response: reqwest::Response) -> impl futures::Stream<Item = Job> + Unpin {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let lines = response.bytes_stream().map(|bytes| String::from_utf8(bytes.unwrap().to_vec()).unwrap());
    let mut rest = String::new();
    lines.flat_map(move |text| {
        rest.push_str(&text);
        let mut found = Vec::new();
        while let Some(end) = rest.find("\n\n") {
            let event: String = rest.drain(..end + 2).collect();
            if let Some(data) = event.strip_prefix("event: job\ndata: ") {
                found.push(serde_json::from_str(data.trim_end()).unwrap());
            }
        }
        futures::stream::iter(found)
    })
}

#[tokio::test]
async fn tell_each_change_and_end_with_the_job() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let mut events = jobs(rig.send(Method::GET, &format!("/jobs/{}/events", job.id)).await);
    assert_eq!(events.next().await.unwrap().state, JobState::Queued);
    let leased = rig.lease().await;
    assert_eq!(events.next().await.unwrap().state, JobState::Running);
    let progress = Progress { step: "read".to_owned(), done_bytes: 5, ..Progress::default() };
    rig.engine().renew(leased.id, leased.fence, &progress, Vec::new()).await.unwrap();
    loop {
        let told = events.next().await.unwrap();
        assert_eq!(told.state, JobState::Running);
        if told.progress == progress {
            break;
        }
    }
    // A sign of life, though nothing changes.
    assert_eq!(events.next().await.unwrap().progress, progress);
    rig.engine().finish(leased.id, leased.fence, &mover::good(mover::result(&leased))).await.unwrap();
    let last = loop {
        let told = events.next().await.unwrap();
        if told.state.is_final() {
            break told;
        }
    };
    assert_eq!(last, rig.job(job.id).await);
    assert!(events.next().await.is_none(), "it ends");

    // Of an ended job: once, and that is all.
    let events = jobs(rig.send(Method::GET, &format!("/jobs/{}/events", &job.id.to_string()[..9])).await);
    assert_eq!(events.collect::<Vec<_>>().await, [last]);
}

#[tokio::test]
async fn end_when_the_server_goes_down() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let mut events = jobs(rig.send(Method::GET, &format!("/jobs/{}/events", job.id)).await);
    events.next().await.unwrap();
    rig.shutdown().await;
    assert!(events.next().await.is_none());
}
