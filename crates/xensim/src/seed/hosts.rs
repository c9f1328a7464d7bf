//! Hosts with their control domains, processors, interfaces and certificates.

use jiff::Timestamp;

use crate::{
    config::Config,
    model::{Class, Map, Ref, Tables, Value},
    world::HostAddress,
};

const MEMORY_BYTES: i64 = 64 << 30;
const DOM0_MEMORY_BYTES: i64 = 4 << 30;
const CPUS: i64 = 8;

/// Makes one host; its first interface is on the first network.
pub(super) fn create(
    t: &mut Tables,
    config: &Config,
    at: usize,
    address: &HostAddress,
    networks: &[Ref],
    now: i64,
) -> Ref {
    let name = &config.hosts[at].name;
    let metrics = t.create(
        Class::HostMetrics,
        [("memory_total", Value::Int(MEMORY_BYTES)), ("live", Value::Bool(true)), ("last_updated", Value::Date(now))],
    );
    let host = t.create(
        Class::Host,
        [
            ("name_label", Value::from(name)),
            ("name_description", Value::from("A simulated host")),
            ("hostname", Value::from(name)),
            ("address", Value::from(address.address.as_str())),
            ("enabled", Value::Bool(true)),
            ("API_version_major", Value::Int(2)),
            ("API_version_minor", Value::Int(21)),
            ("API_version_vendor", Value::from("XenSource")),
            ("software_version", software_version(name)),
            ("capabilities", Value::texts(["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_64"])),
            ("sched_policy", Value::from("credit")),
            ("supported_bootloaders", Value::texts(["pygrub", "eliloader"])),
            ("metrics", Value::from(&metrics)),
            ("edition", Value::from("xcp-ng")),
            ("license_params", Value::map([("sku_type", "xcp-ng"), ("expiry", "20991231T23:59:59Z")])),
            ("cpu_info", cpu_info()),
            ("ssl_legacy", Value::Bool(false)),
            ("tls_verification_enabled", Value::Bool(true)),
            ("memory_overhead", Value::Int(512 << 20)),
            ("virtual_hardware_platform_versions", Value::Set((0..3).map(Value::Int).collect())),
            (
                "allowed_operations",
                Value::texts(["provision", "evacuate", "vm_start", "vm_resume", "vm_migrate", "shutdown", "reboot"]),
            ),
            ("other_config", Value::map([("agent_start_time", format!("{now}.")), ("boot_time", format!("{now}."))])),
            ("iscsi_iqn", Value::from(format!("iqn.2026-01.com.example:{name}"))),
        ],
    );
    for number in 0..CPUS {
        t.create(
            Class::HostCpu,
            [
                ("host", Value::from(&host)),
                ("number", Value::Int(number)),
                ("vendor", Value::from("GenuineIntel")),
                ("speed", Value::Int(2400)),
                ("modelname", Value::from("Simulated CPU @ 2.40GHz")),
            ],
        );
    }
    interfaces(t, &host, at, address, networks, now);
    certificate(t, &host, address);
    let domain = control_domain(t, &host, name, now);
    t.set(&host, "control_domain", &domain);
    host
}

fn software_version(hostname: &str) -> Value {
    Value::map([
        ("product_brand", "XCP-ng"),
        ("product_version", "8.3.0"),
        ("product_version_text", "8.3"),
        ("product_version_text_short", "8.3"),
        ("build_number", "cloud"),
        ("hostname", hostname),
        ("date", "2024-10-07"),
        ("xapi", "24.19"),
        ("xapi_build", "24.19.2"),
        ("xen", "4.17.5"),
        ("linux", "4.19.0+1"),
        ("dbv", "0.0.1"),
        ("platform_name", "XCP"),
        ("platform_version", "3.4.0"),
        ("network_backend", "openvswitch"),
    ])
}

fn cpu_info() -> Value {
    Value::map([
        ("cpu_count", CPUS.to_string()),
        ("socket_count", "1".to_owned()),
        ("vendor", "GenuineIntel".to_owned()),
        ("speed", "2400.000".to_owned()),
        ("modelname", "Simulated CPU @ 2.40GHz".to_owned()),
    ])
}

/// One interface on each network that has a physical bridge.
fn interfaces(t: &mut Tables, host: &Ref, at: usize, address: &HostAddress, networks: &[Ref], now: i64) {
    for (number, network) in networks.iter().enumerate() {
        if !t.str(network, "bridge").starts_with("xenbr") {
            continue;
        }
        let metrics = t.create(
            Class::PifMetrics,
            [
                ("carrier", Value::Bool(true)),
                ("vendor_name", Value::from("xensim")),
                ("device_name", Value::from("Simulated network card")),
                ("speed", Value::Int(10_000)),
                ("duplex", Value::Bool(true)),
                ("last_updated", Value::Date(now)),
            ],
        );
        let management = number == 0;
        let ip = address.address.rsplit_once(':').map_or(address.address.as_str(), |(ip, _)| ip);
        t.create(
            Class::Pif,
            [
                ("device", Value::from(format!("eth{number}"))),
                ("network", Value::from(network)),
                ("host", Value::from(host)),
                ("MAC", Value::from(format!("02:00:00:{at:02x}:00:{number:02x}"))),
                ("MTU", Value::Int(1500)),
                ("VLAN", Value::Int(-1)),
                ("metrics", Value::from(&metrics)),
                ("physical", Value::Bool(true)),
                ("currently_attached", Value::Bool(true)),
                ("management", Value::Bool(management)),
                ("ip_configuration_mode", Value::from(if management { "Static" } else { "None" })),
                ("IP", Value::from(if management { ip } else { "" })),
                ("netmask", Value::from(if management { "255.255.255.0" } else { "" })),
            ],
        );
    }
}

fn certificate(t: &mut Tables, host: &Ref, address: &HostAddress) {
    let (not_before, not_after) = validity(&address.certificate_pem);
    t.create(
        Class::Certificate,
        [
            ("type", Value::from("host")),
            ("host", Value::from(host)),
            ("not_before", Value::Date(not_before)),
            ("not_after", Value::Date(not_after)),
            ("fingerprint", Value::from(address.certificate_sha256.as_str())),
            ("fingerprint_sha256", Value::from(address.certificate_sha256.as_str())),
            ("fingerprint_sha1", Value::from(address.certificate_sha1.as_str())),
        ],
    );
}

fn validity(pem: &str) -> (i64, i64) {
    let parsed = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok();
    let times = parsed.and_then(|(_, pem)| {
        let certificate = pem.parse_x509().ok()?;
        Some((certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp()))
    });
    times.unwrap_or((0, Timestamp::MAX.as_second()))
}

fn control_domain(t: &mut Tables, host: &Ref, name: &str, now: i64) -> Ref {
    let metrics = t.create(
        Class::VmMetrics,
        [
            ("memory_actual", Value::Int(DOM0_MEMORY_BYTES)),
            ("VCPUs_number", Value::Int(CPUS)),
            ("start_time", Value::Date(now)),
            ("last_updated", Value::Date(now)),
            ("current_domain_type", Value::from("pv")),
        ],
    );
    t.create(
        Class::Vm,
        [
            ("name_label", Value::from(format!("Control domain on host: {name}"))),
            ("name_description", Value::from("The domain which manages physical devices and manages other domains")),
            ("power_state", Value::from("Running")),
            ("is_control_domain", Value::Bool(true)),
            ("resident_on", Value::from(host)),
            ("affinity", Value::from(host)),
            ("memory_static_max", Value::Int(DOM0_MEMORY_BYTES)),
            ("memory_dynamic_max", Value::Int(DOM0_MEMORY_BYTES)),
            ("memory_dynamic_min", Value::Int(DOM0_MEMORY_BYTES)),
            ("memory_static_min", Value::Int(DOM0_MEMORY_BYTES)),
            ("VCPUs_max", Value::Int(CPUS)),
            ("VCPUs_at_startup", Value::Int(CPUS)),
            ("domid", Value::Int(0)),
            ("domain_type", Value::from("pv")),
            ("metrics", Value::from(&metrics)),
            ("allowed_operations", Value::texts(["metadata_export"])),
            ("other_config", Value::Map(Map::new())),
        ],
    )
}
