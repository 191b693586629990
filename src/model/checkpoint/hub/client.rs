//! Asking the Hub, patiently: a listing, a file's size and checksum, and its bytes from where they end here.

use std::io::Read;
use std::time::Duration;

use hf_hub::api::RepoInfo;
use ureq::http::{Method, Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::error::HubError;
use super::folder::Part;
use super::id::{HubId, is_commit};
use super::{Hub, is_plain};
use crate::model::checkpoint::quoted;

/// Tries in a row that bring nothing.
const TRIES: u32 = 3;
/// The pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
const REDIRECTS: usize = 8;
const CONNECT: Duration = Duration::from_secs(10);
/// Silence after which a connection counts as cut.
const SILENCE: Duration = Duration::from_secs(30);
const LONGEST_LISTING: u64 = 64 << 20;
/// Bytes of a file at most: far above any model's, and small enough that no sum of them overflows.
const LONGEST_FILE: u64 = 1 << 50;

/// A file on the Hub.
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) size: u64,
    /// What the Hub calls these bytes, and so does the cache.
    pub(super) etag: String,
    /// The `etag` is the SHA-256 of the bytes.
    hashed: bool,
    url: String,
}

/// A connection to the Hub for one model.
pub(super) struct Client<'a> {
    id: &'a HubId,
    endpoint: &'a str,
    /// Who alone is shown the token.
    home: Uri,
    token: Option<&'a str>,
    agent: Agent,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub, id: &'a HubId) -> Result<Self, HubError> {
        let endpoint = hub.endpoint.trim_end_matches('/');
        let home: Uri = endpoint.parse().map_err(|_| HubError::Endpoint(quoted(endpoint)))?;
        if !["http", "https"].contains(&home.scheme_str().unwrap_or_default()) {
            return Err(HubError::Endpoint(quoted(endpoint)));
        }
        let token = hub.token.as_deref();
        if token.is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            return Err(HubError::Token);
        }
        let mut config = Agent::config_builder()
            .user_agent(concat!("llamascape/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Redirects are followed here: the token must not go along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        // No proxy reaches this machine's own servers.
        if home.host().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
        {
            config = config.proxy(None);
        }
        Ok(Self { id, endpoint, home, token, agent: config.build().new_agent() })
    }

    /// The names of all files, and the commit that the revision is.
    pub(super) fn list(&self) -> Result<RepoInfo, HubError> {
        let url = format!("{}/api/{}", self.endpoint, self.id.at(self.id.revision()).api_url());
        let (from, text) = patiently(|| {
            let (from, response) = self.ask(&Method::GET, &url, 0)?;
            self.check(&from, &response)?;
            let text = response.into_body().into_with_config().limit(LONGEST_LISTING).read_to_vec();
            let text = text.map_err(|cause| network(&from, &cause))?;
            Ok((from, text))
        })?;
        let info: RepoInfo = serde_json::from_slice(&text).map_err(|cause| {
            answer(&from, format!("its list of files cannot be read ({})", cause.to_string().escape_debug()))
        })?;
        if !is_commit(&info.sha) {
            return Err(answer(&from, format!("it gives {} as the commit", quoted(&info.sha))));
        }
        Ok(info)
    }

    /// What the Hub says of a file without sending it.
    pub(super) fn describe(&self, commit: &str, name: &str) -> Result<Remote, HubError> {
        let repo = self.id.at(commit);
        let url = format!("{}/{}/resolve/{}/{name}", self.endpoint, repo.url(), repo.url_revision());
        patiently(|| {
            let (from, response) = self.ask(&Method::HEAD, &url, 0)?;
            let elsewhere = response.status().is_redirection();
            if !elsewhere {
                self.check(&from, &response)?;
            }
            // A large file's own size and checksum come with the redirect to where it is kept.
            let linked = header(&response, "x-linked-etag");
            let etag = linked.or_else(|| header(&response, "etag")).unwrap_or_default();
            let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
            if !is_plain(&etag) {
                return Err(answer(&from, format!("it names no checksum of {name}")));
            }
            let size = header(&response, "x-linked-size")
                .or_else(|| header(&response, "content-length").filter(|_| !elsewhere))
                .and_then(|size| size.parse().ok())
                .filter(|size| *size <= LONGEST_FILE)
                .ok_or_else(|| answer(&from, format!("it does not say how long {name} is")))?;
            let hashed = linked.is_some()
                && etag.len() == 64
                && etag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            Ok(Remote { name: name.to_owned(), size, etag, hashed, url: url.clone() })
        })
    }

    /// Brings what is missing of a file. `progress` is told how much of it is there.
    ///
    /// A connection that is cut is made anew, for as long as each brings something.
    pub(super) fn receive(
        &self,
        remote: &Remote,
        part: &mut Part,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let (mut most, mut barren) = (part.length(), 0);
        loop {
            let Err(error) = self.receive_once(remote, part, progress) else { return Ok(()) };
            barren = if part.length() > most { 1 } else { barren + 1 };
            most = most.max(part.length());
            if !error.may_pass() || barren >= TRIES {
                return Err(error);
            }
            log::info!("{}: tries again: {error}", remote.name);
            std::thread::sleep(PAUSE * 2_u32.pow(barren - 1));
        }
    }

    fn receive_once(
        &self,
        remote: &Remote,
        part: &mut Part,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        if part.length() > remote.size {
            part.clear()?;
        }
        if part.length() < remote.size {
            self.receive_rest(remote, part, progress)?;
        }
        if remote.hashed && part.sha256() != remote.etag {
            part.clear()?;
            return Err(HubError::Damaged { id: self.id.to_string(), file: remote.name.clone() });
        }
        Ok(())
    }

    fn receive_rest(
        &self,
        remote: &Remote,
        part: &mut Part,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let start = part.length();
        let (from, response) = self.ask(&Method::GET, &remote.url, start)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            part.clear()?;
            return Err(broken(&from, "the server has less of a file than is here"));
        }
        self.check(&from, &response)?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(&response, "content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {start}-")) {
                part.clear()?;
                return Err(broken(&from, "the server goes on at another byte than it was asked for"));
            }
        } else {
            // Whoever knows no ranges sends all of it.
            part.clear()?;
        }
        let mut body = response.into_body().into_reader();
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = body.read(&mut bytes).map_err(|cause| network(&from, &cause))?;
            if read == 0 {
                break;
            }
            if part.length() + read as u64 > remote.size {
                part.clear()?;
                return Err(broken(&from, "the server sends more of a file than there is"));
            }
            part.append(&bytes[..read])?;
            progress(part.length());
        }
        if part.length() < remote.size {
            return Err(broken(&from, "the connection was cut"));
        }
        Ok(())
    }

    /// Sends one request and follows where it leads. The token is for the endpoint alone.
    ///
    /// What is known of a file stands in the answer that leads elsewhere: there `HEAD` ends.
    fn ask(&self, method: &Method, url: &str, start: u64) -> Result<(Uri, Response<Body>), HubError> {
        let mut at: Uri = url.parse().map_err(|_| HubError::Endpoint(quoted(self.endpoint)))?;
        for _ in 0..REDIRECTS {
            let mut request = if *method == Method::HEAD {
                self.agent.head(at.clone())
            } else {
                self.agent.get(at.clone())
            };
            // Of packed bytes neither the number nor the place would be the file's.
            request = request.header("accept-encoding", "identity");
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            if let Some(token) = self.token
                && origin(&at) == origin(&self.home)
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|cause| network(&at, &cause))?;
            if !response.status().is_redirection() {
                return Ok((at, response));
            }
            let next = header(&response, "location").and_then(|location| target(&at, location));
            let Some(next) = next else {
                return Err(answer(&at, "it redirects to nowhere"));
            };
            if *method == Method::HEAD && origin(&next) != origin(&at) {
                return Ok((at, response));
            }
            at = next;
        }
        Err(answer(&at, "it redirects without end"))
    }

    /// What a refusal means.
    fn check(&self, from: &Uri, response: &Response<Body>) -> Result<(), HubError> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let (id, host) = (self.id.to_string(), origin(from));
        // Where large files are kept, nobody knows of models.
        let code = if host == origin(&self.home) { status.as_u16() } else { 0 };
        Err(match (code, header(response, "x-error-code").unwrap_or_default()) {
            (403, _) | (401, "GatedRepo") => {
                HubError::Gated { id, page: format!("{}/{}", origin(&self.home), self.id.repo()) }
            }
            (404, "EntryNotFound") => answer(from, "it does not have a file that it lists"),
            (404, error) if error == "RevisionNotFound" || (error.is_empty() && id != self.id.repo()) => {
                HubError::NoSuchRevision {
                    repo: self.id.repo().to_owned(),
                    revision: self.id.revision().to_owned(),
                    host,
                }
            }
            (401, error) if error != "RepoNotFound" && self.token.is_some() => {
                HubError::TokenRefused { host }
            }
            (401 | 404, _) => HubError::NoSuchModel { id, host },
            _ => HubError::Server { host, status: status.as_u16() },
        })
    }
}

/// Asks again what may go better another time.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
    for tried in 0..TRIES - 1 {
        match ask() {
            Err(error) if error.may_pass() => std::thread::sleep(PAUSE * 2_u32.pow(tried)),
            result => return result,
        }
    }
    ask()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Where a redirect leads that may be an address, a path, or a path that begins with a host.
fn target(from: &Uri, location: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    if location.starts_with("//") {
        return format!("{scheme}:{location}").parse().ok();
    }
    if location.starts_with('/') {
        return format!("{scheme}://{}{location}", from.authority()?).parse().ok();
    }
    location.parse().ok().filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")))
}

/// Scheme, host and port, as they may stand in a message: an address can hold a password.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    match (scheme, uri.port_u16()) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }
}

fn network(from: &Uri, cause: &impl std::fmt::Display) -> HubError {
    broken(from, &cause.to_string().escape_debug().to_string())
}

fn broken(from: &Uri, cause: &str) -> HubError {
    HubError::Network { host: origin(from), cause: cause.to_owned() }
}

fn answer(from: &Uri, problem: impl Into<String>) -> HubError {
    HubError::Answer { host: origin(from), problem: problem.into() }
}
