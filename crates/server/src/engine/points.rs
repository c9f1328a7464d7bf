//! Restore points: listing and finding.

use xenkeep_api::{Point, PointFilter};
use xenkeep_catalog::PointQuery;

use super::Engine;
use crate::Error;

/// Points that one answer lists at most.
const LISTED_AT_MOST: u32 = 10_000;

impl Engine {
    /// Restore points, the newest first.
    pub async fn points(&self, filter: &PointFilter) -> Result<Vec<Point>, Error> {
        let datastore = match &filter.datastore {
            Some(name) => Some(self.datastore(name).await?.id),
            None => None,
        };
        let query = PointQuery { client: filter.client.clone(), vm: filter.vm.clone(), datastore };
        let points = self.0.catalog.points(&query, LISTED_AT_MOST).await?;
        // A client that has no points, or that is gone but has some, is no mistake; one that never was, is.
        if let (true, Some(client)) = (points.is_empty(), &filter.client)
            && self.0.catalog.points(&PointQuery { client: Some(client.clone()), ..PointQuery::default() }, 1).await?.is_empty()
        {
            self.client(client).await?;
        }
        Ok(points)
    }

    /// The restore point of an id or of its beginning.
    pub async fn point(&self, id_or_prefix: &str) -> Result<Point, Error> {
        Ok(self.0.catalog.find_point(id_or_prefix).await?)
    }
}
