use clap::Parser;
use xenkeep_api::{BackupOptions, BackupType, Consistency, DiskPattern, Exclusion, PowerState, Selection, Source};

use super::{Create, Tasks};
use crate::{Cli, cli::Command};

fn create(flags: &[&str]) -> Result<Create, String> {
    let words = ["xenkeep", "task", "create", "t", "--client", "lab"].iter().chain(flags);
    match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
        Command::Task(Tasks::Create(create)) => Ok(*create),
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_mean_sources() {
    let none = Selection::default();
    let vm = |vm: &str| Source::Vm { vm: vm.to_owned(), uuid: None };
    for (flags, expected) in [
        (&["--vm", "web1"][..], vm("web1")),
        (&["--source", "vm:5bb2e1a6"], vm("5bb2e1a6")),
        (&["--meta-data"], Source::MetaData),
        (&["--host-backup"], Source::HostBackup { host: None }),
        (&["--host-backup", "host-1"], Source::HostBackup { host: Some("host-1".to_owned()) }),
        (
            &["--all", "--exclude-vm", "db", "--exclude-tag", "dev", "--exclude-name", "x*"],
            Source::Selection(Selection {
                all: true,
                exclude: Exclusion {
                    vms: vec!["db".to_owned()],
                    tags: vec!["dev".to_owned()],
                    names: vec!["x*".to_owned()],
                },
                ..none.clone()
            }),
        ),
        (
            &["--tag", "a", "--tag", "b", "--name", "web*", "--power-state", "running"],
            Source::Selection(Selection {
                tags: vec!["a".to_owned(), "b".to_owned()],
                names: vec!["web*".to_owned()],
                power_states: vec![PowerState::Running],
                ..none.clone()
            }),
        ),
    ] {
        assert_eq!(create(flags).unwrap().source.source().unwrap(), expected, "{flags:?}");
    }
    for bad in [&["--vm", "a", "--all"][..], &["--meta-data", "--host-backup"], &["--power-state", "on"]] {
        assert!(create(bad).is_err(), "{bad:?}");
    }
    for bad in [&[][..], &["--exclude-vm", "x"], &["--vm", "a", "--exclude-tag", "x"]] {
        assert!(create(bad).unwrap().source.source().is_err(), "{bad:?}");
    }
}

#[test]
fn flags_mean_options() {
    let flags = ["--all", "--type", "DIFF", "-a", "http=https", "--consistency", "offline", "--leave-out", "device:1"];
    let more = ["--leave-out", "larger-than:2TiB", "--before", "stop-db now", "--hook-limit", "60"];
    let create = create(&flags.into_iter().chain(more).collect::<Vec<_>>()).unwrap();
    assert_eq!(create.common.backup_type, Some(BackupType::Incremental));
    assert_eq!(create.common.expert().as_deref(), Some("http=https"));
    let options = create.common.options.apply(BackupOptions::default()).unwrap();
    assert_eq!(options.consistency, Consistency::Offline);
    assert_eq!(options.leave_out, [DiskPattern::Device("1".to_owned()), DiskPattern::LargerThanBytes(2 << 40)]);
    let hook = options.before.unwrap();
    assert_eq!((hook.command.as_str(), hook.time_limit_seconds), ("stop-db", 60));
    assert_eq!(hook.arguments, ["now"]);
    assert_eq!(options.after, None);
}
