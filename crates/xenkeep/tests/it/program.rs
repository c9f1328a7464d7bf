//! Running `xenkeep`.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

/// What a command has said, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The command has done what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The command has failed with this exit code, said this, and given a hint.
    #[track_caller]
    pub(crate) fn complains(self, code: i32, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not said: {self:#?}");
        }
        assert!(self.stderr.contains("\nhint: "), "there is no hint: {self:#?}");
        self.fails(code)
    }

    /// The command has failed with this exit code and said so.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(self.stderr.starts_with("error: ") || self.stderr.contains("\nerror: "), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// `xenkeep` without the environment's opinions.
pub(crate) fn xenkeep(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xenkeep"));
    command.args(arguments).env("XENKEEP_DATA", data).env("TZ", "UTC").stdin(Stdio::null());
    for name in ["XENKEEP_SERVER", "XENKEEP_TOKEN_FILE", "XENKEEP_SERVER_CERTIFICATE", "XENKEEP_LOG", "XENKEEP_LISTEN"]
    {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: code(output.status),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("it was killed: {status}"))
}

/// A command that runs, with what it says on stderr line by line. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: thread::JoinHandle<String>,
    stderr: mpsc::Receiver<String>,
    heard: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let err = BufReader::new(child.stderr.take().unwrap());
        let (lines, stderr) = mpsc::channel();
        thread::spawn(move || {
            for line in err.lines() {
                if lines.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { child, stdout, stderr, heard: String::new() }
    }

    /// Waits until it has said a line with `word` on stderr.
    #[track_caller]
    pub(crate) fn hear(&mut self, word: &str) -> String {
        while let Ok(line) = self.stderr.recv() {
            self.heard += &line;
            self.heard.push('\n');
            if line.contains(word) {
                return line;
            }
        }
        panic!("it has ended without saying {word:?}:\n{}", self.heard);
    }

    /// Sends it a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        let code = code(self.child.wait().unwrap());
        let mut stderr = std::mem::take(&mut self.heard);
        while let Ok(line) = self.stderr.recv() {
            stderr += &line;
            stderr.push('\n');
        }
        let out = std::mem::replace(&mut self.stdout, thread::spawn(String::new));
        Ran { code, stdout: out.join().unwrap(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
