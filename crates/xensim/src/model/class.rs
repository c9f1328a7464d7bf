//! The classes of the API, by name.

macro_rules! classes {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A class of objects.
        #[allow(missing_docs, reason = "the variants are XAPI's own class names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Class { $($variant),* }

        impl Class {
            /// All classes, in the order of their numbers.
            pub const ALL: &'static [Class] = &[$(Class::$variant),*];

            /// The name on the wire, such as `VM` or `host_metrics`.
            pub fn name(self) -> &'static str {
                match self { $(Class::$variant => $name),* }
            }

            /// The class of that name; upper and lower case count.
            pub fn parse(name: &str) -> Option<Class> {
                match name { $($name => Some(Class::$variant),)* _ => None }
            }
        }
    };
}

classes! {
    Session = "session", Auth = "auth", User = "user", Subject = "subject", Role = "role", Task = "task",
    Event = "event", Secret = "secret", Caller = "Caller", RateLimit = "Rate_limit", Observer = "Observer",
    Feature = "Feature", Pool = "pool", PoolPatch = "pool_patch", PoolUpdate = "pool_update",
    Repository = "Repository", Message = "message", Blob = "blob", Certificate = "Certificate", Vm = "VM",
    VmMetrics = "VM_metrics", VmGuestMetrics = "VM_guest_metrics", VmAppliance = "VM_appliance",
    VmGroup = "VM_group", Vmpp = "VMPP", Vmss = "VMSS", Console = "console", Crashdump = "crashdump", Host = "host",
    HostCrashdump = "host_crashdump", HostPatch = "host_patch", HostMetrics = "host_metrics", HostCpu = "host_cpu",
    HostDriver = "Host_driver", DriverVariant = "Driver_variant", DataSource = "data_source", Network = "network",
    Vif = "VIF", VifMetrics = "VIF_metrics", Pif = "PIF", PifMetrics = "PIF_metrics", Bond = "Bond", Vlan = "VLAN",
    Tunnel = "tunnel", NetworkSriov = "network_sriov", SdnController = "SDN_controller", Sr = "SR",
    SrStat = "sr_stat", ProbeResult = "probe_result", Sm = "SM", Lvhd = "LVHD", Vdi = "VDI",
    VdiNbdServerInfo = "vdi_nbd_server_info", Vbd = "VBD", VbdMetrics = "VBD_metrics", Pbd = "PBD",
    DrTask = "DR_task", Vtpm = "VTPM", Pci = "PCI", Pgpu = "PGPU", GpuGroup = "GPU_group", Vgpu = "VGPU",
    VgpuType = "VGPU_type", Pusb = "PUSB", UsbGroup = "USB_group", Vusb = "VUSB", PvsSite = "PVS_site",
    PvsServer = "PVS_server", PvsProxy = "PVS_proxy", PvsCacheStorage = "PVS_cache_storage", Cluster = "Cluster",
    ClusterHost = "Cluster_host",
}

impl Class {
    /// The class of that name in any case, as `event.from` takes it.
    pub fn parse_any_case(name: &str) -> Option<Class> {
        Class::ALL.iter().copied().find(|class| class.name().eq_ignore_ascii_case(name))
    }

    /// The name in events: lower case.
    pub fn event_name(self) -> String {
        self.name().to_ascii_lowercase()
    }
}
