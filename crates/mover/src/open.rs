//! A restore point, opened: its description, XAPI's, and its disks.

use std::sync::Arc;

use xenkeep_api::{DatastoreAccess, PointKind, Problem};
use xenkeep_disk::{DiskRead, xva::Ova};
use xenkeep_repo::{PointReader, SnapshotId};

use crate::{
    context::{JobContext, Stop},
    datastore,
    identity::{self, Identity},
    point::{FORMAT, OVA_FILE, POINT_FILE, PointFile},
    problem,
};

/// A point that was opened and is whole as far as its descriptions tell.
pub(crate) struct OpenPoint {
    reader: PointReader,
    datastore: DatastoreAccess,
    pub(crate) file: PointFile,
    /// As XAPI gave it for the snapshot.
    ova: Ova,
}

impl OpenPoint {
    /// Opens the point of that full id.
    pub(crate) async fn open(cx: &JobContext, datastore: &DatastoreAccess, id: &str) -> Result<Self, Stop> {
        let repo = datastore::open(cx, datastore).await?;
        let open = async {
            let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
            let id: SnapshotId = id.parse().map_err(store)?;
            let reader = repo.open_point(&id).await.map_err(store)?;
            let json = reader.file(POINT_FILE).await.map_err(store)?;
            let file = described(&json)?;
            if file.kind != PointKind::Vm {
                return Err(no_vm(file.kind).into());
            }
            let xml = reader.file(OVA_FILE).await.map_err(store)?;
            let disks = reader.disks().await.map_err(store)?;
            Ok::<_, Stop>((reader, file, xml, disks))
        };
        let (reader, file, xml, disks) = cx.or_cancelled(open).await?;
        let ova = Ova::parse(&xml).map_err(|error| damaged(OVA_FILE, &problem::chain(&error)))?;
        let point = Self { reader, datastore: datastore.clone(), file, ova };
        point.check(&disks)?;
        Ok(point)
    }

    /// The point's three accounts of its disks agree.
    fn check(&self, stored: &[String]) -> Result<(), Stop> {
        let ova = self.ova.disks().map_err(|error| damaged(OVA_FILE, &problem::chain(&error)))?;
        let described: Vec<_> = self.file.images().collect();
        if ova.len() != described.len() || stored.len() != described.len() {
            let text =
                format!("{} disks described, {} in {OVA_FILE}, {} stored", described.len(), ova.len(), stored.len());
            return Err(damaged("the list of its disks", &text).into());
        }
        for file in described {
            let disk = &file.disk;
            let same = |size| size == disk.size_bytes;
            if !ova.iter().any(|ova| ova.id == disk.ova_id && same(ova.virtual_size))
                || !stored.contains(&disk.position)
            {
                return Err(damaged(&format!("disk {}", disk.position), "it is not as described").into());
            }
        }
        Ok(())
    }

    /// Who the VM was.
    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.file)
    }

    /// XAPI's description, to be changed.
    pub(crate) fn ova(&self) -> Ova {
        self.ova.clone()
    }

    /// Forgets the memory that the point holds: its VM is one that is off.
    pub(crate) fn leave_memory(&mut self) {
        if let Some(memory) = self.file.memory.take() {
            identity::switch_off(&mut self.ova, &memory.disk.ova_id);
        }
    }

    /// The disk at a position.
    pub(crate) async fn disk(&self, position: &str) -> Result<Arc<dyn DiskRead>, Stop> {
        let disk = self.reader.disk(position).await.map_err(|error| problem::repo(&self.datastore, &error))?;
        let expected = self.file.images().find(|file| file.disk.position == position);
        match expected {
            Some(expected) if expected.disk.size_bytes == disk.size() => Ok(disk),
            _ => Err(damaged(&format!("disk {position}"), "its size is not as described").into()),
        }
    }
}

/// What `point.json` says.
pub(crate) fn described(json: &[u8]) -> Result<PointFile, Problem> {
    let file: PointFile = serde_json::from_slice(json).map_err(|error| damaged(POINT_FILE, &error.to_string()))?;
    if file.format > FORMAT {
        let message = format!("the point was written by {}", file.written_by);
        return Err(Problem::new("point.too_new", message).hint("update xenkeep"));
    }
    Ok(file)
}

fn no_vm(kind: PointKind) -> Problem {
    let (what, command) = match kind {
        PointKind::Host => ("the backup of a host", "restore host"),
        _ => ("the database of a pool", "restore meta-data"),
    };
    Problem::new("point.no_vm", format!("the point holds {what}, not a VM"))
        .hint(format!("`xenkeep export` writes it to a file, `xenkeep {command}` puts it back"))
}

pub(crate) fn damaged(what: &str, why: &str) -> Problem {
    Problem::new("point.damaged", format!("{what} of the point is damaged: {why}")).hint(
        "restore another point; `xenkeep datastore verify NAME --full` names all that is damaged in the datastore",
    )
}
