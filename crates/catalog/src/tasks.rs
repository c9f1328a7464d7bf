//! Tasks: what is backed up, how, and how long it is kept.

use sqlx::Row as _;
use xenkeep_api::{Client, Point, PointKind, Problem, Source, Task, TaskId};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_number, from_word, id, json, millis, optional_number, time, word};
use crate::{Catalog, Error, names};

/// What [`task`] reads.
macro_rules! columns {
    () => {
        "SELECT tasks.id AS id, tasks.name AS name, client_id, clients.name AS client_name, source, backup_type, options, \
         retention, drive, priority, retry, time_limit_minutes, enabled, tasks.created_ms AS created_ms \
         FROM tasks JOIN clients ON clients.id = tasks.client_id "
    };
}

const SELECT_ALL: &str = concat!(columns!(), "ORDER BY tasks.name");
const SELECT_ONE: &str = concat!(columns!(), "WHERE tasks.name = $1 OR tasks.id = $2");
const SELECT_GROUP: &str =
    concat!(columns!(), "JOIN group_tasks ON group_tasks.task_id = tasks.id WHERE group_name = $1 ORDER BY tasks.name");

impl Catalog {
    /// Adds a task.
    pub async fn insert_task(&self, task: &Task) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let taken =
            sqlx::query("SELECT name FROM tasks WHERE name = $1").bind(&task.name).fetch_optional(&mut *tx).await?;
        if taken.is_some() {
            let problem = Problem::new("task.exists", format!("there is a task {} already", task.name));
            return Err(Error::Exists(problem.hint("choose another name").about(task.name.clone())));
        }
        sqlx::query(
            "INSERT INTO tasks (id, name, client_id, source, backup_type, options, retention, drive, priority, retry, \
             time_limit_minutes, enabled, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(task.id.to_string())
        .bind(&task.name)
        .bind(task.client.to_string())
        .bind(json(&task.source))
        .bind(word(&task.backup_type))
        .bind(json(&task.options))
        .bind(task.retention.as_ref().map(json))
        .bind(task.drive.map(i64::from))
        .bind(i64::from(task.priority))
        .bind(json(&task.retry))
        .bind(task.time_limit_minutes.map(i64::from))
        .bind(i64::from(task.enabled))
        .bind(millis(task.created_at))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All tasks, by name.
    pub async fn tasks(&self) -> Result<Vec<Task>, Error> {
        sqlx::query(SELECT_ALL).fetch_all(self.readers()).await?.iter().map(task).collect()
    }

    /// The task of a name or an id.
    pub async fn task(&self, name_or_id: &str) -> Result<Task, Error> {
        let mut connection = self.readers().acquire().await?;
        match find(&mut connection, name_or_id).await? {
            Some(task) => Ok(task),
            None => {
                drop(connection);
                let known: Vec<String> = self.tasks().await?.into_iter().map(|task| task.name).collect();
                Err(Error::NotFound(names::not_found("task", name_or_id, &known, "xenkeep task create makes one")))
            }
        }
    }

    /// Writes all of a task but its id, name and client.
    pub async fn set_task(&self, task: &Task) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE tasks SET source = $2, backup_type = $3, options = $4, retention = $5, drive = $6, priority = $7, \
             retry = $8, time_limit_minutes = $9, enabled = $10 WHERE id = $1",
        )
        .bind(task.id.to_string())
        .bind(json(&task.source))
        .bind(word(&task.backup_type))
        .bind(json(&task.options))
        .bind(task.retention.as_ref().map(json))
        .bind(task.drive.map(i64::from))
        .bind(i64::from(task.priority))
        .bind(json(&task.retry))
        .bind(task.time_limit_minutes.map(i64::from))
        .bind(i64::from(task.enabled))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Removes a task, from its groups too. Its jobs and restore points stay.
    pub async fn remove_task(&self, task: TaskId) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM tasks WHERE id = $1").bind(task.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

/// The task of a name or an id.
pub(crate) async fn find(connection: &mut Connection, name_or_id: &str) -> Result<Option<Task>, Error> {
    let query = sqlx::query(SELECT_ONE).bind(name_or_id).bind(name_or_id.to_ascii_lowercase());
    query.fetch_optional(connection).await?.as_ref().map(task).transpose()
}

/// The tasks of a group, by name.
pub(crate) async fn of_group(connection: &mut Connection, group: &str) -> Result<Vec<Task>, Error> {
    sqlx::query(SELECT_GROUP).bind(group).fetch_all(connection).await?.iter().map(task).collect()
}

/// A client of which there are tasks stays.
pub(crate) async fn refuse_removal(tx: &mut Connection, client: &Client) -> Result<(), Error> {
    let query = sqlx::query("SELECT name FROM tasks WHERE client_id = $1 ORDER BY name LIMIT 1");
    let Some(row) = query.bind(client.id.to_string()).fetch_optional(tx).await? else { return Ok(()) };
    let task: String = row.try_get(0)?;
    Err(Error::InUse(
        Problem::new("client.in_use", format!("task {task} backs up client {}", client.name))
            .hint(format!("remove the task first: xenkeep task remove {task}"))
            .about(client.name.clone()),
    ))
}

/// A VM was backed up by its task: the task shows the name that it bears now.
pub(crate) async fn saw(tx: &mut Connection, task: &Task, point: &Point) -> Result<(), Error> {
    let Source::Vm { vm, uuid: Some(uuid) } = &task.source else { return Ok(()) };
    if point.kind != PointKind::Vm || *uuid != point.source_uuid || *vm == point.source_name {
        return Ok(());
    }
    let source = Source::Vm { vm: point.source_name.clone(), uuid: Some(uuid.clone()) };
    sqlx::query("UPDATE tasks SET source = $2 WHERE id = $1")
        .bind(task.id.to_string())
        .bind(json(&source))
        .execute(tx)
        .await?;
    Ok(())
}

fn task(row: &Row) -> Result<Task, Error> {
    let retention: Option<String> = row.try_get("retention")?;
    Ok(Task {
        id: id("tasks.id", row.try_get("id")?)?,
        name: row.try_get("name")?,
        client: id("tasks.client_id", row.try_get("client_id")?)?,
        client_name: row.try_get("client_name")?,
        source: from_json("tasks.source", row.try_get("source")?)?,
        backup_type: from_word("tasks.backup_type", row.try_get("backup_type")?)?,
        options: from_json("tasks.options", row.try_get("options")?)?,
        retention: retention.map(|text| from_json("tasks.retention", &text)).transpose()?,
        drive: optional_number("tasks.drive", row.try_get("drive")?)?,
        priority: from_number("tasks.priority", row.try_get("priority")?)?,
        retry: from_json("tasks.retry", row.try_get("retry")?)?,
        time_limit_minutes: optional_number("tasks.time_limit_minutes", row.try_get("time_limit_minutes")?)?,
        enabled: row.try_get::<i64, _>("enabled")? == 1,
        created_at: time("tasks.created_ms", row.try_get("created_ms")?)?,
    })
}
