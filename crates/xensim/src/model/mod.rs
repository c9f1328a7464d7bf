//! What the pool is made of: classes and their fields, objects, and references between them.
//!
//! All of it is data: [`Schema`] is read from tables, an object is a record of [`Value`]s, and [`Tables`] keeps the rows,
//! the references that point both ways, and the number of the latest change of each object (which `event.from` needs).

mod class;
mod db;
pub mod dump;
mod links;
mod schema;
mod tables;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use self::{
    class::Class,
    db::Db,
    links::{Link, links},
    schema::{Access, Call, ClassDef, Field, Param, Schema},
    tables::{Deletion, Object, Tables},
    types::Type,
    value::{Map, NULL_REF, Ref, Value, database_text, date_from_text, date_text},
};
