//! A repository in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Kind, Name, Store};
use crate::id::Id;
use crate::{Error, Result};

#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().expect("no panic while held")
    }

    fn file(&self, name: Name) -> Result<Bytes> {
        let name = name.to_string();
        self.files().get(&name).cloned().ok_or(Error::NotFound { what: name })
    }
}

#[async_trait]
impl Store for Memory {
    async fn prepare(&self) -> Result<Vec<String>> {
        let mut files = self.files();
        if files.keys().any(|name| !name.starts_with("keys/")) {
            return Err(Error::NotEmpty { location: "memory".to_owned() });
        }
        files.clear();
        Ok(Vec::new())
    }

    async fn sweep(&self) {}

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        self.files().insert(name.to_string(), content);
        Ok(())
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        let content = self.file(name)?;
        let too_long = || Error::damaged(name.to_string(), format!("it is longer than {max_bytes} bytes"));
        if content.len() as u64 > max_bytes { Err(too_long()) } else { Ok(content) }
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, mut buffer: Vec<u8>) -> Result<Vec<u8>> {
        let content = self.file(name)?;
        let cut_off = || Error::damaged(name.to_string(), "it is cut off");
        let part = usize::try_from(offset).ok().and_then(|at| content.get(at..at.checked_add(len)?));
        buffer.clear();
        buffer.extend_from_slice(part.ok_or_else(cut_off)?);
        Ok(buffer)
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        Ok(self.files().get(&name.to_string()).map(|content| content.len() as u64))
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        let any = kind(Id::from_bytes([0; 32])).to_string();
        let end = if any.starts_with("data/") { any.find('/') } else { any.rfind('/') };
        let dir = &any[..=end.expect("all kinds lie in a directory")];
        let files = self.files();
        let below = files.iter().filter(|(name, _)| name.starts_with(dir));
        let id = |name: &str| name.rsplit('/').next().and_then(|id| id.parse().ok());
        Ok(below.filter_map(|(name, content)| Some((id(name)?, content.len() as u64))).collect())
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.remove_now(name);
        Ok(())
    }

    fn remove_now(&self, name: Name) {
        self.files().remove(&name.to_string());
    }
}
