//! What all transfers have in common: credentials, the task they run as, and how they fail.
//!
//! A transfer completes its task when the last byte is through, and the client learns about success
//! from the task alone. An error before the status line becomes an HTTP error; one after it becomes a second
//! answer in the same stream (xapi: `xapi_http.ml`, `http_svr.ml`).

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::ApiError;
use crate::fault::{FaultKind, When};
use crate::model::{Ref, Value};
use crate::task::Task;

use super::answer::{Answer, Status};
use super::conn::Conn;
use super::head::Head;
use super::stream::{Course, Event, Hooks};
use super::{Site, database, export, hosts, import, metadata};

/// Which transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Export,
    ExportMetadata,
    Import,
    ImportMetadata,
    DumpDatabase,
    RestoreDatabase,
    HostBackup,
    HostRestore,
}

/// How a transfer fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// The task fails; the client gets a 500, or a second answer in its stream.
    Failed(ApiError),
    /// The task fails; the client gets this status.
    Refused(Status, ApiError),
    /// The client gets a 500; the task is left pending.
    Unnoticed(ApiError),
    /// The task fails; the connection closes without a word.
    Silent(ApiError),
    /// The task fails; the connection breaks.
    Broken(ApiError),
    /// The client gets this status; the task succeeds.
    Ignored(Status),
    /// Another host must do it; the task is left alone.
    Elsewhere(String),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// A request whose sender is known.
pub(super) struct Request<'a> {
    pub(super) site: &'a Site,
    pub(super) head: &'a Head,
    pub(super) session: Ref,
}

/// Answers one request, and ends the connection.
pub(super) async fn serve(site: Site, mut conn: Conn, head: Head, kind: Kind) {
    let world = site.world.clone();
    let going_on = world.transfers.begin(kind.path());
    let outcome = answer(&site, &mut conn, &head, kind).await;
    drop(going_on);
    let (status, text) = match outcome {
        Ok(()) => return conn.close().await,
        Err(Failure::Broken(_)) => return conn.reset(),
        Err(Failure::Silent(_)) => return,
        Err(Failure::Elsewhere(location)) => {
            let answer = Answer::new(head.minor, Status::Found).header("Location", location);
            if answer.header("Connection", "close").uncached().send(&mut conn, b"").await.is_ok() {
                conn.close().await;
            }
            return;
        }
        Err(Failure::Refused(status, error)) => (status, error.to_string()),
        Err(Failure::Ignored(status)) => (status, "The request lacks something.".to_owned()),
        Err(Failure::Failed(error) | Failure::Unnoticed(error)) => (Status::InternalError, error.to_string()),
    };
    if Answer::send_error(head.minor, status, &text, &mut conn).await.is_ok() {
        conn.close().await;
    }
}

async fn answer(site: &Site, conn: &mut Conn, head: &Head, kind: Kind) -> Result<(), Failure> {
    let task_ref = task_of(head);
    let (session, ours) = match authenticate(site, head).await {
        Ok(found) => found,
        Err(error) => {
            let failed = ApiError::bare("SESSION_AUTHENTICATION_FAILED");
            if let Some(task) = task_ref.and_then(|task| Task::adopt(&site.world, &task).ok()) {
                task.fail(&failed);
            }
            return Err(Failure::Refused(Status::Unauthorised, error));
        }
    };
    let request = Request { site, head, session };
    let result = match site.world.check_role(&request.session, kind.permission()) {
        Ok(()) => request.run(conn, kind, task_ref).await,
        Err(error) => {
            if let Some(task) = task_ref.and_then(|task| Task::adopt(&site.world, &task).ok()) {
                task.fail(&error);
            }
            Err(Failure::Refused(Status::Forbidden, error))
        }
    };
    if ours {
        site.world.logout(&request.session);
    }
    result
}

/// The session of a request, and whether it was opened for this request only.
async fn authenticate(site: &Site, head: &Head) -> Result<(Ref, bool), ApiError> {
    if let Some(session) = head.cookie("session_id").or_else(|| head.query("session_id")) {
        return site.world.authenticate(&session).map(|session| (session, false));
    }
    let refused = || ApiError::bare("SESSION_AUTHENTICATION_FAILED");
    let basic = head.header("authorization").and_then(|value| value.strip_prefix("Basic ")).ok_or_else(refused)?;
    let plain = STANDARD.decode(basic.trim()).map_err(|_| refused())?;
    let plain = String::from_utf8(plain).map_err(|_| refused())?;
    let (user, password) = plain.split_once(':').ok_or_else(refused)?;
    let session = site.world.login(user, password, "").await?;
    Ok((session, true))
}

fn task_of(head: &Head) -> Option<String> {
    head.cookie("task_id").or_else(|| head.query("task_id"))
}

impl Request<'_> {
    async fn run(&self, conn: &mut Conn, kind: Kind, task_ref: Option<String>) -> Result<(), Failure> {
        let world = &self.site.world;
        world.faults.stall(kind.path(), When::Before).await;
        let refused = match kind {
            Kind::Export | Kind::DumpDatabase | Kind::HostBackup => world.faults.strike(FaultKind::RefuseExport),
            Kind::Import | Kind::RestoreDatabase | Kind::HostRestore => world.faults.strike(FaultKind::RefuseImport),
            Kind::ExportMetadata | Kind::ImportMetadata => None,
        };
        if refused.is_some() {
            return Err(Failure::Unnoticed(ApiError::internal("the host is not in the mood")));
        }
        let subject = match kind {
            Kind::Export => export::find(self),
            Kind::Import => import::find(self),
            _ => Ok(Ref::null()),
        };
        let subject = match subject {
            Err(failure @ (Failure::Unnoticed(_) | Failure::Elsewhere(_))) => return Err(failure),
            other => other,
        };
        let task = self.begin_task(kind, task_ref)?;
        let result = match subject {
            // What a database is refused for is said when all of it is there.
            Ok(_)
                if kind != Kind::RestoreDatabase
                    && let Some(error) = world.faults.refusal(kind.path()) =>
            {
                Err(Failure::Failed(error))
            }
            Ok(subject) => self.work(conn, kind, &task, &subject).await,
            Err(failure) => Err(failure),
        };
        self.finish_task(kind, &task, result).await
    }

    /// The task that the request names, or a new one. One that does not exist is the client's fault.
    fn begin_task(&self, kind: Kind, task_ref: Option<String>) -> Result<Task, Failure> {
        let (world, host) = (&self.site.world, self.site.host);
        let parent = self.head.cookie("subtask_of").or_else(|| self.head.query("subtask_of"));
        let task = match (task_ref, parent) {
            (Some(task), _) => Task::adopt(world, &task),
            (None, Some(parent)) => Task::start_below(world, Some(&self.session), kind.label(), host, &parent),
            (None, None) => Ok(Task::start(world, Some(&self.session), kind.label(), host)),
        };
        task.map_err(Failure::Unnoticed)
    }

    async fn work(&self, conn: &mut Conn, kind: Kind, task: &Task, subject: &Ref) -> Result<Option<Value>, Failure> {
        match kind {
            Kind::Export => export::export(self, conn, task, subject).await.map(|()| None),
            Kind::ExportMetadata => metadata::export(self, conn, task).await.map(|()| None),
            Kind::Import => import::import(self, conn, task, subject).await.map(Some),
            Kind::ImportMetadata => metadata::import(self, conn, task).await.map(Some),
            Kind::DumpDatabase => database::send(self, conn, task).await.map(|()| None),
            Kind::RestoreDatabase => database::receive(self, conn, task).await.map(|()| None),
            Kind::HostBackup => hosts::send(self, conn, task).await.map(|()| None),
            Kind::HostRestore => hosts::receive(self, conn, task).await.map(|()| None),
        }
    }

    async fn finish_task(
        &self,
        kind: Kind,
        task: &Task,
        result: Result<Option<Value>, Failure>,
    ) -> Result<(), Failure> {
        let faults = &self.site.world.faults;
        match &result {
            Ok(_) if kind.is_fallible_export() && faults.strike(FaultKind::FailExportTask).is_some() => {
                task.fail(&ApiError::internal("the task failed after the last byte"));
            }
            Ok(Some(value)) => task.succeed_with(value),
            Ok(None) => task.succeed_empty(),
            Err(
                Failure::Failed(error) | Failure::Refused(_, error) | Failure::Silent(error) | Failure::Broken(error),
            ) => task.fail(error),
            Err(Failure::Ignored(_)) => task.succeed_empty(),
            Err(Failure::Unnoticed(_) | Failure::Elsewhere(_)) => {}
        }
        faults.stall(kind.path(), When::After).await;
        result.map(drop)
    }

    /// Where another host does the same.
    pub(super) fn elsewhere(&self, host: usize) -> Failure {
        let address = &self.site.world.addresses[host].address;
        Failure::Elsewhere(format!("https://{address}{}", self.head.target))
    }

    /// Whether a flag of the query is exactly `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.head.query(name).as_deref() == Some("true")
    }

    /// What shall happen to the stream, and what is called then.
    pub(super) fn course(&self, kind: Kind) -> (Course, Hooks) {
        let world = self.site.world.clone();
        let faults = world.faults.clone();
        let mut hooks = Hooks { pause: None, forget_sessions: Box::new(move || world.forget_sessions()) };
        let mut course = Course::default();
        let kinds: &[FaultKind] = match kind {
            Kind::Export | Kind::DumpDatabase | Kind::HostBackup => {
                &[FaultKind::CutExport, FaultKind::TailExport, FaultKind::CorruptExport]
            }
            Kind::Import | Kind::RestoreDatabase | Kind::HostRestore => &[FaultKind::CutImport, FaultKind::StallImport],
            Kind::ExportMetadata | Kind::ImportMetadata => return (course, hooks),
        };
        for struck in kinds.iter().chain(&[FaultKind::SessionLost, FaultKind::SlowLink]) {
            let Some(fault) = faults.strike(*struck) else { continue };
            let at_byte = fault.at_byte;
            match struck {
                FaultKind::CutExport | FaultKind::CutImport => course.at(at_byte, Event::Cut),
                FaultKind::TailExport => course.at(at_byte, Event::Fail),
                FaultKind::CorruptExport => course.at(at_byte, Event::Flip),
                FaultKind::SlowLink => course.slow_down(fault.bytes_per_second),
                FaultKind::StallImport => {
                    let faults = faults.clone();
                    hooks.pause = Some(Box::pin(async move { faults.pause(fault, kind.path()).await }));
                    course.at(at_byte, Event::Stall);
                }
                _ => course.at(at_byte, Event::ForgetSessions),
            }
        }
        (course, hooks)
    }
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Export => "VM.export",
            Self::ExportMetadata => "VM.export_metadata",
            Self::Import => "VM.import",
            Self::ImportMetadata => "VM.import_metadata",
            Self::DumpDatabase => "pool.dump_database",
            Self::RestoreDatabase => "pool.restore_database",
            Self::HostBackup => "host.backup",
            Self::HostRestore => "host.restore",
        }
    }

    fn is_fallible_export(self) -> bool {
        matches!(self, Self::Export | Self::DumpDatabase | Self::HostBackup)
    }

    /// What an account must be allowed (xapi: `datamodel.ml`, the actions of HTTP).
    fn permission(self) -> &'static str {
        match self {
            Self::Export => "http/get_export",
            Self::ExportMetadata => "http/get_export_metadata",
            Self::Import => "http/put_import",
            Self::ImportMetadata => "http/put_import_metadata",
            Self::DumpDatabase => "http/get_pool_xml_db_sync",
            Self::RestoreDatabase => "http/put_pool_xml_db_sync",
            Self::HostBackup => "http/get_host_backup",
            Self::HostRestore => "http/put_host_restore",
        }
    }

    /// The path, as faults name it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Export => "/export",
            Self::ExportMetadata => "/export_metadata",
            Self::Import => "/import",
            Self::ImportMetadata => "/import_metadata",
            Self::DumpDatabase | Self::RestoreDatabase => "/pool/xmldbdump",
            Self::HostBackup => "/host_backup",
            Self::HostRestore => "/host_restore",
        }
    }
}

/// Tells a task's progress now and then, and looks whether it is to be cancelled.
pub(super) struct Progress<'a> {
    task: &'a Task,
    interval: std::time::Duration,
    told: Instant,
    total_bytes: u64,
    done_bytes: u64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(request: &Request<'_>, task: &'a Task, total_bytes: u64) -> Self {
        let interval = request.site.world.config.progress_interval;
        Self { task, interval, told: Instant::now(), total_bytes, done_bytes: 0 }
    }

    /// Counts bytes.
    pub(super) fn advance(&mut self, bytes: u64) -> Result<(), ApiError> {
        self.done_bytes += bytes;
        if self.told.elapsed() < self.interval {
            return Ok(());
        }
        self.told = Instant::now();
        if self.task.is_cancelled() {
            return Err(self.task.cancelled_error());
        }
        self.task.set_progress(self.done_bytes as f64 / self.total_bytes.max(1) as f64);
        Ok(())
    }
}
