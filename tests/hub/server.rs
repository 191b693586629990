//! A Hub small enough for a test: it lists, redirects and serves byte ranges as huggingface.co does, and fails
//! when it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    /// A header by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// This status, with this `X-Error-Code` if it is not empty.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The same, of a body whose length nobody said.
    CutUnannounced(usize),
    /// All of the file, whatever range was asked for.
    Whole,
    /// As many bytes as were asked for, from the beginning.
    OtherRange,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Where `.safetensors` are kept.
    store: String,
    /// Of requests whose line contains the text; the first one is used up, unless it is to last.
    faults: Vec<(String, Fault, bool)>,
    requests: Vec<Request>,
}

/// A server on a port of its own, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves files as `org/tiny`; where `.safetensors` are is said by redirects to `store`.
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>, store: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { files, store: store.to_owned(), ..State::default() }));
        let ends = Arc::new(AtomicBool::new(false));
        let (shared, over) = (Arc::clone(&state), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // One after another: the order of requests is the order of answers.
                let _ = serve(&stream.unwrap(), &shared);
            }
        });
        Self { address, state, ends, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request whose line, such as `GET /path`, contains `what` fails; so do equal calls one by one.
    pub(crate) fn fail(&self, what: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((what.to_owned(), fault, false));
    }

    /// All requests whose line contains `what` fail.
    pub(crate) fn always_fail(&self, what: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((what.to_owned(), fault, true));
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// What has been asked since this was called last.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Whoever waits for a connection sees it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the Hub calls the bytes of a file: the SHA-256 of a large one, the git hash of others.
pub(crate) fn etag(name: &str, bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex = digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    if is_large(name) { hex } else { hex[..40].to_owned() }
}

fn is_large(name: &str) -> bool {
    name.contains(".safetensors") && !name.contains(".json")
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let (method, rest) = first.split_once(' ')?;
    let path = rest.split_once(' ')?.0;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { method: method.to_owned(), path: path.to_owned(), headers })
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(request) = read_request(stream) else { return Ok(()) };
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    let line = format!("{} {}", request.method, request.path);
    let fault = state.faults.iter().position(|(what, ..)| line.contains(what.as_str())).map(|at| {
        let (_, fault, lasts) = state.faults[at];
        if !lasts {
            state.faults.remove(at);
        }
        fault
    });
    let answer = match fault {
        Some(Fault::Status(status, code)) => {
            let mut answer = Answer::new(status);
            if !code.is_empty() {
                answer.header("X-Error-Code", code);
            }
            answer.body = b"an error\npage".to_vec();
            answer
        }
        fault => state.answer(&request, fault),
    };
    let body = match (request.method.as_str(), fault) {
        ("HEAD", _) => &[],
        (_, Some(Fault::Cut(after) | Fault::CutUnannounced(after))) => {
            &answer.body[..after.min(answer.body.len())]
        }
        _ => &answer.body[..],
    };
    let mut head = answer.head();
    if !matches!(fault, Some(Fault::CutUnannounced(_))) {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn header(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }
}

impl State {
    fn answer(&self, request: &Request, fault: Option<Fault>) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        if path.starts_with("/api/models/org/tiny/revision/") {
            return self.listing();
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        let mut nothing = Answer::new(404);
        nothing.header("X-Error-Code", "EntryNotFound");
        let Some(bytes) = self.files.get(name) else { return nothing };
        let etag = etag(name, bytes);
        if folder == format!("/org/tiny/resolve/{COMMIT}") {
            let mut answer = Answer::new(if is_large(name) { 302 } else { 307 });
            answer.header("X-Repo-Commit", COMMIT);
            if is_large(name) {
                answer.header("X-Linked-Etag", format!("\"{etag}\""));
                answer.header("X-Linked-Size", bytes.len().to_string());
                answer.header("Location", format!("{}/store/{name}?signature=a%2Fb", self.store));
            } else {
                answer.header("Location", format!("/api/resolve-cache/models/org/tiny/{COMMIT}/{name}"));
            }
            answer.body = b"Redirecting".to_vec();
            return answer;
        }
        if folder != "/store" && folder != format!("/api/resolve-cache/models/org/tiny/{COMMIT}") {
            return nothing;
        }
        Self::bytes(request, fault, bytes, if folder == "/store" { "of-the-store" } else { &etag })
    }

    /// A file, from where the request wants it.
    fn bytes(request: &Request, fault: Option<Fault>, bytes: &[u8], etag: &str) -> Answer {
        let start = request
            .header("range")
            .filter(|_| !matches!(fault, Some(Fault::Whole)))
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        if start.is_some_and(|start| start >= bytes.len()) {
            return Answer::new(416);
        }
        let mut answer = Answer::new(if start.is_some() { 206 } else { 200 });
        let mut sent = start.unwrap_or(0)..bytes.len();
        if start.is_some() {
            if matches!(fault, Some(Fault::OtherRange)) {
                sent = 0..sent.len();
            }
            answer.header("Content-Range", format!("bytes {}-{}/{}", sent.start, sent.end - 1, bytes.len()));
        }
        answer.header("X-Repo-Commit", COMMIT);
        answer.header("ETag", format!("W/\"{etag}\""));
        answer.body = bytes[sent].to_vec();
        answer
    }

    fn listing(&self) -> Answer {
        let files: Vec<String> =
            self.files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let mut answer = Answer::new(200);
        answer.header("Content-Type", "application/json");
        answer.body =
            format!("{{\"id\": \"org/tiny\", \"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", files.join(", "))
                .into_bytes();
        answer
    }
}
