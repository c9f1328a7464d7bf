//! The mail server that tests talk to: aiosmtpd (from PyPI), one for each test.
//!
//! This file is a module of several test programs, which use different parts of it.

#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How a mail server behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Certificate and key (PEM): it offers STARTTLS, and takes mail and logins only after it.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// User and password that it asks for.
    pub(crate) login: Option<(String, String)>,
    /// It refuses so many mails before it takes one.
    pub(crate) refuses: u32,
}

/// A mail server. It ends with this.
#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) port: u16,
    child: Child,
    mails: Receiver<String>,
}

/// Says its port, then each mail that it takes: a line of JSON.
const SERVE: &str = r#"
import asyncio, email, email.policy, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
wish = json.loads(sys.argv[1])
class Handler:
    refuses = wish["refuses"]
    async def handle_DATA(self, server, session, envelope):
        if self.refuses > 0:
            self.refuses -= 1
            return "451 not now"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        bodies = {kind: mail.get_body((kind,)).get_content() for kind in ("plain", "html")}
        print(json.dumps({
            **bodies, "subject": mail["subject"],
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
            "login": session.authenticated, "data": envelope.content.decode("utf-8", "replace"),
        }), flush=True)
        return "250 taken"
def login(server, session, envelope, mechanism, data):
    good = (data.login.decode(), data.password.decode()) == (wish["user"], wish["password"])
    return AuthResult(success=good, handled=False)
options = {}
if wish["certificate"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(wish["certificate"], wish["key"])
    options.update(tls_context=context, require_starttls=True)
if wish["user"]:
    options.update(authenticator=login, auth_required=True, auth_require_tls=bool(wish["certificate"]))
loop = asyncio.new_event_loop()
handler = Handler()
serve = loop.create_server(lambda: SMTP(handler, hostname="localhost", loop=loop, **options), "127.0.0.1", 0)
server = loop.run_until_complete(serve)
print(server.sockets[0].getsockname()[1], flush=True)
loop.run_until_complete(loop.run_in_executor(None, sys.stdin.read))
"#;

impl Smtp {
    pub(crate) fn start(wish: &Wish) -> Self {
        let python = python();
        let missing =
            format!("the mail server `aiosmtpd` must be installed for {}: run `cargo xtask setup`", python.display());
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = wish.tls.as_ref().map(|(a, b)| (path(a), path(b))).unzip();
        let (user, password) = wish.login.clone().unzip();
        let wish = serde_json::json!({
            "certificate": certificate, "key": key, "user": user, "password": password, "refuses": wish.refuses,
        });
        let mut child = Command::new(&python)
            .args(["-W", "ignore", "-c", SERVE, &wish.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{missing} ({error})"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port =
            lines.next().and_then(Result::ok).and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{missing}"));
        let (sender, mails) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { port, child, mails }
    }

    /// The next mail that it takes: where from, where to, whether over TLS and logged in, and its text.
    pub(crate) fn mail(&self) -> serde_json::Value {
        let line = self.mails.recv_timeout(Duration::from_secs(30)).expect("a mail comes");
        serde_json::from_str(&line).unwrap()
    }

    /// It has taken nothing that was not looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.mails.try_recv().is_err()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            let _ = stdin.flush();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that `XENKEEP_PYTHON` names, or the one that `cargo xtask setup` made.
fn python() -> PathBuf {
    let own = || {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let venv = |dir: &Path| Some(dir.join(".venv/bin/python3")).filter(|python| python.exists());
        crate_dir.ancestors().find_map(venv).unwrap_or_else(|| "python3".into())
    };
    std::env::var_os("XENKEEP_PYTHON").map_or_else(own, PathBuf::from)
}
