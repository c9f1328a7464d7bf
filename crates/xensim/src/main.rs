//! `xensim`: a simulated XenServer pool on the command line.

use std::fs;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use xensim::Sim;
use xensim::config::{Account, Config, DiskConfig, HostConfig, Password, SrConfig, SrKind, VmConfig};
use xensim::roles::Role;

const ABOUT: &str = "A simulated XenServer / XCP-ng pool with real disks, in one process.

Clients that speak XenServer's API (its SDKs, Xen Orchestra, backup tools, your own scripts) take it for a real pool: XML-RPC and JSON-RPC, sessions, tasks, events, snapshots, and the export and import of whole virtual machines (XVA). Nothing is virtualised: a machine that \"runs\" is only marked as running. But its disks hold real bytes, so what you export is what you put in.";

const EXAMPLES: &str = "\
Examples:
  A pool with one machine made of your own images, raw or qcow2; they are copied, never changed:
      xensim --vm web=system.qcow2,data.raw

  Use it from Python (pip install XenAPI), at the address that is printed as http=:
      import XenAPI
      session = XenAPI.Session('http://127.0.0.1:8080')
      session.login_with_password('root', 'xensim')
      print([vm['name_label'] for vm in session.xenapi.VM.get_all_records().values()])

  Download a machine (halted, or a snapshot), and send it back in as a new one
  (UUID is printed as vm=):
      curl -u root:xensim 'http://127.0.0.1:8080/export?uuid=UUID' -o web.xva
      curl -u root:xensim -T web.xva 'http://127.0.0.1:8080/import'

  Make the next export break after 1 MB, then look at what is left in the pool
  (CONTROL is what is printed as control=):
      curl -H 'content-type: application/json' \\
           -d '{\"kind\":\"cut_export\",\"at_byte\":1000000}' CONTROL/faults
      curl CONTROL/state

What it prints, once the pool answers:
  http=URL                 the master, plain HTTP
  https=URL                the master, TLS with a self-signed certificate
  certificate_sha256=HEX   its fingerprint
  control=URL              the control endpoint, see below
  member_http=URL          a further host (and member_https=URL): HOST_IS_SLAVE, and redirects
  vm=UUID NAME             one line for each machine
  ready

The control endpoint: JSON over plain HTTP, without password; no part of any real pool.
  POST   /faults           make something go wrong:
                             {\"kind\":\"…\"} and what else belongs to the kind
    cut_export, cut_import   at_byte: the connection breaks there
    tail_export              at_byte: a second HTTP answer (500) in the stream
    corrupt_export           at_byte: this byte is flipped
    sr_full                  at_byte: no room for more bytes of disk
    session_lost             at_byte: all sessions are forgotten
    stall_export, …_import   at_byte, seconds (0: until faults are cleared)
    slow_link                bytes_per_second
    stall_call               method (VM.destroy, /export …), when (before, after)
    refuse_call              method, code, params: this error, before any effect
    vdi_in_use, sr_full_snapshot, fail_start, fail_suspend, fail_resume, drop_rpc
    fail_export_task, fail_import_task, refuse_export, refuse_import
                           All take times (how often; 1 if missing; null for always), and
                           skip (spare so many first).
  GET    /faults           what is armed, and how often what has struck
  DELETE /faults           take all of it away
  GET    /stalled          the calls that a fault holds back right now
  GET    /transfers        by path: how many go on now, and the most at once so far
  GET    /state            what is in the pool, in short: has a client left something behind?
  GET    /vdi/UUID/sha256  fingerprint of a disk as it is now
  GET    /vdi/UUID/content its bytes
  GET    /deleted          destroyed snapshots (with --keep-deleted); the two calls above work
  POST   /guest-write      {\"vm\":NAME,\"disk\":\"0\",\"offset\":N,\"data\":BASE64}, or instead of
                           data: \"pattern\":TEXT,\"len\":N
  POST   /vm/NAME/writer   {\"on\":true,\"bytes_per_second\":N}: it writes while it runs
  GET    /vm/NAME/writer   what it has written
  GET    /vm/NAME/memory   fingerprint of the memory of a machine that runs
  DELETE /sessions         forget all sessions, as a restart of the toolstack does
  POST   /host/N           {\"up\":false}: host N (0: the first) refuses connections until {\"up\":true}
  POST   /master           {\"host\":N}: host N is the master from now on, and sessions are forgotten
  POST   /clock            {\"seconds\":N}: move the pool's clock forward

Set XENSIM_LOG=debug to see each request on stderr.";

/// What the command line says.
#[derive(Parser)]
#[command(name = "xensim", version, about = "A simulated XenServer pool with real disks", long_about = ABOUT, after_long_help = EXAMPLES)]
struct Args {
    /// A virtual machine made of disk images, raw or qcow2 (told apart by content). A disk of zeros is written as
    /// its size: web=system.qcow2,10G. May be given many times.
    #[arg(long = "vm", value_name = "NAME=IMAGE[,IMAGE…]")]
    vms: Vec<String>,

    /// This machine runs from the start (others are halted). May be given many times.
    #[arg(long, value_name = "NAME")]
    running: Vec<String>,

    /// This machine has a hook in its guest that freezes file systems for a backup.
    #[arg(long, value_name = "NAME")]
    freeze_hook: Vec<String>,
    /// This machine has no guest tools: it can't be shut down cleanly.
    #[arg(long, value_name = "NAME")]
    no_tools: Vec<String>,

    /// This machine boots with UEFI instead of BIOS.
    #[arg(long, value_name = "NAME")]
    uefi: Vec<String>,

    /// A storage repository, instead of the two that a pool has by default. Words behind the size: `default`;
    /// `thick` (like LVM: full sizes are taken at once); `host=N` (only host N sees it, 0 is the master);
    /// `exact` (sizes are not rounded up to 2 MiB). May be given many times.
    #[arg(long = "sr", value_name = "NAME=SIZE[:WORD…]")]
    srs: Vec<String>,

    /// Where the master answers plain HTTP; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Where the master answers TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen_tls: SocketAddr,

    /// Where the control endpoint answers.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen_control: SocketAddr,

    /// Number of hosts, with the master. Members answer on free ports of the master's address.
    #[arg(long, value_name = "N", default_value_t = 2)]
    hosts: usize,

    /// Name of the account.
    #[arg(long, default_value = "root")]
    user: String,

    /// A further account with the same password and the rights of a role, such as backup=vm-power-admin. May be given
    /// many times.
    #[arg(long = "account", value_name = "USER=ROLE", value_parser = account)]
    accounts: Vec<(String, Role)>,

    /// Its password. Other users of this machine can see it: prefer --password-file for a real one.
    #[arg(long, default_value = "xensim", conflicts_with = "password_file")]
    password: String,

    /// A file that holds the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Where disks are kept, as sparse files. Without it, in a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    storage: Option<PathBuf>,

    /// Keeps what was on destroyed snapshots, out of the pool's sight, so that the control endpoint can show it.
    #[arg(long)]
    keep_deleted: bool,

    /// How often transfers tell their progress and look whether they are cancelled. Real pools take 10 seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    progress_interval: f64,

    /// How long the master takes to restart with a database that was put back. Real ones take half a minute.
    #[arg(long, value_name = "SECONDS")]
    restart_time: Option<f64>,

    /// How long a machine takes to start until its guest reports.
    #[arg(long, value_name = "SECONDS")]
    boot_time: Option<f64>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("XENSIM_LOG"))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(std::io::stderr(), "xensim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> anyhow::Result<()> {
    // Before the disks are copied: who ends us early must not leave them behind.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let storage = match &args.storage {
        Some(dir) => StorageDir { path: dir.clone(), temporary: false },
        None => StorageDir { path: temporary_dir()?, temporary: true },
    };
    let config = args.config(&storage.path)?;
    let serve = async {
        let sim = Sim::start(config).await?;
        announce(&sim)?;
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        result = serve => result,
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// A directory that is removed at the end, if it is ours.
struct StorageDir {
    path: PathBuf,
    temporary: bool,
}

impl Drop for StorageDir {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn temporary_dir() -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("xensim-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Tells where everything is.
fn announce(sim: &Sim) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "http={}", sim.http_url())?;
    writeln!(out, "https={}", sim.https_url())?;
    writeln!(out, "certificate_sha256={}", sim.certificate_sha256())?;
    writeln!(out, "control={}", sim.control_url())?;
    for member in 1..sim.world().hosts.len() {
        writeln!(out, "member_http=http://{}", sim.host_http(member))?;
        writeln!(out, "member_https=https://{}", sim.host_https(member))?;
    }
    for (uuid, name) in sim.vms() {
        writeln!(out, "vm={uuid} {name}")?;
    }
    writeln!(out, "ready")?;
    out.flush()?;
    Ok(())
}

impl Args {
    fn config(&self, storage: &std::path::Path) -> anyhow::Result<Config> {
        let mut config = Config::new(storage);
        config.user.clone_from(&self.user);
        config.password = Password(self.password()?);
        config.accounts =
            self.accounts.iter().map(|(user, role)| self.account(user, *role)).collect::<Result<_, _>>()?;
        config.keep_deleted = self.keep_deleted;
        config.progress_interval = seconds(self.progress_interval)?;
        if let Some(boot_time) = self.boot_time {
            config.timing.guest_boot = seconds(boot_time)?;
        }
        if let Some(restart_time) = self.restart_time {
            config.timing.restart = seconds(restart_time)?;
        }
        config.control = self.listen_control;
        config.hosts = self.host_configs()?;
        if !self.srs.is_empty() {
            let library = config.srs.iter().find(|sr| sr.kind == SrKind::Iso).cloned();
            config.srs = self.srs.iter().map(|text| self.parse_sr(text)).collect::<anyhow::Result<_>>()?;
            if !config.srs.iter().any(|sr| sr.default) {
                config.srs[0].default = true;
            }
            config.srs.extend(library);
        }
        config.vms = self.vms.iter().map(|text| self.parse_vm(text)).collect::<anyhow::Result<_>>()?;
        for name in self.running.iter().chain(&self.no_tools).chain(&self.freeze_hook).chain(&self.uefi) {
            if !config.vms.iter().any(|vm| vm.name == *name) {
                bail!("there is no --vm {name}=…");
            }
        }
        Ok(config)
    }

    fn account(&self, user: &str, role: Role) -> anyhow::Result<Account> {
        Ok(Account { user: user.to_owned(), password: Password(self.password()?), role })
    }

    fn password(&self) -> anyhow::Result<String> {
        let Some(file) = &self.password_file else { return Ok(self.password.clone()) };
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn host_configs(&self) -> anyhow::Result<Vec<HostConfig>> {
        if self.hosts == 0 || self.hosts > 64 {
            bail!("--hosts must be between 1 and 64");
        }
        let host = |number: usize| {
            let mut host = HostConfig::new(&format!("xensim-{}", number + 1));
            if number == 0 {
                host.http = self.listen;
                host.https = self.listen_tls;
            } else {
                host.http.set_ip(self.listen.ip());
                host.https.set_ip(self.listen_tls.ip());
            }
            host
        };
        Ok((0..self.hosts).map(host).collect())
    }

    fn parse_vm(&self, text: &str) -> anyhow::Result<VmConfig> {
        let (name, images) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            bail!("--vm {text}: the name is missing");
        }
        let mut vm = VmConfig::new(name);
        vm.running = self.running.iter().any(|running| running == name);
        if self.freeze_hook.iter().any(|other| other == name) {
            vm.hook = "answers".to_owned();
        }
        vm.guest_tools = !self.no_tools.iter().any(|other| other == name);
        vm.uefi = self.uefi.iter().any(|other| other == name);
        for image in images.split(',').filter(|image| !image.is_empty()) {
            let path = PathBuf::from(image);
            vm.disks.push(if path.exists() {
                DiskConfig::image(path)
            } else if let Some(size) = parse_size(image) {
                DiskConfig::empty(size)
            } else {
                bail!("--vm {name}: {image} is neither a file that exists nor a size such as 10G");
            });
        }
        Ok(vm)
    }

    fn parse_sr(&self, text: &str) -> anyhow::Result<SrConfig> {
        let mut words = text.split(':');
        let first = words.next().unwrap_or_default();
        let parsed = first.split_once('=').and_then(|(name, size)| Some((name, parse_size(size)?)));
        let Some((name, size)) = parsed else {
            bail!("--sr {text}: NAME=SIZE is expected, such as fast=100G");
        };
        let mut sr = SrConfig::new(name, SrKind::Nfs, size);
        for word in words {
            match word.split_once('=') {
                None if word == "default" => sr.default = true,
                None if word == "thick" => sr.kind = SrKind::Lvm,
                None if word == "exact" => sr.rounding_bytes = 512,
                Some(("host", number)) => match number.parse() {
                    Ok(number) if number < self.hosts => sr.hosts = Some(vec![number]),
                    _ => bail!("--sr {name}: there is no host {number}"),
                },
                _ => bail!("--sr {name}: {word} means nothing; known are default, thick, exact, host=N"),
            }
        }
        Ok(sr)
    }
}

fn account(text: &str) -> Result<(String, Role), String> {
    let (user, role) = text.split_once('=').ok_or_else(|| "it is written USER=ROLE".to_owned())?;
    Ok((user.to_owned(), role.parse()?))
}

/// A number of bytes with K, M, G or T behind it, in powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim_end_matches("iB");
    let (number, shift) = match text.chars().last()? {
        'K' | 'k' => (&text[..text.len() - 1], 10),
        'M' | 'm' => (&text[..text.len() - 1], 20),
        'G' | 'g' => (&text[..text.len() - 1], 30),
        'T' | 't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn seconds(number: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(number).with_context(|| format!("{number} is no number of seconds"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sizes() {
        let cases = [("512", Some(512)), ("10G", Some(10 << 30)), ("4MiB", Some(4 << 20)), ("x", None), ("", None)];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn a_description_from_the_command_line() {
        let args = Args::parse_from([
            "xensim",
            "--vm",
            "a=1G,2G",
            "--running",
            "a",
            "--sr",
            "fast=5G:thick:host=1",
            "--sr",
            "big=1T:default:exact",
        ]);
        let config = args.config(std::path::Path::new("/nowhere")).unwrap();
        assert_eq!((config.vms[0].disks.len(), config.vms[0].running), (2, true));
        assert_eq!((config.srs[0].kind, config.srs[0].hosts.clone()), (SrKind::Lvm, Some(vec![1])));
        assert_eq!((config.srs[1].default, config.srs[1].rounding_bytes), (true, 512));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, word) in [
            (["--vm", "a=missing.qcow2"], "missing.qcow2"),
            (["--vm", "=1G"], "name"),
            (["--sr", "a"], "NAME=SIZE"),
            (["--sr", "a=1G:quick"], "quick"),
            (["--running", "b"], "b"),
        ] {
            let args = Args::parse_from(["xensim", args[0], args[1]]);
            let error = args.config(std::path::Path::new("/nowhere")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
