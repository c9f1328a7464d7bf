//! A report by mail: plain text and HTML, over SMTP.

use std::time::Duration;

use lettre::message::header::{self, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use uuid::Uuid;
use xenkeep_api::{MailSecurity, MailSettings, Problem, Report, Secret};

use super::text;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a report. `id` becomes its Message-ID: it stays the same when it is sent again.
pub(crate) async fn send(
    settings: &MailSettings,
    password: Option<&Secret>,
    report: &Report,
    id: Uuid,
) -> Result<(), Problem> {
    let message = message(settings, report, id)?;
    transport(settings, password)?.send(message).await.map(drop).map_err(|error| failed(settings, &error))
}

/// Whether addresses and certificate can be read.
pub(crate) fn check(settings: &MailSettings) -> Result<(), Problem> {
    mailbox(&settings.from)?;
    settings.to.iter().try_for_each(|to| mailbox(to).map(drop))?;
    tls(settings).map(drop)
}

/// TLS needs one for the whole process; somebody else may have chosen it.
pub(crate) fn provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn transport(
    settings: &MailSettings,
    password: Option<&Secret>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Problem> {
    let usual = match settings.security {
        MailSecurity::Starttls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
        .port(settings.port.unwrap_or(usual))
        .timeout(Some(TIMEOUT))
        .tls(tls(settings)?);
    if let (Some(user), Some(password)) = (&settings.user, password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

/// TLS is demanded or left out, never tried: whoever sits in between could suppress it.
fn tls(settings: &MailSettings) -> Result<Tls, Problem> {
    provider();
    let parameters = || {
        let mut builder = TlsParameters::builder(settings.host.clone());
        if let Some(pem) = &settings.ca_certificate {
            let certificate = Certificate::from_pem(pem.as_bytes()).map_err(|error| bad_certificate(&error))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        builder.build().map_err(|error| bad_certificate(&error))
    };
    Ok(match settings.security {
        MailSecurity::Starttls => Tls::Required(parameters()?),
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::None => Tls::None,
    })
}

/// Says to mail programs that nobody need answer.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn message(settings: &MailSettings, report: &Report, id: Uuid) -> Result<Message, Problem> {
    let mut builder = Message::builder()
        .from(mailbox(&settings.from)?)
        .subject(text::subject(report, settings.language))
        .message_id(Some(format!("<{id}@xenkeep.invalid>")))
        .header(AutoSubmitted)
        .header(header::MIME_VERSION_1_0);
    for to in &settings.to {
        builder = builder.to(mailbox(to)?);
    }
    let bodies = MultiPart::alternative_plain_html(
        text::plain(report, settings.language),
        text::html(report, settings.language),
    );
    builder.multipart(bodies).map_err(|error| Problem::new("mail.invalid", error.to_string()))
}

fn mailbox(address: &str) -> Result<Mailbox, Problem> {
    let bad = |_| {
        let shown: String = address.chars().filter(|c| !c.is_control()).take(80).collect();
        Problem::new("mail.bad_address", format!("{shown} is no mail address")).hint("such as backup@example.org")
    };
    address.parse().map_err(bad)
}

fn bad_certificate(error: &dyn std::error::Error) -> Problem {
    Problem { code: "mail.bad_certificate".to_owned(), ..Problem::internal(error) }
        .hint("give the certificate of the authority that has signed the mail server's, as PEM")
}

fn failed(settings: &MailSettings, error: &lettre::transport::smtp::Error) -> Problem {
    // What the server has answered may have several lines.
    let reason: String =
        Problem::internal(error).message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    let (code, hint) = match error.status().map(u16::from) {
        Some(530 | 534 | 535 | 538) => ("mail.login", "see whether user and password are right"),
        Some(500..) => ("mail.refused", "the mail server will not take it: see its answer"),
        Some(_) => ("mail.later", "the mail server can't take it now; it is tried again"),
        None if reason.contains("ertificate") => (
            "mail.certificate",
            "name the host as in its certificate, and give the certificate of its authority with --ca-file",
        ),
        None => ("mail.failed", "see whether host, port and security are right"),
    };
    let message = format!("mail server {} has not taken the report: {reason}", settings.host);
    Problem::new(code, message).hint(hint).about(settings.host.clone())
}
