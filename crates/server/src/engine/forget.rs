//! Removing restore points: by hand, or by a policy; and protecting them from it.
//!
//! The server decides which points go, a mover removes them from the repository, and the catalogue drops them in the
//! transaction that ends the mover's job. Whoever dies in between leaves points listed that are gone, never points gone
//! that were not to go; looking through the datastore again puts that right.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::tz::TimeZone;
use xenkeep_api::{
    DatastoreId, ForgetRequest, Job, JobSpec, KeepReason, PlannedPoint, Point, Problem, ProtectRequest, RetentionGroup,
    RetentionPlan, RetentionRequest, RetentionStarted,
};
use xenkeep_catalog::{NewJob, PointQuery};

use super::retention::{Candidate, retain};
use super::{Engine, names};
use crate::Error;

/// Longest reason for a protection, in characters.
const MAX_REASON: usize = 500;

impl Engine {
    /// Queues the removal of restore points: a job for each datastore that holds some of them.
    pub async fn forget(&self, request: &ForgetRequest) -> Result<Vec<Job>, Error> {
        if request.points.is_empty() {
            return Err(Error::Invalid(Problem::new("request.invalid", "no point is named")));
        }
        let mut points = Vec::new();
        for id in &request.points {
            let point = self.point(id).await?;
            if let Some(protection) = &point.protection {
                let message = format!("point {} is protected: {}", short(&point.id), protection.reason);
                let problem = Problem::new("point.protected", message).about(point.id.clone());
                return Err(Error::Conflict(
                    problem.hint(format!("lift that first: xenkeep point unprotect {}", short(&point.id))),
                ));
            }
            points.push(point);
        }
        self.queue_removal(&points).await
    }

    /// What a policy would keep and remove now.
    pub async fn plan_retention(&self, request: &RetentionRequest) -> Result<RetentionPlan, Error> {
        if !request.policy.keeps_something() {
            let problem = Problem::new("retention.keeps_nothing", "a policy that keeps nothing is refused");
            return Err(Error::Invalid(
                problem.hint("say how many points are to stay, such as the last 3 or 7 daily ones"),
            ));
        }
        let zone = self.zone(request.time_zone.as_deref())?;
        let in_use = self.0.catalog.points_in_use().await?;
        let mut groups = Vec::new();
        for points in self.points_by_vm(request).await? {
            groups.push(self.plan_group(request, points, &zone, &in_use));
        }
        groups.sort_by(|a: &RetentionGroup, b| {
            (&a.client_name, &a.source_name, &a.source_uuid).cmp(&(&b.client_name, &b.source_name, &b.source_uuid))
        });
        let time_zone = zone.iana_name().unwrap_or("UTC").to_owned();
        Ok(RetentionPlan { policy: request.policy.clone(), time_zone, groups })
    }

    /// Applies a policy: queues the removal of what it removes.
    pub async fn apply_retention(&self, request: &RetentionRequest) -> Result<RetentionStarted, Error> {
        let plan = self.plan_retention(request).await?;
        let agreed: Option<HashSet<&String>> = request.agreed.as_ref().map(|ids| ids.iter().collect());
        let removed: Vec<Point> = plan
            .removed()
            .filter(|point| agreed.as_ref().is_none_or(|agreed| agreed.contains(&point.id)))
            .cloned()
            .collect();
        let jobs = self.queue_removal(&removed).await?;
        Ok(RetentionStarted { plan, jobs })
    }

    /// Protects a restore point from being removed.
    pub async fn protect_point(&self, id_or_prefix: &str, request: ProtectRequest) -> Result<Point, Error> {
        let reason = request.reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            let message = format!("a reason has 1 to {MAX_REASON} characters, none of them a control character");
            return Err(Error::Invalid(Problem::new("request.invalid", message)));
        }
        self.set_protection(id_or_prefix, Some(reason.to_owned())).await
    }

    /// Lifts the protection of a restore point; one that has none stays as it is.
    pub async fn unprotect_point(&self, id_or_prefix: &str) -> Result<Point, Error> {
        self.set_protection(id_or_prefix, None).await
    }

    async fn set_protection(&self, id_or_prefix: &str, reason: Option<String>) -> Result<Point, Error> {
        let point = self.point(id_or_prefix).await?;
        let spec = JobSpec::ProtectPoint { datastore: point.datastore, point: point.id.clone(), reason };
        self.run_short(spec, &point.source_name).await?;
        self.point(&point.id).await
    }

    /// The points of each VM in each datastore that a request is about, newest first. A client is told by its name: one
    /// that was removed and added again has another id, and the same VMs.
    async fn points_by_vm(&self, request: &RetentionRequest) -> Result<Vec<Vec<Point>>, Error> {
        let datastore = match &request.datastore {
            Some(name) => Some(self.datastore(name).await?.id),
            None => None,
        };
        let client = match &request.client {
            // An id stands for the name; the points may bear the id of an earlier one.
            Some(client) => Some(self.client(client).await.map_or_else(|_| client.clone(), |client| client.name)),
            None => None,
        };
        let query = PointQuery { client, vm: None, datastore };
        let mut groups: BTreeMap<(String, String, DatastoreId), Vec<Point>> = BTreeMap::new();
        for point in self.0.catalog.points(&query, u32::MAX).await? {
            let key = (point.client_name.clone(), point.source_uuid.clone(), point.datastore);
            groups.entry(key).or_default().push(point);
        }
        let mut groups: Vec<Vec<Point>> = groups.into_values().collect();
        if let Some(vm) = &request.vm {
            let uuid = vm.to_ascii_lowercase();
            groups.retain(|points| points.iter().any(|point| point.source_uuid == uuid || point.source_name == *vm));
        }
        if groups.is_empty() && (request.client.is_some() || request.vm.is_some()) {
            let problem = Problem::new("point.none", "no restore point is of this client and VM");
            return Err(Error::NotFound(problem.hint("xenkeep point list shows all restore points")));
        }
        Ok(groups)
    }

    fn plan_group(
        &self,
        request: &RetentionRequest,
        points: Vec<Point>,
        zone: &TimeZone,
        in_use: &HashSet<(DatastoreId, String)>,
    ) -> RetentionGroup {
        let candidates: Vec<Candidate> = points
            .iter()
            .map(|point| Candidate {
                taken_at: point.taken_at,
                protected: point.protection.is_some(),
                damaged: point.damage.is_some(),
            })
            .collect();
        let kept = retain(&request.policy, &candidates, zone, self.0.clock.now());
        let newest = points.first();
        let text = |of: fn(&Point) -> &String| newest.map(|point| of(point).clone()).unwrap_or_default();
        RetentionGroup {
            client_name: text(|point| &point.client_name),
            source_uuid: text(|point| &point.source_uuid),
            source_name: text(|point| &point.source_name),
            datastore: newest.map_or(DatastoreId(uuid::Uuid::nil()), |point| point.datastore),
            points: points
                .into_iter()
                .zip(kept)
                .map(|(point, mut kept)| {
                    if kept.is_empty() && in_use.contains(&(point.datastore, point.id.clone())) {
                        kept.insert(KeepReason::InUse);
                    }
                    PlannedPoint { point, kept: kept.into_iter().collect() }
                })
                .collect(),
        }
    }

    pub(super) fn zone(&self, name: Option<&str>) -> Result<TimeZone, Error> {
        let Some(name) = name else { return Ok(self.0.time_zone.clone()) };
        names::check_label("the name of a time zone", name)?;
        TimeZone::get(name).map_err(|_| {
            let problem = Problem::new("retention.unknown_time_zone", format!("there is no time zone {name} here"));
            Error::Invalid(problem.hint("name one as in Europe/Vienna, or UTC").about(name))
        })
    }

    /// Queues the jobs that remove points.
    async fn queue_removal(&self, points: &[Point]) -> Result<Vec<Job>, Error> {
        let mut by_datastore: HashMap<DatastoreId, Vec<String>> = HashMap::new();
        for point in points {
            let ids = by_datastore.entry(point.datastore).or_default();
            if !ids.contains(&point.id) {
                ids.push(point.id.clone());
            }
        }
        let mut jobs = Vec::new();
        for (datastore, points) in by_datastore {
            let name = self.datastore(&datastore.to_string()).await?.name;
            jobs.push(self.queue(NewJob::new(JobSpec::ForgetPoints { datastore, points }, &name)).await?);
        }
        jobs.sort_by(|a, b| a.subject.cmp(&b.subject));
        Ok(jobs)
    }
}

/// Enough of an id to name the point.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
