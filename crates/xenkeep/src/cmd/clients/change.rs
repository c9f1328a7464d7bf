//! `xenkeep client set`: what is known of a pool changes.

use clap::Args;
use xenkeep_api::{Client, ClientChange, ClientLimits, MoverChoice, Transport};

use super::{TransportArg, shown};
use crate::{Exit, cmd::Context, confirm, output::is_interactive, password::PasswordSource, report::Usage};

/// Change what is known of a pool, and how many jobs may work on it at once. What is not named stays; a new address or
/// account is tried with a login first, and if that fails, nothing is changed.
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
    /// The mover that does its jobs; `any` for whichever is free.
    #[arg(long, value_name = "NAME")]
    mover: Option<String>,
    /// Jobs on the whole pool at once; `default` is 3.
    #[arg(long, value_name = "N")]
    jobs: Option<Limit>,
    /// Jobs with VMs of one host; `default` is no limit.
    #[arg(long, value_name = "N")]
    jobs_per_host: Option<Limit>,
    /// Jobs with disks on one SR; `default` is no limit.
    #[arg(long, value_name = "N")]
    jobs_per_sr: Option<Limit>,
}

/// A limit, or the word that takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(Option<u32>);

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self(None)),
            text => match text.parse() {
                Ok(0) | Err(_) => Err("a number from 1, or `default`".to_owned()),
                Ok(limit) => Ok(Self(Some(limit))),
            },
        }
    }
}

impl Set {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let client = api.client(&self.name).await?;
        let limits = self.limits(&client);
        let mover = self.mover.clone();
        let changes_login = self.changes_login();
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
        let id = client.id.to_string();
        let mut changed = client.clone();
        if changes_login {
            changed = api.set_client(&id, &change).await?;
        }
        if limits != client.limits {
            changed = api.set_client_limits(&id, &limits).await?;
        }
        if let Some(mover) = mover {
            changed = api.set_client_mover(&id, &MoverChoice { movers: vec![mover] }).await?;
        }
        context.console.result(&changed, || shown(&changed))?;
        Ok(Exit::Success)
    }
}

impl Set {
    fn changes_login(&self) -> bool {
        self.address.is_some()
            || self.user.is_some()
            || self.password
            || self.source.is_given()
            || self.transport.is_some()
            || self.certificate.is_some()
            || self.pin_anew
    }

    /// The client's limits with those that are named.
    fn limits(&self, client: &Client) -> ClientLimits {
        let mut limits = client.limits;
        let changes = [
            (&mut limits.jobs, self.jobs),
            (&mut limits.jobs_per_host, self.jobs_per_host),
            (&mut limits.jobs_per_sr, self.jobs_per_sr),
        ];
        for (limit, change) in changes {
            if let Some(Limit(change)) = change {
                *limit = change;
            }
        }
        limits
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
