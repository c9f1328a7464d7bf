//! A pool as it is when it comes up: hosts, storage, networks, templates, and the virtual machines of the description.

mod hosts;
mod templates;
mod vms;

use std::collections::HashMap;

use crate::{
    clock::Clock,
    config::{Config, SrConfig, SrKind},
    error::ApiError,
    model::{Class, Db, NULL_REF, Ref, Tables, Value},
    ops,
    storage::{Capacity, Storage},
    world::HostAddress,
};

/// What else must be known of a fresh pool.
pub(crate) struct Seeded {
    pub(crate) pool: Ref,
    pub(crate) hosts: Vec<Ref>,
    /// Which description each SR was made from.
    pub(crate) srs: HashMap<Ref, usize>,
}

/// Fills the database from a description. The disks of its virtual machines come later, with [`crate::world::World::add_vm`].
pub(crate) fn pool(
    db: &Db,
    storage: &Storage,
    config: &Config,
    addresses: &[HostAddress],
    clock: &Clock,
) -> Result<Seeded, ApiError> {
    let now = clock.now();
    let mut srs = Vec::new();
    let seeded = db.write(|t| {
        let networks: Vec<Ref> =
            config.networks.iter().map(|network| network_of(t, &network.name, &network.bridge)).collect();
        let hosts: Vec<Ref> =
            (0..config.hosts.len()).map(|at| hosts::create(t, config, at, &addresses[at], &networks, now)).collect();
        for (at, sr) in config.srs.iter().enumerate() {
            srs.push((sr_of(t, sr, &hosts), at));
        }
        storage_managers(t);
        let default_sr =
            srs.iter().find(|(_, at)| config.srs[*at].default).map_or_else(Ref::null, |(sr, _)| sr.clone());
        for host in &hosts {
            t.set(host, "suspend_image_sr", &default_sr);
            t.set(host, "crash_dump_sr", &default_sr);
        }
        templates::create(t, config);
        roles(t);
        let pool = pool_of(t, config, &hosts[0], &default_sr);
        Seeded { pool, hosts, srs: srs.iter().cloned().collect() }
    });
    for (sr, at) in &srs {
        let described = &config.srs[*at];
        let capacity = Capacity { bytes: described.capacity_bytes, thick: described.kind.is_thick() };
        let uuid = db.read(|t| t.str(sr, "uuid"));
        storage.add_sr(&uuid, capacity)?;
        db.write(|t| isos(t, storage, sr, &uuid, &described.isos))?;
    }
    Ok(seeded)
}

fn pool_of(t: &mut Tables, config: &Config, master: &Ref, default_sr: &Ref) -> Ref {
    let known = ["restrict_cbt", "restrict_vss", "restrict_checkpoint", "restrict_export_resource_data"]
        .into_iter()
        .chain(["restrict_vtpm", "restrict_vlan", "restrict_lab", "restrict_stage", "restrict_pool_size"]);
    let restrictions = known.map(|name| (name, config.restrictions.iter().any(|restricted| restricted == name)));
    t.create(
        Class::Pool,
        [
            ("name_label", Value::from("xensim")),
            ("master", Value::from(master)),
            ("default_SR", Value::from(default_sr)),
            ("suspend_image_SR", Value::from(default_sr)),
            ("crash_dump_SR", Value::from(default_sr)),
            ("restrictions", Value::map(restrictions.map(|(name, restricted)| (name, restricted.to_string())))),
            ("tls_verification_enabled", Value::Bool(true)),
            ("ha_cluster_stack", Value::from("xhad")),
            (
                "cpu_info",
                Value::map([
                    ("vendor", "GenuineIntel"),
                    ("cpu_count", "8"),
                    ("socket_count", "1"),
                    ("features_hvm", ""),
                ]),
            ),
        ],
    )
}

fn network_of(t: &mut Tables, name: &str, bridge: &str) -> Ref {
    t.create(
        Class::Network,
        [
            ("name_label", Value::from(name)),
            ("bridge", Value::from(bridge)),
            ("MTU", Value::Int(1500)),
            ("managed", Value::Bool(true)),
        ],
    )
}

fn sr_of(t: &mut Tables, described: &SrConfig, hosts: &[Ref]) -> Ref {
    let is_iso = described.kind == SrKind::Iso;
    let on_all_hosts = described.hosts.as_ref().is_none_or(|seen| seen.len() > 1);
    let shared = on_all_hosts && matches!(described.kind, SrKind::Nfs | SrKind::Iso);
    let sr = t.create(
        Class::Sr,
        [
            ("name_label", Value::from(described.name.as_str())),
            ("type", Value::from(described.kind.type_name())),
            ("content_type", Value::from(if is_iso { "iso" } else { "user" })),
            ("shared", Value::Bool(shared)),
            ("physical_size", Value::Int(i64::try_from(described.capacity_bytes).unwrap_or(i64::MAX))),
            ("allowed_operations", Value::texts(ops::sr::operations(is_iso))),
        ],
    );
    for (_, host) in hosts.iter().enumerate().filter(|(at, _)| described.seen_by(*at)) {
        let device_config = match described.kind {
            SrKind::Nfs => Value::map([("server", "192.0.2.10"), ("serverpath", "/export/pool")]),
            SrKind::Iso => Value::map([("location", "192.0.2.10:/export/iso")]),
            SrKind::Ext | SrKind::Lvm => Value::map([("device", "/dev/sda3")]),
        };
        t.create(
            Class::Pbd,
            [
                ("host", Value::from(host)),
                ("SR", Value::from(&sr)),
                ("device_config", device_config),
                ("currently_attached", Value::Bool(true)),
            ],
        );
    }
    sr
}

fn isos(t: &mut Tables, storage: &Storage, sr: &Ref, sr_uuid: &str, names: &[String]) -> Result<(), ApiError> {
    const ISO_BYTES: u64 = 4 << 20;
    for name in names {
        let vdi = t.create(
            Class::Vdi,
            [
                ("name_label", Value::from(name)),
                ("SR", Value::from(sr)),
                ("virtual_size", Value::Int(4 << 20)),
                ("physical_utilisation", Value::Int(4 << 20)),
                ("type", Value::from("user")),
                ("read_only", Value::Bool(true)),
                ("location", Value::from(name)),
                ("managed", Value::Bool(true)),
                ("allowed_operations", Value::texts(["update", "clone", "copy"])),
                ("parent", Value::from(NULL_REF)),
            ],
        );
        storage.create(sr_uuid, &t.str(&vdi, "uuid"), ISO_BYTES)?;
    }
    Ok(())
}

fn storage_managers(t: &mut Tables) {
    const FEATURES: &[&str] = &[
        "VDI_CREATE",
        "VDI_DELETE",
        "VDI_ATTACH",
        "VDI_DETACH",
        "VDI_CLONE",
        "VDI_SNAPSHOT",
        "VDI_RESIZE",
        "VDI_MIRROR",
        "VDI_UPDATE",
        "SR_PROBE",
        "SR_UPDATE",
        "SR_SUPPORTS_LOCAL_CACHING",
    ];
    for (kind, name) in [("ext", "Local EXT3 VHD"), ("nfs", "NFS VHD"), ("lvm", "Local VHD on LVM"), ("iso", "ISO")] {
        let features: &[&str] = if kind == "iso" { &["VDI_ATTACH", "VDI_DETACH"] } else { FEATURES };
        let formats: &[&str] = if kind == "iso" { &["raw"] } else { &["vhd", "raw"] };
        t.create(
            Class::Sm,
            [
                ("type", Value::from(kind)),
                ("name_label", Value::from(name)),
                ("name_description", Value::from("SR plugin of the simulator")),
                ("vendor", Value::from("xensim")),
                ("version", Value::from("3.0")),
                ("required_api_version", Value::from("1.0")),
                ("capabilities", Value::texts(features)),
                ("features", Value::map(features.iter().map(|name| (*name, Value::Int(1))))),
                ("driver_filename", Value::from(format!("/opt/xensource/sm/{}SR", kind.to_uppercase()))),
                ("supported_image_formats", Value::texts(formats)),
            ],
        );
    }
}

fn roles(t: &mut Tables) {
    for role in ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"] {
        t.create(Class::Role, [("name_label", Value::from(role)), ("name_description", Value::from(role))]);
    }
}
