//! Tasks: what is backed up, how, and how long it is kept.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    BackupOptions, BackupType, ClientId, DatastoreId, Job, JobState, PowerState, Problem, RetentionPolicy, RetryPolicy,
    RunId, TaskId,
};

/// What is backed up, and how: one client, one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Our id of it.
    pub id: TaskId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// The pool.
    pub client: ClientId,
    /// The pool's name, as it is now.
    pub client_name: String,
    /// What of it.
    pub source: Source,
    /// How it is read, unless a start says otherwise.
    pub backup_type: BackupType,
    /// The rest of how.
    pub options: BackupOptions,
    /// Which points are kept; applied after each good backup. Without it all are.
    pub retention: Option<RetentionPolicy>,
    /// Number of the drive, unless a start says otherwise.
    pub drive: Option<u32>,
    /// Who goes first when jobs wait: higher before lower.
    pub priority: i32,
    /// What happens after a failure.
    pub retry: RetryPolicy,
    /// A job that takes longer is ended.
    pub time_limit_minutes: Option<u32>,
    /// Starts of it do something.
    pub enabled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What the administrator says to make a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The administrator's name for it.
    pub name: String,
    /// Name or id of the client.
    pub client: String,
    /// What of it.
    pub source: Source,
    /// How it is read.
    #[serde(default)]
    pub backup_type: BackupType,
    /// The rest of how.
    #[serde(default)]
    pub options: BackupOptions,
    /// Expert options, as the old system wrote them: `-a http=https`.
    #[serde(default)]
    pub expert: Option<String>,
    /// Which points are kept.
    #[serde(default)]
    pub retention: Option<RetentionPolicy>,
    /// Number of the drive.
    #[serde(default)]
    pub drive: Option<u32>,
    /// Who goes first when jobs wait: higher before lower.
    #[serde(default)]
    pub priority: i32,
    /// What happens after a failure.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// A job that takes longer is ended.
    #[serde(default)]
    pub time_limit_minutes: Option<u32>,
    /// Starts of it do something.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// What of a client is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// One VM.
    Vm {
        /// name-label or uuid as it was typed; once the VM is known, its name-label at its last backup.
        vm: String,
        /// Its uuid, found when the task was made: renames are followed by it.
        #[serde(default)]
        uuid: Option<String>,
    },
    /// The pool's database.
    MetaData,
    /// The configuration of hosts.
    HostBackup {
        /// name-label or uuid of one host; all of them if absent.
        #[serde(default)]
        host: Option<String>,
    },
    /// Those VMs that fit when the task starts.
    Selection(Selection),
}

/// Text that is no [`Source`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no source: vm:NAME, meta-data, host-backup, host-backup/HOST, all, tag:TAG, name:PATTERN or power-state:STATE is meant"
)]
pub struct NotASource(String);

impl FromStr for Source {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        let bad = || NotASource(text.chars().filter(|c| !c.is_control()).take(80).collect());
        let (kind, rest) = match text.split_once([':', '/']) {
            Some((_, "")) => return Err(bad()),
            Some((kind, rest)) => (kind, Some(rest.to_owned())),
            None => (text, None),
        };
        let chosen = |selection| Ok(Self::Selection(selection));
        match (kind, rest) {
            ("vm", Some(vm)) => Ok(Self::Vm { vm, uuid: None }),
            ("meta-data", None) => Ok(Self::MetaData),
            ("host-backup", host) => Ok(Self::HostBackup { host }),
            ("all", None) => chosen(Selection { all: true, ..Selection::default() }),
            ("tag", Some(tag)) => chosen(Selection { tags: vec![tag], ..Selection::default() }),
            ("name", Some(name)) => chosen(Selection { names: vec![name], ..Selection::default() }),
            ("power-state", Some(state)) => {
                let state = state.parse().map_err(|_| bad())?;
                chosen(Selection { power_states: vec![state], ..Selection::default() })
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Source {
    /// For people; of a VM, `meta-data` and `host-backup` also what [`Source::from_str`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm { vm, .. } => write!(f, "vm:{vm}"),
            Self::MetaData => f.write_str("meta-data"),
            Self::HostBackup { host: None } => f.write_str("host-backup"),
            Self::HostBackup { host: Some(host) } => write!(f, "host-backup/{host}"),
            Self::Selection(selection) => selection.fmt(f),
        }
    }
}

/// VMs by what they are. Looked up whenever the task starts, so VMs that come later are among them.
///
/// A VM is taken if `all` is set or one of the tags or names fits; where power states are given, only if it is in one of
/// them; and never if it is excluded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// All VMs.
    pub all: bool,
    /// VMs that bear one of these tags.
    pub tags: Vec<String>,
    /// VMs whose name-label fits one of these patterns: `*` is anything, `?` one character, case does not matter.
    pub names: Vec<String>,
    /// Only VMs in one of these states; alone, all VMs in one of them.
    pub power_states: Vec<PowerState>,
    /// But not these.
    pub exclude: Exclusion,
}

/// VMs that are left out of a [`Selection`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exclusion {
    /// name-label or uuid.
    pub vms: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Patterns of names.
    pub names: Vec<String>,
}

impl Selection {
    /// It can take something. One that can't is a mistake, and refused.
    #[must_use]
    pub fn takes_something(&self) -> bool {
        self.all || !self.tags.is_empty() || !self.names.is_empty() || !self.power_states.is_empty()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.all {
            parts.push("all".to_owned());
        }
        let mut add = |word: &str, values: &[String]| parts.extend(values.iter().map(|value| format!("{word}{value}")));
        add("tag:", &self.tags);
        add("name:", &self.names);
        let states: Vec<String> = self.power_states.iter().map(PowerState::to_string).collect();
        add("power-state:", &states);
        add("without vm:", &self.exclude.vms);
        add("without tag:", &self.exclude.tags);
        add("without name:", &self.exclude.names);
        f.write_str(&parts.join(" "))
    }
}

/// A VM that a selection takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SelectedVm {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label.
    pub name: String,
    /// Power state.
    pub power_state: PowerState,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A host that a selection takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SelectedHost {
    /// XAPI's uuid.
    pub uuid: String,
    /// name-label.
    pub name: String,
}

/// What a source means today.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Selected {
    /// VMs, by name.
    pub vms: Vec<SelectedVm>,
    /// Hosts, by name.
    pub hosts: Vec<SelectedHost>,
}

/// What is queued for each VM or host of a selection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupOrder {
    /// Where the points go.
    pub datastore: DatastoreId,
    /// The drive whose channels the jobs take.
    pub drive: Option<u32>,
    /// How the VMs are read.
    pub backup_type: BackupType,
    /// The rest of how.
    pub options: BackupOptions,
    /// What happens after a failure.
    pub retry: RetryPolicy,
    /// A job that takes longer is ended.
    pub time_limit_minutes: Option<u32>,
}

/// Ask what a source means today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectionRequest {
    /// The source.
    pub source: Source,
}

/// Change a task: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskChange {
    /// What is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<BackupType>,
    /// The rest of how, as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BackupOptions>,
    /// Expert options, as the old system wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<String>,
    /// Which points are kept; a policy without any rule keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionPolicy>,
    /// Number of the drive; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drive: Option<u32>,
    /// Who goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What happens after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// A job that takes longer is ended; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_minutes: Option<u32>,
    /// Starts of it do something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Start a task or a group; what is absent is as the task says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartRequest {
    /// Number of the drive to write through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drive: Option<u32>,
    /// How it is read this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<BackupType>,
    /// Who goes first when jobs wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// What a start has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// All jobs of the start bear this id; a selection adds its own when it is known which VMs it takes.
    pub run: RunId,
    /// The jobs that were queued.
    pub jobs: Vec<Job>,
    /// What was not started, and why: tasks of a group that are switched off.
    pub left_out: Vec<Problem>,
}

/// All jobs of one start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The jobs, in order of arrival.
    pub jobs: Vec<Job>,
    /// How many are in which state.
    pub counts: RunCounts,
    /// None of them waits or runs.
    pub ended: bool,
    /// As bad as its worst job; none while it has not ended.
    pub state: Option<JobState>,
}

/// Jobs of a run by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunCounts {
    /// They wait.
    pub queued: u32,
    /// A mover works on them.
    pub running: u32,
    /// Ended well.
    pub success: u32,
    /// Ended well, with something to know.
    pub warning: u32,
    /// Ended badly, and nothing tries again.
    pub failed: u32,
    /// Ended at the administrator's wish.
    pub cancelled: u32,
    /// Their mover was lost, or they failed; they were tried again.
    pub tried_again: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_browse_prints_them() {
        let vm = |vm: &str| Source::Vm { vm: vm.to_owned(), uuid: None };
        for (text, expected) in [
            ("vm:web1", vm("web1")),
            ("vm:a:b/c", vm("a:b/c")),
            ("meta-data", Source::MetaData),
            ("host-backup", Source::HostBackup { host: None }),
            ("host-backup/host-1", Source::HostBackup { host: Some("host-1".to_owned()) }),
            ("all", Source::Selection(Selection { all: true, ..Selection::default() })),
            ("tag:prod", Source::Selection(Selection { tags: vec!["prod".to_owned()], ..Selection::default() })),
            ("name:web*", Source::Selection(Selection { names: vec!["web*".to_owned()], ..Selection::default() })),
            (
                "power-state:running",
                Source::Selection(Selection { power_states: vec![PowerState::Running], ..Selection::default() }),
            ),
        ] {
            assert_eq!(text.parse::<Source>().unwrap(), expected, "{text}");
            assert_eq!(expected.to_string(), text);
        }
        for bad in
            ["", "vm", "vm:", "web1", "meta-data:x", "all:1", "tag", "power-state:on", "host-backup/", "host-backup:"]
        {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_is_short_json() {
        let source: Source =
            serde_json::from_str(r#"{"kind": "selection", "all": true, "exclude": {"tags": ["dev"]}}"#).unwrap();
        assert_eq!(source.to_string(), "all without tag:dev");
        let json = serde_json::to_string(&source).unwrap();
        assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        assert_eq!(serde_json::from_str::<Source>(r#"{"kind": "meta-data"}"#).unwrap(), Source::MetaData);
        let one: Source = serde_json::from_str(r#"{"kind": "vm", "vm": "web1"}"#).unwrap();
        assert_eq!(one, Source::Vm { vm: "web1".to_owned(), uuid: None });
        assert!(serde_json::from_str::<Source>(r#"{"kind": "vms"}"#).is_err());
        assert!(!Selection::default().takes_something());
    }
}
