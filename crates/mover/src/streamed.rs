//! Points that hold one stream of the pool, as it came: its database, or the backup of a host.
//!
//! A stream is stored and looked at in one pass. It becomes a point only when the look has said that it is whole, and the
//! pool's task that it succeeded.

use std::sync::Arc;

use bytes::BytesMut;
use futures::TryStreamExt;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;
use xapi::{Download, TaskRef, Upload};
use xenkeep_api::{DatastoreAccess, Point, PointKind, PointSummary, Problem};
use xenkeep_repo::{Counters, FileReader, Meta, PointReader, PointWriter, SnapshotId, WriteOptions};

use crate::{
    backup::{directory, job_tag},
    context::{JobContext, Stop, now},
    datastore,
    feed::{Feed, feed},
    journal::{Made, TaskMade},
    open::described,
    point::{DATABASE_FILE, FORMAT, HOST_FILE, Named, POINT_FILE, PointFile, PoolFile, Records},
    problem::{self, bytes},
    progress::Counted,
    session::{OrStop, Session},
    tag, undo,
};

/// Bytes are taken from the pool in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// What is read, and how it is called.
pub(crate) struct Source {
    pub(crate) kind: PointKind,
    /// Of the pool or the host.
    pub(crate) name: Named<String>,
    pub(crate) pool: PoolFile,
    /// For people, in errors: `the database of pool lab`.
    pub(crate) what: String,
}

/// A stream that was stored and found whole.
pub(crate) struct Stored {
    writer: PointWriter,
    before: (u64, u64),
    began: Timestamp,
    size_bytes: u64,
}

/// Writes into the journal that tasks will be made, before the first of them is.
pub(crate) async fn announce(cx: &JobContext) -> Result<Uuid, Stop> {
    cx.journal.write(&Made::Task(TaskMade { job: cx.job })).await
}

/// Removes what tasks are left; whatever happened before, the pool is left as it was.
pub(crate) async fn tidy(cx: &JobContext, session: &Session, entry: Uuid) {
    let undone = undo::tasks(cx, session, &TaskMade { job: cx.job }, entry).await;
    undo::or_warn(cx, "a task of the job", undone);
}

/// Makes the task of a stream.
pub(crate) async fn task(cx: &JobContext, session: &Session, what: &str) -> Result<TaskRef, Stop> {
    let label = format!("{} {what}", tag::label(cx.job));
    session.pool.task_create(&label, "xenkeep moves a stream").await.or_stop(session)
}

/// Stores a stream as the one file of a new point, while `look` reads it too and says what is in it, or what is wrong.
pub(crate) async fn store<T: Send + 'static>(
    cx: &JobContext,
    session: &Session,
    (datastore, repo): (&DatastoreAccess, &xenkeep_repo::Repo),
    (source, counters): (&Source, &Arc<Counters>),
    download: Download,
    look: impl FnOnce(Feed) -> Result<T, String> + Send + 'static,
) -> Result<(Stored, T), Stop> {
    let to_stop = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
    let began = clock(session).await;
    let before = (counters.new_bytes(), counters.stored_bytes());
    let writer = repo.begin(WriteOptions { counters: Arc::clone(counters) }).await.map_err(to_stop)?;
    let mut download = download;
    let read = read(cx, datastore, &writer, source, &mut download, look).await;
    let done = match read {
        Ok((size_bytes, found)) => match download.finish(&cx.cancel).await.or_stop(session).and_then(|_| cx.check()) {
            Ok(()) => Ok((size_bytes, found)),
            Err(stop) => Err(stop),
        },
        Err(Broken::Stop(stop)) => Err(stop),
        Err(Broken::Stream(problem)) => Err(verdict(session, download, problem).await),
    };
    match done {
        Ok((size_bytes, found)) => Ok((Stored { writer, before, began, size_bytes }, found)),
        Err(stop) => {
            writer.abort().await;
            Err(stop)
        }
    }
}

/// How a stream may end early.
enum Broken {
    Stop(Stop),
    Stream(Problem),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

async fn read<T: Send + 'static>(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    writer: &PointWriter,
    source: &Source,
    download: &mut Download,
    look: impl FnOnce(Feed) -> Result<T, String> + Send + 'static,
) -> Result<(u64, T), Broken> {
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
    let mut sink = writer.file_sink(file_name(source.kind)).map_err(store)?;
    let mut stream = Counted::new(download, Arc::clone(&cx.board));
    let (pieces, feed) = feed();
    let looking = tokio::task::spawn_blocking(move || look(feed));
    let mut broken = None;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let read = async { Ok::<_, Stop>(stream.read_buf(&mut piece).await) };
        match cx.or_cancelled(read).await? {
            Ok(0) => break,
            Ok(_) => {
                let piece = piece.freeze();
                cx.or_cancelled(async { sink.push(&piece).await.map_err(store) }).await?;
                // Whoever looks has gone when it has seen enough to refuse it.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(problem::chain(&error));
                break;
            }
        }
    }
    drop(pieces);
    let looked = looking.await.map_err(|error| Stop::from(Problem::internal(&error)))?;
    let bad = |why: String| {
        Broken::Stream(
            Problem::new("data.damaged", format!("{} did not come whole: {why}", source.what))
                .hint("the data were damaged or cut off on their way; start the job again, and look at the pool's log (xensource.log) if it happens again"),
        )
    };
    match (broken, looked) {
        (Some(why), _) | (None, Err(why)) => Err(bad(why)),
        (None, Ok(found)) => {
            let size_bytes = cx.or_cancelled(async { sink.finish().await.map_err(store) }).await?;
            Ok((size_bytes, found))
        }
    }
}

/// Why the stream broke: what the pool's task says, if it knows more than that we hung up.
async fn verdict(session: &Session, download: Download, problem: Problem) -> Stop {
    let cause = xapi::Error::ClosedEarly { address: download.address().to_owned(), what: "the stream" };
    let explained = download.explain(cause).await;
    match explained.api_code() {
        Some("BACKUP_SCRIPT_FAILED") => Problem::new(
            "host.backup_script_failed",
            format!(
                "the host's own backup script failed: {}",
                explained.api_params().first().map_or("", String::as_str)
            ),
        )
        .hint("the host's log (/var/log/xensource.log) says why; is its root file system full?")
        .into(),
        Some(code) if code != "CLIENT_ERROR" => session.stop(&explained),
        _ => problem.into(),
    }
}

/// The time by the master's clock; by ours where it does not say.
async fn clock(session: &Session) -> Timestamp {
    let asked = async {
        let (_, pool) = session.pool.pool_record().await?;
        session.pool.servertime(&pool.master).await
    };
    asked.await.unwrap_or_else(|_| now())
}

/// Name of the stream in its point.
pub(crate) fn file_name(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Host => HOST_FILE,
        _ => DATABASE_FILE,
    }
}

/// Commits what was stored.
pub(crate) async fn commit(
    cx: &JobContext,
    session: &Session,
    datastore: &DatastoreAccess,
    (source, counters): (Source, &Arc<Counters>),
    stored: Stored,
    summary: PointSummary,
) -> Result<Point, Stop> {
    let Stored { writer, before, began, size_bytes } = stored;
    let Source { kind, name, pool, what } = source;
    let (uuid, client) = (name.id.clone(), &session.client);
    let file = PointFile {
        format: FORMAT,
        written_by: concat!("xenkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        kind,
        job: cx.job,
        client: Named { id: client.id, name: client.name.clone() },
        pool,
        vm: None,
        source: Some(name),
        taken_at: began,
        consistency: "crash".to_owned(),
        quiesced_by: None,
        consistency_asked: None,
        backup_type: None,
        left_out: Vec::new(),
        transport: "stream".to_owned(),
        size_bytes,
        moved_bytes: size_bytes,
        new_bytes: counters.new_bytes() - before.0,
        stored_bytes: counters.stored_bytes() - before.1,
        disks: Vec::new(),
        memory: None,
        summary: Some(summary),
        records: Records::default(),
    };
    let json = serde_json::to_vec_pretty(&file).map_err(|error| Problem::internal(&error))?;
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
    writer.file(POINT_FILE, json.into()).await.map_err(store)?;
    cx.check()?;
    let label = if kind == PointKind::Host { "host" } else { "pool" };
    let meta = Meta {
        host: client.name.clone(),
        root: format!("/{}/{uuid}", directory(&client.name)),
        tags: vec![format!("{label}:{uuid}"), job_tag(cx.job)],
        time: file.taken_at,
    };
    // As with a VM: the last thing before the point is listed is to ask whether the job is still ours.
    let (journal, progress) = (cx.journal.clone(), cx.progress());
    let id = writer.commit_if(meta, async move { journal.still_ours(&progress).await }).await.map_err(store)?;
    cx.info(format!(
        "point {} written: {what}, {}, {} new, {} stored",
        id.short(),
        bytes(file.size_bytes),
        bytes(file.new_bytes),
        bytes(file.stored_bytes)
    ));
    Ok(file.to_point(id.to_string(), datastore.id))
}

/// A point of one stream, opened.
pub(crate) struct StreamedPoint {
    reader: PointReader,
    pub(crate) file: PointFile,
    datastore: DatastoreAccess,
}

impl StreamedPoint {
    /// Opens the point of that full id, if it holds what is wanted; any stream if nothing is said.
    pub(crate) async fn open(
        cx: &JobContext,
        datastore: &DatastoreAccess,
        id: &str,
        wanted: Option<PointKind>,
    ) -> Result<Self, Stop> {
        let repo = datastore::open(cx, datastore).await?;
        let open = async {
            let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
            let id: SnapshotId = id.parse().map_err(store)?;
            let reader = repo.open_point(&id).await.map_err(store)?;
            let json = reader.file(POINT_FILE).await.map_err(store)?;
            Ok::<_, Stop>((reader, described(&json)?))
        };
        let (reader, file) = cx.or_cancelled(open).await?;
        if file.kind == PointKind::Vm || wanted.is_some_and(|wanted| wanted != file.kind) {
            return Err(other_kind(file.kind).into());
        }
        Ok(Self { reader, file, datastore: datastore.clone() })
    }

    /// Its stream.
    pub(crate) fn stream(&self) -> Result<FileReader, Stop> {
        let opened = self.reader.file_reader(file_name(self.file.kind));
        let stream = opened.map_err(|error| problem::repo(&self.datastore, &error))?;
        if stream.size() != self.file.size_bytes {
            return Err(crate::open::damaged(file_name(self.file.kind), "its size is not as described").into());
        }
        Ok(stream)
    }

    /// Sends its stream into the pool. What the pool made of it, its task says.
    pub(crate) async fn send(&self, cx: &JobContext, session: &Session, mut upload: Upload) -> Result<(), Stop> {
        let mut pieces = self.stream()?.pieces();
        let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(&self.datastore, &error));
        loop {
            let next = async { pieces.try_next().await.map_err(store) };
            let piece = match cx.or_cancelled(next).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(stop) => {
                    let _ = upload.abandon().await;
                    return Err(stop);
                }
            };
            let written = async { Ok::<_, Stop>(upload.write_all(&piece).await) };
            match cx.or_cancelled(written).await {
                Ok(Ok(())) => cx.board.moved(piece.len() as u64),
                Ok(Err(error)) => {
                    let cause = xapi::Error::from_io(error, upload.address());
                    return Err(session.stop(&upload.explain(cause).await));
                }
                Err(stop) => {
                    let _ = upload.abandon().await;
                    return Err(stop);
                }
            }
        }
        // All of it is there: what the pool does now is not undone by a cancel.
        let never = tokio_util::sync::CancellationToken::new();
        upload.finish(&never, |_| {}).await.or_stop(session).map(drop)
    }
}

fn other_kind(kind: PointKind) -> Problem {
    let what = match kind {
        PointKind::Vm => "a VM",
        PointKind::MetaData => "the database of a pool",
        PointKind::Host => "the backup of a host",
    };
    Problem::new("point.other_kind", format!("the point holds {what}"))
        .hint("`xenkeep point list` shows what each point holds")
}
