//! A host that answers what a test tells it to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use xapi::{Endpoint, Fingerprint, Options, Pool, Timeouts, Tls};

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
pub type Stream = Box<dyn Io>;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub version: String,
    pub headers: HashMap<String, String>,
    /// Method and parameters of a call, without the session; empty for anything else.
    pub call: String,
    pub params: Vec<Value>,
}

pub type Rest = Box<dyn FnOnce(Stream) -> BoxFuture<'static, ()> + Send>;

/// What it gets.
pub enum Reply {
    /// What a host would say if the test does not care.
    Usual,
    Value(Value),
    /// An error in the form of JSON-RPC 2.0.
    Failure(&'static str, Vec<String>),
    /// An answer to a call, as it is, with headers.
    Json(String, Vec<(&'static str, String)>),
    /// Written as it is, then closed.
    Raw(Vec<u8>),
    /// Nothing, then closed.
    HangUp,
    /// Nothing, for ever.
    Silence,
    /// The stream is somebody else's now.
    Rest(Rest),
}

impl Reply {
    pub fn rest<F: Future<Output = ()> + Send + 'static>(rest: impl FnOnce(Stream) -> F + Send + 'static) -> Self {
        Self::Rest(Box::new(|stream| Box::pin(rest(stream))))
    }

    pub fn failure<const N: usize>(code: &'static str, params: [&str; N]) -> Self {
        Self::Failure(code, params.iter().map(ToString::to_string).collect())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Fake {
    pub address: String,
    pub fingerprint: Option<Fingerprint>,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    acceptor: AbortHandle,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A self-signed certificate, as hosts have it.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivatePkcs8KeyDer<'static>,
    pub pem: String,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["xenserver-1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self { certificate: made.cert.der().clone(), key, pem: made.cert.pem() }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.certificate)
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key().into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Fake {
    pub async fn plain(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, handler).await
    }

    pub async fn tls(identity: &Identity, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Some(identity), handler).await
    }

    async fn start(identity: Option<&Identity>, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let tls = identity.map(Identity::acceptor);
        let task = tokio::spawn({
            let (seen, connections) = (Arc::clone(&seen), Arc::clone(&connections));
            async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (handler, seen, tls) = (Arc::clone(&handler), Arc::clone(&seen), tls.clone());
                    tokio::spawn(async move {
                        let stream: Stream = match tls {
                            None => Box::new(socket),
                            Some(tls) => match tls.accept(socket).await {
                                Ok(stream) => Box::new(stream),
                                Err(_) => return,
                            },
                        };
                        serve(stream, &*handler, &seen).await;
                    });
                }
            }
        });
        Self {
            address,
            fingerprint: identity.map(Identity::fingerprint),
            seen,
            connections,
            acceptor: task.abort_handle(),
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        let tls = self.fingerprint.map_or(Tls::Plain, Tls::Pinned);
        Endpoint { address: self.address.clone(), tls }
    }

    pub async fn login(&self) -> Pool {
        Pool::login(self.endpoint(), "root", &"secret".to_string().into()).await.unwrap()
    }

    pub async fn login_impatiently(&self) -> Pool {
        let short = Duration::from_millis(300);
        let call = Duration::from_secs(2);
        let timeouts =
            Timeouts { call, upload_head: short, quiet: short, cancel: short, verdict: short, ..Timeouts::default() };
        let options = Options { timeouts, ..Options::default() };
        Pool::login_with(self.endpoint(), "root", &"secret".to_string().into(), options).await.unwrap()
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Names of the calls made, in order.
    pub fn calls(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.call).filter(|call| !call.is_empty()).collect()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: Stream, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request.clone());
        let mut reply = handler(&request);
        if let Reply::Usual = reply {
            reply = usual(&request);
        }
        let text = match reply {
            Reply::Usual => unreachable!(),
            Reply::Value(value) => json!({ "jsonrpc": "2.0", "result": value, "id": 1 }).to_string(),
            Reply::Failure(code, params) => {
                let error = json!({ "code": 1, "message": code, "data": params });
                json!({ "jsonrpc": "2.0", "error": error, "id": 1 }).to_string()
            }
            Reply::Json(text, headers) => {
                stream.write_all(&rpc_answer(&text, &headers)).await.unwrap();
                continue;
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::HangUp => return,
            Reply::Silence => return std::future::pending().await,
            Reply::Rest(rest) => return rest(stream).await,
        };
        if stream.write_all(&rpc_answer(&text, &[])).await.is_err() {
            return;
        }
    }
}

fn rpc_answer(text: &str, headers: &[(&'static str, String)]) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n\
         Access-Control-Allow-Origin: *\r\n",
        text.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{text}").into_bytes()
}

fn usual(request: &Request) -> Reply {
    match request.call.as_str() {
        "session.login_with_password" => Reply::Value(json!("OpaqueRef:session")),
        "task.create" => Reply::Value(json!("OpaqueRef:task")),
        "session.logout" | "task.cancel" | "task.destroy" => Reply::Value(json!("")),
        "" => Reply::Raw(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n".to_vec()),
        call => Reply::Failure("MESSAGE_METHOD_UNKNOWN", vec![call.to_owned()]),
    }
}

async fn read_request(stream: &mut Stream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
        assert!(head.len() < 1024, "xapi takes no head of 1024 bytes and more");
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target, version) = (first.next().unwrap(), first.next().unwrap(), first.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let headers = lines.filter_map(|line| line.split_once(": "));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        version: version.to_owned(),
        query: query.map(|(key, value)| (decode(key), decode(value))).collect(),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        call: String::new(),
        params: Vec::new(),
    };
    if method == "POST" {
        let length = request.headers["content-length"].parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["jsonrpc"], "2.0");
        assert!(body["id"].is_number());
        request.call = body["method"].as_str().unwrap().to_owned();
        request.params = body["params"].as_array().unwrap().clone();
    }
    Some(request)
}

/// A task's record.
pub fn task(status: &str, result: &str, error_info: &[&str]) -> Value {
    json!({ "uuid": "t", "status": status, "progress": 0.5, "result": result, "error_info": error_info })
}

/// A reply of `event.from` with one task in it.
pub fn task_event(record: &Value) -> Value {
    json!({
        "events": [{ "id": "1", "timestamp": "0.0", "class": "task", "operation": "mod", "ref": "OpaqueRef:task",
                     "snapshot": record }],
        "valid_ref_counts": { "task": 1 },
        "token": "00000000000000000001,00000000000000000000",
    })
}
