//! `/points`: what can be restored.

use axum::extract::State;
use xenkeep_api::{Point, PointFilter};

use super::App;
use super::extract::{Path, Query};
use super::problem::{ProblemDetails, Refusal};

/// Restore points, the newest first.
#[utoipa::path(get, path = "/points", tag = "points", operation_id = "list_points", params(PointFilter),
    responses((status = 200, body = Vec<Point>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(filter): Query<PointFilter>,
) -> Result<axum::Json<Vec<Point>>, Refusal> {
    Ok(axum::Json(app.engine.points(&filter).await?))
}

/// One restore point.
#[utoipa::path(get, path = "/points/{point}", tag = "points", operation_id = "show_point",
    params(("point" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, body = Point), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(point): Path<String>) -> Result<axum::Json<Point>, Refusal> {
    Ok(axum::Json(app.engine.point(&point).await?))
}
