//! `xenkeep client set`: what is known of a pool changes.

use clap::Args;
use xenkeep_api::{ClientChange, Transport};

use super::{TransportArg, shown};
use crate::{Exit, cmd::Context, confirm, output::is_interactive, password::PasswordSource, report::Usage};

/// Change what is known of a pool. The change is tried with a login first; if that fails, nothing is changed.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name or id of the pool.
    name: String,
    /// Address of any host of the pool: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
    /// User on the pool.
    #[arg(long)]
    user: Option<String>,
    /// Ask for a new password, or read it from --password-file.
    #[arg(long)]
    password: bool,
    #[command(flatten)]
    source: PasswordSource,
    /// How all data travels.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportArg>,
    /// The management network is trusted: needed for http.
    #[arg(long)]
    trusted_network: bool,
    /// Certificate that the host must show from now on, as SHA-256 in hex.
    #[arg(long, value_name = "SHA256", conflicts_with = "pin_anew")]
    certificate: Option<String>,
    /// Pin the certificate that the host shows now: for one that was renewed on purpose.
    #[arg(long)]
    pin_anew: bool,
}

impl Set {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let client = api.client(&self.name).await?;
        let transport: Option<Transport> = self.transport.map(Into::into);
        let trusted_network = match transport {
            Some(transport) if client.transport != Transport::Http => {
                trusted(context, transport, self.trusted_network)?
            }
            _ => self.trusted_network,
        };
        let password = if self.password || self.source.is_given() {
            Some(self.source.read(&format!("New password on {}", client.name))?)
        } else {
            None
        };
        let change = ClientChange {
            address: self.address,
            user: self.user,
            password,
            transport,
            trusted_network,
            certificate_sha256: self.certificate,
            pin_anew: self.pin_anew,
        };
        let changed = api.set_client(&client.id.to_string(), &change).await?;
        context.console.result(&changed, || shown(&changed))?;
        Ok(Exit::Success)
    }
}

/// Whether the management network is trusted: said on the command line, or asked for where somebody can answer.
pub(super) fn trusted(context: &Context, transport: Transport, said: bool) -> anyhow::Result<bool> {
    if transport == Transport::Https || said {
        return Ok(said);
    }
    let reason = "Over http the password and all disks travel in clear text: whoever is in the network between this server \
                  and the pool can read and change them. It spares the hosts the work of TLS, which can take most of a \
                  host's CPU.";
    if is_interactive() && confirm::ask(context.console, reason, "Is the management network trusted?")? {
        return Ok(true);
    }
    Err(Usage::new("http is only for a management network that is trusted")
        .hint("say so with --trusted-network, or use https")
        .into())
}
