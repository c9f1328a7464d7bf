//! Signing in and out.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Ref, Value},
    rpc::{Args, Ctx, Handler, Later, Reply},
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Session, "login_with_password", Handler::Later(login)),
    (Class::Session, "slave_local_login_with_password", Handler::Later(local_login)),
    (Class::Session, "slave_login", Handler::Now(refuse_secret)),
    (Class::Session, "slave_local_login", Handler::Now(refuse_secret)),
    (Class::Session, "logout", Handler::Now(logout)),
    (Class::Session, "local_logout", Handler::Now(logout)),
    (Class::Session, "change_password", Handler::Now(change_password)),
    (Class::Session, "get_all_subject_identifiers", Handler::Now(nobody)),
    (Class::Session, "create_from_db_file", Handler::Now(refuse_database)),
];

fn login(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let originator = args.text(3);
        ctx.world.login(&args.text(0), &args.text(1), &originator).await.map(Value::from)
    })
}

fn local_login(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let checked = ctx.world.login(&args.text(0), &args.text(1), "").await?;
        ctx.world.logout(&checked);
        Ok(Value::from(ctx.world.open_session(&args.text(0), "", true)))
    })
}

/// Only other hosts know the pool's secret.
fn refuse_secret(_ctx: &Ctx, _args: &Args) -> Reply {
    Err(ApiError::new("SESSION_AUTHENTICATION_FAILED", ["pool", "Wrong pool secret"]))
}

fn logout(ctx: &Ctx, _args: &Args) -> Reply {
    ctx.world.logout(&ctx.session);
    Ok(Value::Nil)
}

fn change_password(ctx: &Ctx, args: &Args) -> Reply {
    if args.text(0) != ctx.world.config.password.0 {
        return Err(ApiError::new("CHANGE_PASSWORD_REJECTED", ["Authentication token manipulation error"]));
    }
    Err(ApiError::new("NOT_IMPLEMENTED", ["session.change_password"]))
}

fn nobody(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::texts::<Ref>([]))
}

fn refuse_database(_ctx: &Ctx, _args: &Args) -> Reply {
    Err(ApiError::new("NOT_IMPLEMENTED", ["session.create_from_db_file"]))
}
