//! Models of the Hub are fetched once, in part where a part is here, and kept as Python's `huggingface_hub` does.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

#[path = "hub/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use candle_core::Device;
use llamascape::model::checkpoint::Checkpoint;
use llamascape::model::checkpoint::hub::{Hub, HubError, HubId};
use server::{COMMIT, Fault, Server, etag};
use tempfile::TempDir;

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A small model, in two shards.
fn tiny() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-hf");
    let files = fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    files.collect()
}

/// Files of which nothing but the names matters.
fn named(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
    names.iter().map(|name| ((*name).to_owned(), b"{}".to_vec())).collect()
}

/// A Hub, the store that it redirects to, and a cache.
struct World {
    hub: Server,
    store: Server,
    cache: TempDir,
    files: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self::of(tiny())
    }

    fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let store = Server::start(files.clone(), "");
        let hub = Server::start(files.clone(), &store.url());
        Self { hub, store, cache: TempDir::new().unwrap(), files }
    }

    fn client(&self) -> Hub {
        Hub { cache: self.cache.path().to_owned(), endpoint: self.hub.url(), token: None, offline: false }
    }

    fn offline(&self) -> Hub {
        Hub { offline: true, ..self.client() }
    }

    fn folder(&self) -> PathBuf {
        self.cache.path().join("models--org--tiny")
    }

    /// Where the bytes of a file are, or will be.
    fn blob(&self, name: &str) -> PathBuf {
        self.folder().join("blobs").join(etag(name, &self.files[name]))
    }

    /// Where the bytes of a file are as long as there are more to come.
    fn part(&self, name: &str) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", etag(name, &self.files[name])))
    }

    /// The snapshot holds what the Hub has.
    fn assert_whole(&self, snapshot: &Path) {
        for (name, bytes) in &self.files {
            assert!(fs::read(snapshot.join(name)).unwrap() == *bytes, "{name}");
        }
        let parts = fs::read_dir(self.folder().join("blobs")).unwrap();
        assert_eq!(parts.count(), self.files.len());
    }

    /// The files that were asked of the store.
    fn stored(&self) -> Vec<String> {
        let requests = self.store.requests().into_iter();
        requests.map(|request| request.path["/store/".len()..].replace("?signature=a%2Fb", "")).collect()
    }

    /// The ranges that were asked of the store.
    fn ranges(&self) -> Vec<Option<String>> {
        let requests = self.store.requests().into_iter();
        requests.map(|request| request.header("range").map(str::to_owned)).collect()
    }

    /// Puts the files there as `huggingface_hub` 2.4.0 does it.
    fn lay_out_as_python_does(&self) {
        let (blobs, snapshot) = (self.folder().join("blobs"), self.folder().join("snapshots").join(COMMIT));
        let refs = self.folder().join("refs");
        let locks = self.cache.path().join(".locks/models--org--tiny");
        for folder in [&blobs, &snapshot, &refs, &locks] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(self.cache.path().join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n")
            .unwrap();
        fs::write(refs.join("main"), COMMIT).unwrap();
        for (name, bytes) in &self.files {
            let etag = etag(name, bytes);
            fs::write(blobs.join(&etag), bytes).unwrap();
            fs::write(locks.join(format!("{etag}.lock")), "").unwrap();
            symlink(Path::new("../../blobs").join(&etag), snapshot.join(name)).unwrap();
        }
    }
}

fn id(text: &str) -> HubId {
    HubId::parse(text).unwrap()
}

fn fetch(hub: &Hub) -> Result<PathBuf, HubError> {
    hub.snapshot(&id("org/tiny"), &mut |_| {})
}

/// Why a model is not fetched: always one line.
fn refusal(hub: &Hub, model: &str) -> String {
    let message = hub.snapshot(&id(model), &mut |_| {}).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

#[test]
fn a_model_is_fetched_and_opens() {
    let world = World::new();
    let (mut seen, mut last) = (Vec::new(), None);
    let snapshot = world
        .client()
        .snapshot(&id("org/tiny"), &mut |at| {
            if seen.last().is_none_or(|file| file != at.file) {
                seen.push(at.file.to_owned());
            }
            assert!(last.is_none_or(|(done, total)| done <= at.done && total == at.total));
            last = Some((at.done, at.total));
        })
        .unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(seen, ["config.json", FIRST, SECOND, "tokenizer.json"]);
    let (done, total) = last.unwrap();
    let bytes: usize = seen.iter().map(|name| world.files[name].len()).sum();
    assert_eq!((done, total), (bytes as u64, bytes as u64));

    let checkpoint = Checkpoint::open(&snapshot, &Device::Cpu, &mut |_| {}).unwrap();
    assert!(checkpoint.params.elements() > 0);
}

#[test]
fn what_is_in_the_cache_is_opened_without_asking_anybody() {
    let world = World::new();
    let snapshot = fetch(&world.client()).unwrap();
    assert!(!world.hub.requests().is_empty() && !world.store.requests().is_empty());
    assert_eq!(fetch(&world.client()).unwrap(), snapshot);
    let by_commit = world.client().snapshot(&id(&format!("org/tiny@{COMMIT}")), &mut |_| {});
    assert_eq!(by_commit.unwrap(), snapshot);
    assert_eq!(fetch(&world.offline()).unwrap(), snapshot);
    assert!(world.hub.requests().is_empty() && world.store.requests().is_empty());
}

#[test]
fn the_cache_is_laid_out_as_python_lays_it_out() {
    let world = World::new();
    let snapshot = fetch(&world.client()).unwrap();
    assert_eq!(snapshot, world.folder().join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), COMMIT);
    for (name, bytes) in &world.files {
        let link = fs::read_link(snapshot.join(name)).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(etag(name, bytes)));
    }
}

#[test]
fn a_cache_that_python_filled_is_used_without_a_network() {
    let world = World::new();
    world.lay_out_as_python_does();
    let snapshot = fetch(&world.offline()).unwrap();
    assert!(Checkpoint::open(&snapshot, &Device::Cpu, &mut |_| {}).is_ok());
    assert!(world.hub.requests().is_empty());
}

#[test]
fn only_the_shard_that_is_missing_is_fetched() {
    let world = World::new();
    world.lay_out_as_python_does();
    // The link is there, the bytes are not.
    fs::remove_file(world.blob(SECOND)).unwrap();
    let snapshot = fetch(&world.client()).unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(world.stored(), [SECOND]);
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was() {
    let world = World::new();
    world.store.fail(FIRST, Fault::Cut(10_000));
    world.store.fail(FIRST, Fault::Cut(5_000));
    let snapshot = fetch(&world.client()).unwrap();
    world.assert_whole(&snapshot);
    let ranges = world.ranges();
    let expected = [None, Some("bytes=10000-"), Some("bytes=15000-"), None];
    assert_eq!(ranges.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn a_fetch_that_was_interrupted_is_not_taken_for_whole_and_goes_on_the_next_time() {
    let world = World::new();
    world.store.fail(SECOND, Fault::Cut(10_000));
    world.store.always_fail(SECOND, Fault::Status(503, ""));
    let message = refusal(&world.client(), "org/tiny");
    assert_eq!(
        message,
        format!("{} answers with status 503: try again later; what has arrived is kept", world.store.url())
    );
    assert_eq!(fs::metadata(world.part(SECOND)).unwrap().len(), 10_000);
    assert!(!world.blob(SECOND).exists() && !world.folder().join("refs").exists());
    assert!(refusal(&world.offline(), "org/tiny").contains("does not hold all of it"));

    world.store.heal();
    world.ranges();
    let snapshot = fetch(&world.client()).unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(world.ranges(), [Some("bytes=10000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_or_with_wrong_ones_spoils_nothing() {
    // Of a small file no checksum would tell.
    let file = &format!("GET /api/resolve-cache/models/org/tiny/{COMMIT}/tokenizer.json");
    for fault in [Fault::Whole, Fault::OtherRange, Fault::Status(416, ""), Fault::CutUnannounced(100)] {
        let world = World::new();
        world.hub.fail(file, Fault::Cut(1_000));
        world.hub.fail(file, fault);
        let snapshot = fetch(&world.client()).unwrap();
        world.assert_whole(&snapshot);
    }
}

#[test]
fn all_bytes_without_a_name_need_no_further_ones() {
    let world = World::new();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.part(FIRST), &world.files[FIRST]).unwrap();
    // As many, but other ones.
    fs::write(world.part(SECOND), vec![7; world.files[SECOND].len()]).unwrap();
    let snapshot = fetch(&world.client()).unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(world.stored(), [SECOND]);
}

#[test]
fn bytes_that_another_revision_brought_are_linked_unless_they_are_too_few() {
    let world = World::new();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.blob(FIRST), &world.files[FIRST]).unwrap();
    fs::write(world.blob(SECOND), &world.files[SECOND][1..]).unwrap();
    let snapshot = fetch(&world.client()).unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(world.stored(), [SECOND]);
}

#[test]
fn two_that_fetch_at_once_do_not_disturb_each_other() {
    let world = World::new();
    let client = world.client();
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| fetch(&client)), scope.spawn(|| fetch(&client))];
        for one in both {
            world.assert_whole(&one.join().unwrap().unwrap());
        }
    });
    assert_eq!(world.stored(), [FIRST, SECOND]);
}

#[test]
fn bytes_that_are_not_what_the_hub_names_are_refused() {
    let world = World::new();
    let mut other = world.files.clone();
    other.get_mut(FIRST).unwrap()[20_000] ^= 1;
    let store = Server::start(other, "");
    let hub = Server::start(world.files.clone(), &store.url());
    let client = Hub { endpoint: hub.url(), ..world.client() };
    assert_eq!(
        refusal(&client, "org/tiny"),
        format!(
            "org/tiny: {FIRST} arrives damaged: its checksum is not the one that the Hub names; try again later"
        )
    );
    assert!(!world.blob(FIRST).exists());
    // Nothing of them is gone on with.
    assert_eq!(fs::metadata(world.part(FIRST)).unwrap().len(), 0);
}

#[test]
fn the_token_is_for_the_endpoint_alone() {
    let world = World::new();
    let client = Hub { token: Some("hf_secret".to_owned()), ..world.client() };
    fetch(&client).unwrap();
    let (hub, store) = (world.hub.requests(), world.store.requests());
    assert!(hub.iter().any(|request| request.path.starts_with("/api/resolve-cache/")));
    assert!(hub.iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    assert_eq!(store.len(), 2);
    assert!(store.iter().all(|request| request.header("authorization").is_none()));
    assert!(!format!("{client:?}").contains("hf_secret"));

    let world = World::new();
    fetch(&world.client()).unwrap();
    assert!(world.hub.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_token_that_cannot_be_one_is_not_sent() {
    let world = World::new();
    let client = Hub { token: Some("hf_one\r\nX-Other: two".to_owned()), ..world.client() };
    assert_eq!(
        refusal(&client, "org/tiny"),
        "the token of the Hub holds a character that no token has: check HF_TOKEN, or sign in again with `hf \
         auth login`"
    );
    assert!(world.hub.requests().is_empty());
}

#[test]
fn a_refusal_says_what_to_do() {
    let missing = "org/tiny: HOST has no such model, or a private one: check the name, and set HF_TOKEN for a \
                   private one";
    let gated = "org/tiny: only for those who have been granted access: ask for access at HOST/org/tiny and set \
                 HF_TOKEN";
    let revision = "org/tiny: HOST has no branch, tag or commit v9 of it: choose one from its page";
    let token = "HOST does not accept the token: check HF_TOKEN, or sign in again with `hf auth login`";
    let busy = "HOST answers with status 500: try again later; what has arrived is kept";
    let cases = [
        ("org/tiny", None, 404, "RepoNotFound", missing),
        ("org/tiny", None, 404, "", missing),
        ("org/tiny", None, 401, "", missing),
        ("org/tiny", Some("hf_x"), 401, "RepoNotFound", missing),
        ("org/tiny", Some("hf_x"), 401, "", token),
        ("org/tiny", None, 401, "GatedRepo", gated),
        ("org/tiny", Some("hf_x"), 403, "GatedRepo", gated),
        ("org/tiny", Some("hf_x"), 403, "", gated),
        ("org/tiny@v9", None, 404, "RevisionNotFound", revision),
        ("org/tiny@v9", None, 404, "", revision),
        ("org/tiny", None, 500, "", busy),
    ];
    for (model, token, status, code, expected) in cases {
        let world = World::new();
        world.hub.always_fail("/api/models/", Fault::Status(status, code));
        let client = Hub { token: token.map(str::to_owned), ..world.client() };
        let expected = expected.replace("HOST", &world.hub.url());
        assert_eq!(refusal(&client, model), expected, "{status} {code}");
        assert_eq!(world.hub.requests().len(), if status == 500 { 3 } else { 1 });
    }
}

#[test]
fn a_gated_model_lists_its_files_but_does_not_give_them() {
    let world = World::new();
    world.hub.always_fail("/resolve/", Fault::Status(403, "GatedRepo"));
    assert!(refusal(&world.client(), "org/tiny").contains("ask for access at"));
}

#[test]
fn offline_nobody_is_asked() {
    let world = World::new();
    assert_eq!(
        refusal(&world.offline(), "org/tiny@v1"),
        format!(
            "org/tiny@v1: the cache {} does not hold all of it, and nothing is fetched while HF_HUB_OFFLINE is \
             set: unset it, or fetch the model elsewhere",
            world.cache.path().display()
        )
    );
    assert!(world.hub.requests().is_empty());
}

#[test]
fn without_a_network_the_cache_is_pointed_to() {
    let world = World::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message = refusal(&Hub { endpoint: format!("http://{gone}"), ..world.client() }, "org/tiny");
    assert!(message.starts_with(&format!("http://{gone}: ")), "{message}");
    assert!(
        message.ends_with(
            ": check the network, HF_ENDPOINT and HTTPS_PROXY; models in the cache open without a network, and \
             with HF_HUB_OFFLINE=1 none is tried"
        ),
        "{message}"
    );
    let message = refusal(&Hub { endpoint: "hub\n.example".to_owned(), ..world.client() }, "org/tiny");
    assert_eq!(message, r#"HF_ENDPOINT is "hub\n.example": it is an address such as https://huggingface.co"#);
}

#[test]
fn what_is_no_hub_is_found_out() {
    let world = World::new();
    world.hub.always_fail("/api/models/", Fault::Status(302, ""));
    assert_eq!(
        refusal(&world.client(), "org/tiny"),
        format!(
            "{}: it redirects to nowhere: this is not how the Hub answers: check HF_ENDPOINT",
            world.hub.url()
        )
    );
    world.hub.heal();
    world.hub.always_fail("/api/models/", Fault::Status(200, ""));
    assert!(refusal(&world.client(), "org/tiny").contains("its list of files cannot be read"));
}

#[test]
fn a_disk_that_refuses_is_named() {
    let world = World::new();
    fs::write(world.folder(), "a file where a folder should be").unwrap();
    let message = refusal(&world.client(), "org/tiny");
    assert!(message.starts_with(&format!("{}/blobs: ", world.folder().display())), "{message}");
}

#[test]
fn a_model_without_what_is_needed_is_told_from_its_list() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["README.md", "tiny.Q4_0.gguf"],
            r#"has no model.safetensors, but GGUF files such as "tiny.Q4_0.gguf": download one and give its path"#,
        ),
        (
            &["config.json", "tokenizer.json", "pytorch_model.bin"],
            "has no model.safetensors, but \"pytorch_model.bin\": convert it with transformers' save_pretrained \
             and give that folder",
        ),
        (&["README.md"], "has no model.safetensors and no other weights: choose another model"),
        (
            &["model.safetensors", "tokenizer.json"],
            "has no config.json: it is no checkpoint in Hugging Face layout",
        ),
        (
            &["model.safetensors", "config.json", "tokenizer.model"],
            "has no tokenizer.json: save the model and its tokenizer with transformers' AutoTokenizer, which \
             writes one, and give that folder",
        ),
        (
            &["config.json", "tokenizer.json", INDEX, FIRST],
            "its index names the shard \"model-00002-of-00002.safetensors\", which it does not have",
        ),
    ];
    for (names, problem) in cases {
        let mut files = named(names);
        if let Some(index) = files.get_mut(INDEX) {
            index.clone_from(&tiny()[INDEX]);
        }
        let world = World::of(files);
        assert_eq!(refusal(&world.client(), "org/tiny"), format!("org/tiny: {problem}"));
        assert!(world.store.requests().is_empty());
    }
}

#[test]
fn only_what_the_program_reads_is_fetched() {
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let others = ["consolidated.00.pth", "pytorch_model.bin", "README.md", INDEX, FIRST];
    let world = World::of(named(&[&names[..], &others[..]].concat()));
    let snapshot = fetch(&world.client()).unwrap();
    let mut fetched: Vec<String> = fs::read_dir(snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    fetched.sort_unstable();
    assert_eq!(fetched, names);
}

#[test]
fn an_id_is_a_name_that_the_hub_allows() {
    let long = format!("org/{}", "x".repeat(97));
    for text in [
        "tiny",
        "org/tiny/x",
        "/tiny",
        "org/",
        "./tiny",
        "../tiny",
        "~/tiny",
        "org/-tiny",
        "org/tiny-",
        "org/.tiny",
        "org/ti--ny",
        "org/ti..ny",
        "org/ti ny",
        "org/tiny.gguf",
        "org/tiny.GGUF",
        "org/tiny.git",
        "org/tiny@",
        "org/tiny@a..\n",
        "org/tiny@../x",
        "org/tiny@/x",
        "org/tiny@x/",
        "org/tiny@a@b",
        &long,
    ] {
        assert_eq!(HubId::parse(text), None, "{text:?}");
    }
    for (text, repo, revision) in [
        ("org/tiny", "org/tiny", "main"),
        ("HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M", "main"),
        ("org_1/tiny.v1_x@v1.0", "org_1/tiny.v1_x", "v1.0"),
        ("org/tiny@refs/pr/1", "org/tiny", "refs/pr/1"),
    ] {
        let id = id(text);
        assert_eq!((id.repo(), id.revision()), (repo, revision));
        assert_eq!(id.to_string(), text);
    }
    assert_eq!(id("org/tiny@main").to_string(), "org/tiny");
}

#[test]
fn a_branch_with_a_slash_is_one_part_of_an_address() {
    let world = World::new();
    world.client().snapshot(&id("org/tiny@refs/pr/1"), &mut |_| {}).unwrap();
    assert_eq!(world.hub.requests()[0].path, "/api/models/org/tiny/revision/refs%2Fpr%2F1");
    assert_eq!(fs::read_to_string(world.folder().join("refs/refs/pr/1")).unwrap(), COMMIT);
}

/// The Hub that these variables make.
fn hub_of(variables: &[(&str, &str)]) -> Hub {
    Hub::from_env(|name| {
        let value = variables.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

#[test]
fn the_variables_of_huggingface_hub_are_honoured() {
    let cache = |variables: &[(&str, &str)]| {
        hub_of(&[&[("HOME", "/home/me")], variables].concat()).cache.to_str().unwrap().to_owned()
    };
    assert_eq!(cache(&[]), "/home/me/.cache/huggingface/hub");
    assert_eq!(cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", " ")]), "/home/me/.cache/huggingface/hub");
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/c")]), "/c/huggingface/hub");
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/c"), ("HF_HOME", "~/hf")]), "/home/me/hf/hub");
    assert_eq!(cache(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")]), "/old");
    assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]), "/new");

    assert_eq!(hub_of(&[("HF_HOME", "/none")]).endpoint, "https://huggingface.co");
    assert_eq!(
        hub_of(&[("HF_HOME", "/none"), ("HF_ENDPOINT", "https://h.example/")]).endpoint,
        "https://h.example"
    );

    let offline = |name, value| hub_of(&[("HF_HOME", "/none"), (name, value)]).offline;
    assert!(offline("HF_HUB_OFFLINE", "1") && offline("HF_HUB_OFFLINE", "True"));
    assert!(offline("TRANSFORMERS_OFFLINE", "yes") && offline("HF_HUB_OFFLINE", "ON"));
    assert!(!offline("HF_HUB_OFFLINE", "0") && !offline("HF_HUB_OFFLINE", ""));
}

#[test]
fn the_token_is_found_where_huggingface_hub_keeps_it() {
    let home = TempDir::new().unwrap();
    let (hf_home, elsewhere) = (home.path().to_str().unwrap(), home.path().join("elsewhere"));
    let token = |variables: &[(&str, &str)]| hub_of(&[&[("HF_HOME", hf_home)], variables].concat()).token;
    assert_eq!(token(&[]), None);
    fs::write(home.path().join("token"), "hf_file\n").unwrap();
    fs::write(&elsewhere, "hf_elsewhere").unwrap();
    assert_eq!(token(&[]).as_deref(), Some("hf_file"));
    assert_eq!(token(&[("HF_TOKEN_PATH", elsewhere.to_str().unwrap())]).as_deref(), Some("hf_elsewhere"));
    assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(), Some("hf_old"));
    assert_eq!(
        token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old"), ("HF_TOKEN", " hf_new\n")]).as_deref(),
        Some("hf_new")
    );
    assert_eq!(token(&[("HF_TOKEN", "hf_new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
}
