//! `xenkeep client`: the pools that are backed up.

use clap::{Args, Subcommand, ValueEnum};
use xenkeep_api::{ANY_MOVER, Client, MoverChoice, NewClient, Transport};

use super::Context;
use crate::{
    Exit, confirm, fingerprint,
    output::{Column, details, table},
    password::PasswordSource,
    progress::word,
    units,
};

/// Pools that are backed up.
#[derive(Debug, Subcommand)]
pub(crate) enum Clients {
    Add(Add),
    List(List),
    Show(Named),
    Check(Check),
    Set(Set),
    Remove(Remove),
}

const ADD_EXAMPLES: &str = "\
Examples:
  xenkeep client add lab --address 10.0.0.5 --user root
  pass show lab | xenkeep client add lab --address lab.example --user root --password-file -";

/// Add a pool: logs in to it once and pins its certificate.
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct Add {
    /// Your name for the pool.
    name: String,
    /// Address of the pool master: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    address: String,
    /// User on the pool: root, or one with the role pool-admin.
    #[arg(long, default_value = "root")]
    user: String,
    #[command(flatten)]
    password: PasswordSource,
    /// How all data travels: http only in a network that you trust, everything is in clear text then.
    #[arg(long, default_value = "https", value_name = "TRANSPORT")]
    transport: TransportArg,
    /// Certificate that the pool master must show, as SHA-256 in hex; without it the one that it shows now is pinned.
    #[arg(long, value_name = "SHA256")]
    certificate: Option<String>,
    /// The mover that does the pool's jobs; without it, whichever is free.
    #[arg(long, value_name = "NAME")]
    mover: Option<String>,
}

/// List the pools.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Show what is known of a pool.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name or id of the pool.
    name: String,
}

/// Log in to a pool and see whether all is as it was.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Name or id of the pool.
    name: String,
}

/// Set what is known of a pool: its mover, and how many jobs may work on it at once. What is not named stays.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name or id of the pool.
    name: String,
    /// The mover that does its jobs; `any` for whichever is free.
    #[arg(long, value_name = "NAME")]
    mover: Option<String>,
    /// Jobs on the whole pool; `default` is 3.
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

/// Forget a pool. Its restore points stay.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id of the pool.
    name: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Words for [`Transport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportArg {
    Http,
    Https,
}

impl From<TransportArg> for Transport {
    fn from(word: TransportArg) -> Self {
        match word {
            TransportArg::Http => Self::Http,
            TransportArg::Https => Self::Https,
        }
    }
}

impl Clients {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(context).await,
            Self::List(List {}) => list(context).await,
            Self::Show(Named { name }) => show(context, &name).await,
            Self::Check(Check { name }) => check(context, &name).await,
            Self::Set(set) => set.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
        }
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let mut client = api.client(&self.name).await?;
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
        if limits != client.limits {
            client = api.set_client_limits(&self.name, &limits).await?;
        }
        if let Some(mover) = self.mover {
            client = api.set_client_mover(&self.name, &MoverChoice { movers: vec![mover] }).await?;
        }
        context.console.result(&client, || {
            format!("changed client {}: {}; {}", client.name, limits_text(&client), mover_text(&client))
        })?;
        Ok(Exit::Success)
    }
}

/// Which mover does a pool's jobs, in words.
fn mover_text(client: &Client) -> String {
    client.mover.as_ref().map_or_else(|| "by any mover".to_owned(), |mover| format!("by mover {mover}"))
}

/// How many jobs may work on a pool at once, in words.
fn limits_text(client: &Client) -> String {
    let limits = &client.limits;
    let mut text = limits.jobs.map_or_else(
        || "as many jobs at once as the server is set to".to_owned(),
        |limit| format!("{limit} jobs at once"),
    );
    for (limit, place) in [(limits.jobs_per_host, "host"), (limits.jobs_per_sr, "SR")] {
        if let Some(limit) = limit {
            text += &format!(", {limit} on one {place}");
        }
    }
    text
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let password = self.password.read(&format!("Password of {} on {}", self.user, self.address))?;
        let new = NewClient {
            name: self.name,
            address: self.address,
            user: self.user,
            password,
            transport: self.transport.into(),
            certificate_sha256: self.certificate,
            mover: self.mover,
        };
        let given = new.certificate_sha256.is_some();
        let client = api.add_client(&new).await?;
        context.console.result(&client, || added(&client, given))?;
        if client.transport == Transport::Http {
            context.console.note("note: over http the password and all disks travel in clear text");
        }
        Ok(Exit::Success)
    }
}

fn added(client: &Client, certificate_was_given: bool) -> String {
    let mut text = format!("added client {}: {}\n", client.name, pool(client));
    if let Some(sha256) = &client.certificate_sha256 {
        text += &format!("certificate: SHA-256 {}\n", fingerprint::colons(sha256));
        if !certificate_was_given {
            text += "It is pinned from now on. Compare it with what the pool master says of itself:\n  \
                     openssl x509 -noout -fingerprint -sha256 -in /etc/xensource/xapi-ssl.pem\n";
        }
    }
    text
}

/// `pool lab (XCP-ng 8.3.0, 2 hosts)`.
fn pool(client: &Client) -> String {
    let Some(pool) = &client.pool else { return format!("pool at {}", client.address) };
    let name = if pool.name.is_empty() { &pool.master } else { &pool.name };
    let hosts = if pool.hosts == 1 { "1 host".to_owned() } else { format!("{} hosts", pool.hosts) };
    format!("pool {name} ({}, {hosts})", pool.product)
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let clients = context.api()?.clients().await?;
    context.console.result(&clients, || listing(&clients))?;
    Ok(Exit::Success)
}

fn listing(clients: &[Client]) -> String {
    if clients.is_empty() {
        return "no clients yet: add a pool with `xenkeep client add`".to_owned();
    }
    let columns = [
        Column::Text("NAME"),
        Column::Text("ADDRESS"),
        Column::Text("USER"),
        Column::Text("TRANSPORT"),
        Column::Text("POOL"),
        Column::Text("PRODUCT"),
        Column::Number("HOSTS"),
    ];
    let rows = clients.iter().map(|client| {
        let pool = client.pool.as_ref();
        [
            client.name.clone(),
            client.address.clone(),
            client.user.clone(),
            word(&client.transport),
            pool.map(|pool| if pool.name.is_empty() { pool.master.clone() } else { pool.name.clone() })
                .unwrap_or_default(),
            pool.map(|pool| pool.product.clone()).unwrap_or_default(),
            pool.map(|pool| pool.hosts.to_string()).unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

async fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let client = context.api()?.client(name).await?;
    context.console.result(&client, || shown(&client))?;
    Ok(Exit::Success)
}

fn shown(client: &Client) -> String {
    let pool = client.pool.as_ref();
    details([
        ("name", client.name.clone()),
        ("id", client.id.to_string()),
        ("address", client.address.clone()),
        ("user", client.user.clone()),
        ("transport", word(&client.transport)),
        ("certificate", client.certificate_sha256.as_deref().map(fingerprint::colons).unwrap_or_default()),
        ("pool", pool.map(|pool| pool.name.clone()).unwrap_or_default()),
        ("pool uuid", pool.map(|pool| pool.uuid.clone()).unwrap_or_default()),
        ("master", pool.map(|pool| pool.master.clone()).unwrap_or_default()),
        ("product", pool.map(|pool| pool.product.clone()).unwrap_or_default()),
        ("hosts", pool.map(|pool| pool.hosts.to_string()).unwrap_or_default()),
        ("mover", client.mover.clone().unwrap_or_else(|| ANY_MOVER.to_owned())),
        ("added", units::time(client.created_at)),
    ])
}

async fn check(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let client = context.api()?.check_client(name).await?;
    context.console.result(&client, || format!("client {} is in order: {}", client.name, pool(&client)))?;
    Ok(Exit::Success)
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let client = api.client(&self.name).await?;
        let consequences = format!(
            "Client {} ({}) will be forgotten, with its password and certificate. Its restore points stay.",
            client.name, client.address
        );
        if !self.yes && !confirm::ask(context.console, &consequences, "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        api.remove_client(&client.id.to_string()).await?;
        context.console.result(&client, || format!("removed client {}", client.name))?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests;
