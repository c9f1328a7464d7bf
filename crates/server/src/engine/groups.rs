//! Groups: tasks that start together.

use xenkeep_api::{Group, GroupChange, NewGroup, TaskId};

use super::{Engine, names};
use crate::Error;

impl Engine {
    /// All groups, by name.
    pub async fn groups(&self) -> Result<Vec<Group>, Error> {
        Ok(self.0.catalog.groups().await?)
    }

    /// The group of a name.
    pub async fn group(&self, name: &str) -> Result<Group, Error> {
        Ok(self.0.catalog.group(name).await?)
    }

    /// Makes a group.
    pub async fn create_group(&self, new: NewGroup) -> Result<Group, Error> {
        names::check_name("group", &new.name)?;
        let group = Group { name: new.name, tasks: Vec::new(), created_at: self.0.clock.now() };
        self.0.catalog.insert_group(&group, &self.task_ids(&new.tasks).await?).await?;
        self.group(&group.name).await
    }

    /// Takes tasks into a group, and others out of it.
    pub async fn change_group(&self, name: &str, change: GroupChange) -> Result<Group, Error> {
        let group = self.group(name).await?;
        let (add, remove) = (self.task_ids(&change.add).await?, self.task_ids(&change.remove).await?);
        self.0.catalog.change_group(&group.name, &add, &remove).await?;
        self.group(&group.name).await
    }

    /// Removes a group; its tasks stay.
    pub async fn remove_group(&self, name: &str) -> Result<(), Error> {
        let group = self.group(name).await?;
        Ok(self.0.catalog.remove_group(&group.name).await?)
    }

    async fn task_ids(&self, names: &[String]) -> Result<Vec<TaskId>, Error> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            ids.push(self.task(name).await?.id);
        }
        Ok(ids)
    }
}
