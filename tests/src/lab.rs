//! A pool, a server and a datastore that know each other.

use std::path::Path;

use anyhow::Result;

use crate::pool::PASSWORD;
use crate::{Pool, PoolOptions, Product};

/// A pool as the client `lab` of a server with the datastore `store`.
#[derive(Debug)]
pub struct Lab {
    /// The pool.
    pub pool: Pool,
    /// The server and its command line.
    pub product: Product,
}

impl Lab {
    /// Builds everything below `dir`.
    ///
    /// # Errors
    /// When a program cannot be started or refuses.
    pub fn build(dir: &Path, options: &PoolOptions) -> Result<Self> {
        let pool = Pool::start(&dir.join("xensim"), options)?;
        let product = Product::start(&dir.join("xenkeep"))?;
        let password_file = dir.join("password");
        std::fs::write(&password_file, PASSWORD)?;
        let password = password_file.display().to_string();
        let store = dir.join("store").display().to_string();
        product.ok(&[
            "client",
            "add",
            "lab",
            "--address",
            pool.https_address(),
            "--user",
            "root",
            "--password-file",
            &password,
        ])?;
        product.ok(&["datastore", "create", "store", "--path", &store])?;
        Ok(Self { pool, product })
    }
}
