//! Where a repository lies.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::{Error, Result};

/// Where a repository lies. Displayed, it is the address by which restic knows it.
#[derive(Clone, Debug)]
pub enum Location {
    /// A directory: on a local disk, or on a mounted share.
    Directory(PathBuf),
    /// A part of a bucket of an S3 server.
    S3(S3Location),
}

/// A part of a bucket of an S3 server, and how to get at it.
#[derive(Clone, Debug)]
pub struct S3Location {
    /// `http://…` or `https://…`, with a port if it is not the usual one. Without it, Amazon's.
    pub endpoint: Option<String>,
    /// Name of the bucket, which must be there.
    pub bucket: String,
    /// What the names of all objects begin with, without slashes around it. May be empty.
    pub prefix: String,
    /// Region that requests are signed for; most servers other than Amazon's don't care.
    pub region: Option<String>,
    /// Who we are.
    pub access_key_id: String,
    /// The secret that proves it.
    pub secret_access_key: SecretString,
    /// Certificates (PEM) of authorities that the server's may be signed by, besides those that this machine trusts.
    pub ca_certificate: Option<String>,
}

impl S3Location {
    /// Is it something that a server can be asked for?
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::Invalid(what));
        if let Some(endpoint) = &self.endpoint {
            let url: Option<reqwest::Url> = endpoint.parse().ok();
            let plain = |url: &reqwest::Url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && (url.username(), url.password()) == ("", None)
                    && (url.path(), url.query(), url.fragment()) == ("/", None, None)
            };
            if !url.as_ref().is_some_and(plain) {
                return invalid(format!("{endpoint} is no address of an S3 server: it is written https://HOST:PORT"));
            }
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(3..=255).contains(&self.bucket.len()) || !self.bucket.chars().all(fits) || self.bucket.starts_with('.') {
            return invalid(format!("{} is no name of a bucket", self.bucket));
        }
        let prefix = self.prefix.trim_matches('/');
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
        if self.prefix.len() > 512 || (!prefix.is_empty() && prefix.split('/').any(bad)) {
            return invalid(format!("{} is no prefix for the names of objects", self.prefix));
        }
        Ok(())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Directory(dir) => dir.display().fmt(f),
            Location::S3(s3) => s3.fmt(f),
        }
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_deref().unwrap_or("s3.amazonaws.com").trim_end_matches('/');
        write!(f, "s3:{endpoint}/{}", self.bucket)?;
        let prefix = self.prefix.trim_matches('/');
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

impl From<PathBuf> for Location {
    fn from(dir: PathBuf) -> Self {
        Location::Directory(dir)
    }
}

impl From<&PathBuf> for Location {
    fn from(dir: &PathBuf) -> Self {
        Location::Directory(dir.clone())
    }
}

impl From<&Path> for Location {
    fn from(dir: &Path) -> Self {
        Location::Directory(dir.to_owned())
    }
}

impl From<S3Location> for Location {
    fn from(s3: S3Location) -> Self {
        Location::S3(s3)
    }
}
