//! The pool and its hosts.

use jiff::Timestamp;

use crate::record::{self, Host};
use crate::{Error, HostRef, Pool, PoolRef, Result, params};

/// What an account may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Everything: the local root.
    pub superuser: bool,
    /// Calls that its roles allow, such as `vm.snapshot` and `http/get_export`; empty for the superuser.
    pub permissions: Vec<String>,
}

impl Pool {
    /// The record of the pool itself.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn pool_record(&self) -> Result<(PoolRef, record::Pool)> {
        let mut all = self.records::<record::Pool>().await?.into_iter();
        match (all.next(), all.next()) {
            (Some(pool), None) => Ok(pool),
            _ => Err(Error::Protocol { address: self.address(), what: "not exactly one pool".to_owned() }),
        }
    }

    /// The master.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn master(&self) -> Result<(HostRef, Host)> {
        let (_, pool) = self.pool_record().await?;
        let host = self.host(&pool.master).await?;
        Ok((pool.master, host))
    }

    /// What the account that is logged in may do.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn rights(&self) -> Result<Rights> {
        let session = || crate::json(self.link().session().expose());
        Ok(Rights {
            superuser: self.call("session.get_is_local_superuser", vec![session()]).await?,
            permissions: self.call("session.get_rbac_permissions", vec![session()]).await?,
        })
    }

    /// A host's clock; times in records are by the pool's clocks, not by ours.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn servertime(&self, host: &HostRef) -> Result<Timestamp> {
        let text: String = self.call("host.get_servertime", params![host]).await?;
        record::timestamp(&text).ok_or_else(|| Error::Protocol {
            address: self.address(),
            what: format!("host.get_servertime: {text:?} is no date"),
        })
    }
}
