#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn refusal(line: &str) -> ErrorKind {
    match parse(line) {
        Ok(cli) => panic!("{line} is taken: {cli:?}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{line}");
            error.kind()
        }
    }
}

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_page_stays_as_it_is() {
    fn paths(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        for sub in command.get_subcommands() {
            paths(sub, &format!("{path} {}", sub.get_name()), found);
        }
    }
    let mut found = Vec::new();
    paths(&Cli::command(), "xenkeep", &mut found);
    assert!(found.len() > 20);
    for path in found {
        let line = format!("{path} --help");
        let page = Cli::command().term_width(100).try_get_matches_from(line.split_whitespace()).unwrap_err();
        insta::assert_snapshot!(path.replace(' ', "-"), page.to_string());
    }
}

#[test]
fn what_the_readme_says_is_taken() {
    for line in [
        "xenkeep server --data /tmp/x",
        "xenkeep server --data /tmp/x --listen 127.0.0.1:7443",
        "xenkeep client add lab --address 10.0.0.5:8080 --user root --password-file F --transport http",
        "xenkeep client list --output json",
        "xenkeep --output json client show lab",
        "xenkeep client check lab",
        "xenkeep client remove lab --yes",
        "xenkeep vm list lab",
        "xenkeep datastore create store --path /d",
        "xenkeep datastore list",
        "xenkeep datastore recovery-sheet store -o sheet.txt",
        "xenkeep backup lab web1 --datastore store",
        "xenkeep point list --client lab --vm web1",
        "xenkeep point show 3f2a",
        "xenkeep point forget 3f2a 77b1 --yes",
        "xenkeep point forget --client lab --vm web1 --datastore store --keep-last 3 --keep-within 14d --dry-run",
        "xenkeep point forget --keep-hourly 1 --keep-daily 2 --keep-weekly 3 --keep-monthly 4 --keep-yearly 5",
        "xenkeep point protect 3f2a --reason before",
        "xenkeep point unprotect 3f2a",
        "xenkeep datastore prune store --dry-run --grace 1h --max-unused 5%",
        "xenkeep datastore verify store",
        "xenkeep datastore verify store --full --share 10% --older-than 30d",
        "xenkeep datastore copy store offsite --all",
        "xenkeep datastore copy store offsite --point 3f2a --point 77b1",
        "xenkeep restore 3f2a --as web2 --sr fast --start",
        "xenkeep restore 3f2a --overwrite --sr fast --start --yes",
        "xenkeep export 3f2a --format xva -o web1.xva",
        "xenkeep export 3f2a --format raw -o dir --disk 0",
        "xenkeep export 3f2a --format vhd -o dir",
        "xenkeep export 3f2a --format qcow2 --compress -o dir",
        "xenkeep export 3f2a --format qcow2 --compress=zlib --disk 0 -o dir",
        "xenkeep export 3f2a pool-database.xml",
        "xenkeep backup lab --meta-data --datastore store",
        "xenkeep backup lab --host-backup --datastore store",
        "xenkeep backup lab --host-backup xen2 --datastore store",
        "xenkeep restore meta-data 3f2a --to-pool lab",
        "xenkeep restore meta-data 3f2a --to-pool lab --replace --confirm lab",
        "xenkeep restore host 3f2a --host xen2 --force --yes",
        "xenkeep job list --state running --kind backup --limit 3",
        "xenkeep job show 12ab",
        "xenkeep job watch 12ab",
        "xenkeep job log 12ab",
        "xenkeep job cancel 12ab",
        "xenkeep schedule next --days 31",
        "xenkeep schedule show nightly",
        "xenkeep schedule set nightly --overlap queue --start-window 120 --no-follow-up",
        "xenkeep schedule blackout add nightly --from 2026-12-24 --to 2026-12-26",
        "xenkeep schedule blackout add nightly --ics holidays.ics",
        "xenkeep report mail set --host m --from a@x --to b@x --to c@x --when problems --language de",
        "xenkeep report webhook add chat --url-file F --secret-file G",
        "xenkeep report summary set --at 07:00 --max-age 26",
        "xenkeep completion bash",
        "xenkeep --server https://h:1 --token-file F --data D vm list lab",
    ] {
        parse(line).unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (line, kind) in [
        ("xenkeep", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("xenkeep frobnicate", ErrorKind::InvalidSubcommand),
        ("xenkeep restore 3f2a", ErrorKind::MissingRequiredArgument),
        ("xenkeep restore 3f2a --as x --overwrite", ErrorKind::ArgumentConflict),
        ("xenkeep restore 3f2a --as x --yes", ErrorKind::ArgumentConflict),
        ("xenkeep backup lab web1", ErrorKind::MissingRequiredArgument),
        ("xenkeep backup lab --datastore store", ErrorKind::MissingRequiredArgument),
        ("xenkeep backup lab web1 --meta-data --datastore store", ErrorKind::ArgumentConflict),
        ("xenkeep backup lab --meta-data --host-backup --datastore store", ErrorKind::ArgumentConflict),
        ("xenkeep restore meta-data 3f2a --confirm lab", ErrorKind::MissingRequiredArgument),
        ("xenkeep restore host 3f2a", ErrorKind::MissingRequiredArgument),
        ("xenkeep export 3f2a", ErrorKind::MissingRequiredArgument),
        ("xenkeep client add lab --address h --password secret", ErrorKind::UnknownArgument),
        ("xenkeep client add lab --address h --transport ftp", ErrorKind::InvalidValue),
        ("xenkeep point forget", ErrorKind::MissingRequiredArgument),
        ("xenkeep point forget --vm web1", ErrorKind::MissingRequiredArgument),
        ("xenkeep point forget 3f2a --keep-last 1", ErrorKind::ArgumentConflict),
        ("xenkeep point forget 3f2a --vm web1", ErrorKind::ArgumentConflict),
        ("xenkeep point forget --keep-within 3", ErrorKind::ValueValidation),
        ("xenkeep point forget --keep-last -1", ErrorKind::UnknownArgument),
        ("xenkeep point protect 3f2a", ErrorKind::MissingRequiredArgument),
        ("xenkeep datastore verify store --share 10%", ErrorKind::MissingRequiredArgument),
        ("xenkeep datastore verify store --quick --full", ErrorKind::ArgumentConflict),
        ("xenkeep datastore prune store --grace soon", ErrorKind::ValueValidation),
        ("xenkeep datastore copy store offsite", ErrorKind::MissingRequiredArgument),
        ("xenkeep datastore copy store offsite --all --vm web1", ErrorKind::ArgumentConflict),
        ("xenkeep export 3f2a --format vmdk -o x", ErrorKind::InvalidValue),
        ("xenkeep export 3f2a --format xva", ErrorKind::MissingRequiredArgument),
        ("xenkeep job list --limit 0", ErrorKind::ValueValidation),
        ("xenkeep job list --state done", ErrorKind::InvalidValue),
        ("xenkeep vm list lab --output yaml", ErrorKind::InvalidValue),
        ("xenkeep server --listen here", ErrorKind::ValueValidation),
    ] {
        assert_eq!(refusal(line), kind, "{line}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for line in ["xenkeep --help", "xenkeep --version", "xenkeep restore --help"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
    }
}
