//! How a backup is made: its type, its consistency, which disks it leaves out, what runs before and after it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Problem, Transport};

/// How a source is read. Each gives a complete restore point.
///
/// The words of the old system are understood wherever a type is read: `FULL`, `COPY`, `DIFF`, `DIFFERENTIAL`, `INC`,
/// `INCR`, `INCREMENTAL`, in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum BackupType {
    /// Everything is read, as one XVA stream.
    Copy,
    /// Everything is read, disk by disk.
    Full,
    /// Only what has changed is read.
    #[default]
    Incremental,
}

/// Text that is no [`BackupType`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no backup type: copy, full or incremental is meant (DIFF and INC mean incremental)")]
pub struct NotABackupType(String);

impl BackupType {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

impl FromStr for BackupType {
    type Err = NotABackupType;

    fn from_str(text: &str) -> Result<Self, NotABackupType> {
        match text.trim().to_ascii_lowercase().as_str() {
            "copy" => Ok(Self::Copy),
            "full" => Ok(Self::Full),
            "inc" | "incr" | "incremental" | "diff" | "differential" => Ok(Self::Incremental),
            _ => Err(NotABackupType(text.chars().filter(|c| !c.is_control()).take(40).collect())),
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for BackupType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for BackupType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// In which state the disks are frozen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// As after a power cut, all disks at one moment as far as the storage can.
    #[default]
    Crash,
    /// The guest writes out what it holds and waits, asked by the pool (VSS, releases up to 8.0) or by a hook in the guest; if
    /// neither can, the backup fails.
    Quiesced,
    /// The same where guest and pool can; where not, `crash`, and the job ends as *warning*.
    QuiescedPreferred,
    /// Disks and memory of one moment, for which the VM is suspended for a while; restored, it goes on where it was. One that is
    /// off has no memory, and stays off.
    Memory,
    /// The VM is shut down cleanly, frozen, and started again at once. One that is off stays off.
    Offline,
}

impl Consistency {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Quiesced => "quiesced",
            Self::QuiescedPreferred => "quiesced-preferred",
            Self::Memory => "memory",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a backup of a VM is made, beside its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupOptions {
    /// In which state the disks are frozen.
    pub consistency: Consistency,
    /// With `offline`: how long the guest may take to shut down.
    pub offline_wait_seconds: u32,
    /// With `quiesced`: how long a hook in the guest may keep its file systems frozen. It thaws by itself when the time is up,
    /// whatever has become of us. 5 to 600.
    pub freeze_limit_seconds: u32,
    /// Disks that are left out, beside those that have `[NOBAK]` in their name.
    pub leave_out: Vec<DiskPattern>,
    /// How data travels, if not as the client says.
    pub transport: Option<Transport>,
    /// Runs on the mover before the snapshot; if it fails, so does the backup.
    pub before: Option<Hook>,
    /// Runs on the mover after the snapshot was removed, also when the backup failed; if it fails, the job ends as *warning*.
    pub after: Option<Hook>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            consistency: Consistency::default(),
            offline_wait_seconds: 600,
            freeze_limit_seconds: FREEZE_LIMIT_SECONDS,
            leave_out: Vec::new(),
            transport: None,
            before: None,
            after: None,
        }
    }
}

/// Disks that are left out: as text `device:1`, `name:swap*`, `sr:scratch`, `tag:nobackup`, `larger-than:2TiB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskPattern {
    /// That stand at this user device.
    Device(String),
    /// Whose name-label fits this pattern: `*` is anything, `?` one character, case does not matter.
    Name(String),
    /// That lie in the SR of this name-label or uuid.
    Sr(String),
    /// That bear this tag.
    Tag(String),
    /// Whose virtual size is larger.
    LargerThanBytes(u64),
}

/// Text that is no [`DiskPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" names no disks: device:1, name:PATTERN, sr:NAME, tag:TAG or larger-than:2TiB is meant")]
pub struct NotADiskPattern(String);

impl FromStr for DiskPattern {
    type Err = NotADiskPattern;

    fn from_str(text: &str) -> Result<Self, NotADiskPattern> {
        let bad = || NotADiskPattern(text.chars().filter(|c| !c.is_control()).take(80).collect());
        let (kind, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(bad)?;
        let value = rest.to_owned();
        match kind {
            "device" => Ok(Self::Device(value)),
            "name" => Ok(Self::Name(value)),
            "sr" => Ok(Self::Sr(value)),
            "tag" => Ok(Self::Tag(value)),
            "larger-than" => size(rest).map(Self::LargerThanBytes).ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for DiskPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device:{device}"),
            Self::Name(pattern) => write!(f, "name:{pattern}"),
            Self::Sr(sr) => write!(f, "sr:{sr}"),
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::LargerThanBytes(bytes) => {
                let unit = UNITS.iter().rev().find(|(_, unit)| *bytes > 0 && bytes.is_multiple_of(*unit));
                let (name, unit) = unit.unwrap_or(&UNITS[0]);
                write!(f, "larger-than:{}{name}", bytes / unit)
            }
        }
    }
}

const UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `500`, `10GiB`, `2t`: a whole number of a binary unit.
fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let fits = |name: &str| unit == name || unit == name.trim_end_matches("ib") || unit == name.replace("ib", "b");
    let (_, factor) =
        UNITS.iter().find(|(name, _)| fits(&name.to_ascii_lowercase()) || (unit.is_empty() && *name == "B"))?;
    number.checked_mul(*factor)
}

/// A command on the mover. It lies in the directory that whoever runs the mover has set aside for such, and is run
/// without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its file name.
    pub command: String,
    /// Its arguments, word by word. They stand in the job for all to see: no secrets.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// It is ended when it takes longer.
    #[serde(default = "hook_limit")]
    pub time_limit_seconds: u32,
}

/// Longest time that a hook in a guest keeps its file systems frozen unless something else is said, seconds.
pub const FREEZE_LIMIT_SECONDS: u32 = 60;

/// Longest run of a hook unless something else is said, seconds.
pub const HOOK_LIMIT_SECONDS: u32 = 300;

fn hook_limit() -> u32 {
    HOOK_LIMIT_SECONDS
}

/// What expert options, written as the old system wrote them, say: `-a http=https`. Several stand one after another, or
/// with commas between them.
///
/// # Errors
/// A sentence that lists those that are known, for one that is not.
pub fn parse_expert(text: &str) -> Result<Option<Transport>, Problem> {
    let mut transport = None;
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    for word in words.map(|word| word.trim_matches(['"', '\''])) {
        let option = word.strip_prefix("-a").unwrap_or(word);
        match option.to_ascii_lowercase().as_str() {
            "" => {}
            "http=https" => transport = Some(Transport::Https),
            "http=http" => transport = Some(Transport::Http),
            _ => {
                let shown: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
                let problem = Problem::new("task.unknown_expert_option", format!("{shown} is no expert option"));
                return Err(problem.hint("there are: -a http=https (all data over TLS), -a http=http").about(shown));
            }
        }
    }
    Ok(transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_words_for_types_are_understood() {
        for (words, expected) in [
            (&["copy", "COPY", "Copy"][..], BackupType::Copy),
            (&["full", "FULL"], BackupType::Full),
            (&["INC", "incr", "Incremental", "DIFF", "differential", " inc "], BackupType::Incremental),
        ] {
            for word in words {
                assert_eq!(word.parse::<BackupType>().unwrap(), expected, "{word}");
                assert_eq!(serde_json::from_value::<BackupType>((*word).into()).unwrap(), expected);
            }
            assert_eq!(serde_json::to_value(expected).unwrap(), expected.word());
        }
        for bad in ["", "fulll", "i", "copy2"] {
            assert!(bad.parse::<BackupType>().unwrap_err().to_string().contains("copy, full or incremental"));
        }
    }

    #[test]
    fn patterns_of_disks() {
        for (text, pattern, shown) in [
            ("device:1", DiskPattern::Device("1".to_owned()), "device:1"),
            ("name:swap:*", DiskPattern::Name("swap:*".to_owned()), "name:swap:*"),
            ("larger-than:2TiB", DiskPattern::LargerThanBytes(2 << 40), "larger-than:2TiB"),
            ("larger-than:10g", DiskPattern::LargerThanBytes(10 << 30), "larger-than:10GiB"),
            ("larger-than:1536 MB", DiskPattern::LargerThanBytes(1536 << 20), "larger-than:1536MiB"),
            ("larger-than:500", DiskPattern::LargerThanBytes(500), "larger-than:500B"),
            ("larger-than:0", DiskPattern::LargerThanBytes(0), "larger-than:0B"),
        ] {
            assert_eq!(text.parse::<DiskPattern>().unwrap(), pattern, "{text}");
            assert_eq!(pattern.to_string(), shown);
            assert_eq!(shown.parse::<DiskPattern>().unwrap(), pattern);
        }
        for bad in [
            "",
            "device",
            "device:",
            "disk:1",
            "larger-than:x",
            "larger-than:-1",
            "larger-than:1x",
            "larger-than:99999999TiB",
        ] {
            assert!(bad.parse::<DiskPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn expert_options_are_read_as_the_old_system_wrote_them() {
        for text in [
            "-a http=https",
            "-ahttp=https",
            "http=https",
            "\"-a http=https\"",
            " -a  HTTP=HTTPS ",
            "-a http=http,http=https",
        ] {
            assert_eq!(parse_expert(text).unwrap(), Some(Transport::Https), "{text}");
        }
        assert_eq!(parse_expert("-a http=http").unwrap(), Some(Transport::Http));
        assert_eq!(parse_expert("  ").unwrap(), None);
        let problem = parse_expert("-a http=https -a vmware=yes").unwrap_err();
        assert_eq!(problem.code, "task.unknown_expert_option");
        assert!(problem.message.contains("vmware=yes") && problem.hint.unwrap().contains("-a http=https"));
    }

    #[test]
    fn options_are_crash_consistent_unless_said_otherwise() {
        let options: BackupOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(options, BackupOptions::default());
        assert_eq!((options.consistency, options.offline_wait_seconds), (Consistency::Crash, 600));
        let text = r#"{"consistency": "quiesced-preferred", "leave_out": [{"device": "1"}, {"larger_than_bytes": 5}], "before": {"command": "x"}}"#;
        let options: BackupOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.consistency, Consistency::QuiescedPreferred);
        assert_eq!(options.leave_out[1], DiskPattern::LargerThanBytes(5));
        assert_eq!(options.before.unwrap().time_limit_seconds, 300);
        assert!(serde_json::from_str::<BackupOptions>(r#"{"leaveout": []}"#).is_err());
    }
}
