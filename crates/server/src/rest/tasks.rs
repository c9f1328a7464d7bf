//! `/tasks`, `/clients/{client}/selection`, `/runs`: what is backed up, and its starts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{NewTask, Run, Selected, SelectionRequest, StartRequest, Started, Task, TaskChange};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// All tasks, by name.
#[utoipa::path(get, path = "/tasks", tag = "tasks", operation_id = "list_tasks",
    responses((status = 200, body = Vec<Task>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Task>>, Refusal> {
    Ok(axum::Json(app.engine.tasks().await?))
}

/// Makes a task. Answers when its VM or host was found on the pool, or why not.
#[utoipa::path(post, path = "/tasks", tag = "tasks", operation_id = "create_task", request_body = NewTask,
    responses((status = 201, body = Task), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Json(new): Json<NewTask>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.create_task(new).await?)))
}

/// One task.
#[utoipa::path(get, path = "/tasks/{task}", tag = "tasks", operation_id = "show_task",
    params(("task" = String, Path, description = "Name or id")),
    responses((status = 200, body = Task), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(task): Path<String>) -> Result<axum::Json<Task>, Refusal> {
    Ok(axum::Json(app.engine.task(&task).await?))
}

/// Changes a task. Jobs that it has begun go on as they were.
#[utoipa::path(patch, path = "/tasks/{task}", tag = "tasks", operation_id = "set_task", request_body = TaskChange,
    params(("task" = String, Path, description = "Name or id")),
    responses((status = 200, body = Task), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set(
    State(app): State<App>,
    Path(task): Path<String>,
    Json(change): Json<TaskChange>,
) -> Result<axum::Json<Task>, Refusal> {
    Ok(axum::Json(app.engine.change_task(&task, change).await?))
}

/// Removes a task, from its groups too. Its jobs and restore points stay.
#[utoipa::path(delete, path = "/tasks/{task}", tag = "tasks", operation_id = "remove_task",
    params(("task" = String, Path, description = "Name or id")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(task): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_task(&task).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a task: queues its job. A selection queues the jobs of its VMs when it is known which these are.
#[utoipa::path(post, path = "/tasks/{task}/start", tag = "tasks", operation_id = "start_task", request_body = StartRequest,
    params(("task" = String, Path, description = "Name or id")),
    responses((status = 202, body = Started), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    Path(task): Path<String>,
    Json(request): Json<StartRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::ACCEPTED, axum::Json(app.engine.start_task(&task, &request).await?)))
}

/// What a source means on the client's pool at this moment.
#[utoipa::path(post, path = "/clients/{client}/selection", tag = "tasks", operation_id = "preview_selection",
    request_body = SelectionRequest, params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = Selected), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn select(
    State(app): State<App>,
    Path(client): Path<String>,
    Json(request): Json<SelectionRequest>,
) -> Result<axum::Json<Selected>, Refusal> {
    Ok(axum::Json(app.engine.select(&client, request.source).await?))
}

/// All jobs of one start.
#[utoipa::path(get, path = "/runs/{run}", tag = "tasks", operation_id = "show_run",
    params(("run" = String, Path, description = "Id")),
    responses((status = 200, body = Run), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn run(State(app): State<App>, Path(run): Path<String>) -> Result<axum::Json<Run>, Refusal> {
    Ok(axum::Json(app.engine.run(&run).await?))
}
