//! Upkeep of datastores: pruning, verifying, copying. Checked as far as the server can know, then queued.

use xenkeep_api::{CopyRequest, Job, JobSpec, Point, Problem, PruneRequest, VerifyDepth, VerifyRequest};
use xenkeep_catalog::{NewJob, PointQuery};

use super::Engine;
use crate::Error;

/// Longest grace time and age: ten years. What is longer is a slip of the finger.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

impl Engine {
    /// Queues a prune.
    pub async fn prune(&self, name_or_id: &str, request: PruneRequest) -> Result<Job, Error> {
        let datastore = self.datastore(name_or_id).await?;
        check_percent("the unused share", request.max_unused_percent)?;
        check_seconds("the grace time", request.grace_seconds)?;
        self.queue(NewJob::new(JobSpec::PruneDatastore { datastore: datastore.id, request }, &datastore.name)).await
    }

    /// Queues a verification.
    pub async fn verify(&self, name_or_id: &str, request: VerifyRequest) -> Result<Job, Error> {
        let datastore = self.datastore(name_or_id).await?;
        check_verify(&request)?;
        self.queue(NewJob::new(JobSpec::VerifyDatastore { datastore: datastore.id, request }, &datastore.name)).await
    }

    /// Queues a copy of points to another datastore.
    pub async fn copy(&self, name_or_id: &str, request: CopyRequest) -> Result<Job, Error> {
        let source = self.datastore(name_or_id).await?;
        let target = self.datastore(&request.target).await?;
        if source.id == target.id {
            let message = format!("datastore {} can't be copied to itself", source.name);
            return Err(Error::Invalid(Problem::new("copy.same_datastore", message).about(source.name)));
        }
        let ways = [!request.points.is_empty(), request.vm.is_some(), request.all];
        if ways.iter().filter(|way| **way).count() != 1 {
            let problem = Problem::new("request.invalid", "it must be said which points are to be copied");
            return Err(Error::Invalid(problem.hint("name points, or one VM, or say that all are meant")));
        }
        let mut points = Vec::new();
        for id in &request.points {
            let point = self.point(id).await?;
            if point.datastore != source.id {
                let message = format!("point {id} is not in datastore {}", source.name);
                return Err(Error::Invalid(Problem::new("copy.wrong_datastore", message).about(point.id)));
            }
            points.push(point);
        }
        if request.points.is_empty() {
            let query = PointQuery { client: None, vm: request.vm.clone(), datastore: Some(source.id) };
            points = self.0.catalog.points(&query, u32::MAX).await?;
        }
        if points.is_empty() {
            let problem = Problem::new("point.none", format!("datastore {} has no such points", source.name));
            return Err(Error::NotFound(problem.hint("xenkeep point list shows all restore points")));
        }
        let points = oldest_first(points);
        let spec = JobSpec::CopyPoints { datastore: source.id, target: target.id, points };
        self.queue(NewJob::new(spec, format!("{} to {}", source.name, target.name))).await
    }
}

/// The oldest first: so what is there when a copy is cut short is a beginning without gaps.
fn oldest_first(mut points: Vec<Point>) -> Vec<String> {
    points.sort_by(|a, b| (a.taken_at, &a.id).cmp(&(b.taken_at, &b.id)));
    points.dedup_by(|a, b| a.id == b.id);
    points.into_iter().map(|point| point.id).collect()
}

/// What can be verified that way.
pub(super) fn check_verify(request: &VerifyRequest) -> Result<(), Error> {
    if request.depth == VerifyDepth::Quick && !request.is_whole() {
        let problem = Problem::new("verify.quick_is_whole", "a quick verification looks at everything");
        return Err(Error::Invalid(problem.hint("share and age are for a full one")));
    }
    if let Some(share) = request.share_percent {
        check_percent("the share", share)?;
        if share <= 0.0 {
            return Err(Error::Invalid(Problem::new("request.invalid", "a share of nothing verifies nothing")));
        }
    }
    check_seconds("the age", request.older_than_seconds.unwrap_or(0))
}

fn check_percent(what: &str, percent: f64) -> Result<(), Error> {
    if (0.0..=100.0).contains(&percent) {
        return Ok(());
    }
    Err(Error::Invalid(Problem::new("request.invalid", format!("{what} must be from 0 to 100 percent"))))
}

fn check_seconds(what: &str, seconds: u64) -> Result<(), Error> {
    if seconds <= MAX_SECONDS {
        return Ok(());
    }
    Err(Error::Invalid(Problem::new("request.invalid", format!("{what} is longer than ten years"))))
}
