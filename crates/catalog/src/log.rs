//! The log of a job.

use sqlx::Row as _;
use xenkeep_api::{JobId, LogLevel, LogLine};

use crate::db::Connection;
use crate::words::{from_word, millis, text, time, word};
use crate::{Catalog, Error};

/// Lines that are kept of one job; a mover that says more is not listened to.
const MAX_LINES: i64 = 10_000;
/// Bytes that are kept of one line.
const MAX_TEXT: usize = 4096;

impl Catalog {
    /// The log of a job, in the order in which it was written.
    pub async fn job_log(&self, job: JobId) -> Result<Vec<LogLine>, Error> {
        let rows = sqlx::query("SELECT at_ms, level, step, text FROM job_log WHERE job_id = $1 ORDER BY number")
            .bind(job.to_string())
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(LogLine {
                    at: time("job_log.at_ms", row.try_get("at_ms")?)?,
                    level: from_word("job_log.level", row.try_get("level")?)?,
                    step: row.try_get("step")?,
                    text: row.try_get("text")?,
                })
            })
            .collect()
    }
}

/// Appends to the log of a job.
pub(crate) async fn append(tx: &mut Connection, job: JobId, lines: &[LogLine]) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let last: i64 = sqlx::query("SELECT COALESCE(MAX(number), 0) FROM job_log WHERE job_id = $1")
        .bind(job.to_string())
        .fetch_one(&mut *tx)
        .await?
        .try_get(0)?;
    for (number, line) in (last + 1..).zip(lines) {
        if number > MAX_LINES {
            break;
        }
        if number == MAX_LINES {
            let text = "the log is full, further lines are dropped";
            insert(tx, job, number, &LogLine { level: LogLevel::Warning, text: text.to_owned(), ..line.clone() })
                .await?;
        } else {
            insert(tx, job, number, line).await?;
        }
    }
    Ok(())
}

async fn insert(tx: &mut Connection, job: JobId, number: i64, line: &LogLine) -> Result<(), Error> {
    sqlx::query("INSERT INTO job_log (job_id, number, at_ms, level, step, text) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(job.to_string())
        .bind(number)
        .bind(millis(line.at))
        .bind(word(&line.level))
        .bind(shortened(&line.step))
        .bind(shortened(&line.text))
        .execute(tx)
        .await?;
    Ok(())
}

fn shortened(line: &str) -> String {
    text(&line[..line.floor_char_boundary(MAX_TEXT)])
}
