//! Before a repository is made: is the place empty, and does the server do all that we shall ask of it?

use uuid::Uuid;

use super::*;

/// Files that an interrupted creation can have left: more is somebody else's.
const MOST_BEGINNINGS: usize = 100;

/// Each step is tried a few times: all of them together may well meet a server that is busy now and then.
const TRIES: u32 = 4;

macro_rules! tried {
    ($step:expr) => {{
        let mut tries = 1;
        loop {
            match $step.await {
                Err(Failure::Transient(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                    tries += 1;
                }
                result => break result,
            }
        }
    }};
}

impl S3 {
    pub(super) async fn prepare_bucket(&self) -> Result<Vec<String>> {
        self.clear_beginnings().await?;
        self.probe().await.map_err(|(what, failure)| match failure {
            Failure::Refused(..) | Failure::Transient(_) => self.error(failure, what),
            other => Error::Invalid(format!(
                "{} cannot hold a repository: {what} does not do there what it should ({other:?})",
                self.location
            )),
        })?;
        Ok(self.findings())
    }

    /// Removes a key that no config was written for, and our own probes. Whatever else there is stays, and is an error.
    async fn clear_beginnings(&self) -> Result<()> {
        let failed = |failure| self.error(failure, "");
        let there = tried!(self.list_path(&self.prefix, None, MOST_BEGINNINGS)).map_err(failed)?;
        let ours = |path: &Path| {
            let mut parts = path.prefix_match(&self.prefix)?;
            let dir = parts.next()?;
            (matches!(dir.as_ref(), "keys" | "tmp") && parts.count() == 1).then_some(())
        };
        if there.len() == MOST_BEGINNINGS || there.iter().any(|(path, _)| ours(path).is_none()) {
            return Err(Error::NotEmpty { location: self.location.to_string() });
        }
        for (path, _) in there {
            tracing::info!(file = %path, "removing what an interrupted creation left behind");
            tried!(self.delete_object(&path)).map_err(failed)?;
        }
        Ok(())
    }

    /// Does with one object what we shall do with many.
    async fn probe(&self) -> Result<(), (&'static str, Failure)> {
        let path = self.path(format_args!("tmp/{}", Uuid::new_v4()));
        let content = Bytes::from_static(b"what xenkeep wrote to see whether it can");
        let at = |what: &'static str| move |failure| (what, failure);
        let wrong = |what: &'static str, why: &str| Err((what, Failure::transient(why)));
        tried!(self.put_object(&path, &content, &Id::of(&content))).map_err(at("writing"))?;
        let part = tried!(self.get_part(&path, 5, 7, Vec::new())).map_err(at("reading"))?;
        if part != content[5..12] {
            return wrong("reading", "a part of an object is not what was asked for");
        }
        let listed = tried!(self.list_path(&self.path("tmp"), None, MOST_BEGINNINGS)).map_err(at("listing"))?;
        if !listed.contains(&(path.clone(), content.len() as u64)) {
            return wrong("listing", "an object that was stored is not listed");
        }
        tried!(self.delete_object(&path)).map_err(at("deleting"))?;
        match tried!(self.object_len(&path)) {
            Err(Failure::NotFound) => Ok(()),
            Ok(_) => wrong("deleting", "an object that was deleted is still there"),
            Err(failure) => Err(("deleting", failure)),
        }
    }

    fn findings(&self) -> Vec<String> {
        let in_the_clear = self.location.starts_with("s3:http:");
        let clear = "requests go over http: nobody can read the backups on their way, but who listens learns names and sizes of files, and can disturb";
        in_the_clear.then(|| clear.to_owned()).into_iter().collect()
    }
}
