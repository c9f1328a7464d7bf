//! `/reports`: what people are told without asking.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{DailySummary, MailRequest, MailSettings, NewWebhook, Report, ReportDelivery, Webhook};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// The last reports and what became of them, the newest first.
#[utoipa::path(get, path = "/reports", tag = "reports", operation_id = "list_reports",
    responses((status = 200, body = Vec<ReportDelivery>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<ReportDelivery>>, Refusal> {
    Ok(axum::Json(app.engine.deliveries().await?))
}

/// How reports are sent by mail.
#[utoipa::path(get, path = "/reports/mail", tag = "reports", operation_id = "show_mail",
    responses((status = 200, body = MailSettings), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn mail(State(app): State<App>) -> Result<axum::Json<MailSettings>, Refusal> {
    Ok(axum::Json(app.engine.mail_settings().await?))
}

/// Says how reports are sent by mail.
#[utoipa::path(put, path = "/reports/mail", tag = "reports", operation_id = "set_mail", request_body = MailRequest,
    responses((status = 200, body = MailSettings), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_mail(
    State(app): State<App>,
    Json(request): Json<MailRequest>,
) -> Result<axum::Json<MailSettings>, Refusal> {
    Ok(axum::Json(app.engine.set_mail(request).await?))
}

/// Sends no reports by mail any more.
#[utoipa::path(delete, path = "/reports/mail", tag = "reports", operation_id = "remove_mail",
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove_mail(State(app): State<App>) -> Result<StatusCode, Refusal> {
    app.engine.remove_mail().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a mail now, and answers when the mail server has taken it, or why it has not.
#[utoipa::path(post, path = "/reports/mail/test", tag = "reports", operation_id = "test_mail",
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn test_mail(State(app): State<App>) -> Result<StatusCode, Refusal> {
    app.engine.test_mail().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All webhooks, by name.
#[utoipa::path(get, path = "/reports/webhooks", tag = "reports", operation_id = "list_webhooks",
    responses((status = 200, body = Vec<Webhook>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn webhooks(State(app): State<App>) -> Result<axum::Json<Vec<Webhook>>, Refusal> {
    Ok(axum::Json(app.engine.webhooks().await?))
}

/// Adds a webhook. From now on it is sent each report, as JSON by POST.
#[utoipa::path(post, path = "/reports/webhooks", tag = "reports", operation_id = "add_webhook", request_body = NewWebhook,
    responses((status = 201, body = Webhook), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn add_webhook(
    State(app): State<App>,
    Json(new): Json<NewWebhook>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.add_webhook(new).await?)))
}

/// Removes a webhook, with the reports that are on their way to it.
#[utoipa::path(delete, path = "/reports/webhooks/{webhook}", tag = "reports", operation_id = "remove_webhook",
    params(("webhook" = String, Path, description = "Name")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove_webhook(State(app): State<App>, Path(webhook): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_webhook(&webhook).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a report to a webhook now, and answers when it has been taken, or why it has not.
#[utoipa::path(post, path = "/reports/webhooks/{webhook}/test", tag = "reports", operation_id = "test_webhook",
    params(("webhook" = String, Path, description = "Name")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn test_webhook(State(app): State<App>, Path(webhook): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.test_webhook(&webhook).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// When the daily summary is written, and for which VMs it warns.
#[utoipa::path(get, path = "/reports/summary", tag = "reports", operation_id = "show_summary",
    responses((status = 200, body = DailySummary), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn summary(State(app): State<App>) -> Result<axum::Json<DailySummary>, Refusal> {
    Ok(axum::Json(app.engine.daily_summary().await?))
}

/// Says when the daily summary is written.
#[utoipa::path(put, path = "/reports/summary", tag = "reports", operation_id = "set_summary", request_body = DailySummary,
    responses((status = 200, body = DailySummary), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_summary(
    State(app): State<App>,
    Json(summary): Json<DailySummary>,
) -> Result<axum::Json<DailySummary>, Refusal> {
    Ok(axum::Json(app.engine.set_daily_summary(summary).await?))
}

/// Writes no daily summary any more.
#[utoipa::path(delete, path = "/reports/summary", tag = "reports", operation_id = "remove_summary",
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove_summary(State(app): State<App>) -> Result<StatusCode, Refusal> {
    app.engine.remove_daily_summary().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes a summary now, puts it on its way to all places that want it, and answers with it.
#[utoipa::path(post, path = "/reports/summary/send", tag = "reports", operation_id = "send_summary",
    responses((status = 200, body = Report), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn send_summary(State(app): State<App>) -> Result<axum::Json<Report>, Refusal> {
    Ok(axum::Json(app.engine.send_summary().await?))
}
