//! Flags for what is backed up and how, of `task create` and `task set`.

use clap::{Args, ValueEnum};
use xenkeep_api::{
    BackupOptions, Consistency, DiskPattern, Exclusion, HOOK_LIMIT_SECONDS, Hook, PowerState, Selection, Source,
};

use super::clients::TransportArg;
use crate::{output::one_line, progress::word};

/// What of a pool is backed up.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is backed up")]
pub(crate) struct SourceFlags {
    /// As `xenkeep client browse` prints it: vm:UUID, meta-data, host-backup/HOST, all, tag:TAG …
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["vm", "meta_data", "host_backup", "all", "tag", "pattern", "power_state"])]
    source: Option<Source>,
    /// One VM, by name or uuid.
    #[arg(long, value_name = "NAME|UUID", conflicts_with_all = ["meta_data", "host_backup", "all", "tag", "pattern", "power_state"])]
    vm: Option<String>,
    /// The pool's database.
    #[arg(long, conflicts_with_all = ["host_backup", "all", "tag", "pattern", "power_state"])]
    meta_data: bool,
    /// The configuration of all hosts, or of one.
    #[arg(long, value_name = "HOST", num_args = 0..=1, conflicts_with_all = ["all", "tag", "pattern", "power_state"])]
    host_backup: Option<Option<String>>,
    /// All VMs, also those that come later.
    #[arg(long)]
    all: bool,
    /// VMs that bear this tag; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// VMs whose name fits: `web*`; may be repeated.
    #[arg(long = "name", id = "pattern", value_name = "PATTERN")]
    names: Vec<String>,
    /// Only VMs in this state: running, halted, suspended, paused; may be repeated.
    #[arg(long, value_name = "STATE")]
    power_state: Vec<PowerState>,
    /// But not this VM (name or uuid); may be repeated.
    #[arg(long, value_name = "NAME|UUID")]
    exclude_vm: Vec<String>,
    /// But none with this tag; may be repeated.
    #[arg(long, value_name = "TAG")]
    exclude_tag: Vec<String>,
    /// But none whose name fits; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    exclude_name: Vec<String>,
}

impl SourceFlags {
    /// One of the flags was given.
    pub(crate) fn given(&self) -> bool {
        let selects = self.all || !(self.tag.is_empty() && self.names.is_empty() && self.power_state.is_empty());
        self.source.is_some()
            || self.vm.is_some()
            || self.meta_data
            || self.host_backup.is_some()
            || selects
            || self.excludes()
    }

    fn excludes(&self) -> bool {
        !(self.exclude_vm.is_empty() && self.exclude_tag.is_empty() && self.exclude_name.is_empty())
    }

    /// The source that they mean.
    pub(crate) fn source(&self) -> anyhow::Result<Source> {
        let exclude = Exclusion {
            vms: self.exclude_vm.clone(),
            tags: self.exclude_tag.clone(),
            names: self.exclude_name.clone(),
        };
        let source = match (&self.source, &self.vm, &self.host_backup) {
            (Some(Source::Selection(selection)), ..) => {
                return Ok(Source::Selection(Selection { exclude, ..selection.clone() }));
            }
            (Some(source), ..) => source.clone(),
            (None, Some(vm), _) => Source::Vm { vm: vm.clone(), uuid: None },
            (None, None, Some(host)) => Source::HostBackup { host: host.clone() },
            (None, None, None) if self.meta_data => Source::MetaData,
            (None, None, None) => {
                let selection = Selection {
                    all: self.all,
                    tags: self.tag.clone(),
                    names: self.names.clone(),
                    power_states: self.power_state.clone(),
                    exclude,
                };
                anyhow::ensure!(
                    selection.takes_something(),
                    "say what is backed up: --vm, --meta-data, --host-backup, --all, --tag, --name or --power-state"
                );
                return Ok(Source::Selection(selection));
            }
        };
        anyhow::ensure!(!self.excludes(), "--exclude-… goes with --all, --tag, --name and --power-state alone");
        Ok(source)
    }
}

/// How a VM is backed up.
#[derive(Debug, Args)]
#[command(next_help_heading = "How a VM is backed up")]
pub(crate) struct OptionFlags {
    /// In which state its disks are frozen.
    #[arg(long, value_name = "STATE")]
    consistency: Option<ConsistencyArg>,
    /// With offline: how long the guest may take to shut down.
    #[arg(long, value_name = "SECONDS")]
    offline_wait: Option<u32>,
    /// With quiesced: how long a hook in the guest may keep its file systems frozen.
    #[arg(long, value_name = "SECONDS")]
    freeze_limit: Option<u32>,
    /// Disks that are left out: device:1, name:swap*, sr:scratch, tag:nobackup, larger-than:2TiB; `none` for all that were
    /// said before. May be repeated. Disks with [NOBAK] in their name always are.
    #[arg(long, value_name = "RULE")]
    leave_out: Vec<String>,
    /// How the data travels, if not as the client says.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportArg>,
    /// Command in the mover's hooks directory that runs before the snapshot, with its arguments behind it; `none` for none.
    #[arg(long, value_name = "COMMAND")]
    before: Option<String>,
    /// Command that runs when the snapshot is gone, also after a failure.
    #[arg(long, value_name = "COMMAND")]
    after: Option<String>,
    /// Seconds that each of the two may take.
    #[arg(long, value_name = "SECONDS")]
    hook_limit: Option<u32>,
}

/// Words for [`Consistency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConsistencyArg {
    Crash,
    Quiesced,
    QuiescedPreferred,
    Memory,
    Offline,
}

impl From<ConsistencyArg> for Consistency {
    fn from(word: ConsistencyArg) -> Self {
        match word {
            ConsistencyArg::Crash => Self::Crash,
            ConsistencyArg::Quiesced => Self::Quiesced,
            ConsistencyArg::QuiescedPreferred => Self::QuiescedPreferred,
            ConsistencyArg::Memory => Self::Memory,
            ConsistencyArg::Offline => Self::Offline,
        }
    }
}

impl OptionFlags {
    /// `options` with what the flags say.
    pub(crate) fn apply(&self, mut options: BackupOptions) -> anyhow::Result<BackupOptions> {
        if let Some(consistency) = self.consistency {
            options.consistency = consistency.into();
        }
        options.offline_wait_seconds = self.offline_wait.unwrap_or(options.offline_wait_seconds);
        options.freeze_limit_seconds = self.freeze_limit.unwrap_or(options.freeze_limit_seconds);
        if !self.leave_out.is_empty() {
            let rules = self.leave_out.iter().filter(|rule| *rule != "none");
            options.leave_out = rules.map(|rule| rule.parse::<DiskPattern>()).collect::<Result<_, _>>()?;
        }
        options.transport = self.transport.map(Into::into).or(options.transport);
        for (text, hook) in [(&self.before, &mut options.before), (&self.after, &mut options.after)] {
            if let Some(text) = text {
                *hook = (text != "none").then(|| parse_hook(text));
            }
            if let (Some(seconds), Some(hook)) = (self.hook_limit, hook) {
                hook.time_limit_seconds = seconds;
            }
        }
        Ok(options)
    }
}

/// Words with blanks between them: there is no shell that would understand more.
fn parse_hook(text: &str) -> Hook {
    let mut words = text.split_whitespace().map(str::to_owned);
    Hook {
        command: words.next().unwrap_or_default(),
        arguments: words.collect(),
        time_limit_seconds: HOOK_LIMIT_SECONDS,
    }
}

/// `offline, without sr:scratch, before stop-db`.
pub(crate) fn shown_options(options: &BackupOptions) -> String {
    let mut parts = vec![options.consistency.to_string()];
    parts.extend(options.leave_out.iter().map(|rule| format!("without {rule}")));
    parts.extend(options.transport.map(|transport| word(&transport)));
    let hooks = [("before", &options.before), ("after", &options.after)];
    for (when, hook) in hooks.into_iter().filter_map(|(when, hook)| Some((when, hook.as_ref()?))) {
        let words: Vec<&str> = std::iter::once(&hook.command).chain(&hook.arguments).map(String::as_str).collect();
        parts.push(format!("{when} {} ({} s)", words.join(" "), hook.time_limit_seconds));
    }
    one_line(&parts.join(", "))
}
