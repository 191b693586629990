//! What a Hub answers that is none, or means harm.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use llamascape::model::checkpoint::hub::{Hub, HubId};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::reads;

/// Some of them are tried again after a pause.
const FETCHES: u64 = 40;
const CACHES: u64 = 100;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [(&str, &str); 3] =
    [("config.json", "{}"), ("tokenizer.json", "{\"a\": 1}"), ("model.safetensors", "weights")];

fn listing() -> Value {
    let files = FILES.map(|(name, _)| json!({"rfilename": name}));
    json!({"id": "org/tiny", "sha": COMMIT, "private": false, "siblings": files})
}

/// A whole answer.
fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"connection: close\r\n\r\n", body].concat()
}

/// The answers to the listing, to what is asked of a file, and to a file: one of them is spoilt.
fn answers(dice: &mut Dice) -> Vec<u8> {
    const NUMBERS: [&str; 9] =
        ["0", "1", "7", "8", "-1", "99999999", "18446744073709551615", "9223372036854775807", "1e3"];
    const TAGS: [&str; 8] =
        ["\"abc\"", "W/\"abc\"", "\"../../../x\"", "\"..\"", "\"\"", "\"a/b\"", "\"\u{7f}\"", "\"é\""];
    const PLACES: [&str; 8] = [
        "/loop",
        "file:///etc/passwd",
        "//",
        "http://",
        "http://127.0.0.1:1/x",
        "relative",
        "\u{e9}",
        "/a b",
    ];
    const STATUS: [&str; 9] = [
        "200 OK",
        "206 Partial Content",
        "204 No Content",
        "301 Moved",
        "416 Range",
        "404 Not Found",
        "403 No",
        "999 \u{1b}[31m",
        "100 Continue",
    ];
    let body = listing().to_string();
    let length = body.len().to_string();
    let mut list = answer("200 OK", &[("content-length", &length)], body.as_bytes());
    let mut head = answer("200 OK", &[("etag", "\"abc\""), ("content-length", "7")], b"");
    let mut file = answer("200 OK", &[("content-length", "7")], b"weights");
    match dice.below(9) {
        0 | 1 => {
            let body = dice.spoil_json(&listing());
            list = answer("200 OK", &[("content-length", &body.len().to_string())], &body);
        }
        2 => head = answer("200 OK", &[("etag", *dice.pick(&TAGS)), ("content-length", "7")], b""),
        3 => head = answer("200 OK", &[("etag", "\"abc\""), ("x-linked-size", *dice.pick(&NUMBERS))], b""),
        4 => file = answer("200 OK", &[("content-length", *dice.pick(&NUMBERS))], b"weights"),
        5 => {
            let moved = [("location", *dice.pick(&PLACES)), ("x-error-code", "\u{1b}[31m")];
            let which = *dice.pick(&[0, 1, 2]);
            let spoilt = answer(dice.pick::<&str>(&STATUS), &moved, b"");
            [&mut list, &mut head, &mut file].into_iter().nth(which).unwrap().clone_from(&spoilt);
        }
        6 => head = dice.spoil(&head),
        7 => list = dice.spoil_near(&list, 60),
        _ => file = dice.spoil(&file),
    }
    let mut bytes = Vec::new();
    for part in [list, head, file] {
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

/// Serves the three answers, whatever the file.
fn serve(stream: &TcpStream, answers: &[Vec<u8>]) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let which = if first.contains("/api/") {
        0
    } else if first.starts_with("HEAD") {
        1
    } else {
        2
    };
    let mut stream = stream;
    stream.write_all(answers.get(which)?).ok()
}

/// A server that says what it is told to say; it ends with the process.
fn start(answers: &Arc<Mutex<Vec<Vec<u8>>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::clone(answers);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answers = answers.lock().unwrap().clone();
            serve(&stream.unwrap(), &answers);
        }
    });
    address
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_hub_that_is_none_is_told_in_one_line_and_writes_nowhere_but_in_its_folder() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let address = start(&said);
    let id = HubId::parse("org/tiny").unwrap();
    cases("answers of a Hub", FETCHES, answers, |bytes| {
        let mut rest = bytes;
        let mut parts = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let (part, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            parts.push(part.to_vec());
            rest = tail;
        }
        *said.lock().unwrap() = parts;
        let home = TempDir::new().unwrap();
        let cache = home.path().join("cache");
        let hub =
            Hub { cache: cache.clone(), endpoint: format!("http://{address}"), token: None, offline: false };
        let snapshot = reads(bytes.len(), || hub.snapshot(&id, &mut |_| {}));
        for file in files(home.path()) {
            let name = file.strip_prefix(&cache).unwrap();
            let is_own =
                ["models--org--tiny", ".locks", "CACHEDIR.TAG"].iter().any(|own| name.starts_with(own));
            assert!(is_own, "{}", name.display());
        }
        snapshot.is_some_and(|snapshot| snapshot.starts_with(&cache))
    });
}

/// Puts something else in the place of one of the files of a cache.
fn disturb(dice: &mut Dice, folder: &Path) {
    let mut all = files(folder);
    all.sort();
    let path = dice.pick(&all).clone();
    match dice.below(7) {
        0 | 1 if !path.is_symlink() => {
            let whole = fs::read(&path).unwrap();
            fs::write(&path, dice.spoil(&whole)).unwrap();
        }
        2 => {
            let commits = ["../../..", "", "\u{1b}[31m", "ffffffffffffffffffffffffffffffffffffffff", "main"];
            // There may be a folder by now.
            let _ = fs::write(folder.join("refs/main"), dice.pick(&commits));
        }
        3 => {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }
        4 => {
            fs::remove_file(&path).unwrap();
            symlink(dice.pick(&["/nowhere", "/", "."]), &path).unwrap();
        }
        5 => drop(fs::write(folder.join("blobs/abc.incomplete"), dice.bytes(20))),
        _ => fs::remove_file(&path).unwrap(),
    }
}

#[test]
fn a_cache_that_was_disturbed_is_filled_again_or_refused_in_one_line() {
    let body = listing().to_string();
    let list = answer("200 OK", &[("content-length", &body.len().to_string())], body.as_bytes());
    let head = answer("200 OK", &[("etag", "\"abc\""), ("content-length", "7")], b"");
    let file = answer("200 OK", &[("content-length", "7")], b"weights");
    let address = start(&Arc::new(Mutex::new(vec![list, head, file])));
    let id = HubId::parse("org/tiny").unwrap();
    let make = |dice: &mut Dice| dice.bytes(8);
    cases("caches of a Hub", CACHES, make, |bytes| {
        let home = TempDir::new().unwrap();
        let endpoint = format!("http://{address}");
        let hub = Hub { cache: home.path().to_owned(), endpoint, token: None, offline: false };
        hub.snapshot(&id, &mut |_| {}).unwrap();
        let mut dice = Dice::new(u64::from_le_bytes(bytes.try_into().unwrap()));
        for _ in 0..=dice.below(2) {
            disturb(&mut dice, &home.path().join("models--org--tiny"));
        }
        let offline = Hub { offline: true, ..hub.clone() };
        reads(1 << 20, || offline.snapshot(&id, &mut |_| {}));
        reads(1 << 20, || hub.snapshot(&id, &mut |_| {})).is_some()
    });
}

#[test]
fn files_of_a_size_that_none_has_are_refused() {
    let body = listing().to_string();
    let list = answer("200 OK", &[("content-length", &body.len().to_string())], body.as_bytes());
    let head = answer("200 OK", &[("etag", "\"abc\""), ("x-linked-size", "18446744073709551615")], b"");
    let address = start(&Arc::new(Mutex::new(vec![list, head])));
    let home = TempDir::new().unwrap();
    let endpoint = format!("http://{address}");
    let hub = Hub { cache: home.path().to_owned(), endpoint, token: None, offline: false };
    let error = hub.snapshot(&HubId::parse("org/tiny").unwrap(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("does not say how long"), "{error}");
}
