//! Who answers what: by method, then by the longest prefix of the path.

use super::answer::Status;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    XmlRpc,
    JsonRpc,
    Preflight,
    File,
    Export,
    ExportMetadata,
    Import,
    ImportMetadata,
    DumpDatabase,
    RestoreDatabase,
    HostBackup,
    HostRestore,
    /// Real hosts answer, this one does not.
    Missing,
}

/// `/json` is an old name that takes XML-RPC, not JSON (xapi: `xapi.ml`).
const ROUTES: &[(&str, &str, Route)] = &[
    ("POST", "/", Route::XmlRpc),
    ("POST", "/RPC2", Route::XmlRpc),
    ("POST", "/json", Route::XmlRpc),
    ("POST", "/jsonrpc", Route::JsonRpc),
    ("OPTIONS", "/", Route::Preflight),
    ("OPTIONS", "/json", Route::Preflight),
    ("OPTIONS", "/jsonrpc", Route::Preflight),
    ("GET", "/", Route::File),
    ("GET", "/export", Route::Export),
    ("GET", "/export_metadata", Route::ExportMetadata),
    ("PUT", "/import", Route::Import),
    ("PUT", "/import_metadata", Route::ImportMetadata),
    ("GET", "/pool/xmldbdump", Route::DumpDatabase),
    ("PUT", "/pool/xmldbdump", Route::RestoreDatabase),
    ("GET", "/host_backup", Route::HostBackup),
    ("PUT", "/host_restore", Route::HostRestore),
    // Without these, whole machines would be taken from and put into what is a single disk.
    ("GET", "/export_raw_vdi", Route::Missing),
    ("PUT", "/import_raw_vdi", Route::Missing),
];

impl Route {
    /// Finds who answers.
    pub(super) fn find(method: &str, path: &str) -> Result<Self, Status> {
        let mut known_method = false;
        let mut found: Option<(usize, Self)> = None;
        for (its_method, prefix, route) in ROUTES {
            if *its_method != method {
                continue;
            }
            known_method = true;
            if path.starts_with(prefix) && found.is_none_or(|(length, _)| prefix.len() > length) {
                found = Some((prefix.len(), *route));
            }
        }
        match found {
            Some((_, route)) => Ok(route),
            None if known_method => Err(Status::NotFound),
            None => Err(Status::NotImplemented),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_answers() {
        let cases = [
            ("POST", "/", Ok(Route::XmlRpc)),
            ("POST", "/xmlrpc", Ok(Route::XmlRpc)),
            ("POST", "/RPC2", Ok(Route::XmlRpc)),
            ("POST", "/json", Ok(Route::XmlRpc)),
            ("POST", "/jsonrpc", Ok(Route::JsonRpc)),
            ("GET", "/export/", Ok(Route::Export)),
            ("GET", "/export_metadata", Ok(Route::ExportMetadata)),
            ("GET", "/nothing", Ok(Route::File)),
            ("PUT", "/import/", Ok(Route::Import)),
            ("GET", "/export_raw_vdi/", Ok(Route::Missing)),
            ("PUT", "/import_raw_vdi", Ok(Route::Missing)),
            ("PUT", "/pool/xmldbdump", Ok(Route::RestoreDatabase)),
            ("POST", "/pool/xmldbdump", Ok(Route::XmlRpc)),
            ("GET", "/host_backup", Ok(Route::HostBackup)),
            ("PUT", "/host_backup", Err(Status::NotFound)),
            ("GET", "/host_restore", Ok(Route::File)),
            ("PUT", "/nothing", Err(Status::NotFound)),
            ("DELETE", "/export", Err(Status::NotImplemented)),
        ];
        for (method, path, expected) in cases {
            assert_eq!(Route::find(method, path), expected, "{method} {path}");
        }
    }
}
