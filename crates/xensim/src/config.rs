//! What pool to simulate.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Timing;
use crate::roles::Role;
use crate::storage::Image;

/// One GiB.
const GIB: u64 = 1 << 30;

/// A VHD-backed disk's size is a multiple of this.
const VHD_ROUNDING_BYTES: u64 = 2 << 20;

/// A whole pool. [`Config::new`] gives a small one that suits most tests.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the account that may do everything.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// Further accounts, each with the rights of a role.
    pub accounts: Vec<Account>,
    /// The hosts; the first one is the master, until another is made one.
    pub hosts: Vec<HostConfig>,
    /// The storage repositories.
    pub srs: Vec<SrConfig>,
    /// The networks; the first one carries the hosts' management interfaces.
    pub networks: Vec<NetworkConfig>,
    /// The virtual machines.
    pub vms: Vec<VmConfig>,
    /// Where disks are kept. Files of an earlier pool there are overwritten.
    pub storage_dir: PathBuf,
    /// Keeps what is on snapshots that are destroyed, outside of the pool and its accounts, so that
    /// the control endpoint can still show it.
    pub keep_deleted: bool,
    /// How often an export or import tells its progress, and looks whether it is to be cancelled.
    pub progress_interval: Duration,
    /// How long things take.
    pub timing: Timing,
    /// What the licence leaves out, such as `restrict_checkpoint` or `restrict_vss`.
    pub restrictions: Vec<String>,
    /// The pool has `VM.snapshot_with_quiesce`, as releases up to 8.0 do.
    pub has_quiesced_snapshots: bool,
    /// Where the control endpoint listens. It asks for no password: loopback only.
    pub control: SocketAddr,
}

/// A password that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

/// An account that may not do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name to log in with.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// What it may do.
    pub role: Role,
}

/// A host of the pool.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Its `name_label`.
    pub name: String,
    /// Where it answers plain HTTP; port 0 takes any free one.
    pub http: SocketAddr,
    /// Where it answers TLS; port 0 takes any free one.
    pub https: SocketAddr,
    /// How long its certificate holds from now on; less than zero for one that has expired.
    pub certificate_days: i32,
}

/// How a storage repository behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrKind {
    /// Files on a local file system (`ext`): thin.
    Ext,
    /// Files on NFS (`nfs`): thin.
    Nfs,
    /// Logical volumes (`lvm`): thick, a snapshot needs the full size once more.
    Lvm,
    /// A library of ISO images (`iso`).
    Iso,
}

/// A storage repository.
#[derive(Debug, Clone)]
pub struct SrConfig {
    /// Its `name_label`.
    pub name: String,
    /// How it behaves.
    pub kind: SrKind,
    /// What it holds.
    pub capacity_bytes: u64,
    /// Whether it is the pool's default.
    pub default: bool,
    /// Which hosts see it, as positions in [`Config::hosts`]; `None` for all of them.
    pub hosts: Option<Vec<usize>>,
    /// Sizes of disks are rounded up to a multiple of this.
    pub rounding_bytes: u64,
    /// Names of the images of an ISO library.
    pub isos: Vec<String>,
}

/// A network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Its `name_label`.
    pub name: String,
    /// Its bridge, such as `xenbr0`.
    pub bridge: String,
}

/// A virtual machine.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Its `name_label`.
    pub name: String,
    /// Its disks, at positions 0, 1, …; the first one is bootable.
    pub disks: Vec<DiskConfig>,
    /// Memory.
    pub memory_bytes: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Boots with UEFI instead of BIOS.
    pub uefi: bool,
    /// Names of the networks that its interfaces 0, 1, … are on.
    pub networks: Vec<String>,
    /// Whether it runs when the pool comes up.
    pub running: bool,
    /// Whether the guest tools are installed: then it shuts down cleanly and tells its address.
    pub guest_tools: bool,
    /// Whether it is a template of the user's own.
    pub template: bool,
    /// How the guest takes part in quiesced snapshots.
    pub vss: Vss,
    /// How the hook in the guest behaves that freezes file systems for a backup: a word for
    /// [`crate::guest::HOOK_KEY`], empty if there is none.
    pub hook: String,
    /// What its virtual TPM holds, if it has one.
    pub vtpm: Option<String>,
    /// Its UEFI variables, base64; empty for none.
    pub uefi_variables: String,
}

/// How a guest takes part in quiesced snapshots (VSS), on a pool that has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vss {
    /// It has nothing for it.
    #[default]
    Missing,
    /// It writes out what it holds, and waits.
    Works,
    /// Something in it fails.
    Fails,
    /// It takes too long.
    TimesOut,
    /// Its service does not answer at all.
    Silent,
}

impl Vss {
    /// Its word in the machine's `other_config`, from which it may be changed later.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Works => "works",
            Self::Fails => "fails",
            Self::TimesOut => "times-out",
            Self::Silent => "silent",
        }
    }
}

/// A disk of a virtual machine.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// Its `name_label`; empty for one made of the VM's name.
    pub name: String,
    /// What is on it.
    pub content: DiskContent,
    /// Name of its storage repository; `None` for the default one.
    pub sr: Option<String>,
}

/// What is on a disk at first.
#[derive(Debug, Clone)]
pub enum DiskContent {
    /// Nothing, for a disk of that many bytes.
    Empty(u64),
    /// What the image holds.
    Image(Image),
}

impl Config {
    /// A pool of a master and a member with free ports, a shared default SR of 100 GiB, a second
    /// SR of 50 GiB, an ISO library, two networks, and no virtual machine yet; account
    /// `root` with password `xensim`.
    pub fn new(storage_dir: impl Into<PathBuf>) -> Self {
        Self {
            user: "root".to_owned(),
            password: Password("xensim".to_owned()),
            accounts: Vec::new(),
            hosts: vec![HostConfig::new("xensim-1"), HostConfig::new("xensim-2")],
            srs: vec![
                SrConfig { default: true, ..SrConfig::new("Shared storage", SrKind::Nfs, 100 * GIB) },
                SrConfig::new("Second storage", SrKind::Ext, 50 * GIB),
                SrConfig {
                    isos: vec!["debian-12.iso".to_owned(), "guest-tools.iso".to_owned()],
                    ..SrConfig::new("ISO library", SrKind::Iso, 10 * GIB)
                },
            ],
            networks: vec![
                NetworkConfig::new("Pool-wide network associated with eth0", "xenbr0"),
                NetworkConfig::new("Internal network", "xapi0"),
            ],
            vms: Vec::new(),
            storage_dir: storage_dir.into(),
            keep_deleted: false,
            progress_interval: Duration::from_secs(10),
            timing: Timing::default(),
            restrictions: Vec::new(),
            has_quiesced_snapshots: false,
            control: any_loopback_port(),
        }
    }

    /// Adds a virtual machine.
    #[must_use]
    pub fn with_vm(mut self, vm: VmConfig) -> Self {
        self.vms.push(vm);
        self
    }

    /// Adds a storage repository.
    #[must_use]
    pub fn with_sr(mut self, sr: SrConfig) -> Self {
        self.srs.push(sr);
        self
    }
}

impl HostConfig {
    /// A host on free loopback ports.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), http: any_loopback_port(), https: any_loopback_port(), certificate_days: 3650 }
    }
}

impl SrConfig {
    /// A storage repository that all hosts see.
    pub fn new(name: &str, kind: SrKind, capacity_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            capacity_bytes,
            default: false,
            hosts: None,
            rounding_bytes: VHD_ROUNDING_BYTES,
            isos: Vec::new(),
        }
    }

    /// Whether the host at that position sees it.
    pub fn seen_by(&self, host: usize) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(&host))
    }
}

impl SrKind {
    /// The SR's `type`.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Ext => "ext",
            Self::Nfs => "nfs",
            Self::Lvm => "lvm",
            Self::Iso => "iso",
        }
    }

    /// Whether full sizes are taken at once.
    pub fn is_thick(self) -> bool {
        self == Self::Lvm
    }
}

impl NetworkConfig {
    /// A network by its two names.
    pub fn new(name: &str, bridge: &str) -> Self {
        Self { name: name.to_owned(), bridge: bridge.to_owned() }
    }
}

impl VmConfig {
    /// A halted BIOS guest with two processors, 2 GiB, guest tools, one interface on the first
    /// network, and no disk yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            disks: Vec::new(),
            memory_bytes: 2 * GIB,
            vcpus: 2,
            uefi: false,
            networks: vec!["Pool-wide network associated with eth0".to_owned()],
            running: false,
            guest_tools: true,
            template: false,
            vss: Vss::default(),
            hook: String::new(),
            vtpm: None,
            uefi_variables: String::new(),
        }
    }

    /// Adds a disk.
    #[must_use]
    pub fn with_disk(mut self, disk: DiskConfig) -> Self {
        self.disks.push(disk);
        self
    }

    /// Gives its guest a hook that behaves as that word says.
    #[must_use]
    pub fn with_hook(mut self, behaviour: &str) -> Self {
        self.hook = behaviour.to_owned();
        self
    }

    /// Lets it run from the start.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.running = true;
        self
    }
}

impl DiskConfig {
    /// A disk of zeros.
    pub fn empty(size_bytes: u64) -> Self {
        Self { name: String::new(), content: DiskContent::Empty(size_bytes), sr: None }
    }

    /// A disk with the content of a raw or qcow2 image, told apart by its first bytes.
    pub fn image(path: impl AsRef<Path>) -> Self {
        Self { name: String::new(), content: DiskContent::Image(Image::new(path.as_ref())), sr: None }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn any_loopback_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
