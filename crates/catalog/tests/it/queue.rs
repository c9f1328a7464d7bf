use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use jiff::SignedDuration;
use xenkeep_api::{
    ClientLimits, JobKind, JobResult, JobSpec, JobState, Origin, Places, Problem, Progress, RetryPolicy, RunId, TaskId,
};
use xenkeep_catalog::{Catalog, Error, NewJob, QueueEntry, Rules, Standing, Verdict};

use super::fixture::{
    NO_RECOVERY, any_backup, at, backup, catalog, claim, claim_any, failed, good, new_job, point, ready_client,
    ready_datastore, recover_always, report, run,
};

/// As [`super::fixture::May`], for whole lanes, and counts what was looked at.
struct Counting<F> {
    may: F,
    seen: Mutex<Vec<String>>,
}

impl<F: Fn(&QueueEntry) -> Verdict + Send + Sync> Rules for Counting<F> {
    fn rank(&self, kind: JobKind) -> u8 {
        u8::from(kind != JobKind::CheckClient)
    }

    fn judge(&self, _: &Standing, _: &str, job: &QueueEntry) -> Verdict {
        self.seen.lock().unwrap().push(job.subject.clone());
        (self.may)(job)
    }
}

fn waits() -> Problem {
    Problem::new("test", "it waits")
}

fn named(spec: &JobSpec, subject: &str, priority: i32) -> NewJob {
    NewJob { subject: subject.to_owned(), priority, ..NewJob::new(spec.clone(), "") }
}

async fn insert_all(catalog: &Catalog, jobs: &[NewJob]) {
    for job in jobs {
        catalog.insert_job(job, at(0)).await.unwrap();
    }
}

#[tokio::test]
async fn hands_out_by_rank_priority_name_and_arrival() {
    let (catalog, _dir) = catalog().await;
    let (one, other) = (any_backup(), any_backup());
    let check = JobSpec::CheckClient { client: xenkeep_api::ClientId::random() };
    let jobs = [
        named(&one, "b", 0),
        named(&other, "a", 0),
        named(&one, "a", 0),
        named(&one, "Z", 0),
        named(&other, "\u{e4}", 0),
        named(&one, "z", 7),
        named(&other, "x", -1),
        named(&check, "last", -9),
    ];
    insert_all(&catalog, &jobs).await;
    let rules = Counting { may: |_: &QueueEntry| Verdict::Run, seen: Mutex::default() };
    let asked = ["local"; 20];
    let claimed = catalog.claim(&asked, at(1), at(30), &rules).await.unwrap();
    let claimed: Vec<_> = claimed.into_iter().flatten().map(|claimed| claimed.id).collect();
    // By bytes, whatever the language of the database.
    let expected = [7, 5, 3, 1, 2, 0, 4, 6].map(|index| jobs[index].id);
    assert_eq!(claimed, expected);
}

#[tokio::test]
async fn looks_at_the_heads_of_lanes_alone() {
    let (catalog, _dir) = catalog().await;
    let (full, free) = (any_backup(), any_backup());
    let mut jobs: Vec<NewJob> = (0..200).map(|n| named(&full, &format!("full{n:03}"), 5)).collect();
    jobs.extend((0..100).map(|n| named(&free, &format!("free{n:03}"), 0)));
    insert_all(&catalog, &jobs).await;
    let blocked = full.client();
    let rules = Counting {
        may: move |job: &QueueEntry| if job.client == blocked { Verdict::LaneWaits(waits()) } else { Verdict::Run },
        seen: Mutex::default(),
    };
    let claimed = catalog.claim(&["local"], at(1), at(30), &rules).await.unwrap().remove(0).unwrap();
    assert_eq!(catalog.job(claimed.id).await.unwrap().subject, "free000");
    assert_eq!(*rules.seen.lock().unwrap(), ["full000", "free000"]);
}

#[tokio::test]
async fn looks_further_where_the_first_waits_for_itself() {
    let (catalog, _dir) = catalog().await;
    let spec = any_backup();
    // More than are read at once, and several that nothing but their arrival tells apart.
    let jobs: Vec<NewJob> = (0..100).map(|n| named(&spec, &format!("vm{:02}", n / 4), 0)).collect();
    insert_all(&catalog, &jobs).await;
    let wanted = jobs[83].id;
    let one = move |job: &QueueEntry| if job.id == wanted { Verdict::Run } else { Verdict::JobWaits(waits()) };
    let rules = Counting { may: one, seen: Mutex::default() };
    let mut claimed = catalog.claim(&["local", "local"], at(1), at(30), &rules).await.unwrap();
    assert_eq!(claimed.remove(0).unwrap().id, wanted);
    assert!(claimed.remove(0).is_none());
    assert_eq!(rules.seen.lock().unwrap().len(), 84 + 99);
}

#[tokio::test]
async fn leaves_what_is_not_due() {
    let (catalog, _dir) = catalog().await;
    let spec = any_backup();
    let later = NewJob { not_before: Some(at(50)), ..named(&spec, "a", 9) };
    insert_all(&catalog, &[later.clone(), named(&spec, "b", 0)]).await;
    assert_eq!(catalog.job(later.id).await.unwrap().not_before, Some(at(50)));
    assert_ne!(claim_any(&catalog, 1).await.unwrap().id, later.id);
    assert!(claim_any(&catalog, 49).await.is_none());
    assert_eq!(claim_any(&catalog, 50).await.unwrap().id, later.id);
}

#[tokio::test]
async fn gives_no_job_twice_however_many_ask() {
    let (catalog, _dir) = catalog().await;
    let jobs: Vec<NewJob> = (0..40).map(|n| named(&any_backup(), &format!("vm{n}"), 0)).collect();
    insert_all(&catalog, &jobs).await;
    let asking = (0..12).map(|_| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            let mut got = Vec::new();
            while let Some(claimed) = claim_any(&catalog, 1).await {
                assert_eq!(claimed.fence, 1);
                got.push(claimed.id);
            }
            got
        })
    });
    let mut all = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        all.extend(asked.await.unwrap());
    }
    assert_eq!(all.len(), 40);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 40);
}

#[tokio::test]
async fn passes_no_limit_however_many_ask() {
    let (catalog, _dir) = catalog().await;
    let store = ready_datastore(&catalog, "store").await;
    let drive = xenkeep_api::Drive {
        number: 13,
        name: None,
        datastore: store,
        datastore_name: "store".to_owned(),
        channels: 8,
        created_at: at(0),
    };
    catalog.insert_drive(&drive).await.unwrap();
    let jobs: Vec<NewJob> =
        (0..30).map(|n| NewJob { drive: Some(13), ..named(&any_backup(), &format!("vm{n}"), 0) }).collect();
    insert_all(&catalog, &jobs).await;
    struct Channels;
    impl Rules for Channels {
        fn rank(&self, _: JobKind) -> u8 {
            0
        }
        fn judge(&self, standing: &Standing, _: &str, job: &QueueEntry) -> Verdict {
            let taken = standing.running.iter().filter(|other| other.drive == job.drive).count();
            if taken < standing.channels[&13] as usize { Verdict::Run } else { Verdict::LaneWaits(waits()) }
        }
    }
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let catalog = catalog.clone();
            tokio::spawn(async move { catalog.claim(&["a", "b"], at(1), at(30), &Channels).await.unwrap() })
        })
        .collect();
    let mut claimed = 0;
    for asked in asking {
        claimed += asked.await.unwrap().iter().flatten().count();
    }
    assert_eq!(claimed, 8);
    let (waiting, first) = catalog.queued_for_drive(13, 3).await.unwrap();
    assert_eq!((waiting, first.len()), (22, 3));
}

#[tokio::test]
async fn knows_the_limits_of_clients_and_where_jobs_work() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let limits = ClientLimits { jobs: Some(5), jobs_per_host: None, jobs_per_sr: Some(2) };
    catalog.set_client_limits(lab.id, &limits).await.unwrap();
    assert_eq!(catalog.client("lab").await.unwrap().limits, limits);
    assert_eq!(catalog.standing().await.unwrap().limits[&lab.id], limits);

    let job = run(&catalog, backup(lab.id, xenkeep_api::DatastoreId::random())).await;
    let places = Places { host: Some("host".to_owned()), srs: vec!["sr".to_owned()] };
    let full = Problem::new("queue.sr_busy", "no room");
    let told = catalog.occupy(job.id, job.fence, &places, |_, _| Some(full.clone())).await.unwrap();
    assert_eq!(told.as_ref(), Some(&full));
    assert_eq!(catalog.job(job.id).await.unwrap().waiting, Some(full));
    assert_eq!(catalog.standing().await.unwrap().running[0].host, None, "it is not there yet");
    let told = catalog.occupy(job.id, job.fence, &places, |standing, me| {
        assert_eq!((standing.running.len(), me.id), (1, job.id));
        None
    });
    assert_eq!(told.await.unwrap(), None);
    assert_eq!(catalog.job(job.id).await.unwrap().waiting, None);
    let running = catalog.standing().await.unwrap().running;
    assert_eq!((running[0].host.clone(), &running[0].srs), (places.host.clone(), &places.srs));
    let late = catalog.occupy(job.id, job.fence + 1, &places, |_, _| None).await;
    assert!(matches!(late, Err(Error::LeaseLost(_))));
    // Whoever takes it next may work elsewhere.
    catalog.release(job.id, job.fence).await.unwrap();
    claim(&catalog, job.id).await;
    assert_eq!(catalog.standing().await.unwrap().running[0].host, None);
}

#[tokio::test]
async fn a_job_keeps_what_it_was_queued_with() {
    let (catalog, _dir) = catalog().await;
    let (run, task) = (RunId::random(), TaskId::random());
    let origin = Origin {
        task: Some(task),
        task_name: Some("web".to_owned()),
        group: Some("vms".to_owned()),
        schedule: None,
        run: Some(run),
    };
    let new = NewJob {
        drive: Some(13),
        priority: -3,
        origin: origin.clone(),
        retry: RetryPolicy { retries: 4, wait_seconds: 17 },
        time_limit: Some(Duration::from_secs(90)),
        attempt: 2,
        retry_of: Some(xenkeep_api::JobId::random()),
        ..new_job(any_backup())
    };
    insert_all(&catalog, &[new.clone(), new_job(any_backup())]).await;
    let job = catalog.job(new.id).await.unwrap();
    assert_eq!((job.drive, job.priority, job.origin, job.attempt), (Some(13), -3, origin, 2));
    assert_eq!((job.retry_of, job.time_limit_seconds, job.mover), (new.retry_of, Some(90), None));
    let of_run = catalog.jobs_of_run(run).await.unwrap();
    assert_eq!(of_run.iter().map(|job| job.id).collect::<Vec<_>>(), [new.id]);
    let claimed = claim(&catalog, new.id).await;
    assert_eq!(catalog.job(new.id).await.unwrap().mover.as_deref(), Some("local"));
    let keep = |ended: &xenkeep_catalog::Ended| {
        assert_eq!((ended.retry, ended.attempt), (RetryPolicy { retries: 4, wait_seconds: 17 }, 2));
        Vec::new()
    };
    catalog.finish(claimed.id, claimed.fence, &failed(), at(2), &keep).await.unwrap();
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_stopped_and_has_failed() {
    let (catalog, _dir) = catalog().await;
    let limited = || NewJob { time_limit: Some(Duration::from_secs(10)), ..new_job(any_backup()) };
    let jobs = [limited(), limited(), limited(), new_job(any_backup())];
    insert_all(&catalog, &jobs).await;
    let mut claimed = Vec::new();
    for job in &jobs {
        claimed.push(claim(&catalog, job.id).await);
    }
    assert!(catalog.stop_overdue(at(11)).await.unwrap().is_empty());
    // What a person has stopped is cancelled, however late it is.
    catalog.cancel_job(jobs[1].id, at(11)).await.unwrap();
    let mut stopped = catalog.stop_overdue(at(12)).await.unwrap();
    stopped.sort();
    let mut expected = [jobs[0].id, jobs[1].id, jobs[2].id];
    expected.sort();
    assert_eq!(stopped, expected);
    assert!(catalog.stop_overdue(at(13)).await.unwrap().is_empty(), "once is enough");
    let told =
        async |index: usize| catalog.renew(claimed[index].id, claimed[index].fence, at(9000), &NOTHING, &[]).await;
    assert!(told(0).await.unwrap());
    assert!(!told(3).await.unwrap());
    let cancelled = report(JobState::Cancelled, None);
    for index in [0, 1, 0] {
        catalog.finish(claimed[index].id, claimed[index].fence, &cancelled, at(14), NO_RECOVERY).await.unwrap();
    }
    let ended = catalog.job(jobs[0].id).await.unwrap();
    let problem = ended.problem.unwrap();
    assert_eq!((ended.state, problem.code.as_str()), (JobState::Failed, "job.time_limit"));
    assert!(problem.message.ends_with("10 seconds"), "{problem:?}");
    assert_eq!(catalog.job(jobs[1].id).await.unwrap().state, JobState::Cancelled);
    // One whose mover renews and renews, and never stops, is not waited for for ever.
    told(2).await.unwrap();
    assert!(catalog.interrupt_expired(at(60), NO_RECOVERY).await.unwrap().is_empty());
    assert_eq!(catalog.interrupt_expired(at(12 + 15 * 60), NO_RECOVERY).await.unwrap(), [jobs[2].id]);
}

const NOTHING: Progress = Progress {
    step: String::new(),
    total_bytes: 0,
    done_bytes: 0,
    moved_bytes: 0,
    new_bytes: 0,
    stored_bytes: 0,
    disks: Vec::new(),
};

#[tokio::test]
async fn a_start_interrupts_the_jobs_of_its_own_mover() {
    let (catalog, _dir) = catalog().await;
    let jobs = [new_job(any_backup()), new_job(any_backup())];
    insert_all(&catalog, &jobs).await;
    let rules = super::fixture::May(|_: &Standing, _: &QueueEntry| true);
    let claimed = catalog.claim(&["local", "far"], at(1), at(30), &rules).await.unwrap();
    let [mine, other] = [0, 1].map(|index: usize| claimed[index].as_ref().unwrap().id);
    assert_eq!(catalog.interrupt_of("local", at(2), NO_RECOVERY).await.unwrap(), [mine]);
    assert_eq!(catalog.job(other).await.unwrap().state, JobState::Running);
    assert_eq!(catalog.interrupt_expired(at(31), NO_RECOVERY).await.unwrap(), [other]);
}

#[tokio::test]
async fn a_try_that_has_become_needless_is_withdrawn() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    let job = run(&catalog, backup(lab.id, store)).await;
    let follow = |ended: &xenkeep_catalog::Ended| {
        let again = NewJob {
            retry_of: Some(ended.job.id),
            not_before: Some(at(0) + SignedDuration::from_secs(300)),
            ..new_job(ended.job.spec.clone())
        };
        [recover_always(ended), vec![again]].concat()
    };
    catalog.interrupt_of("local", at(2), &follow).await.unwrap();
    let recovery = claim_any(&catalog, 3).await.unwrap();
    assert_eq!(recovery.root, job.id);
    let found = JobResult::Recovered { undone: Vec::new(), points: vec![point("a", &lab, store, job.id, 1)] };
    catalog.finish(recovery.id, recovery.fence, &good(found), at(4), NO_RECOVERY).await.unwrap();
    assert!(claim_any(&catalog, 400).await.is_none());
    let jobs = catalog.jobs(&xenkeep_catalog::JobFilter::default(), 10).await.unwrap();
    let again = jobs.iter().find(|other| other.retry_of == Some(job.id)).unwrap();
    assert_eq!(again.state, JobState::Cancelled);
    assert_eq!(again.problem.as_ref().unwrap().code, "job.not_needed");
}

#[tokio::test]
async fn texts_with_a_nul_are_kept_without() {
    let (catalog, _dir) = catalog().await;
    let new = NewJob { subject: "a\0b".to_owned(), ..new_job(any_backup()) };
    catalog.insert_job(&new, at(0)).await.unwrap();
    assert_eq!(catalog.job(new.id).await.unwrap().subject, "ab");
    let claimed = claim(&catalog, new.id).await;
    let line = xenkeep_api::LogLine {
        at: at(1),
        level: xenkeep_api::LogLevel::Info,
        step: "r\0".to_owned(),
        text: "x\0y".to_owned(),
    };
    catalog.renew(claimed.id, claimed.fence, at(60), &NOTHING, &[line]).await.unwrap();
    assert_eq!(catalog.job_log(claimed.id).await.unwrap()[0].text, "xy");
}
