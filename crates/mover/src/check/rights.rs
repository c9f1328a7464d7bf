//! Whether the account may do what backups and restores need.

use xenkeep_api::Check;

use crate::{
    context::Stop,
    session::{OrStop, Session},
};

/// What a backup or a restore of a VM calls, and nothing works without.
const NEEDED: [&str; 7] =
    ["vm.snapshot", "vm.destroy", "vdi.destroy", "vm.start", "sr.scan", "http/get_export", "http/put_import"];

/// What only backups of hosts and of the pool's database call.
const NEEDED_FOR_HOSTS: [&str; 3] = ["http/get_host_backup", "http/put_host_restore", "http/get_pool_xml_db_sync"];

/// The account's role, by what it may do.
pub(super) async fn role(session: &Session) -> Result<Check, Stop> {
    let rights = match session.pool.rights().await {
        Err(error) if error.is_unsupported() => {
            return Ok(Check::skipped("role", "this release does not tell what an account may do"));
        }
        other => other.or_stop(session)?,
    };
    Ok(judge(&session.client.user, rights.superuser, &rights.permissions))
}

fn judge(user: &str, superuser: bool, permissions: &[String]) -> Check {
    const ID: &str = "role";
    const CURE: &str = "give the account the role pool-admin (xe subject-role-add), or use root";
    if superuser {
        return Check::ok(ID, format!("{user} is the local superuser: it may do everything"));
    }
    let lacks = |needed: &[&str]| -> Vec<String> {
        let may = |call: &str| permissions.iter().any(|known| known.eq_ignore_ascii_case(call));
        needed.iter().filter(|call| !may(call)).map(|call| (*call).to_owned()).collect()
    };
    let (vms, hosts) = (lacks(&NEEDED), lacks(&NEEDED_FOR_HOSTS));
    if !vms.is_empty() {
        return Check::failed(ID, format!("{user} may not call {}", vms.join(", ")))
            .because("backups and restores of VMs need these calls")
            .cure(CURE);
    }
    if !hosts.is_empty() {
        return Check::warning(ID, format!("{user} may not call {}", hosts.join(", ")))
            .because("VMs can be backed up and restored; meta-data and hosts can't")
            .cure(CURE);
    }
    Check::ok(ID, format!("{user} may call all that is needed (a role like pool-admin)"))
}

#[cfg(test)]
mod tests {
    use xenkeep_api::CheckOutcome;

    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        let all: Vec<String> = NEEDED.iter().chain(&NEEDED_FOR_HOSTS).map(|call| call.to_uppercase()).collect();
        assert_eq!(judge("bob", false, &all).outcome, CheckOutcome::Ok);
        assert_eq!(judge("root", true, &[]).outcome, CheckOutcome::Ok);
        let vms_only = &all[..NEEDED.len()];
        let check = judge("bob", false, vms_only);
        assert_eq!(check.outcome, CheckOutcome::Warning);
        assert!(check.result.contains("http/get_host_backup"), "{check:?}");
        let check = judge("bob", false, &all[1..]);
        assert_eq!(check.outcome, CheckOutcome::Failed);
        assert!(check.result.contains("vm.snapshot") && !check.result.contains("vm.start"), "{check:?}");
    }
}
