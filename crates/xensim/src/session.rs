//! Sessions: signing in and out, who is signed in, and when they are forgotten.

use crate::{
    config::Account,
    error::ApiError,
    model::{Class, Map, Ref, Tables, Value},
    roles,
    world::World,
};

/// A session that nobody used for this long is over.
const IDLE_SECONDS: i64 = 24 * 3600;
/// Only a last use older than this is written down anew.
const TOUCH_SECONDS: i64 = 600;
/// Sessions with one originator, or of one user.
const MAX_NAMED: usize = 500;
/// Sessions with neither.
const MAX_UNNAMED: usize = 400;

impl World {
    /// Checks name and password, and opens a session.
    pub async fn login(&self, user: &str, password: &str, originator: &str) -> Result<Ref, ApiError> {
        let root = user == self.config.user && password == self.config.password.0;
        let known = |account: &Account| account.user == user && account.password.0 == password;
        if !root && !self.config.accounts.iter().any(known) {
            tokio::time::sleep(self.timing.wrong_password).await;
            return Err(ApiError::new("SESSION_AUTHENTICATION_FAILED", [user, "Authentication failure"]));
        }
        Ok(self.open_session(user, originator, false))
    }

    /// Opens a session without asking for a password; `local` ones know only the host they were opened on.
    pub(crate) fn open_session(&self, user: &str, originator: &str, local: bool) -> Ref {
        let now = self.clock.now();
        let role = self.config.accounts.iter().find(|account| account.user == user).map(|account| account.role);
        let permissions = role.map(roles::permissions).unwrap_or_default();
        self.db.write(|t| {
            make_room(t, originator, user);
            let other_config = if local { Value::map([("local", "true")]) } else { Value::Map(Map::new()) };
            t.create(
                Class::Session,
                [
                    ("this_host", Value::from(self.master())),
                    ("this_user", Value::from(crate::model::NULL_REF)),
                    ("last_active", Value::Date(now)),
                    ("pool", Value::Bool(false)),
                    ("is_local_superuser", Value::Bool(role.is_none())),
                    ("rbac_permissions", Value::texts(permissions)),
                    ("validation_time", Value::Date(now)),
                    ("auth_user_name", Value::from(user)),
                    ("originator", Value::from(originator)),
                    ("other_config", other_config),
                ],
            )
        })
    }

    /// Finds the session of that reference, and notes its use.
    pub fn authenticate(&self, session: &str) -> Result<Ref, ApiError> {
        let reference = Ref::from(session);
        let now = self.clock.now();
        self.db.write(|t| {
            if !t.has(Class::Session, &reference) || is_over(t, &reference, now) {
                return Err(ApiError::session(session));
            }
            if now - t.date(&reference, "last_active") > TOUCH_SECONDS {
                t.set(&reference, "last_active", Value::Date(now));
            }
            Ok(reference.clone())
        })
    }

    /// Ends a session; calls that wait for its events end too.
    pub fn logout(&self, session: &Ref) {
        self.queues.forget(session);
        self.db.write(|t| t.destroy(session));
    }

    /// Forgets all sessions, as a restart of the toolstack does.
    pub fn forget_sessions(&self) {
        for session in self.db.read(|t| t.all(Class::Session)) {
            self.logout(&session);
        }
    }

    /// Whether the session was opened on a member, past the pool's database.
    pub(crate) fn is_local(&self, session: &Ref) -> bool {
        self.db.read(|t| t.entry(session, "other_config", "local").is_some())
    }

    pub(crate) fn sweep_sessions(&self) {
        let now = self.clock.now();
        let over: Vec<Ref> =
            self.db.read(|t| t.all(Class::Session).into_iter().filter(|session| is_over(t, session, now)).collect());
        over.iter().for_each(|session| self.logout(session));
    }
}

/// Unused for a day, and none of its tasks still runs.
fn is_over(t: &Tables, session: &Ref, now: i64) -> bool {
    now - t.date(session, "last_active") > IDLE_SECONDS
        && !t.references(session, "tasks").iter().any(|task| t.str(task, "status") == "pending")
}

/// Drops the sessions that were used least recently, where there are too many of a kind.
fn make_room(t: &mut Tables, originator: &str, user: &str) {
    let all = t.all(Class::Session);
    let group = |t: &Tables, field: &str, value: &str| -> Vec<Ref> {
        all.iter().filter(|session| t.str(session, field) == value).cloned().collect()
    };
    let groups: [(Vec<Ref>, usize); 2] = if originator.is_empty() && user.is_empty() {
        [(group(t, "originator", ""), MAX_UNNAMED), (Vec::new(), MAX_NAMED)]
    } else {
        let by_originator = if originator.is_empty() { Vec::new() } else { group(t, "originator", originator) };
        [(by_originator, MAX_NAMED), (group(t, "auth_user_name", user), MAX_NAMED)]
    };
    for (mut sessions, limit) in groups {
        sessions.retain(|session| t.has(Class::Session, session));
        sessions.sort_by_key(|session| t.date(session, "last_active"));
        let surplus = (sessions.len() + 1).saturating_sub(limit);
        for session in sessions.iter().take(surplus) {
            t.destroy(session);
        }
    }
}
