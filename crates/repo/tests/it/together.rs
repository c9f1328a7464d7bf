//! Several points at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_never_store_a_chunk_twice() {
    let fixture = Fixture::new().await;
    let image = Arc::new(image(3, 30 << 20));
    let mut tasks = tokio::task::JoinSet::new();
    let writers = 4;
    let mut all_counters = Vec::new();
    for number in 0..writers {
        let (writer, counters) = begin(&fixture.repo).await;
        all_counters.push(counters);
        let image = image.clone();
        tasks.spawn(async move {
            writer.disk("0", image.len() as u64, stream_of(blocks(&image, number))).await.unwrap();
            writer.commit(meta(number as i64)).await.unwrap()
        });
    }
    let ids = tasks.join_all().await;
    let new: u64 = all_counters.iter().map(|counters| counters.new_bytes()).sum();
    let alone = Fixture::new().await;
    let (writer, counters) = begin(&alone.repo).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 0))).await.unwrap();
    assert_eq!(new, counters.new_bytes());
    for id in ids {
        assert!(restored(&fixture.repo, &id).await == *image);
    }
    gone(&fixture.dir().join("locks")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_of_a_point_may_be_written_in_turns() {
    let fixture = Fixture::new().await;
    let images = [image(1, 6 << 20), image(2, (4 << 20) + 512)];
    let (writer, _) = begin(&fixture.repo).await;
    let mut sinks = Vec::new();
    for (name, image) in images.iter().enumerate() {
        let sink = writer.disk_sink(&name.to_string(), image.len() as u64).unwrap();
        sinks.push((sink, blocks(image, 4).into_iter()));
    }
    let mut open = true;
    while open {
        open = false;
        for (sink, blocks) in &mut sinks {
            if let Some(block) = blocks.next() {
                sink.push(block).await.unwrap();
                open = true;
            }
        }
    }
    for (sink, _) in sinks {
        sink.finish().await.unwrap();
    }
    let id = writer.commit(meta(0)).await.unwrap();
    let point = fixture.repo.open_point(&id).await.unwrap();
    for (name, image) in images.iter().enumerate() {
        assert!(read_blocks(point.disk(&name.to_string()).await.unwrap()).await.unwrap() == *image);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_reads_while_the_other_writes() {
    let fixture = Fixture::new().await;
    let first = image(1, 10 << 20);
    let id = back_up(&fixture.repo, 0, &first).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (repo, done, first) = (fixture.repo.clone(), done.clone(), first.clone());
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                assert!(restored(&repo, &id).await == first);
                rounds += 1;
            }
        }
    });
    // Another process, as far as the repository can tell.
    let other = fixture.reopened().await;
    for number in 1..4 {
        let image = image(number, 10 << 20);
        let id = back_up(&other, number as i64, &image).await;
        assert!(restored(&fixture.repo, &id).await == image, "what others write is found");
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
}
