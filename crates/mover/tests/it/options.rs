//! Options of backups: disks left out, consistency, commands before and after.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xenkeep_api::*;
use xensim::config::{Config, DiskConfig, SrConfig, SrKind, VmConfig};

use crate::desk::Strike;
use crate::rig::{Machine, Rig, code_of, image, point_of};

fn leaving_out(rules: &[&str]) -> BackupOptions {
    BackupOptions { leave_out: rules.iter().map(|rule| rule.parse().unwrap()).collect(), ..BackupOptions::default() }
}

fn with(consistency: Consistency) -> BackupOptions {
    BackupOptions { consistency, offline_wait_seconds: 30, ..BackupOptions::default() }
}

/// `db` runs and has four disks: its own, a marked one, one on another SR, a larger one.
fn several_disks(dir: &Path) -> Config {
    let disk = |name: &str, size: u64| DiskConfig { name: name.to_owned(), ..DiskConfig::empty(size) };
    let db = VmConfig::new("db")
        .with_disk(DiskConfig::image(image(dir, "db-0.raw", 1, 4 << 20)))
        .with_disk(disk("temp [NOBAK]", 1 << 20))
        .with_disk(DiskConfig { sr: Some("Scratch".to_owned()), ..disk("scratch", 1 << 20) })
        .with_disk(disk("archive", 8 << 20))
        .running();
    let mut config = crate::rig::config(dir).with_vm(db);
    config.srs.push(SrConfig::new("Scratch", SrKind::Nfs, 1 << 30));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_are_left_out_and_the_point_and_its_restore_say_so() {
    let rig = Rig::with(several_disks).await;
    let before = rig.state().await;
    let options = leaving_out(&["sr:Scratch", "larger-than:7MiB"]);
    let (id, report) = rig.run(rig.backup_with("db", options)).await;
    let point = point_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", rig.desk.log(id)));
    assert_eq!(point.disks.iter().map(|disk| disk.position.as_str()).collect::<Vec<_>>(), ["0"]);
    let left_out: Vec<(&str, &str)> =
        point.left_out.iter().map(|disk| (disk.name.as_str(), disk.reason.as_str())).collect();
    let rules = [("temp [NOBAK]", "[NOBAK]"), ("scratch", "sr:Scratch"), ("archive", "larger-than:7MiB")];
    assert_eq!(left_out, rules);
    rig.state().await.assert_same_as(&before, "after the backup");
    let (id, report) = rig.run(rig.beside(&point, "copy")).await;
    assert_eq!(report.state, JobState::Warning, "{report:#?} {:#?}", rig.desk.log(id));
    assert_eq!(report.warnings.iter().filter(|warning| warning.code == "restore.disk_left_out").count(), 3);
    let copy = rig.uuid("copy").await;
    assert_eq!(rig.contents(&copy).await, rig.contents(&point.source_uuid).await[..1]);
    // Without any disk there is nothing to back up.
    let (_, report) = rig.run(rig.backup_with("db", leaving_out(&["name:*"]))).await;
    assert_eq!(code_of(&report), "vm.all_disks_left_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_cannot_quiesce_fails_the_job_or_is_warned_of() {
    let rig = Rig::with(several_disks).await;
    let before = rig.state().await;
    let (_, report) = rig.run(rig.backup_with("db", with(Consistency::Quiesced))).await;
    assert_eq!(code_of(&report), "vm.not_quiesced");
    rig.state().await.assert_same_as(&before, "after the refusal");
    let (_, report) = rig.run(rig.backup_with("db", with(Consistency::QuiescedPreferred))).await;
    assert_eq!(report.state, JobState::Warning, "{report:#?}");
    assert_eq!(report.warnings[0].code, "vm.not_quiesced");
    let consistency = point_of(&report).unwrap().consistency.unwrap();
    assert_eq!((consistency.asked, consistency.reached), (Consistency::QuiescedPreferred, Consistency::Crash));
    // Of a VM that is off nothing has to be asked.
    let (_, report) = rig.run(rig.backup_with("web1", with(Consistency::Quiesced))).await;
    assert_eq!(point_of(&report).unwrap().consistency.unwrap().reached, Consistency::Offline);
}

/// A guest that was just started has no tools yet, and so can't be shut down.
async fn until_booted(rig: &Rig, uuid: &str) {
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(uuid).await.unwrap();
    while admin.assert_operation_valid(&vm, "clean_shutdown").await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    admin.logout().await;
}

async fn power_state(rig: &Rig, uuid: &str) -> String {
    rig.state().await.vm(uuid).unwrap().0["power_state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_shuts_down_and_starts_again_and_leaves_off_what_was_off() {
    let rig = Rig::with(several_disks).await;
    let db = rig.uuid("db").await;
    let (id, report) = rig.run(rig.backup_with("db", with(Consistency::Offline))).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {:#?}", rig.desk.log(id));
    assert_eq!(point_of(&report).unwrap().consistency.unwrap().reached, Consistency::Offline);
    assert_eq!(power_state(&rig, &db).await, "Running");
    let lines: Vec<String> = rig.desk.log(id).into_iter().map(|line| line.text).collect();
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"));
    assert!(at("shutting VM db down") < at("VM db started again"));
    assert!(at("VM db started again") < at("reading from"), "it is down for the snapshot, not for the export");
    assert_eq!(rig.desk.journal(id), Vec::new());
    let (id, report) = rig.run(rig.backup_with("web1", with(Consistency::Offline))).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {:#?}", rig.desk.log(id));
    assert_eq!(power_state(&rig, &rig.uuid("web1").await).await, "Halted");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_starts_again_after_a_failure_and_after_our_death() {
    use xensim::fault::{Fault, FaultKind};
    let rig = Rig::with(several_disks).await;
    let db = rig.uuid("db").await;
    rig.sim.faults().arm(Fault::new(FaultKind::SrFullSnapshot));
    let (id, report) = rig.run(rig.backup_with("db", with(Consistency::Offline))).await;
    assert_eq!(report.state, JobState::Failed, "{report:#?}");
    assert_eq!((power_state(&rig, &db).await.as_str(), rig.desk.journal(id).len()), ("Running", 0));
    let mut deaths = 0;
    for entry in 1..12 {
        until_booted(&rig, &db).await;
        rig.desk.strike(Strike::AfterJournal(entry));
        let (id, report) = rig.run_or_die(rig.backup_with("db", with(Consistency::Offline))).await;
        if !rig.desk.no_strike() {
            assert!(report.is_some_and(|report| report.state.is_good()), "{:#?}", rig.desk.log(id));
            break;
        }
        deaths += 1;
        rig.recover(id).await;
        assert_eq!(power_state(&rig, &db).await, "Running", "after death {entry}");
        assert_eq!(rig.state().await.ours(), Vec::<String>::new(), "after death {entry}");
    }
    assert!(deaths > 4, "{deaths}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_tools_is_not_shut_down() {
    let rig = Rig::with(|dir| {
        let mut config = several_disks(dir);
        config.vms[1].guest_tools = false;
        config
    })
    .await;
    let (_, report) = rig.run(rig.backup_with("db", with(Consistency::Offline))).await;
    assert_eq!(code_of(&report), "vm.cannot_shut_down");
}

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn hook(command: &str, arguments: &[&str]) -> Option<Hook> {
    Some(Hook {
        command: command.to_owned(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        time_limit_seconds: 20,
    })
}

async fn run_with(rig: &Rig, options: BackupOptions) -> (Vec<String>, JobReport) {
    let job = rig.job(rig.backup_with("web1", options));
    let id = job.id;
    rig.desk.queue(job);
    let machine = Machine::start_with(&rig.desk, Some(rig.dir.path().join("hooks")));
    let report = rig.desk.report(id).await;
    machine.stop().await;
    (rig.desk.log(id).into_iter().map(|line| line.text).collect(), report)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_before_and_after_and_their_output_is_logged() {
    let rig = Rig::new().await;
    let hooks = rig.dir.path().join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    script(
        &hooks,
        "tell",
        r#"echo "$1 $XENKEEP_WHEN $XENKEEP_VM $XENKEEP_RESULT"; echo "to stderr" >&2; env | sort > env-$XENKEEP_WHEN"#,
    );
    script(&hooks, "fail", "echo no; exit 3");
    script(&hooks, "hang", "sleep 300 & wait");
    script(&hooks, "chatter", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done");
    script(rig.dir.path(), "outside", "echo outside");
    std::os::unix::fs::symlink(rig.dir.path().join("outside"), hooks.join("linked")).unwrap();
    let options =
        |before: Option<Hook>, after: Option<Hook>| BackupOptions { before, after, ..BackupOptions::default() };

    let (log, report) = run_with(&rig, options(hook("tell", &["a b; $(id)"]), hook("tell", &["x"]))).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {log:#?}");
    let has = |log: &[String], text: &str| log.iter().any(|line| line == text);
    assert!(has(&log, "tell: a b; $(id) before web1 ") && has(&log, "tell: to stderr"), "{log:#?}");
    assert!(has(&log, "tell: x after web1 success"), "{log:#?}");
    let env = std::fs::read_to_string(hooks.join("env-after")).unwrap();
    assert!(env.contains("XENKEEP_POINT=") && env.contains("XENKEEP_CLIENT=lab") && !env.contains("xensim"), "{env}");

    // What fails before, fails the backup; the other command runs all the same.
    let (log, report) = run_with(&rig, options(hook("fail", &[]), hook("tell", &["x"]))).await;
    assert_eq!(code_of(&report), "hook.failed");
    assert!(report.problem.unwrap().message.contains("exit code 3"));
    assert!(has(&log, "fail: no") && has(&log, "tell: x after web1 failed"), "{log:#?}");
    let (_, report) = run_with(&rig, options(None, hook("fail", &[]))).await;
    assert_eq!((report.state, report.warnings[0].code.as_str()), (JobState::Warning, "hook.failed"));
    assert!(point_of(&report).is_some());
    let short = hook("hang", &[]).map(|hook| Hook { time_limit_seconds: 1, ..hook });
    let (_, report) = run_with(&rig, options(short, None)).await;
    assert!(report.problem.unwrap().message.contains("took longer than 1 s"));
    let (log, report) = run_with(&rig, options(hook("chatter", &[]), None)).await;
    assert_eq!(report.state, JobState::Success, "{report:#?}");
    assert!(has(&log, "chatter: line 199") && has(&log, "chatter: 300 more lines are not shown"), "{log:#?}");
    for bad in ["../outside", "linked", "none", ".", "/bin/sh", ""] {
        let (_, report) = run_with(&rig, options(hook(bad, &[]), None)).await;
        assert_eq!(code_of(&report), "hook.not_found", "{bad}");
    }
    // A mover without such a directory runs none.
    let (_, report) = rig.run(rig.backup_with("web1", options(hook("tell", &[]), None))).await;
    assert_eq!(code_of(&report), "hook.no_directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_looked_up_on_the_pool() {
    let rig = Rig::with(|dir| {
        several_disks(dir)
            .with_vm(VmConfig::new("twin"))
            .with_vm(VmConfig::new("twin"))
            .with_vm(VmConfig { template: true, ..VmConfig::new("template") })
    })
    .await;
    let select = async |source: Source| {
        let spec = JobSpec::ExpandSelection { client: rig.client.id, source, order: None };
        let (_, report) = rig.run(spec).await;
        let Some(JobResult::Selected { selected }) = report.result else { panic!("{report:?}") };
        (selected.vms.into_iter().map(|vm| vm.name).collect::<Vec<_>>(), selected.hosts, report.state)
    };
    let all = Selection { all: true, ..Selection::default() };
    assert_eq!(select(Source::Selection(all)).await.0, ["db", "twin", "twin", "web1"]);
    let running = Selection { power_states: vec![PowerState::Running], ..Selection::default() };
    assert_eq!(select(Source::Selection(running)).await.0, ["db"]);
    assert_eq!(select("vm:twin".parse().unwrap()).await.0, ["twin", "twin"]);
    assert_eq!(select("host-backup".parse().unwrap()).await.1[0].name, "host-1");
    let (vms, _, state) = select("name:x*".parse().unwrap()).await;
    assert_eq!((vms.len(), state), (0, JobState::Warning), "an empty selection is not silent");
}
