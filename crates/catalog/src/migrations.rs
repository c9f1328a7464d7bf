//! The tables, brought up to date at each start.
//!
//! One text serves both databases: ids and documents are TEXT, times and sizes BIGINT. What PostgreSQL calls otherwise is
//! put in its words here, and its texts are compared byte by byte, as SQLite's are: so both sort alike, whatever the
//! language of the database.

use sqlx::AnyPool;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::Error;
use crate::db::Engine;

/// Number, name and text. A migration that has been released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../migrations/0001_first.sql")),
    (2, "stores", include_str!("../migrations/0002_stores.sql")),
    (3, "upkeep", include_str!("../migrations/0003_upkeep.sql")),
    (4, "queue", include_str!("../migrations/0004_queue.sql")),
    (5, "tasks", include_str!("../migrations/0005_tasks.sql")),
    (6, "schedules", include_str!("../migrations/0006_schedules.sql")),
    (7, "reports", include_str!("../migrations/0007_reports.sql")),
    (8, "sources", include_str!("../migrations/0008_sources.sql")),
    (9, "restores", include_str!("../migrations/0009_restores.sql")),
    (10, "movers", include_str!("../migrations/0010_movers.sql")),
];

/// Applies what has not been applied yet. With several servers one does it, and the others wait.
pub(crate) async fn run(engine: Engine, database: &AnyPool) -> Result<(), Error> {
    let migrations = MIGRATIONS.iter().map(|&(number, name, text)| {
        let text = match engine {
            Engine::Sqlite => text.into_sql_str(),
            Engine::Postgres => AssertSqlSafe(for_postgres(text)).into_sql_str(),
        };
        Migration::new(number, name.into(), MigrationType::Simple, text, false)
    });
    Ok(Migrator::with_migrations(migrations.collect()).run(database).await?)
}

/// The words of PostgreSQL for the types of a column.
fn for_postgres(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 1024);
    for line in text.split_inclusive('\n') {
        // A comment may speak of anything.
        let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
        for piece in code.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let rest = &piece[word.len()..];
            match word {
                "BLOB" => words.push_str("BYTEA"),
                "TEXT" if !words.ends_with("AS ") => words.push_str("TEXT COLLATE \"C\""),
                word => words.push_str(word),
            }
            words.push_str(rest);
        }
        words.push_str(comment);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_translated_and_nothing_else() {
        let text = "-- a BLOB of TEXT\nCREATE TABLE a (b TEXT NOT NULL, c BLOB, text_d TEXT, e BIGINT);\n\
                    UPDATE a SET b = CAST(e AS TEXT) || 'x'; -- TEXT\n";
        let expected = "-- a BLOB of TEXT\nCREATE TABLE a (b TEXT COLLATE \"C\" NOT NULL, c BYTEA, \
                        text_d TEXT COLLATE \"C\", e BIGINT);\nUPDATE a SET b = CAST(e AS TEXT) || 'x'; -- TEXT\n";
        assert_eq!(for_postgres(text), expected);
    }

    #[test]
    fn numbers_rise() {
        assert!(MIGRATIONS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
