//! `contrib/guest/linux/xenkeep-guest` itself, with a xenstore and an `fsfreeze` of our own.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Guest {
    dir: tempfile::TempDir,
    hook: Child,
}

impl Guest {
    /// A guest with a file system in a file of another one, one that is read-only, and one that is left out.
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["bin", "store", "frozen", "hooks"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let tool = |name: &str, text: &str| program(&path("bin").join(name), text);
        let (store, frozen) = (path("store"), path("frozen"));
        tool("xenstore-read", &format!("cat '{}'/\"${{1//\\//.}}\"", store.display()));
        tool(
            "xenstore-write",
            &format!("printf %s \"$2\" > '{0}/new' && mv '{0}/new' '{0}'/\"${{1//\\//.}}\"", store.display()),
        );
        // As the kernel: a file system that is frozen can't be frozen again, nor one thawed that is not.
        tool(
            "fsfreeze",
            &format!(
                "at='{0}'/\"fs${{2//\\//.}}\"; echo \"$1 $2\" >> '{1}/calls'
                 [ -e \"{1}/broken$2\" ] && exit 1
                 if [ \"$1\" = --freeze ]; then [ ! -e \"$at\" ] && touch \"$at\"; else rm \"$at\"; fi",
                frozen.display(),
                dir.path().display()
            ),
        );
        tool("sync", "exit 0");
        let mounts = "proc /proc proc rw 0 0\n/dev/xvda1 / ext4 rw,relatime 0 0\n/dev/xvda1 /bind ext4 rw 0 0\n\
                      /dev/xvdb /with\\040blank xfs rw 0 0\n/dev/sr0 /cd ext4 ro 0 0\n/dev/loop0 /inner ext4 rw 0 0\n\
                      /dev/xvdc /scratch btrfs rw 0 0\n";
        std::fs::write(path("mounts"), mounts).unwrap();
        let config = format!(
            "MOUNTS='{0}/mounts'\nHOOKS_DIR='{0}/hooks'\nEXCLUDE='/scratch'\nPOLL_SECONDS=0.05\n{more}\n",
            dir.path().display()
        );
        std::fs::write(path("config"), config).unwrap();
        let hook = hook(dir.path(), "run").spawn().unwrap();
        let guest = Self { dir, hook };
        guest.until("1 ready");
        guest
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name.replace('/', "."))
    }

    fn ask(&self, request: &str) {
        let new = self.dir.path().join("request");
        std::fs::write(&new, request).unwrap();
        std::fs::rename(new, self.key("vm-data/xenkeep/request")).unwrap();
    }

    fn says(&self) -> String {
        std::fs::read_to_string(self.key("control/xenkeep")).unwrap_or_default()
    }

    #[track_caller]
    fn until(&self, state: &str) {
        let begun = Instant::now();
        while self.says() != state {
            assert!(begun.elapsed() < PATIENCE, "{:?} instead of {state:?}; {:?}", self.says(), self.calls());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn until_nothing_is_frozen(&self) {
        let begun = Instant::now();
        while !self.frozen().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.frozen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn frozen(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("frozen")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn forget_calls(&self) {
        let _ = std::fs::remove_file(self.dir.path().join("calls"));
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.hook.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.hook.kill();
        let _ = self.hook.wait();
    }
}

fn program(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/bash\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The script of the repository.
fn hook(dir: &Path, verb: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/guest/linux/xenkeep-guest");
    let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(script);
    command.arg(verb).arg(dir.join("config")).env("PATH", path).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// All that can be frozen, innermost first.
const ALL: [&str; 3] = ["--freeze /inner", "--freeze /with blank", "--freeze /"];

#[test]
fn it_freezes_and_thaws_as_it_is_asked() {
    let guest = Guest::start("");
    guest.forget_calls();
    program(&guest.dir.path().join("hooks/flush"), &format!("echo $1 >> '{}/calls'", guest.dir.path().display()));
    guest.ask("freeze ab12 60");
    guest.until("1 frozen ab12");
    assert_eq!(guest.frozen(), ["fs.", "fs.inner", "fs.with blank"]);
    guest.ask("thaw ab12");
    guest.until("1 thawed ab12");
    assert_eq!(guest.frozen(), Vec::<String>::new());
    let thaws = ["--unfreeze /", "--unfreeze /with blank", "--unfreeze /inner", "thaw"];
    assert_eq!(guest.calls(), [&["freeze"][..], &ALL, &thaws].concat());
    // A request that is gone is none to stay frozen for; one that makes no sense is none at all.
    guest.ask("freeze cd34 60");
    guest.until("1 frozen cd34");
    std::fs::remove_file(guest.key("vm-data/xenkeep/request")).unwrap();
    guest.until("1 thawed cd34");
    for nonsense in ["freeze $(id) 60", "freeze ef56 6x", "freeze ef56", "melt ef56 60"] {
        guest.ask(nonsense);
        guest.ask("thaw ef56");
        guest.until("1 thawed ef56");
        guest.ask("thaw gh78");
        guest.until("1 thawed gh78");
    }
    assert_eq!(guest.calls().iter().filter(|call| call.starts_with("--freeze")).count(), 6);
}

#[test]
fn it_freezes_all_or_nothing() {
    let guest = Guest::start("");
    std::fs::create_dir(guest.dir.path().join("broken")).unwrap();
    guest.ask("freeze ab12 60");
    guest.until("1 failed ab12 / can't be frozen");
    assert_eq!(guest.frozen(), Vec::<String>::new());
    // A hook that fails ends it before anything is frozen.
    std::fs::remove_dir(guest.dir.path().join("broken")).unwrap();
    program(&guest.dir.path().join("hooks/flush"), "exit 3");
    guest.forget_calls();
    guest.ask("freeze cd34 60");
    guest.until("1 failed cd34 flush failed");
    assert_eq!(guest.calls(), Vec::<String>::new());
}

#[test]
fn it_thaws_by_itself_when_its_time_is_up() {
    let guest = Guest::start("MAX_SECONDS=2");
    guest.ask("freeze ab12 600");
    guest.until("1 frozen ab12");
    guest.until("1 expired ab12");
    assert_eq!(guest.frozen(), Vec::<String>::new());
}

#[test]
fn it_thaws_however_it_ends() {
    // Asked to end, it thaws first.
    let guest = Guest::start("");
    guest.ask("freeze ab12 60");
    guest.until("1 frozen ab12");
    guest.signal("-TERM");
    guest.until("1 gone");
    assert_eq!(guest.frozen(), Vec::<String>::new());
    // Killed, it leaves a guard behind.
    let guest = Guest::start("MAX_SECONDS=2");
    guest.ask("freeze ab12 60");
    guest.until("1 frozen ab12");
    guest.signal("-KILL");
    guest.until_nothing_is_frozen();
    // And so does whoever ends the service, and its next start.
    let guest = Guest::start("");
    guest.ask("freeze ab12 60");
    guest.until("1 frozen ab12");
    guest.signal("-KILL");
    assert!(!guest.frozen().is_empty());
    assert!(hook(guest.dir.path(), "thaw").status().unwrap().success());
    assert_eq!(guest.frozen(), Vec::<String>::new());
}

#[test]
fn what_was_asked_before_it_started_is_not_for_it() {
    let guest = Guest::start("");
    guest.ask("freeze ab12 60");
    guest.until("1 frozen ab12");
    guest.signal("-KILL");
    std::fs::remove_file(guest.key("control/xenkeep")).unwrap();
    guest.forget_calls();
    let mut again = hook(guest.dir.path(), "run").spawn().unwrap();
    guest.until("1 ready");
    assert_eq!(guest.frozen(), Vec::<String>::new());
    assert!(guest.calls().iter().all(|call| call.starts_with("--unfreeze")), "{:?}", guest.calls());
    again.kill().unwrap();
    again.wait().unwrap();
}
