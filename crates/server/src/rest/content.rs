//! `/jobs/{job}/content`: the stream of an export, handed through unread.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use xenkeep_api::{ExportFormat, Job, JobSpec};

use super::App;
use super::extract::Path;
use super::problem::{ProblemDetails, Refusal};

/// The bytes of an export. It begins when this is called, and can be read once. A stream that is cut short ends with a
/// broken connection; length and SHA-256 of the whole stand in the job's result.
#[utoipa::path(get, path = "/jobs/{job}/content", tag = "jobs", operation_id = "job_content",
    params(("job" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(app): State<App>,
    Path(job): Path<String>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let reader = app.engine.read_content(&job).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", file_name(reader.job()))),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(reader.into_stream())))
}

/// A name for the file, of characters that every system takes.
fn file_name(job: &Job) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let mut name: String = job.subject.chars().take(80).map(plain).collect();
    if name.starts_with('.') || name.is_empty() {
        name.insert(0, '_');
    }
    match &job.spec {
        JobSpec::Export { format, disk, .. } => {
            let disk: String = disk.iter().flat_map(|disk| disk.chars()).map(plain).collect();
            match format {
                ExportFormat::Raw => format!("{name}-{disk}.raw"),
                ExportFormat::Vhd => format!("{name}-{disk}.vhd"),
                ExportFormat::Qcow2 => format!("{name}-{disk}.qcow2"),
                ExportFormat::Xva => format!("{name}.xva"),
                ExportFormat::File => name,
            }
        }
        _ => format!("{name}.xva"),
    }
}
