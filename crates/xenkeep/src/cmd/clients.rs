//! `xenkeep client`: the pools that are backed up.

use clap::{Args, Subcommand, ValueEnum};
use xenkeep_api::{ANY_MOVER, Client, NewClient, PoolHost, TransferNetwork, Transport};

mod browse;
mod change;
mod check;

use self::{browse::Browse, change::Set, check::Check};

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
    Browse(Browse),
    Set(Set),
    Remove(Remove),
}

const ADD_EXAMPLES: &str = "\
Examples:
  xenkeep client add lab --address 10.0.0.5 --user root
  pass show lab | xenkeep client add lab --address lab.example --user root --password-file -
  xenkeep client add lab --address 10.0.0.5 --http --trusted-network";

/// Add a pool: logs in to it once and pins its certificate.
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct Add {
    /// Your name for the pool.
    name: String,
    /// Address of any host of the pool: HOST or HOST:PORT. The master is found from there.
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
    /// The same as --transport http.
    #[arg(long, conflicts_with = "transport")]
    http: bool,
    /// The management network is trusted: with http, the password and all disks can be read by whoever is on the way.
    #[arg(long)]
    trusted_network: bool,
    /// Certificate that the host at the address must show, as SHA-256 in hex; without it the one that it shows now is pinned.
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
            Self::Check(check) => check.run(context).await,
            Self::Browse(browse) => browse.run(context).await,
            Self::Set(set) => set.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
        }
    }
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
        let transport = if self.http { Transport::Http } else { self.transport.into() };
        let trusted_network = change::trusted(context, transport, self.trusted_network)?;
        let password = self.password.read(&format!("Password of {} on {}", self.user, self.address))?;
        let new = NewClient {
            name: self.name,
            address: self.address,
            user: self.user,
            password,
            transport,
            trusted_network,
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
    let mut text = details([
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
        ("at once", limits_text(client)),
        ("data travel", pool.and_then(|pool| pool.transfer.as_ref()).map(transfer).unwrap_or_default()),
        ("added", units::time(client.created_at)),
    ]);
    if let Some(pool) = pool.filter(|pool| !pool.members.is_empty()) {
        text += "\n";
        text += &hosts(&pool.members);
    }
    text
}

/// `from 10.0.0.9 here to 10.0.0.5 of xs1 (eth0): management network`.
fn transfer(way: &TransferNetwork) -> String {
    let device = if way.device.is_empty() { "no interface that the pool knows" } else { &way.device };
    let network = match (way.network.as_str(), way.management) {
        ("", _) => String::new(),
        (network, true) => format!(": {network}, the management network"),
        (network, false) => format!(": {network}"),
    };
    format!("from {} here to {} of {} ({device}){network}", way.mover_address, way.host_address, way.host)
}

fn hosts(members: &[PoolHost]) -> String {
    let columns = [
        Column::Text("HOST"),
        Column::Text("ROLE"),
        Column::Text("STATE"),
        Column::Text("ADDRESS"),
        Column::Text("MANAGEMENT"),
        Column::Text("OTHER INTERFACES"),
        Column::Text("CERTIFICATE UNTIL"),
    ];
    let cards = |host: &PoolHost, management: bool| -> String {
        let shown: Vec<String> = host
            .interfaces
            .iter()
            .filter(|card| card.management == management)
            .map(|card| format!("{} {}", card.device, card.address))
            .collect();
        shown.join(", ")
    };
    let rows = members.iter().map(|host| {
        [
            host.name.clone(),
            if host.master { "master" } else { "member" }.to_owned(),
            match (host.live, host.enabled) {
                (false, _) => "down",
                (true, false) => "disabled",
                (true, true) => "up",
            }
            .to_owned(),
            host.address.clone(),
            cards(host, true),
            cards(host, false),
            host.certificate_expires.map(|until| until.strftime("%Y-%m-%d").to_string()).unwrap_or_default(),
        ]
    });
    table(columns, rows)
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
