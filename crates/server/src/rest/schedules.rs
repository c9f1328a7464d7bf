//! `/schedules`: when something starts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use xenkeep_api::{BlackoutRequest, NewSchedule, PlannedStart, Schedule, ScheduleSettings, ScheduleStart};

use super::App;
use super::extract::{Json, Path, Query};
use super::problem::{ProblemDetails, Refusal};

/// All schedules, by name.
#[utoipa::path(get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    responses((status = 200, body = Vec<Schedule>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Schedule>>, Refusal> {
    Ok(axum::Json(app.engine.schedules().await?))
}

/// Makes a schedule. Refused if something that it names is not there.
#[utoipa::path(post, path = "/schedules", tag = "schedules", operation_id = "create_schedule", request_body = NewSchedule,
    responses((status = 201, body = Schedule), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Json(new): Json<NewSchedule>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.create_schedule(new).await?)))
}

/// One schedule.
#[utoipa::path(get, path = "/schedules/{schedule}", tag = "schedules", operation_id = "show_schedule",
    params(("schedule" = String, Path, description = "Name or id")),
    responses((status = 200, body = Schedule), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<App>,
    Path(schedule): Path<String>,
) -> Result<axum::Json<Schedule>, Refusal> {
    Ok(axum::Json(app.engine.schedule(&schedule).await?))
}

/// Gives a schedule other settings, all of them. Starts that were due before now are not made up for.
#[utoipa::path(put, path = "/schedules/{schedule}", tag = "schedules", operation_id = "set_schedule",
    params(("schedule" = String, Path, description = "Name or id")), request_body = ScheduleSettings,
    responses((status = 200, body = Schedule), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set(
    State(app): State<App>,
    Path(schedule): Path<String>,
    Json(settings): Json<ScheduleSettings>,
) -> Result<axum::Json<Schedule>, Refusal> {
    Ok(axum::Json(app.engine.set_schedule(&schedule, settings).await?))
}

/// Removes a schedule; the jobs that it has started stay.
#[utoipa::path(delete, path = "/schedules/{schedule}", tag = "schedules", operation_id = "remove_schedule",
    params(("schedule" = String, Path, description = "Name or id")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(schedule): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_schedule(&schedule).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The last hundred starts of a schedule and what became of them, the newest first.
#[utoipa::path(get, path = "/schedules/{schedule}/starts", tag = "schedules", operation_id = "schedule_starts",
    params(("schedule" = String, Path, description = "Name or id")),
    responses((status = 200, body = Vec<ScheduleStart>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn starts(
    State(app): State<App>,
    Path(schedule): Path<String>,
) -> Result<axum::Json<Vec<ScheduleStart>>, Refusal> {
    Ok(axum::Json(app.engine.schedule_starts(&schedule).await?))
}

/// Adds days or hours on which a schedule starts nothing. A calendar that is not understood whole is refused whole.
#[utoipa::path(post, path = "/schedules/{schedule}/blackouts", tag = "schedules", operation_id = "add_blackouts",
    params(("schedule" = String, Path, description = "Name or id")), request_body = BlackoutRequest,
    responses((status = 200, body = Schedule), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn add_blackouts(
    State(app): State<App>,
    Path(schedule): Path<String>,
    Json(request): Json<BlackoutRequest>,
) -> Result<axum::Json<Schedule>, Refusal> {
    Ok(axum::Json(app.engine.add_blackouts(&schedule, request).await?))
}

/// Which starts to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Planned {
    /// Of this schedule; without it of all that are enabled.
    schedule: Option<String>,
    /// Of so many days from now on; 31 unless said otherwise.
    days: Option<u32>,
}

/// The starts to come, the next first, no more than 1000. Those that fall into a blackout are among them, and say so.
#[utoipa::path(get, path = "/planned-starts", tag = "schedules", operation_id = "planned_starts", params(Planned),
    responses((status = 200, body = Vec<PlannedStart>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn planned(
    State(app): State<App>,
    Query(query): Query<Planned>,
) -> Result<axum::Json<Vec<PlannedStart>>, Refusal> {
    Ok(axum::Json(app.engine.planned_starts(query.schedule.as_deref(), query.days.unwrap_or(31)).await?))
}
