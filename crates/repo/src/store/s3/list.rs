//! Listing: a page of a thousand names a request, and of packs, of which there may be millions, many pages at once.

use super::*;

/// Names of packs that are listed one page after the other; if there are more, the rest is listed by what they begin
/// with, so many parts at once.
const IN_ORDER: usize = 3000;
const PARTS_IN_FLIGHT: usize = 16;

/// A listing that is longer is none of a repository.
const MAX_NAMES: usize = 64 << 20;

impl S3 {
    pub(super) async fn list_kind(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        let is_pack = matches!(kind(Id::from_bytes([0; 32])), Name::Pack(_));
        self.list_in_parts(kind, if is_pack { IN_ORDER } else { MAX_NAMES }).await
    }

    /// Lists so many names one page after the other, and what comes then in parts.
    pub(super) async fn list_in_parts(&self, kind: Kind, limit: usize) -> Result<Vec<(Id, u64)>> {
        let any = kind(Id::from_bytes([0; 32]));
        let path = any.to_string();
        // Packs are told apart by their first digits once more.
        let end = if matches!(any, Name::Pack(_)) { path.find('/') } else { path.rfind('/') };
        let dir = &path[..end.expect("all kinds lie in a directory")];
        let failed = |failure| self.error(failure, format_args!("{dir}/"));
        let listed = self.list_path(&self.path(dir), None, limit).await.map_err(failed)?;
        let mut names = self.ids(kind, &listed);
        if listed.len() < limit {
            return Ok(names);
        }
        if limit == MAX_NAMES {
            return Err(Error::damaged(format!("{dir}/"), "it holds too many files"));
        }
        let last = names.last().map_or(0, |(id, _)| id.as_bytes()[0]);
        let after = listed.last().map(|(path, _)| path.clone());
        let parts = (last..=u8::MAX).map(|byte| {
            let part = self.path(format_args!("{dir}/{}", hex::encode([byte])));
            let after = after.clone().filter(|_| byte == last);
            async move { self.list_path(&part, after.as_ref(), MAX_NAMES).await }
        });
        let mut parts = pin!(stream::iter(parts).buffer_unordered(PARTS_IN_FLIGHT));
        while let Some(part) = parts.next().await {
            names.extend(self.ids(kind, &part.map_err(failed)?));
        }
        Ok(names)
    }

    /// Paths and lengths of what lies below a path, at most so many.
    pub(super) async fn list_path(
        &self,
        below: &Path,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<(Path, u64)>, Failure> {
        let mut found: Vec<(Path, u64)> = Vec::new();
        loop {
            let before = found.len();
            match self.list_on(below, after, limit, &mut found).await {
                Ok(()) => return Ok(found),
                // A long listing shall not begin anew for one page that fails, but nor go on for ever.
                Err(Failure::Transient(_)) if found.len() > before => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn list_on(
        &self,
        below: &Path,
        after: Option<&Path>,
        limit: usize,
        found: &mut Vec<(Path, u64)>,
    ) -> Result<(), Failure> {
        // S3 lists in the order of names: what comes after the last one that we have seen is what is missing.
        let last = found.last().map(|(path, _)| path.clone()).or_else(|| after.cloned());
        let below = Some(below);
        let mut pages = match &last {
            Some(last) => self.bucket.list_with_offset(below, last),
            None => self.bucket.list(below),
        };
        while found.len() < limit {
            let Some(object) = self.ask(0, pages.try_next()).await? else { break };
            found.push((object.location, object.size));
        }
        Ok(())
    }

    /// The ids of those that are files of this kind.
    fn ids(&self, kind: Kind, listed: &[(Path, u64)]) -> Vec<(Id, u64)> {
        let ids = listed.iter().filter_map(|(path, len)| {
            let id: Id = path.filename()?.parse().ok()?;
            (self.path(kind(id)) == *path).then_some((id, *len))
        });
        ids.collect()
    }
}
