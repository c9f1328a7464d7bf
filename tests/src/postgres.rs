//! A PostgreSQL server of the tests' own, gone when they are.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

/// A running server. It ends, and its files go, when the process that started it does.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    databases: AtomicU32,
}

/// Whether what was written must be on disk before a transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nobody cares after a crash of the machine: for tests.
    Memory,
    /// As it is used in earnest: for benchmarks.
    Disk,
}

/// One server for all tests of a process.
static SHARED: Mutex<Option<&'static Postgres>> = Mutex::new(None);

impl Postgres {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// If there is no PostgreSQL on this machine, or it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get_or_insert_with(|| {
            let server = Self::start(&std::env::temp_dir(), Durability::Memory);
            Box::leak(Box::new(server.expect("PostgreSQL must be there: cargo xtask setup installs it")))
        })
    }

    /// Starts a server whose files lie below `parent`.
    pub fn start(parent: &Path, durability: Durability) -> Result<Self> {
        let bin = find()?;
        let dir = tempfile::Builder::new().prefix("xenkeep-postgres-").tempdir_in(parent)?.keep();
        let user = unprivileged(&dir)?;
        let mut initdb = as_user(user, &bin.join("initdb"));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--username=xenkeep",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--pgdata",
        ]);
        let done = initdb.arg(dir.join("data")).current_dir(&dir).output().context("cannot run initdb")?;
        ensure!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let server = Self { bin, dir, databases: AtomicU32::new(0) };
        server.run(user, durability)?;
        Ok(server)
    }

    /// Makes an empty database and tells its address.
    pub fn database(&self) -> Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let done = Command::new(self.bin.join("createdb"))
            .args(["--username=xenkeep", "--host"])
            .arg(&self.dir)
            .arg(&name)
            .output()
            .context("cannot run createdb")?;
        ensure!(done.status.success(), "createdb: {}", String::from_utf8_lossy(&done.stderr));
        let host = self.dir.to_str().context("the temporary directory has no name in UTF-8")?;
        Ok(format!("postgres://xenkeep@localhost/{name}?host={}", host.replace('/', "%2F")))
    }

    /// Runs a statement in the database of an address that [`Self::database`] has told.
    pub fn execute(&self, database: &str, statement: &str) -> Result<()> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement, database]);
        let done = psql.output().context("cannot run psql")?;
        ensure!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Runs the server below a shell that ends it when the thread that waits for it dies, and so with this process.
    fn run(&self, user: Option<User>, durability: Durability) -> Result<()> {
        const SCRIPT: &str = r#"
            bin=$1 dir=$2; shift 2
            "$bin" -D "$dir/data" -k "$dir" "$@" >"$dir/log" 2>&1 &
            pid=$!
            trap 'kill -INT $pid; wait $pid; rm -rf "$dir"; exit' TERM
            until grep -q 'ready to accept connections' "$dir/log"; do
                kill -0 $pid 2>/dev/null || { cat "$dir/log"; exit 1; }
                sleep 0.05
            done
            echo ready
            exec >/dev/null
            wait $pid"#;
        let mut settings = vec!["listen_addresses=", "max_connections=400", "shared_buffers=64MB"];
        if durability == Durability::Memory {
            settings.extend(["fsync=off", "full_page_writes=off", "synchronous_commit=off"]);
        }
        let mut command = as_user(user, Path::new("sh"));
        command.args(["-c", SCRIPT, "sh"]).arg(self.bin.join("postgres")).arg(&self.dir);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("postgres".to_owned()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return tell.send(Err(error.into())),
            };
            let mut first = String::new();
            let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut first));
            let ready = matches!(read, Some(Ok(_))) && first.trim() == "ready";
            let sent =
                tell.send(if ready { Ok(()) } else { Err(anyhow::anyhow!("PostgreSQL did not start: {first}")) });
            // This thread is the one whose end the shell waits for.
            let _ = child.wait();
            sent
        })?;
        told.recv()?
    }
}

/// Where the programs of PostgreSQL lie.
fn find() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps them out of the way, one directory a version.
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    places.extend(versions.into_iter().rev());
    let wanted = ["postgres", "initdb", "createdb", "psql"];
    match places.into_iter().find(|place| wanted.iter().all(|name| place.join(name).exists())) {
        Some(place) => Ok(place),
        None => bail!("no PostgreSQL on this machine: cargo xtask setup installs it"),
    }
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// Root gives the directory to a user who may nothing, because PostgreSQL refuses to run as root.
fn unprivileged(dir: &Path) -> Result<Option<User>> {
    let number = |args: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(args).output().context("cannot run id")?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    if number(&["-u"])? != 0 {
        return Ok(None);
    }
    let user = User { uid: number(&["-u", "nobody"])?, gid: number(&["-g", "nobody"])? };
    std::os::unix::fs::chown(dir, Some(user.uid), Some(user.gid))?;
    Ok(Some(user))
}

fn as_user(user: Option<User>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(User { uid, gid }) = user {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
    }
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}
