//! Reports: what people are told without asking, by mail and webhook.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JobId, JobKind, JobState, Problem, RunId, Secret};

/// Which reports go to a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportWhen {
    /// All.
    #[default]
    Always,
    /// Only those that tell of a problem or a warning.
    Problems,
    /// None.
    Never,
}

/// Language of mails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MailSecurity {
    /// TLS after STARTTLS; without it nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None. A password is refused then.
    None,
}

/// How reports are sent by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// Name or address of the mail server.
    pub host: String,
    /// Its port; without it 587 (starttls), 465 (tls) or 25 (none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: MailSecurity,
    /// Certificate (PEM) of the authority that has signed the server's; without it those that this machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// User to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// Which reports.
    #[serde(default)]
    pub when: ReportWhen,
    /// Language.
    #[serde(default)]
    pub language: Language,
}

/// New settings for mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailRequest {
    /// The settings.
    pub settings: MailSettings,
    /// Password of the user; absent, the one that is there stays if host and user do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// A place that gets reports as JSON by POST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The administrator's name for it; unique.
    pub name: String,
    /// Where. Of one that is there only scheme and host are shown: the rest is often as good as a password.
    pub url: String,
    /// Which reports.
    #[serde(default)]
    pub when: ReportWhen,
}

/// What the administrator says to add a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// Signs each body: `Xenkeep-Signature: sha256=` and its HMAC-SHA256 in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// A report each day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DailySummary {
    /// Time of day.
    #[schema(example = "07:00")]
    pub at: String,
    /// Time zone by its IANA name; without it the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// VMs whose last good point is older than so many hours are named.
    #[serde(default = "max_age")]
    pub max_age_hours: u32,
}

fn max_age() -> u32 {
    26
}

/// What is told. A webhook gets it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// What kind of report it is.
    pub kind: ReportKind,
    /// For people: what it is about, such as the name of a schedule, group, task or VM.
    pub subject: String,
    /// How it ended: as bad as the worst in it.
    pub outcome: JobState,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The jobs, the worst first.
    pub jobs: Vec<ReportedJob>,
    /// How many more there were.
    #[serde(default)]
    pub more_jobs: u64,
    /// What went wrong without a job: a start that was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Of a daily summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SummaryFindings>,
}

/// What kind of report it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// All jobs of a start have ended.
    Run,
    /// A job that was started alone has ended.
    Job,
    /// A schedule has not started what it should have.
    Start,
    /// The daily summary.
    Summary,
    /// Somebody wants to know whether reports arrive.
    Test,
}

/// A job in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportedJob {
    /// Its id.
    pub id: JobId,
    /// What it was to do.
    pub kind: JobKind,
    /// What it was about.
    pub subject: String,
    /// How it ended.
    pub state: JobState,
    /// When a mover took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Bytes that it has read.
    pub read_bytes: u64,
    /// Bytes that it has added to the datastore.
    pub stored_bytes: u64,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What the administrator should know though it succeeded.
    pub warnings: Vec<Problem>,
}

/// What a daily summary has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryFindings {
    /// It looks back for so many hours.
    pub max_age_hours: u32,
    /// VMs without a good point in that time.
    pub without_point: Vec<OverdueVm>,
    /// How many VMs have one.
    pub with_point: u64,
    /// Tasks that have never run.
    pub never_run: Vec<String>,
    /// Starts of schedules that were missed, skipped or failed in the last day.
    pub not_started: Vec<String>,
    /// Jobs that ended well in the last day.
    pub good_jobs: u64,
    /// Jobs that ended badly in the last day.
    pub bad_jobs: u64,
}

/// A VM without a good point for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverdueVm {
    /// Its pool.
    pub client: String,
    /// Its name.
    pub vm: String,
    /// When its last good point was taken; none if it has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_point: Option<Timestamp>,
}

/// A report on its way to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportDelivery {
    /// Its id; it stays the same at each attempt, and webhooks are told it.
    pub id: String,
    /// What the report is about.
    pub subject: String,
    /// Its outcome.
    pub outcome: JobState,
    /// `mail`, or `webhook:` with its name.
    pub destination: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    /// When it was taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub problem: Option<Problem>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is tried, or tried again.
    Waiting,
    /// It was taken.
    Sent,
    /// It was tried for three days.
    GivenUp,
}
