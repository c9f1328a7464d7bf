//! What accounts may do: the roles of XAPI's RBAC (xapi: `rbac_static.ml`), each of which includes those below it.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::error::ApiError;
use crate::model::{Ref, Schema};
use crate::world::World;

/// Calls that need another role than [`usual`] says: lines of names below the role.
const TABLE: &str = include_str!("roles.txt");

/// The handlers of transfers, by the names that their permissions have.
const HANDLERS: &[(&str, Role)] = &[
    ("http/get_export", Role::VmAdmin),
    ("http/get_export_metadata", Role::VmAdmin),
    ("http/get_export_raw_vdi", Role::VmAdmin),
    ("http/put_import", Role::VmAdmin),
    ("http/put_import_metadata", Role::VmAdmin),
    ("http/put_import_raw_vdi", Role::VmAdmin),
    ("http/get_pool_xml_db_sync", Role::PoolAdmin),
    ("http/put_pool_xml_db_sync", Role::PoolAdmin),
    ("http/get_host_backup", Role::PoolAdmin),
    ("http/put_host_restore", Role::PoolAdmin),
];

/// Only the local root user may call these.
const LOCAL_ROOT: &[&str] = &["VTPM.get_contents", "VTPM.set_contents"];

/// A role, from the one that may do least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `read-only`.
    ReadOnly,
    /// `vm-operator`.
    VmOperator,
    /// `vm-admin`.
    VmAdmin,
    /// `vm-power-admin`.
    VmPowerAdmin,
    /// `pool-operator`.
    PoolOperator,
    /// `pool-admin`.
    PoolAdmin,
}

impl Role {
    /// All of them, from the one that may do least.
    pub const ALL: [Self; 6] =
        [Self::ReadOnly, Self::VmOperator, Self::VmAdmin, Self::VmPowerAdmin, Self::PoolOperator, Self::PoolAdmin];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::VmOperator => "vm-operator",
            Self::VmAdmin => "vm-admin",
            Self::VmPowerAdmin => "vm-power-admin",
            Self::PoolOperator => "pool-operator",
            Self::PoolAdmin => "pool-admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| format!("known roles are {}", known()))
    }
}

/// The least role that a call or handler needs; none if it is for the local root user alone.
fn needed(permission: &str) -> Option<Role> {
    static NEEDED: OnceLock<HashMap<&str, Role>> = OnceLock::new();
    let table = NEEDED.get_or_init(|| {
        let mut role = Role::ReadOnly;
        let mut table: HashMap<&str, Role> = HANDLERS.iter().copied().collect();
        for line in TABLE.lines() {
            match line.strip_prefix("  ") {
                Some(names) => table.extend(names.split(' ').map(|name| (name, role))),
                None => role = line.parse().expect("the table is our own: a role"),
            }
        }
        table
    });
    if LOCAL_ROOT.contains(&permission) {
        return None;
    }
    Some(table.get(permission).copied().unwrap_or_else(|| usual(permission)))
}

fn usual(call: &str) -> Role {
    let (class, name) = call.split_once('.').unwrap_or((call, ""));
    if name.starts_with("get_") || matches!(class, "session" | "task" | "event") {
        Role::ReadOnly
    } else {
        Role::PoolOperator
    }
}

/// What an account with a role may do, as `session.get_rbac_permissions` tells it: lower case.
pub(crate) fn permissions(role: Role) -> Vec<String> {
    let schema = Schema::get();
    let calls = schema.classes().iter().flat_map(|def| {
        let class = def.class.name();
        def.calls.iter().map(move |call| format!("{class}.{}", call.name)).chain(
            ["create", "destroy"]
                .into_iter()
                .filter(|name| def.generic.contains(*name))
                .map(move |name| format!("{class}.{name}")),
        )
    });
    let all = calls.chain(HANDLERS.iter().map(|(name, _)| (*name).to_owned()));
    all.filter(|name| needed(name).is_some_and(|needed| needed <= role)).map(|name| name.to_lowercase()).collect()
}

impl World {
    /// The role of a session; none for the local root user, who may do everything.
    pub(crate) fn role(&self, session: &Ref) -> Option<Role> {
        let user = self.db.read(|t| t.str(session, "auth_user_name"));
        self.config.accounts.iter().find(|account| account.user == user).map(|account| account.role)
    }

    /// Refuses what the account of a session may not do; `permission` is a call such as `VM.start`, or a handler.
    pub(crate) fn check_role(&self, session: &Ref, permission: &str) -> Result<(), ApiError> {
        let Some(role) = self.role(session) else { return Ok(()) };
        match needed(permission) {
            Some(needed) if needed <= role => Ok(()),
            _ => Err(ApiError::new(
                "RBAC_PERMISSION_DENIED",
                [permission.to_lowercase(), "No permission in user session".to_owned()],
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_need_the_roles_of_the_reference() {
        for (call, role) in [
            ("VM.get_record", Some(Role::ReadOnly)),
            ("event.from", Some(Role::ReadOnly)),
            ("VM.start", Some(Role::VmOperator)),
            ("VM.destroy", Some(Role::VmAdmin)),
            ("VM.snapshot", Some(Role::VmPowerAdmin)),
            ("SR.scan", Some(Role::VmPowerAdmin)),
            ("pool.set_default_SR", Some(Role::PoolOperator)),
            ("network.add_purpose", Some(Role::PoolAdmin)),
            ("http/get_host_backup", Some(Role::PoolAdmin)),
            ("VTPM.get_contents", None),
        ] {
            assert_eq!(needed(call), role, "{call}");
        }
    }

    #[test]
    fn higher_roles_may_do_more() {
        let counts = Role::ALL.map(|role| permissions(role).len());
        assert!(counts.is_sorted() && counts[0] < counts[5], "{counts:?}");
        assert!(permissions(Role::VmAdmin).contains(&"http/get_export".to_owned()));
        assert!(!permissions(Role::VmAdmin).contains(&"vm.snapshot".to_owned()));
        assert_eq!("vm-admin".parse(), Ok(Role::VmAdmin));
    }
}
