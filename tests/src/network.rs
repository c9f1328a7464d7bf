//! Machines on networks of their own: each in a network namespace, joined by bridges, without touching the network of the
//! machine that tests.
//!
//! A namespace lives as long as a process in it. As root it is simply made; an ordinary user makes it inside a user
//! namespace. For both, the test runs itself again in a namespace of its own ([`inside`]), in which the bridges are: so
//! nothing is left when it ends, however it ends.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::images::run;

const INSIDE: &str = "XENKEEP_INSIDE_NETWORK";

/// Runs `body` inside a network namespace: the test `name` of this program is started again in one, unless it is there.
///
/// # Errors
/// When there can be no namespace, or the test fails in it.
pub fn inside(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        return body();
    }
    let root = run(Command::new("unshare").args(["--net", "true"])).is_ok();
    let mut command = Command::new("unshare");
    command.args(if root { &["--net"][..] } else { &["--map-root-user", "--net"][..] });
    command.arg(std::env::current_exe()?).args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let status = command.status().context("cannot run unshare (Debian: util-linux)")?;
    ensure!(status.success(), "{name} failed in its network namespace: {status}");
    Ok(())
}

/// A network: a bridge that machines are plugged into.
#[derive(Debug)]
pub struct Network {
    name: String,
    prefix: String,
}

/// A machine: a network namespace with interfaces.
#[derive(Debug)]
pub struct Machine {
    anchor: Child,
    name: String,
}

impl Network {
    /// A network with addresses `prefix`.1 to .254, of which the tests themselves have .254.
    ///
    /// # Errors
    /// When `ip` (Debian: iproute2) is missing or refuses.
    pub fn new(name: &str, prefix: &str) -> Result<Self> {
        run(Command::new("ip").args(["link", "add", name, "type", "bridge"]))?;
        run(Command::new("ip").args(["address", "add", &format!("{prefix}.254/24"), "dev", name]))?;
        run(Command::new("ip").args(["link", "set", name, "up"]))?;
        Ok(Self { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

impl Machine {
    /// A machine that is plugged into nothing.
    ///
    /// # Errors
    /// When there can be no namespace.
    pub fn new(name: &str) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]).stdin(Stdio::null()).stdout(Stdio::null());
        let machine = Self { anchor: command.spawn()?, name: name.to_owned() };
        let ours = fs::read_link("/proc/self/ns/net")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let path = format!("/proc/{}/ns/net", machine.anchor.id());
        while fs::read_link(&path).is_ok_and(|theirs| theirs == ours) {
            ensure!(Instant::now() < deadline, "{name} did not get a namespace");
            std::thread::sleep(Duration::from_millis(5));
        }
        run(machine.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(machine)
    }

    /// Plugs it into a network, as address `number`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn plug(&self, network: &Network, number: u8) -> Result<String> {
        let (ours, process) = (self.cable(network), self.anchor.id().to_string());
        let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments));
        ip(&["link", "add", &ours, "type", "veth", "peer", "name", &network.name, "netns", &process])?;
        ip(&["link", "set", &ours, "master", &network.name, "up"])?;
        let address = format!("{}.{number}", network.prefix);
        run(self.command("ip").args(["address", "add", &format!("{address}/24"), "dev", &network.name]))?;
        run(self.command("ip").args(["link", "set", &network.name, "up"]))?;
        Ok(address)
    }

    /// Pulls the plug out of a network, or puts it in again.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn link(&self, network: &Network, up: bool) -> Result<()> {
        run(Command::new("ip").args(["link", "set", &self.cable(network), if up { "up" } else { "down" }]))
    }

    /// Bytes that it has received and sent on a network.
    ///
    /// # Errors
    /// When `ip` does not say.
    pub fn traffic_bytes(&self, network: &Network) -> Result<u64> {
        let output = self.command("ip").args(["-s", "-j", "link", "show", &network.name]).output()?;
        let links: Value = serde_json::from_slice(&output.stdout).context("ip does not speak JSON")?;
        let count = |way: &str| links[0]["stats64"][way]["bytes"].as_u64().context("ip does not count");
        Ok(count("rx")? + count("tx")?)
    }

    /// What stands before a command so that it runs on this machine.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        ["nsenter", "--target", &self.anchor.id().to_string(), "--net", "--"].map(str::to_owned).to_vec()
    }

    /// A command on this machine. The process that is started is the program itself.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }

    fn cable(&self, network: &Network) -> String {
        format!("{}-{}", self.name, network.name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.anchor.kill();
        let _ = self.anchor.wait();
    }
}
