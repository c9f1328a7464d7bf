//! Commands of the administrator's that run on the mover before and after a backup.
//!
//! Only files that lie in the directory which whoever runs the mover has set aside are run, by their plain name, without
//! a shell, with nothing in their environment but what the job is about. So who may make tasks can run what was put
//! there, and nothing else.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use xenkeep_api::{Hook, Problem};

use crate::context::{JobContext, Stop};

/// Lines of a command's output that are logged; the others are counted.
const LOGGED_LINES: usize = 200;
/// Bytes of a line that are logged.
const LINE_BYTES: usize = 1024;
/// How long its output may stay open once it has ended: something that it left behind may hold it.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// Where it looks for programs of its own.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// When a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

impl When {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Runs a command to its end. One that runs before the backup is ended by a cancel; one that runs after it is not, since
/// it may have to set right what the other has done.
pub(crate) async fn run(cx: &JobContext, hook: &Hook, when: When, about: &[(&str, String)]) -> Result<(), Stop> {
    let path = find(cx.config.hooks_dir.as_deref(), &hook.command)?;
    cx.info(format!("running {} {}the backup", hook.command, if when == When::Before { "before " } else { "after " }));
    let mut child = start(&path, hook, when, about)
        .map_err(|error| failed(hook, when, &format!("can't be run: {error}")).hint("is it executable?"))?;
    let output = log_output(cx, hook, &mut child);
    let limit = Duration::from_secs(u64::from(hook.time_limit_seconds));
    let ended = {
        let work = async {
            tokio::pin!(output);
            let status = tokio::select! {
                () = &mut output => child.wait().await,
                status = child.wait() => {
                    let _ = tokio::time::timeout(OUTPUT_PATIENCE, &mut output).await;
                    status
                }
            };
            Ended::Itself(status)
        };
        let cancelled = async {
            match when {
                When::Before => cx.cancel.cancelled().await,
                When::After => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = work => ended,
            () = cancelled => Ended::Cancelled,
            () = tokio::time::sleep(limit) => Ended::Late,
        }
    };
    match ended {
        Ended::Itself(Ok(status)) if status.success() => Ok(()),
        Ended::Itself(Ok(status)) => Err(failed(hook, when, &format!("ended with {}", status_text(status))).into()),
        Ended::Itself(Err(error)) => Err(failed(hook, when, &format!("can't be waited for: {error}")).into()),
        Ended::Cancelled => {
            kill(&mut child).await;
            Err(Stop::Cancelled)
        }
        Ended::Late => {
            kill(&mut child).await;
            let text = format!("took longer than {} s and was ended", hook.time_limit_seconds);
            Err(failed(hook, when, &text).hint("give it more time, or let it do its work in the background").into())
        }
    }
}

enum Ended {
    Itself(std::io::Result<ExitStatus>),
    Cancelled,
    Late,
}

/// The file of a command: one that lies in the directory itself, not one that is only linked there from elsewhere.
fn find(dir: Option<&Path>, command: &str) -> Result<PathBuf, Stop> {
    let Some(dir) = dir else {
        let problem = Problem::new("hook.no_directory", "this mover runs no commands: it has no directory for them");
        return Err(problem.hint("start it with --hooks-dir DIR, and put the commands there").into());
    };
    let none = |why: &str| {
        Problem::new("hook.not_found", format!("there is no command {command} in {}: {why}", dir.display()))
            .hint("commands are named by the file name alone, and lie in that directory themselves")
            .about(command)
    };
    let plain = !command.is_empty() && !command.starts_with('.') && !command.contains(['/', '\\', '\0']);
    if !plain {
        return Err(none("that is no file name").into());
    }
    let dir = dir.canonicalize().map_err(|error| none(&error.to_string()))?;
    let path = dir.join(command).canonicalize().map_err(|error| none(&error.to_string()))?;
    if path.parent() != Some(dir.as_path()) {
        return Err(none("it leads out of the directory").into());
    }
    if !path.is_file() { Err(none("it is no file").into()) } else { Ok(path) }
}

fn start(path: &Path, hook: &Hook, when: When, about: &[(&str, String)]) -> std::io::Result<Child> {
    let mut command = Command::new(path);
    command
        .args(&hook.arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("XENKEEP_WHEN", when.word())
        .envs(about.iter().map(|(name, value)| (*name, value.replace('\0', ""))))
        .current_dir(path.parent().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Whatever it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}

/// Logs what it writes, until it writes no more.
fn log_output(cx: &JobContext, hook: &Hook, child: &mut Child) -> impl Future<Output = ()> + use<> {
    let (cx, name) = (cx.clone(), hook.command.clone());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    async move {
        let (out, err) = (lines(&cx, &name, out), lines(&cx, &name, err));
        let (more, too) = futures::join!(out, err);
        if more + too > 0 {
            cx.info(format!("{name}: {} more lines are not shown", more + too));
        }
    }
}

/// Logs the first lines, counts the others.
async fn lines(cx: &JobContext, name: &str, stream: Option<impl AsyncRead + Unpin>) -> usize {
    let Some(stream) = stream else { return 0 };
    let mut reader = BufReader::new(stream);
    let (mut line, mut logged, mut more, mut whole) = (Vec::new(), 0, 0, true);
    loop {
        let piece = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(piece) => piece,
        };
        let end = piece.iter().position(|byte| *byte == b'\n');
        let part = &piece[..end.unwrap_or(piece.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_BYTES.saturating_sub(line.len()))]);
        whole = end.is_some();
        let used = end.map_or(piece.len(), |end| end + 1);
        reader.consume(used);
        if whole {
            say(cx, name, &mut line, &mut logged, &mut more);
        }
    }
    if !whole {
        say(cx, name, &mut line, &mut logged, &mut more);
    }
    more
}

fn say(cx: &JobContext, name: &str, line: &mut Vec<u8>, logged: &mut usize, more: &mut usize) {
    if *logged < LOGGED_LINES {
        let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        cx.info(format!("{name}: {text}"));
        *logged += 1;
    } else {
        *more += 1;
    }
    line.clear();
}

/// Ends it with all that it has started.
async fn kill(child: &mut Child) {
    if let Some(id) = child.id() {
        // Without unsafe code only the program of that name reaches a group of processes.
        let group = Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).stderr(Stdio::null()).status().await;
        tracing::debug!(?group, "commands of a hook ended");
    }
    let _ = child.kill().await;
}

fn failed(hook: &Hook, when: When, how: &str) -> Problem {
    let text = format!("command {}, which runs {} the backup, {how}", hook.command, when.word());
    Problem::new("hook.failed", text).hint("the job's log shows what it has written").about(&hook.command)
}

fn status_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
