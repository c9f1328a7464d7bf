//! Groups: tasks that start together.

use sqlx::Row as _;
use xenkeep_api::{Group, Problem, Task, TaskId};

use crate::db::{Connection, Row};
use crate::words::{millis, time};
use crate::{Catalog, Error, names, tasks};

impl Catalog {
    /// Adds a group with its tasks.
    pub async fn insert_group(&self, group: &Group, tasks: &[TaskId]) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let taken = sqlx::query("SELECT name FROM task_groups WHERE name = $1")
            .bind(&group.name)
            .fetch_optional(&mut *tx)
            .await?;
        if taken.is_some() {
            let problem = Problem::new("group.exists", format!("there is a group {} already", group.name));
            return Err(Error::Exists(problem.hint("choose another name").about(group.name.clone())));
        }
        sqlx::query("INSERT INTO task_groups (name, created_ms) VALUES ($1, $2)")
            .bind(&group.name)
            .bind(millis(group.created_at))
            .execute(&mut *tx)
            .await?;
        add(&mut tx, &group.name, tasks).await?;
        Ok(tx.commit().await?)
    }

    /// All groups, by name.
    pub async fn groups(&self) -> Result<Vec<Group>, Error> {
        let mut connection = self.readers().acquire().await?;
        let rows =
            sqlx::query("SELECT name, created_ms FROM task_groups ORDER BY name").fetch_all(&mut *connection).await?;
        let mut groups = Vec::with_capacity(rows.len());
        for row in rows {
            groups.push(group(&mut connection, &row).await?);
        }
        Ok(groups)
    }

    /// The group of a name.
    pub async fn group(&self, name: &str) -> Result<Group, Error> {
        let mut connection = self.readers().acquire().await?;
        let query = sqlx::query("SELECT name, created_ms FROM task_groups WHERE name = $1").bind(name);
        if let Some(row) = query.fetch_optional(&mut *connection).await? {
            return group(&mut connection, &row).await;
        }
        drop(connection);
        let known: Vec<String> = self.groups().await?.into_iter().map(|group| group.name).collect();
        Err(Error::NotFound(names::not_found("group", name, &known, "xenkeep group create makes one")))
    }

    /// The tasks of a group, by name.
    pub async fn group_tasks(&self, group: &str) -> Result<Vec<Task>, Error> {
        let mut connection = self.readers().acquire().await?;
        tasks::of_group(&mut connection, group).await
    }

    /// Takes tasks into a group, and others out of it.
    pub async fn change_group(&self, group: &str, add: &[TaskId], remove: &[TaskId]) -> Result<(), Error> {
        let mut tx = self.write().await?;
        for task in remove {
            sqlx::query("DELETE FROM group_tasks WHERE group_name = $1 AND task_id = $2")
                .bind(group)
                .bind(task.to_string())
                .execute(&mut *tx)
                .await?;
        }
        self::add(&mut tx, group, add).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a group; its tasks stay.
    pub async fn remove_group(&self, group: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM task_groups WHERE name = $1").bind(group).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

async fn add(tx: &mut Connection, group: &str, tasks: &[TaskId]) -> Result<(), Error> {
    for task in tasks {
        sqlx::query("INSERT INTO group_tasks (group_name, task_id) VALUES ($1, $2) ON CONFLICT (group_name, task_id) DO NOTHING")
            .bind(group)
            .bind(task.to_string())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn group(connection: &mut Connection, row: &Row) -> Result<Group, Error> {
    let name: String = row.try_get("name")?;
    let tasks = tasks::of_group(connection, &name).await?.into_iter().map(|task| task.name).collect();
    Ok(Group { name, tasks, created_at: time("task_groups.created_ms", row.try_get("created_ms")?)? })
}
