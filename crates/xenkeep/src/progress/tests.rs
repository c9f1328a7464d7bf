use super::*;
use crate::cmd::samples;

#[test]
fn lines_come_at_steps_and_tenths() {
    let mut lines = Lines::default();
    let mut job = samples::job();
    let mut said = Vec::new();
    for (step, done) in
        [("", 0), ("snapshot", 0), ("read", 0), ("read", 1), ("read", 40), ("read", 41), ("commit", 160)]
    {
        job.progress.step = step.into();
        job.progress.done_bytes = done * samples::GIB / 10;
        said.extend(lines.of(&job));
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    job 12345678-0000-4000-8000-000000000003: backup of web1
    web1: snapshot
    web1: read
    web1: 20 %, 4.0 GiB of 16.0 GiB, new 1.0 GiB, stored 512 MiB
    web1: commit
    web1: 100 %, 16.0 GiB of 16.0 GiB, new 1.0 GiB, stored 512 MiB
    ");
}

#[test]
fn a_job_without_size_has_no_percentage() {
    let mut job = samples::job();
    job.progress.total_bytes = 0;
    assert_eq!(Lines::default().of(&job).len(), 2);
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let mut speed = Speed::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    speed.sample(start, 0);
    assert_eq!(speed.bytes_per_second(), None);
    speed.sample(after(10), 1000);
    assert_eq!(speed.bytes_per_second(), Some(100.0));
    speed.sample(after(20), 1000);
    speed.sample(after(21), 1000);
    assert_eq!(speed.bytes_per_second(), None, "it stands still");
    speed.sample(after(22), u64::MAX);
    assert!(speed.bytes_per_second().is_some());
}

#[test]
fn words_are_those_of_the_api() {
    assert_eq!(kind(&samples::job()), "backup");
    assert_eq!(word(&JobState::Cancelled), "cancelled");
    let queued = Job { state: JobState::Queued, ..samples::job() };
    assert_eq!(describe(&queued), "backup of web1 (queued)");
}
