//! `xenkeep report`: what people are told without asking.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use xenkeep_api::{
    DailySummary, Language, MailRequest, MailSecurity, MailSettings, NewWebhook, Report, ReportDelivery, ReportWhen,
    Webhook,
};

use super::Context;
use crate::{
    Exit,
    output::{Column, details, one_line, table},
    password::PasswordSource,
    progress::word,
    units,
};

/// Reports: what you are told without asking, by mail and webhook.
#[derive(Debug, Subcommand)]
pub(crate) enum Reports {
    List(List),
    #[command(subcommand)]
    Mail(Mail),
    #[command(subcommand)]
    Webhook(Webhooks),
    #[command(subcommand)]
    Summary(Summary),
}

/// List the last reports and what became of them.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Reports by mail.
#[derive(Debug, Subcommand)]
pub(crate) enum Mail {
    Set(SetMail),
    Show(ShowMail),
    Test(TestMail),
    Remove(RemoveMail),
}

const MAIL_NOTES: &str = "\
Examples:
  xenkeep report mail set --host mail.example --user backup --password-file F --from backup@example.org --to it@example.org
  xenkeep report mail test

There is one mail for all jobs of a start, and one for each job that was started alone. A mail that the server does not \
take is tried again for three days.";

/// Say how reports are sent by mail.
#[derive(Debug, Args)]
#[command(after_help = MAIL_NOTES)]
pub(crate) struct SetMail {
    /// Name of the mail server, as in its certificate.
    #[arg(long, value_name = "HOST")]
    host: String,
    /// Its port; without it 587 (starttls), 465 (tls) or 25 (none).
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// How the connection is protected.
    #[arg(long, value_name = "HOW", default_value = "starttls")]
    security: Security,
    /// Certificate (PEM) of the authority that has signed the server's; without it those that the server's machine trusts.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// User to log in as.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// Sender.
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// Receiver; may be given several times.
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<String>,
    /// Which reports.
    #[arg(long, value_name = "WHICH", default_value = "always")]
    when: When,
    /// Language of the mails.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: Tongue,
}

/// Show how reports are sent by mail.
#[derive(Debug, Args)]
pub(crate) struct ShowMail {}

/// Send a mail now, to see whether it arrives.
#[derive(Debug, Args)]
pub(crate) struct TestMail {}

/// Send no mail any more.
#[derive(Debug, Args)]
pub(crate) struct RemoveMail {}

/// Reports to webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    Add(AddWebhook),
    List(ListWebhooks),
    Remove(RemoveWebhook),
    Test(TestWebhook),
}

const WEBHOOK_NOTES: &str = "\
Example:
  xenkeep report webhook add chat --url-file url.txt --secret-file secret.txt --when problems

Each report is sent as JSON by POST. With a secret, the header Xenkeep-Signature holds sha256= and the HMAC-SHA256 of the \
body in hex; Xenkeep-Delivery stays the same when a report is sent again.";

/// Add a webhook.
#[derive(Debug, Args)]
#[command(after_help = WEBHOOK_NOTES)]
pub(crate) struct AddWebhook {
    /// Your name for it.
    name: String,
    /// Where it is; give it in a file (--url-file) if whoever knows it may write there.
    #[arg(long, value_name = "URL", required_unless_present = "url_file")]
    url: Option<String>,
    /// File with its address in the first line.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    url_file: Option<PathBuf>,
    /// File with the secret that signs each report in its first line.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Which reports.
    #[arg(long, value_name = "WHICH", default_value = "always")]
    when: When,
}

/// List the webhooks.
#[derive(Debug, Args)]
pub(crate) struct ListWebhooks {}

/// Remove a webhook.
#[derive(Debug, Args)]
pub(crate) struct RemoveWebhook {
    /// Its name.
    name: String,
}

/// Send a report to a webhook now.
#[derive(Debug, Args)]
pub(crate) struct TestWebhook {
    /// Its name.
    name: String,
}

/// The daily summary: VMs without a good restore point, tasks that have never run, starts that were missed.
#[derive(Debug, Subcommand)]
pub(crate) enum Summary {
    Set(SetSummary),
    Show(ShowSummary),
    Send(SendSummary),
    Remove(RemoveSummary),
}

/// Say when the daily summary is written.
#[derive(Debug, Args)]
pub(crate) struct SetSummary {
    /// Time of day.
    #[arg(long, value_name = "HH:MM", default_value = "07:00")]
    at: String,
    /// Time zone by its IANA name; without it the server's.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Name the VMs whose last good restore point is older than so many hours.
    #[arg(long, value_name = "HOURS", default_value_t = 26)]
    max_age: u32,
}

/// Show when the daily summary is written.
#[derive(Debug, Args)]
pub(crate) struct ShowSummary {}

/// Write a summary now, print it, and send it to all places that want it.
#[derive(Debug, Args)]
pub(crate) struct SendSummary {}

/// Write no daily summary any more.
#[derive(Debug, Args)]
pub(crate) struct RemoveSummary {}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Security {
    Starttls,
    Tls,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    Always,
    Problems,
    Never,
}

impl From<When> for ReportWhen {
    fn from(when: When) -> Self {
        match when {
            When::Always => Self::Always,
            When::Problems => Self::Problems,
            When::Never => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tongue {
    En,
    De,
}

impl Reports {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(List {}) => {
                let reports = context.api()?.reports().await?;
                context.console.result(&reports, || listing(&reports))?;
            }
            Self::Mail(mail) => mail.run(context).await?,
            Self::Webhook(webhook) => webhook.run(context).await?,
            Self::Summary(summary) => return summary.run(context).await,
        }
        Ok(Exit::Success)
    }
}

impl Mail {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let done = |text: &str| context.console.result(&serde_json::json!({ "done": text }), || text.to_owned());
        match self {
            Self::Set(set) => {
                let settings = api.set_mail(&set.request()?).await?;
                context.console.result(&settings, || shown(&settings))?;
            }
            Self::Show(ShowMail {}) => {
                let settings = api.mail().await?;
                context.console.result(&settings, || shown(&settings))?;
            }
            Self::Test(TestMail {}) => {
                api.test_mail().await?;
                done("the mail server has taken the mail")?;
            }
            Self::Remove(RemoveMail {}) => {
                api.remove_mail().await?;
                done("no reports are sent by mail any more")?;
            }
        }
        Ok(())
    }
}

impl SetMail {
    fn request(self) -> anyhow::Result<MailRequest> {
        let read =
            |path: PathBuf| std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
        let password = self.user.as_ref().map(|user| self.password.read(&format!("password of {user}"))).transpose()?;
        let settings = MailSettings {
            host: self.host,
            port: self.port,
            security: match self.security {
                Security::Starttls => MailSecurity::Starttls,
                Security::Tls => MailSecurity::Tls,
                Security::None => MailSecurity::None,
            },
            ca_certificate: self.ca_file.map(read).transpose()?,
            user: self.user,
            from: self.from,
            to: self.to,
            when: self.when.into(),
            language: match self.language {
                Tongue::En => Language::En,
                Tongue::De => Language::De,
            },
        };
        Ok(MailRequest { settings, password })
    }
}

fn shown(settings: &MailSettings) -> String {
    details([
        ("host", settings.host.clone()),
        ("port", settings.port.map(|port| port.to_string()).unwrap_or_default()),
        ("security", word(&settings.security)),
        ("user", settings.user.clone().unwrap_or_default()),
        ("from", settings.from.clone()),
        ("to", settings.to.join(", ")),
        ("when", word(&settings.when)),
        ("language", word(&settings.language)),
    ])
}

impl Webhooks {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        match self {
            Self::Add(add) => {
                let line = |path: PathBuf| {
                    let text =
                        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
                    text.map(|text| text.lines().next().unwrap_or_default().trim().to_owned())
                };
                let url = add.url_file.map(line).transpose()?.or(add.url).unwrap_or_default();
                let secret = add.secret_file.map(line).transpose()?.map(xenkeep_api::Secret::new);
                let webhook = Webhook { name: add.name, url, when: add.when.into() };
                let webhook = api.add_webhook(&NewWebhook { webhook, secret }).await?;
                context.console.result(&webhook, || format!("added webhook {} ({})", webhook.name, webhook.url))?;
            }
            Self::List(ListWebhooks {}) => {
                let webhooks = api.webhooks().await?;
                let rows = webhooks.iter().map(|hook| [hook.name.clone(), hook.url.clone(), word(&hook.when)]);
                context.console.result(&webhooks, || table(["NAME", "URL", "WHEN"].map(Column::Text), rows))?;
            }
            Self::Remove(RemoveWebhook { name }) => {
                api.remove_webhook(&name).await?;
                context
                    .console
                    .result(&serde_json::json!({ "removed": name }), || format!("removed webhook {name}"))?;
            }
            Self::Test(TestWebhook { name }) => {
                api.test_webhook(&name).await?;
                context
                    .console
                    .result(&serde_json::json!({ "sent": name }), || format!("webhook {name} has taken the report"))?;
            }
        }
        Ok(())
    }
}

impl Summary {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let told = |summary: &DailySummary| {
            let zone = summary.time_zone.clone().unwrap_or_default();
            format!(
                "a summary is written daily at {} ({zone}): points older than {} hours",
                summary.at, summary.max_age_hours
            )
        };
        match self {
            Self::Set(SetSummary { at, time_zone, max_age }) => {
                let summary = DailySummary { at, time_zone, max_age_hours: max_age };
                let summary = api.set_daily_summary(&summary).await?;
                context.console.result(&summary, || told(&summary))?;
            }
            Self::Show(ShowSummary {}) => {
                let summary = api.daily_summary().await?;
                context.console.result(&summary, || told(&summary))?;
            }
            Self::Send(SendSummary {}) => {
                let report = api.send_summary().await?;
                context.console.result(&report, || found(&report))?;
            }
            Self::Remove(RemoveSummary {}) => {
                api.remove_daily_summary().await?;
                context.console.result(&serde_json::json!({ "removed": "summary" }), || {
                    "no daily summary is written any more".to_owned()
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

fn found(report: &Report) -> String {
    let Some(findings) = &report.summary else { return String::new() };
    let mut text = format!(
        "VMs with a good point of the last {} hours: {}\njobs of the last day: {} done, {} not done\n",
        findings.max_age_hours, findings.with_point, findings.good_jobs, findings.bad_jobs
    );
    for vm in &findings.without_point {
        let last = vm.last_point.map_or("never".to_owned(), units::time);
        text += &format!("without: {}/{} (last {last})\n", one_line(&vm.client), one_line(&vm.vm));
    }
    for task in &findings.never_run {
        text += &format!("never run: task {}\n", one_line(task));
    }
    for problem in &findings.not_started {
        text += &format!("not started: {}\n", one_line(problem));
    }
    text
}

fn listing(reports: &[ReportDelivery]) -> String {
    if reports.is_empty() {
        return "no reports yet: say where they go with `xenkeep report mail set` or `xenkeep report webhook add`"
            .to_owned();
    }
    let columns = ["WRITTEN", "SUBJECT", "OUTCOME", "TO", "STATE", "PROBLEM"].map(Column::Text);
    let rows = reports.iter().map(|report| {
        [
            units::time(report.created_at),
            report.subject.clone(),
            word(&report.outcome),
            report.destination.clone(),
            word(&report.state),
            report.problem.as_ref().map(|problem| problem.message.clone()).unwrap_or_default(),
        ]
    });
    table(columns, rows)
}
