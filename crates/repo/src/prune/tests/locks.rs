//! Locks as others leave them.

use super::*;
use crate::sealed;

async fn rewrite(repo: &Repo, change: impl Fn(&mut serde_json::Value)) {
    let (store, key) = (&*repo.0.store, &repo.0.key);
    for (id, _) in store.list(Name::Lock).await.unwrap() {
        let mut lock: serde_json::Value = sealed::read(store, key, Name::Lock(id)).await.unwrap();
        change(&mut lock);
        let (new, content) = sealed::seal(key, &lock);
        store.put(Name::Lock(new), content).await.unwrap();
        store.remove(Name::Lock(id)).await.unwrap();
    }
}

/// Makes all locks older, as if their machines had been suspended. (The names change, too, which their holders don't know.)
pub(super) async fn age(repo: &Repo, seconds: i64) {
    let time = Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap();
    rewrite(repo, |lock| lock["time"] = time.to_string().into()).await;
}

/// Leaves a lock as restic does.
pub(super) async fn foreign(repo: &Repo, exclusive: bool) -> Id {
    let lock = serde_json::json!({"time": Timestamp::now(), "exclusive": exclusive, "hostname": "elsewhere",
        "username": "root", "pid": 1});
    let (id, content) = sealed::seal(&repo.0.key, &lock);
    repo.0.store.put(Name::Lock(id), content).await.unwrap();
    id
}
