//! The mover comes late: its job is another's already. It lists no point, and touches nothing more.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::{
    desk::Desk,
    looping::{check_client_of_a_dumb_pool, mover},
    rig::{Machine, Rig},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_given_to_another_lists_no_point() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let job = rig.job(rig.backup_spec("web1"));
    let id = job.id;
    rig.desk.give_away_at_step("commit");
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    rig.desk.given_away().await;
    machine.stop().await;
    assert_eq!(rig.points().await, Vec::<String>::new());
    assert!(!rig.desk.journal(id).is_empty(), "it is left to the other to tidy up");
    let (_, found) = rig.recover(id).await;
    assert_eq!(found, Vec::new());
    rig.state().await.assert_same_as(&before, "after the job was given away");
    // What it has stored is there for the next one.
    let point = rig.backup("web1").await;
    assert_eq!(rig.points().await, [point.id]);
}

#[tokio::test]
async fn a_mover_that_cannot_reach_its_server_gives_the_job_up() {
    let desk = Desk::new();
    desk.lasts(Duration::from_secs(2));
    let (job, listener) = check_client_of_a_dumb_pool().await;
    let id = job.id;
    desk.queue(job);
    let (_shutdown, running) = mover(&desk);
    let (mut pool, _) = listener.accept().await.unwrap();
    desk.until(id, |progress| progress.step == "check").await;
    desk.unavailable(usize::MAX);
    // It hangs up, though nobody has told it to.
    let mut heard = Vec::new();
    let hung_up = tokio::time::timeout(Duration::from_secs(30), pool.read_to_end(&mut heard));
    let _ = hung_up.await.expect("the job goes on without its server");
    running.abort();
}
