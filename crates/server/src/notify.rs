//! Reports on the wire: by mail, and by POST.

pub(crate) mod mail;
mod text;
pub(crate) mod webhook;
