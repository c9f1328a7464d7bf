//! Takes the snapshot away, however the backup went.

use super::snapshot::Snapshot;
use crate::{context::JobContext, session::Session, undo};

/// Removes the snapshot. What can't be removed stays in the journal, and makes the job end as *warning* at best.
pub(super) async fn clean(cx: &JobContext, session: &Session, snapshot: Snapshot) {
    cx.step("cleanup");
    let done = undo::snapshot(cx, session, snapshot.made, Some(snapshot.entry)).await;
    if undo::or_warn(cx, "the snapshot", done) {
        cx.info("snapshot removed");
    }
}
