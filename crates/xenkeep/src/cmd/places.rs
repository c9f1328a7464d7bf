//! Where a datastore lies, as it is said on the command line. Secrets come from files, stdin or the environment.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use xenkeep_api::{NewDatastore, S3Place, Secret};

use crate::report::Usage;

/// Longest file with an access key or certificates: what is longer is the wrong one.
const MAX_BYTES: u64 = 1 << 20;

/// The environment variables that every program with S3 understands.
const KEY_VARIABLE: &str = "AWS_ACCESS_KEY_ID";
const SECRET_VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory on the server's machine.
    #[arg(long, value_name = "DIR", required_unless_present = "bucket", conflicts_with = "bucket")]
    path: Option<PathBuf>,
    /// Bucket of an S3 server. It must be there.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Address of the S3 server, as https://HOST:PORT; without it, Amazon's.
    #[arg(long, value_name = "URL", requires = "bucket")]
    s3_endpoint: Option<String>,
    /// What the names of all objects begin with: so that a bucket can hold more than one datastore.
    #[arg(long, value_name = "PREFIX", requires = "bucket", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Region of the bucket.
    #[arg(long, value_name = "REGION", requires = "bucket")]
    region: Option<String>,
    /// File with the access key in its first line and its secret in the second, or `-` for stdin; without it they are
    /// taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    #[arg(long, value_name = "FILE", requires = "bucket")]
    access_key_file: Option<PathBuf>,
    /// File with the certificate (PEM) of the authority that has signed the server's.
    #[arg(long, value_name = "FILE", requires = "s3_endpoint")]
    s3_ca_file: Option<PathBuf>,
    /// A mover that reaches it, may be given several times. Without it a directory is on the server's own mover, and all
    /// movers reach an S3 server.
    #[arg(long = "mover", value_name = "NAME")]
    movers: Vec<String>,
}

impl Place {
    /// True if stdin is read for the access key.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.access_key_file.as_deref() == Some(Path::new("-"))
    }

    /// A datastore of that name at this place.
    pub(crate) fn datastore(self, name: String) -> anyhow::Result<NewDatastore> {
        let Some(bucket) = self.bucket else {
            let path = self.path.ok_or_else(|| Usage::new("neither a directory nor a bucket is given"))?;
            // The server has a working directory of its own: what is meant is ours, and must be said in full.
            let path = std::path::absolute(path)?.into_os_string().into_string();
            let path = path.map_err(|path| {
                Usage::new(format!("{} is not UTF-8", path.display())).hint("choose another directory")
            })?;
            return Ok(NewDatastore { movers: self.movers, ..NewDatastore::directory(name, path) });
        };
        let (access_key_id, secret) = match &self.access_key_file {
            Some(file) => access_key(&read(file)?, &file.display().to_string())?,
            None => from_environment()?,
        };
        let ca_certificate = match &self.s3_ca_file {
            Some(file) => Some(read(file)?.expose().to_owned()),
            None => None,
        };
        let Self { s3_endpoint: endpoint, prefix, region, movers, .. } = self;
        let s3 = S3Place { endpoint, bucket, prefix, region, access_key_id, ca_certificate };
        Ok(NewDatastore { name, path: None, s3: Some(s3), s3_secret_access_key: Some(secret), movers })
    }
}

fn read(file: &Path) -> anyhow::Result<Secret> {
    let name = file.display();
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text).context("stdin can't be read")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {name}"))?;
        opened.take(MAX_BYTES).read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    }
    Ok(Secret::new(text)) // wiped when it is dropped
}

/// Two lines; or, as Amazon's own tools write them, `aws_access_key_id = …` and `aws_secret_access_key = …`.
fn access_key(text: &Secret, name: &str) -> anyhow::Result<(String, Secret)> {
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with(['#', '['])).collect();
    let value = |key: &str| {
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
    };
    let named = value("aws_access_key_id").zip(value("aws_secret_access_key"));
    let plain = || match lines.as_slice() {
        [key, secret] => Some((*key, *secret)),
        _ => None,
    };
    match named.or_else(plain) {
        Some((key, secret)) if !key.is_empty() && !secret.is_empty() => Ok((key.to_owned(), Secret::new(secret))),
        _ => Err(Usage::new(format!("{name} holds no access key"))
            .hint("write the access key in its first line and its secret in the second")
            .into()),
    }
}

fn from_environment() -> anyhow::Result<(String, Secret)> {
    match (std::env::var(KEY_VARIABLE), std::env::var(SECRET_VARIABLE)) {
        (Ok(key), Ok(secret)) if !key.is_empty() && !secret.is_empty() => Ok((key, Secret::new(secret))),
        _ => Err(Usage::new("no access key is given")
            .hint(format!("name a file with --access-key-file, or set {KEY_VARIABLE} and {SECRET_VARIABLE}"))
            .into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_access_key_is_found_in_two_lines_and_in_a_credentials_file() {
        for text in [
            "AKID\nsecret/+=\n",
            "\n# ours\nAKID\r\nsecret/+=",
            "[default]\naws_access_key_id = AKID\naws_secret_access_key=secret/+=\nregion = x\n",
        ] {
            let (key, secret) = access_key(&Secret::new(text), "f").unwrap();
            assert_eq!((key.as_str(), secret.expose()), ("AKID", "secret/+="), "{text}");
        }
        for text in ["", "AKID", "AKID\n\n", "a\nb\nc", "aws_access_key_id=\naws_secret_access_key=x"] {
            let error = access_key(&Secret::new(text), "f").unwrap_err().to_string();
            assert_eq!(error, "f holds no access key", "{text}");
        }
    }
}
