//! A pool that runs: its servers, from start to shutdown.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xenkeep_disk::DiskRead;

use crate::config::{Config, DiskContent, HostConfig, VmConfig};
use crate::control;
use crate::error::ApiError;
use crate::fault::Faults;
use crate::guest::Guests;
use crate::http::{self, Identity};
use crate::model::Class;
use crate::ops;
use crate::storage::{self, Storage};
use crate::world::{HostAddress, World};

/// The port that is left out of addresses.
const HTTPS_PORT: u16 = 443;

/// A pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, most likely.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate could be made for a host.
    #[error("cannot make a certificate for host {host}")]
    Certificate {
        /// Its name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disks could not be made or filled.
    #[error("cannot set up the disks")]
    Storage(#[from] storage::Error),
    /// The description does not fit together.
    #[error("cannot set up {what}")]
    Setup {
        /// What is wrong.
        what: String,
        /// Why, in the API's words.
        #[source]
        source: ApiError,
    },
    /// A pool needs a host.
    #[error("a pool needs at least one host")]
    NoHost,
}

/// A running pool. It ends when this is dropped, or better with [`Sim::shutdown`].
pub struct Sim {
    world: World,
    hosts: Vec<HostPorts>,
    control: SocketAddr,
    guests: Guests,
    servers: TaskTracker,
    stop: CancellationToken,
}

/// Where a host answers.
#[derive(Debug, Clone)]
struct HostPorts {
    http: SocketAddr,
    https: SocketAddr,
    certificate_sha256: String,
}

struct Listeners {
    http: TcpListener,
    https: TcpListener,
    identity: Identity,
    ports: HostPorts,
}

impl Sim {
    /// Starts a pool; when this returns, it answers.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for host in &config.hosts {
            listeners.push(listen_as(host).await?);
        }
        if listeners.is_empty() {
            return Err(StartError::NoHost);
        }
        let (control_listener, control_address) = listen(config.control).await?;
        let storage = Storage::new(&config.storage_dir)?;
        let vms = config.vms.clone();
        let addresses = listeners.iter().map(Listeners::address).collect();
        let world = World::new(config, storage, Faults::default(), addresses)
            .map_err(|source| StartError::Setup { what: "the pool".to_owned(), source })?;
        for vm in &vms {
            add_vm(&world, vm).await?;
        }
        let sim = Self {
            guests: Guests::new(&world),
            world,
            hosts: listeners.iter().map(|host| host.ports.clone()).collect(),
            control: control_address,
            servers: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        sim.serve(listeners, control_listener);
        sim.world.start_sweeping();
        Ok(sim)
    }

    fn serve(&self, listeners: Vec<Listeners>, control_listener: TcpListener) {
        for (number, host) in listeners.into_iter().enumerate() {
            for listener in [host.http, host.https] {
                let (world, tls, stop) = (self.world.clone(), host.identity.acceptor.clone(), self.stop.clone());
                self.servers.spawn(http::serve(world, number, listener, tls, stop));
            }
        }
        let control = control::serve(control_listener, self.world.clone(), self.guests.clone(), self.stop.clone());
        self.servers.spawn(control);
        self.servers.close();
    }

    /// Where the master answers plain HTTP: `http://127.0.0.1:1234`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.hosts[0].http)
    }

    /// Where the master answers TLS.
    pub fn https_url(&self) -> String {
        format!("https://{}", self.hosts[0].https)
    }

    /// Where a host answers plain HTTP; 0 is the master.
    pub fn host_http(&self, host: usize) -> SocketAddr {
        self.hosts[host].http
    }

    /// Where a host answers TLS.
    pub fn host_https(&self, host: usize) -> SocketAddr {
        self.hosts[host].https
    }

    /// SHA-256 of the master's certificate, in lower-case hex.
    pub fn certificate_sha256(&self) -> &str {
        &self.hosts[0].certificate_sha256
    }

    /// SHA-256 of a host's certificate.
    pub fn host_certificate_sha256(&self, host: usize) -> &str {
        &self.hosts[host].certificate_sha256
    }

    /// Where the control endpoint is: `http://127.0.0.1:1234/control`.
    pub fn control_url(&self) -> String {
        format!("http://{}/control", self.control)
    }

    /// Uuid and name of each virtual machine that is neither template, snapshot nor control domain.
    pub fn vms(&self) -> Vec<(String, String)> {
        self.world.db.read(|t| {
            let mut vms = t.all(Class::Vm);
            vms.retain(|vm| !t.bool(vm, "is_a_template") && !t.bool(vm, "is_control_domain"));
            vms.iter().map(|vm| (t.str(vm, "uuid"), t.str(vm, "name_label"))).collect()
        })
    }

    /// What goes wrong on demand.
    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// The bytes of all disks.
    pub fn storage(&self) -> &Storage {
        &self.world.storage
    }

    /// Guests that write while they are backed up.
    pub fn guests(&self) -> &Guests {
        &self.guests
    }

    /// Everything else.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Ends the pool and all connections to it.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.world.shutdown.cancel();
        self.guests.stop_all();
        self.servers.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
        self.world.shutdown.cancel();
        self.guests.stop_all();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("hosts", &self.hosts).field("control", &self.control).finish_non_exhaustive()
    }
}

impl Listeners {
    fn address(&self) -> HostAddress {
        let at = self.ports.https;
        let address = if at.port() == HTTPS_PORT { at.ip().to_string() } else { at.to_string() };
        HostAddress {
            address,
            certificate_pem: self.identity.certificate_pem.clone(),
            certificate_sha256: with_colons(&self.identity.certificate_sha256),
            certificate_sha1: with_colons(&self.identity.certificate_sha1),
        }
    }
}

async fn listen_as(host: &HostConfig) -> Result<Listeners, StartError> {
    let (http, http_address) = listen(host.http).await?;
    let (https, https_address) = listen(host.https).await?;
    let identity = Identity::new(&host.name, &https_address.ip().to_string(), host.certificate_days)
        .map_err(|source| StartError::Certificate { host: host.name.clone(), source })?;
    let certificate_sha256 = identity.certificate_sha256.clone();
    let ports = HostPorts { http: http_address, https: https_address, certificate_sha256 };
    Ok(Listeners { http, https, identity, ports })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Makes a virtual machine and fills its disks; only then it may run.
async fn add_vm(world: &World, vm: &VmConfig) -> Result<(), StartError> {
    let failed = |source| StartError::Setup { what: format!("the virtual machine {}", vm.name), source };
    let mut images: Vec<Option<Arc<dyn DiskRead>>> = Vec::new();
    let mut sizes = Vec::new();
    for disk in &vm.disks {
        match &disk.content {
            DiskContent::Empty(size_bytes) => {
                images.push(None);
                sizes.push(*size_bytes);
            }
            DiskContent::Image(image) => {
                let image = image.open().await?;
                sizes.push(image.size());
                images.push(Some(image));
            }
        }
    }
    let (vm_ref, disks) = world.add_vm(vm, &sizes).map_err(failed)?;
    for (disk, image) in disks.iter().zip(images) {
        if let Some(image) = image {
            world.storage.fill(&disk.uuid, image).await?;
            ops::vdi::account(world, &disk.vdi);
        }
    }
    if vm.running && !vm.template {
        ops::vm::boot_now(world, &vm_ref);
    }
    Ok(())
}

/// `AB:CD:…`, as XAPI writes fingerprints.
fn with_colons(hex: &str) -> String {
    let pairs: Vec<String> =
        hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    pairs.join(":")
}
