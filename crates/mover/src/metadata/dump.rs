//! Reading a pool's database: is it whole, and what is in it?
//!
//! The database is read once from beginning to end, tag by tag; of its rows only names are kept, and no more than a list that
//! a person would read.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use xenkeep_api::DatabaseSummary;

#[cfg(test)]
mod tests;

/// A row is one tag. NVRAM and TPM contents make the longest ones: some hundred KB.
const TAG_BYTES_MAX: u64 = 32 << 20;

/// Names that are listed of each kind.
const LISTED: usize = 200;

/// Hosts that are remembered until it is known which one is the master.
const HOSTS: usize = 1000;

/// The tables without which it is no pool's database.
const NEEDED: [&str; 3] = ["pool", "host", "VM"];

/// Reads a database to its end.
pub(super) fn read(from: impl BufRead) -> Result<DatabaseSummary, String> {
    let mut reader = Reader::from_reader(Limited { from, left: TAG_BYTES_MAX });
    let mut look = Look::default();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        reader.get_mut().left = TAG_BYTES_MAX;
        let event = reader.read_event_into(&mut buffer).map_err(|error| look.broken(&error))?;
        match event {
            Event::Eof => return look.finish(),
            Event::Start(tag) => {
                look.tag(&tag)?;
                look.open.push(tag.name().as_ref().to_owned());
                if look.open.len() > 8 {
                    return Err("its tags are nested too deeply".to_owned());
                }
            }
            Event::Empty(tag) => look.tag(&tag)?,
            Event::End(_) => {
                look.open.pop();
                look.ended = look.open.is_empty();
            }
            Event::Text(text) if look.open.is_empty() && !text.as_ref().trim().is_empty() => {
                return Err(if look.ended {
                    "something follows its end".to_owned()
                } else {
                    "it does not begin as a database".to_owned()
                });
            }
            Event::DocType(_) | Event::PI(_) | Event::CData(_) => {
                return Err("it is not written as a pool does".to_owned());
            }
            _ => {}
        }
    }
}

/// Lets no more than so many bytes through before the next tag has ended.
struct Limited<R> {
    from: R,
    left: u64,
}

impl<R: BufRead> BufRead for Limited<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other("a row is too long"));
        }
        let bytes = self.from.fill_buf()?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(most)])
    }

    fn consume(&mut self, amount: usize) {
        self.left -= amount as u64;
        self.from.consume(amount);
    }
}

impl<R: BufRead> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buf.len());
        buf[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// What was seen so far.
#[derive(Default)]
struct Look {
    /// The tags that are open.
    open: Vec<String>,
    /// `</database>` was there.
    ended: bool,
    table: String,
    schema: (Option<String>, Option<String>),
    master: Option<String>,
    /// Name and product of the hosts, by reference.
    hosts: HashMap<String, (String, String)>,
    found: HashMap<&'static str, u64>,
    summary: DatabaseSummary,
}

type Columns = HashMap<String, String>;

impl Look {
    fn broken(&self, error: &quick_xml::Error) -> String {
        format!("after {} rows it is no XML any more: {error}", self.summary.rows)
    }

    fn tag(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.ended {
            return Err("something follows its end".to_owned());
        }
        let name = tag.name().as_ref().to_owned();
        match (self.open.len(), name.as_str()) {
            (0, "database") => {}
            (0, _) => return Err("it does not begin as a database".to_owned()),
            (1, "table") => {
                self.table = self.columns(tag)?.remove("name").unwrap_or_default();
                self.summary.tables += 1;
                if let Some(needed) = NEEDED.iter().find(|needed| **needed == self.table) {
                    self.found.entry(needed).or_default();
                }
            }
            (2, "pair") => {
                let mut columns = self.columns(tag)?;
                let value = columns.remove("value");
                match columns.get("key").map(String::as_str) {
                    Some("schema_major_vsn") => self.schema.0 = value,
                    Some("schema_minor_vsn") => self.schema.1 = value,
                    _ => {}
                }
            }
            (2, "row") => {
                let columns = self.columns(tag)?;
                self.row(&columns);
            }
            _ => {}
        }
        Ok(())
    }

    fn columns(&self, tag: &BytesStart<'_>) -> Result<Columns, String> {
        let mut columns = Columns::new();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.broken(&error.into()))?;
            let key = attribute.key.as_ref();
            // Only what the summary needs is kept; all of it has been looked at.
            if matches!(
                key,
                "name"
                    | "key"
                    | "value"
                    | "ref"
                    | "master"
                    | "name__label"
                    | "name_label"
                    | "software_version"
                    | "is_a_template"
                    | "is_a_snapshot"
                    | "is_control_domain"
            ) {
                let value =
                    quick_xml::escape::unescape(&attribute.value).map_err(|error| self.broken(&error.into()))?;
                columns.insert(key.to_owned(), unprotect(&value));
            }
        }
        Ok(columns)
    }

    fn row(&mut self, columns: &Columns) {
        self.summary.rows += 1;
        if let Some(count) = self.found.get_mut(self.table.as_str()) {
            *count += 1;
        }
        let column = |key: &str| columns.get(key).map_or("", String::as_str);
        let is = |key: &str| column(key) == "true";
        let name = if column("name__label").is_empty() { column("name_label") } else { column("name__label") };
        let list = match self.table.as_str() {
            "pool" => {
                self.master = Some(column("master").to_owned());
                return;
            }
            "host" => {
                if self.hosts.len() < HOSTS {
                    let product = product(column("software_version"));
                    self.hosts.insert(column("ref").to_owned(), (name.to_owned(), product));
                }
                &mut self.summary.hosts
            }
            "SR" => &mut self.summary.srs,
            "network" => &mut self.summary.networks,
            "VM" if is("is_a_template") || is("is_a_snapshot") || is("is_control_domain") => return,
            "VM" => &mut self.summary.vms,
            _ => return,
        };
        if list.len() < LISTED {
            list.push(name.chars().take(200).collect());
        } else {
            self.summary.unlisted += 1;
        }
    }

    fn finish(mut self) -> Result<DatabaseSummary, String> {
        if !self.ended {
            return Err(format!("it ends after {} rows without </database>", self.summary.rows));
        }
        let missing = |name: &&&str| !matches!(self.found.get(**name), Some(count) if *count > 0);
        if let Some(missing) = NEEDED.iter().find(missing) {
            return Err(format!(
                "it has nothing in its table {missing:?}: such an empty one is sent while a pool is being upgraded host by host"
            ));
        }
        let (Some(major), Some(minor)) = self.schema else {
            return Err("it does not say the version of its schema".to_owned());
        };
        self.summary.schema = format!("{major}.{minor}");
        let master = self.master.and_then(|master| self.hosts.remove(&master)).unwrap_or_default();
        (self.summary.master, self.summary.product) = master;
        for list in [&mut self.summary.hosts, &mut self.summary.srs, &mut self.summary.networks, &mut self.summary.vms]
        {
            list.sort();
        }
        Ok(self.summary)
    }
}

/// White space is escaped in a database, since XML would not keep it (xapi: `xml_spaces.ml`).
fn unprotect(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '%' => match chars.next() {
                Some('.' | '_') => ' ',
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '%',
            },
            c => c,
        });
    }
    plain
}

/// Brand and version out of a map that is written as an S-expression.
fn product(software_version: &str) -> String {
    let of = |key: &str| {
        let rest = software_version.split_once(&format!("'{key}' '"))?.1;
        rest.split_once('\'').map(|(value, _)| value.to_owned())
    };
    let version = of("product_version_text").filter(|text| !text.is_empty()).or_else(|| of("product_version"));
    format!("{} {}", of("product_brand").unwrap_or_default(), version.unwrap_or_default()).trim().to_owned()
}
