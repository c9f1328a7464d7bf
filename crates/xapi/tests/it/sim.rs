//! The simulated pool, set up for tests.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use xapi::{Download, Endpoint, Error, Fingerprint, Options, Pool, Timeouts, Tls, VmRef};
use xenkeep_disk::Data;
use xenkeep_disk::xva::Reader;
use xensim::Sim;
use xensim::config::{Config, DiskConfig, SrConfig, SrKind, VmConfig};

pub const MIB: usize = 1 << 20;

/// A pool with two VMs: `web` with a disk of 6 MiB and one of 2 MiB, `far` with a disk that only the member sees.
pub struct Rig {
    pub sim: Sim,
    pub web: Vec<Vec<u8>>,
    _dir: TempDir,
}

/// `mib` MiB with data, repeated data and holes.
pub fn content(mib: usize, seed: u32) -> Vec<u8> {
    let mut data = vec![0; mib * MIB];
    let mut state = seed | 1;
    for chunk in data[..MIB + 4096].chunks_exact_mut(4) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    let last = data.len() - 1;
    data[last] = 7;
    data
}

fn image(dir: &Path, name: &str, data: &[u8]) -> DiskConfig {
    let path = dir.join(name);
    std::fs::write(&path, data).unwrap();
    DiskConfig::image(path)
}

impl Rig {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let web = vec![content(6, 1), content(2, 2)];
        let mut config = Config::new(dir.path().join("storage"));
        config.progress_interval = Duration::from_millis(20);
        config.timing.wrong_password = Duration::from_millis(10);
        config.timing.guest_boot = Duration::from_millis(100);
        let far = SrConfig { hosts: Some(vec![1]), ..SrConfig::new("far away", SrKind::Ext, 1 << 30) };
        let small = SrConfig::new("small", SrKind::Lvm, 5 << 20);
        let config = config
            .with_sr(far)
            .with_sr(small)
            .with_vm(
                VmConfig::new("web")
                    .with_disk(image(dir.path(), "web-0", &web[0]))
                    .with_disk(image(dir.path(), "web-1", &web[1]))
                    .running(),
            )
            .with_vm(VmConfig::new("far").with_disk(DiskConfig {
                sr: Some("far away".to_owned()),
                ..image(dir.path(), "far-0", &content(2, 3))
            }));
        let sim = Sim::start(config).await.unwrap();
        Self { sim, web, _dir: dir }
    }

    pub fn plain(&self, host: usize) -> Endpoint {
        Endpoint { address: self.sim.host_http(host).to_string(), tls: Tls::Plain }
    }

    pub fn pinned(&self, host: usize) -> Endpoint {
        let print: Fingerprint = self.sim.host_certificate_sha256(host).parse().unwrap();
        Endpoint { address: self.sim.host_https(host).to_string(), tls: Tls::Pinned(print) }
    }

    pub async fn login(&self, endpoint: Endpoint) -> Pool {
        let timeouts = Timeouts { cancel: Duration::from_secs(20), ..Timeouts::default() };
        let options = Options { timeouts, ..Options::default() };
        Pool::login_with(endpoint, "root", &SecretString::from("xensim"), options).await.unwrap()
    }

    /// What is on the disks of a VM.
    pub async fn contents(&self, pool: &Pool, vm: &VmRef) -> Vec<Vec<u8>> {
        let vm = pool.vm(vm).await.unwrap();
        let mut found = Vec::new();
        for (_, _, vdi) in pool.vm_disks(&vm).await.unwrap() {
            let Some((_, vdi)) = vdi else { continue };
            let reader = self.sim.storage().reader(&vdi.uuid).unwrap();
            let mut data = vec![0; usize::try_from(reader.size_bytes()).unwrap()];
            reader.read(0, &mut data).unwrap();
            found.push(data);
        }
        found
    }
}

pub async fn the_vm(pool: &Pool, name: &str) -> VmRef {
    let mut found = pool.find_vms(name).await.unwrap();
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0).0
}

/// A snapshot.
pub async fn snapshot(pool: &Pool, vm: &VmRef) -> VmRef {
    let task = pool.vm_snapshot(vm, "a snapshot", &[]).await.unwrap();
    wait(pool, task).await.unwrap().reference().unwrap()
}

pub async fn wait(pool: &Pool, task: xapi::TaskRef) -> Result<xapi::TaskResult, Error> {
    pool.task(task).wait(&CancellationToken::new(), |_| {}).await
}

/// Reads an export to its end, and checks it: the disks in order of position.
pub async fn unpack(download: &mut Download) -> Result<Vec<Vec<u8>>, xenkeep_disk::Error> {
    let mut reader = Reader::open(download).await?;
    let mut disks: Vec<_> = reader
        .disks()
        .iter()
        .map(|disk| (disk.userdevice.clone(), vec![0; usize::try_from(disk.virtual_size).unwrap()]))
        .collect();
    while let Some(run) = reader.next().await? {
        if let Data::Bytes(bytes) = run.block.data {
            let offset = usize::try_from(run.block.offset).unwrap();
            disks[run.disk].1[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }
    reader.finish().await?;
    disks.sort();
    Ok(disks.into_iter().map(|(_, data)| data).collect())
}
