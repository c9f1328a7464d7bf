//! Thaws a guest that was frozen for its snapshot.

use std::time::Duration;

use uuid::Uuid;

use super::{LIMIT, within};
use crate::{
    context::{JobContext, Stop},
    guests,
    journal::FrozenMade,
    session::Session,
};

/// Sees to it that the guest is thawed; says what was done. Clears `entry` when it is.
pub(crate) async fn frozen(
    cx: &JobContext,
    session: &Session,
    made: FrozenMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let limit = LIMIT + Duration::from_secs(u64::from(made.limit_seconds));
    let undone = within(limit, session, Box::pin(guests::thaw(session, &made))).await?;
    if let Some(entry) = entry {
        cx.journal.clear(entry).await?;
    }
    Ok(undone)
}
