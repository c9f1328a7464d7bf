//! A process that writes is killed at any moment.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use xenkeep_repo::{OpenOptions, Repo};

use crate::store::*;

const CHILD: &str = "XENKEEP_TEST_KILL_ME";
const BYTES: usize = 24 << 20;

#[test]
fn sigkill_leaves_no_listed_point_that_is_damaged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(dir) = std::env::var(CHILD) {
        return runtime.block_on(write_for_ever(dir.as_ref()));
    }
    let fixture = runtime.block_on(Fixture::new());
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "killed::sigkill_leaves_no_listed_point_that_is_damaged"])
            .env(CHILD, fixture.dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("writing")), "the child has begun");
        // Not to wait for something, but to hit another moment each time.
        std::thread::sleep(Duration::from_millis(37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        runtime.block_on(check(&fixture));
    }
    let points = runtime.block_on(fixture.repo.points()).unwrap();
    let next = runtime.block_on(back_up(&fixture.repo, 999, &image(999, BYTES)));
    assert!(points.iter().all(|point| point.id != next));
    runtime.block_on(gone(&fixture.dir().join("locks")));
}

async fn write_for_ever(dir: &std::path::Path) {
    let repo = Repo::open(dir, &password(), OpenOptions::default()).await.unwrap();
    println!("writing");
    for number in repo.points().await.unwrap().len() as i64.. {
        back_up(&repo, number, &image(number as u64, BYTES)).await;
    }
}

async fn check(fixture: &Fixture) {
    let repo = fixture.reopened().await;
    let list = repo.scan().await.unwrap();
    assert!(list.damaged.is_empty());
    for (number, point) in list.points.iter().enumerate() {
        assert!(restored(&repo, &point.id).await == image(number as u64, BYTES), "point {number}");
    }
}
