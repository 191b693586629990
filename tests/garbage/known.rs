//! Cases that failed once, or were found by reading.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use llamascape::export::surface::Surface;
use llamascape::model::chat::ChatTemplate;
use llamascape::model::checkpoint::read_tensors;
use llamascape::model::tokenizer::Tokenizer;
use llamascape::protocol::{History, Point, TensorHistory, TensorNorms};
use llamascape::run::board::{Board, Cursor};
use llamascape::run::recorder::Recorder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fixture, surfaces};

fn point(step: u64) -> Point {
    Point { step, loss: 1.0, held_out: None, grad_norm: 1.0, learning_rate: 0.1, spike: false }
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_step_that_comes_again_takes_the_place_of_the_first() {
    let mut history = History::default();
    for step in [1, 2, 3, 2, 2] {
        history.push(point(step));
    }
    let steps: Vec<u64> = history.points().iter().map(|point| point.step).collect();
    assert_eq!(steps, [1, 2]);
}

#[test]
fn metrics_of_one_step_over_and_over_are_one_point() {
    let folder = TempDir::new().unwrap();
    let line = "{\"step\":5,\"loss\":1.5,\"grad_norm\":0.5,\"lr\":0.01}\n";
    fs::write(folder.path().join("metrics.jsonl"), line.repeat(2 * History::CAPACITY)).unwrap();
    let board = Arc::new(Board::default());
    Recorder::open(folder.path(), Arc::clone(&board), 10).unwrap();
    let (update, _) = board.since(&mut Cursor::default());
    assert_eq!(update.history.unwrap().points(), [point_of_line()]);
}

fn point_of_line() -> Point {
    Point { loss: 1.5, grad_norm: 0.5, learning_rate: 0.01, ..point(5) }
}

#[test]
fn a_history_that_no_run_has_stays_bounded() {
    for stride in [0, 1, u64::MAX] {
        let points = vec![json!(point(0)); 2 * History::CAPACITY];
        let mut history: History =
            serde_json::from_value(json!({"points": points, "stride": stride})).unwrap();
        history.push(point(1));
        assert!(history.points().len() <= History::CAPACITY);
        assert_eq!(history.points().last(), Some(&point(1)));
    }
}

#[test]
fn norms_that_no_run_has_stay_bounded() {
    for (stride, since) in [(0, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        let mut history: TensorHistory =
            serde_json::from_value(json!({"items": [], "stride": stride, "since": since})).unwrap();
        for step in 1..1000 {
            history.push(TensorNorms { step, gradients: vec![], weights: vec![], updates: vec![] });
            assert!(history.items().len() <= 257);
        }
    }
}

#[test]
fn a_tensor_without_numbers_is_refused_whatever_its_other_dimensions() {
    let header = json!({"\u{1b}x": {"dtype": "F32", "shape": [0, 1_u64 << 63, 2], "data_offsets": [0, 0]}});
    let header = header.to_string().into_bytes();
    let (_folder, path) = file(&[&(header.len() as u64).to_le_bytes(), &*header].concat());
    let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains(r#""\u{1b}x" has no numbers"#), "{error}");
}

#[test]
fn a_tensor_of_an_unsupported_type_is_named_without_what_a_terminal_obeys() {
    let header = json!({"\u{1b}x": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}});
    let header = header.to_string().into_bytes();
    let (_folder, path) = file(&[&(header.len() as u64).to_le_bytes(), &*header, &[0; 4]].concat());
    let error = read_tensors(&path, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains(r#""\u{1b}x" is I32: only"#), "{error}");
}

/// What a change to the fixture's tokenizer is refused with.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let whole = fs::read(fixture("tiny-hf").join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_slice(&whole).unwrap();
    change(&mut tokenizer);
    Tokenizer::from_json(tokenizer.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_tokenizer_on_which_the_library_panics_is_refused() {
    let error = refused(|file| file["normalizer"] = json!({"type": "Precompiled"}));
    assert!(error.contains("Precompiled"), "{error}");
    let within = json!({"type": "Sequence", "normalizers": [{"type": "Precompiled"}]});
    let error = refused(|file| file["normalizer"] = within);
    assert!(error.contains("Precompiled"), "{error}");
    let error = refused(|file| file["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}));
    assert!(error.contains("the length 0"), "{error}");
    let error = refused(|file| file["post_processor"]["special_tokens"] = json!({}));
    assert!(error.contains("its template names \"<|begin|>\""), "{error}");
    let error = refused(|file| file["post_processor"]["single"][1]["Sequence"]["id"] = "B".into());
    assert!(error.contains("names a second"), "{error}");
}

#[test]
fn a_token_whose_id_no_model_has_is_refused() {
    for id in [1_u64 << 24, u64::from(u32::MAX), u64::MAX] {
        let error = refused(|file| file["model"]["vocab"]["<|end|>"] = id.into());
        assert!(error.contains(&format!("has the id {id}")), "{error}");
    }
}

#[test]
fn two_tokens_of_one_id_are_refused() {
    let error = refused(|file| file["model"]["vocab"]["Ġc"] = 62.into());
    assert!(error.contains("have the same id, 62"), "{error}");
}

#[test]
fn a_word_without_an_end_does_not_keep_a_tokenizer_from_being_made() {
    let text = format!("{}{}", "x".repeat(1 << 20), " ".repeat(1 << 20));
    let tokenizer = Tokenizer::train([&text].into_iter(), 300).unwrap();
    assert_eq!(tokenizer.text(&tokenizer.encode(&text[..1000]).unwrap()), text[..1000]);
}

/// What is said of a chat template.
fn template(source: &str) -> String {
    ChatTemplate::new(source, BTreeMap::new()).unwrap_err().to_string()
}

#[test]
fn a_chat_template_that_asks_for_something_wide_is_refused_where_the_library_would_panic() {
    for source in [
        "{{ '{:.100000f}'.format(1.5) }}",
        "{{ '{:>99999999999}'.format(1) }}",
        "{{ '%099999999999d'|format(1) }}",
        "{{ 'a'|indent(99999999999) }}",
        "{{ 'a'|indent(width=18446744073709551615) }}",
        "{{ [1]|batch(99999999999) }}",
        "{{ [1]|slice(18446744073709551615) }}",
    ] {
        let error = template(source);
        assert!(error.contains("too wide"), "{source}: {error}");
    }
    let error = template("{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}");
    assert!(error.contains("gives more than"), "{error}");
    let same = "{{ messages[0].content|indent(2) }}{{ '%03d|{:>4}'|format(7) }}{{ '{:>4}'.format(7) }}";
    let taken = ChatTemplate::new(same, BTreeMap::new()).unwrap();
    assert_eq!(taken.render("a\nb").unwrap(), "a\n  b007|{:>4}   7");
}

#[test]
fn a_name_of_many_lines_and_hyphens_is_one_line_of_a_csv_and_a_comment_of_a_vtp() {
    let folder = TempDir::new().unwrap();
    let mut surface = surfaces::surface();
    surface.caption.note = "a\nb---c\u{1b}".to_owned();
    let csv = folder.path().join("s.csv");
    surface.write(&csv).unwrap();
    assert_eq!(Surface::read(&csv).unwrap(), surface);
    let vtp = folder.path().join("s.vtp");
    surface.write(&vtp).unwrap();
    let text = fs::read_to_string(vtp).unwrap();
    assert!(text.contains("<!-- a?b- - -c? -->"), "{text}");
}
