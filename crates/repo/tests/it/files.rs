//! Files that are streamed, and cut by their content.

use futures::TryStreamExt;
use xenkeep_repo::{Error, PointReader, Repo, SnapshotId};

use crate::judge::{restic, restic_bytes};
use crate::store::*;

async fn store(repo: &Repo, number: i64, content: &[u8]) -> (SnapshotId, u64) {
    let (writer, counters) = begin(repo).await;
    let mut sink = writer.file_sink("dump.xml").unwrap();
    for piece in content.chunks(70_001) {
        sink.push(piece).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), content.len() as u64);
    writer.file("point.json", "{}".into()).await.unwrap();
    (writer.commit(meta(number)).await.unwrap(), counters.new_bytes())
}

async fn read(point: &PointReader, name: &str) -> Result<Vec<u8>, Error> {
    let pieces: Vec<_> = point.file_reader(name)?.pieces().try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_files_come_back_from_us_and_from_restic() {
    let fixture = Fixture::new().await;
    let content = image(4, (6 << 20) + 12_345);
    let (id, new) = store(&fixture.repo, 0, &content).await;
    assert!(new >= content.len() as u64);
    let point = fixture.repo.open_point(&id).await.unwrap();
    assert_eq!(point.files(), ["dump.xml", "point.json"]);
    assert_eq!(point.file_reader("dump.xml").unwrap().size(), content.len() as u64);
    assert!(read(&point, "dump.xml").await.unwrap() == content);
    assert!(matches!(read(&point, "absent").await, Err(Error::NotFound { .. })));

    let path = format!("{}/dump.xml", meta(0).root);
    assert!(restic_bytes(&fixture.dir(), &["dump", &id.to_string(), &path]) == content);
    restic(&fixture.dir(), &["check", "--read-data"]);

    // A little more in the middle: only what is around it is stored again.
    let mut changed = content.clone();
    changed.splice(3_000_000..3_000_000, *b"<row/>");
    let (second, new) = store(&fixture.repo, 1, &changed).await;
    assert!(new < 4 << 20 && new > 0, "{new} bytes are new");
    let point = fixture.repo.open_point(&second).await.unwrap();
    assert!(read(&point, "dump.xml").await.unwrap() == changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_finished_is_not_committed() {
    let fixture = Fixture::new().await;
    let (writer, _) = begin(&fixture.repo).await;
    let mut sink = writer.file_sink("dump.xml").unwrap();
    sink.push(b"half").await.unwrap();
    assert!(matches!(writer.file_sink("dump.xml"), Err(Error::Invalid(_))), "a name is used once");
    for bad in ["disks", "a/b", ""] {
        assert!(matches!(writer.file_sink(bad), Err(Error::Invalid(_))), "{bad}");
    }
    drop(sink);
    assert!(matches!(writer.commit(meta(0)).await, Err(Error::Invalid(_))));
    assert!(fixture.repo.points().await.unwrap().is_empty());
}
