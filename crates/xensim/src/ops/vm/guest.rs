//! What the tools in a guest report while it runs.

use std::time::Duration;

use crate::{
    guest::hook,
    model::{Class, Ref, Value},
    ops,
    world::World,
};

/// Machines with this key in `other_config` have no guest tools.
pub(crate) const NO_TOOLS_KEY: &str = "xensim-no-guest-tools";

/// The guest's tools report after a while, if it has any and still runs by then.
pub(super) fn report_after(world: &World, vm: &Ref, after: Duration) {
    let domid = world.db.read(|t| t.int(vm, "domid"));
    let (world, vm) = (world.clone(), vm.clone());
    world.clone().spawn(async move {
        tokio::time::sleep(after).await;
        let same = world.db.read(|t| t.int(&vm, "domid") == domid && t.str(&vm, "power_state") == "Running");
        if same {
            report(&world, &vm);
        }
    });
}

pub(super) fn report(world: &World, vm: &Ref) {
    let now = world.clock.now();
    world.db.write(|t| {
        if t.entry(vm, "other_config", NO_TOOLS_KEY).is_some() {
            return;
        }
        let networks = t.references(vm, "VIFs").into_iter().enumerate().map(|(at, vif)| {
            let mac = t.str(&vif, "MAC");
            (format!("{}/ip", t.str(&vif, "device")), address_of(&mac, at))
        });
        let networks = Value::map(networks.collect::<Vec<_>>());
        let os = [
            ("name", "Debian GNU/Linux 12 (bookworm)"),
            ("distro", "debian"),
            ("major", "12"),
            ("minor", "0"),
            ("uname", "6.1.0"),
        ];
        let other = ["feature-suspend", "feature-shutdown", "feature-poweroff", "feature-reboot", "feature-balloon"];
        let fields = [
            ("os_version", Value::map(os)),
            ("PV_drivers_version", Value::map([("major", "7"), ("minor", "30"), ("micro", "0"), ("build", "1")])),
            ("PV_drivers_up_to_date", Value::Bool(true)),
            ("PV_drivers_detected", Value::Bool(true)),
            ("networks", networks),
            ("other", Value::map(other.map(|name| (name, "1")).into_iter().chain(hook::greeting(world, t, vm)))),
            ("live", Value::Bool(true)),
            ("can_use_hotplug_vbd", Value::from("yes")),
            ("can_use_hotplug_vif", Value::from("yes")),
            ("last_updated", Value::Date(now)),
        ];
        let metrics = t.reference(vm, "guest_metrics");
        if t.has(Class::VmGuestMetrics, &metrics) {
            for (name, value) in fields {
                t.set(&metrics, name, value);
            }
        } else {
            let metrics = t.create(Class::VmGuestMetrics, fields);
            t.set(vm, "guest_metrics", metrics);
        }
        ops::refresh(t, vm);
    });
}

/// An address in a documentation network that stays with the interface.
fn address_of(mac: &str, at: usize) -> String {
    let last = mac.rsplit(':').next().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    format!("198.51.100.{}", usize::from(last).wrapping_add(at) % 250 + 2)
}
