//! What all classes have: records, and maps in them.

use std::collections::HashMap;

use crate::record::{self, Record};
use crate::refs::*;
use crate::{Pool, Result, params};

impl Pool {
    /// One record.
    ///
    /// # Errors
    /// `HANDLE_INVALID` when the object is gone; else as [`Pool::call`].
    pub async fn record<R: Record>(&self, reference: &R::Ref) -> Result<R> {
        self.call(&format!("{}.get_record", R::Ref::CLASS), params![reference]).await
    }

    /// All records of a class.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn records<R: Record>(&self) -> Result<HashMap<R::Ref, R>> {
        self.call(&format!("{}.get_all_records", R::Ref::CLASS), params![]).await
    }

    /// The object with a uuid.
    ///
    /// # Errors
    /// `UUID_INVALID` when there is none; else as [`Pool::call`].
    pub async fn by_uuid<R: Record>(&self, uuid: &str) -> Result<(R::Ref, R)> {
        let reference = self.call(&format!("{}.get_by_uuid", R::Ref::CLASS), params![uuid]).await?;
        let record = self.record(&reference).await?;
        Ok((reference, record))
    }

    /// Objects with a name, or with a uuid. Names are not unique: one, none or several.
    pub(super) async fn by_name_or_uuid<R: Record>(&self, text: &str) -> Result<Vec<(R::Ref, R)>> {
        if is_uuid(text) {
            match self.by_uuid(text).await {
                Ok(found) => return Ok(vec![found]),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        let references: Vec<R::Ref> = self.call(&format!("{}.get_by_name_label", R::Ref::CLASS), params![text]).await?;
        let mut found = Vec::with_capacity(references.len());
        for reference in references {
            match self.record(&reference).await {
                Ok(record) => found.push((reference, record)),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Sets a key of `other_config`, whatever stood there. Others' keys stay: the map is never written as a whole.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_other_config<R: Ref>(&self, object: &R, key: &str, value: &str) -> Result<()> {
        let add = format!("{}.add_to_other_config", R::CLASS);
        self.remove_other_config(object, key).await?;
        match self.run(&add, params![object, key, value]).await {
            // nobody knows whether it was heard: both once more
            Err(error) if error.is_connection() => {
                self.remove_other_config(object, key).await?;
                self.run(&add, params![object, key, value]).await
            }
            other => other,
        }
    }

    /// Removes a key of `other_config`, if it is there.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn remove_other_config<R: Ref>(&self, object: &R, key: &str) -> Result<()> {
        self.run(&format!("{}.remove_from_other_config", R::CLASS), params![object, key]).await
    }

    /// Sets `name_label`.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_name_label<R: Ref>(&self, object: &R, name: &str) -> Result<()> {
        self.run(&format!("{}.set_name_label", R::CLASS), params![object, name]).await
    }

    /// Sets `name_description`.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_name_description<R: Ref>(&self, object: &R, text: &str) -> Result<()> {
        self.run(&format!("{}.set_name_description", R::CLASS), params![object, text]).await
    }
}

/// It looks like a uuid.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `pool.vms()`, `pool.vm(&r)`, `pool.vm_by_uuid(u)` and so on.
macro_rules! classes {
    ($($all:ident, $one:ident, $by_uuid:ident: $record:ident, $reference:ident;)+) => {
        impl Pool {$(
            #[doc = concat!("All records of the class ", stringify!($record), ".\n\n# Errors\nAs [`Pool::call`].")]
            pub async fn $all(&self) -> Result<HashMap<$reference, record::$record>> {
                self.records().await
            }

            #[doc = concat!("One record of the class ", stringify!($record), ".\n\n# Errors\nAs [`Pool::record`].")]
            pub async fn $one(&self, reference: &$reference) -> Result<record::$record> {
                self.record(reference).await
            }

            #[doc = concat!("The ", stringify!($record), " with a uuid.\n\n# Errors\nAs [`Pool::by_uuid`].")]
            pub async fn $by_uuid(&self, uuid: &str) -> Result<($reference, record::$record)> {
                self.by_uuid(uuid).await
            }
        )+}
    };
}

classes! {
    vms, vm, vm_by_uuid: Vm, VmRef;
    vdis, vdi, vdi_by_uuid: Vdi, VdiRef;
    vbds, vbd, vbd_by_uuid: Vbd, VbdRef;
    vifs, vif, vif_by_uuid: Vif, VifRef;
    srs, sr, sr_by_uuid: Sr, SrRef;
    pbds, pbd, pbd_by_uuid: Pbd, PbdRef;
    networks, network, network_by_uuid: Network, NetworkRef;
    hosts, host, host_by_uuid: Host, HostRef;
    tasks, task_record, task_by_uuid: Task, TaskRef;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_uuid_when_it_sees_one() {
        assert!(is_uuid("0a1B2c3d-0000-1111-2222-333344445555"));
        for text in ["", "web", "0a1B2c3d-0000-1111-2222-33334444555g", "0a1B2c3d00000-1111-2222-333344445555"] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
