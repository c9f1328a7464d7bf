use super::*;
use crate::cmd::samples;

#[test]
fn jobs_are_listed() {
    let cancelling = Job { cancel_requested: true, ..samples::job() };
    let jobs = [samples::job(), cancelling, samples::finished_job(), samples::failed_job()];
    insta::assert_snapshot!("listing", listing(&jobs));
}

#[test]
fn a_job_is_shown_with_its_numbers_result_and_problem() {
    insta::assert_snapshot!("running", shown(&samples::job()));
    insta::assert_snapshot!("failed", shown(&samples::failed_job()));
    let warning = Problem::new("snapshot.left", "a snapshot could not be removed").hint("remove it");
    insta::assert_snapshot!("finished", shown(&Job { warnings: vec![warning], ..samples::finished_job() }));
}

#[test]
fn a_log_has_a_line_for_each_line() {
    let line = |level, text: &str| LogLine { at: samples::at(60), level, step: "read".into(), text: text.into() };
    let lines = [line(LogLevel::Info, "disk 0"), line(LogLevel::Warning, "slow"), line(LogLevel::Error, "cut\nhere")];
    insta::assert_snapshot!("log", log(&lines));
}

#[test]
fn a_finished_backup_is_summed_up() {
    insta::assert_snapshot!("backup_summary", backups::summary(&samples::finished_job()).unwrap_or_default());
}

#[test]
fn the_exit_code_is_that_of_the_job() {
    let console = Console::new(crate::cli::Format::Json);
    let ends = |state| ended(console, &Job { state, ..samples::finished_job() });
    assert!(matches!(ends(JobState::Success), Ok(Exit::Success)));
    assert!(matches!(ends(JobState::Warning), Ok(Exit::Warning)));
    for state in [JobState::Failed, JobState::Cancelled, JobState::Interrupted] {
        assert!(ends(state).is_err(), "{state:?}");
    }
}

#[test]
fn a_bad_end_without_a_problem_gets_a_sentence() {
    for (state, text) in [
        (JobState::Cancelled, "backup of web1 was cancelled"),
        (JobState::Interrupted, "backup of web1 was interrupted"),
    ] {
        assert_eq!(failure(&Job { state, ..samples::job() }).message, text);
    }
    assert_eq!(failure(&samples::failed_job()).code, "sr.full");
}

#[test]
fn every_kind_has_its_word() {
    for kind in [JobKind::Backup, JobKind::BackupHost, JobKind::RestoreMetaData, JobKind::PruneDatastore] {
        assert_eq!(job_kind(&word(&kind)), Ok(kind));
    }
    assert!(job_kind("backups").unwrap_err().contains("backup-meta-data"));
}
